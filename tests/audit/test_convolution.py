"""Convolutions, and squares inside an mlp, by the second route."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from sweep.audit import audit_arm
from sweep.audit.coercive_formula import any_formula
from sweep.audit.convolution import Beside
from sweep.controls.convolution import released
from sweep.job import arm_lambdas, arm_objective
from sweep.judge import StandardJudge
from sweep.judge.convolution.polish import newton, place_at
from sweep.judge.convolution.stack_polish import StackPath
from sweep.problems import Data
from sweep.registry import Choice
from sweep.spec import Arm
from sweep.verdicts import Certificate, Stop, Verdict

REGULARISED = Arm(
    "convolution",
    regularizer=Choice("convolution", {"lambda_c": 0.7}),
    lam=Choice("uniform_per_neuron", {"high": 0.02, "draws": 1}),
)
MEASURED = ("judged_loss", "judged_objective", "judged_grad_norm", "judged_error", "dead_units")


def some_data(D: int) -> Data:
    rng = np.random.default_rng(0)
    return Data(rng.normal(size=(6, D)), np.where(np.arange(6) % 2 == 0, 1.0, -1.0))


def convolution(make_cell, arm: Arm, layers: int, length: int, loss: str):
    settings = {"width": 5, "layers": layers, "filter": length, "negative_slope": 0.1}
    return replace(make_cell(arm, loss), model=Choice("convolution", settings))


@pytest.mark.parametrize("loss", ["logistic", "hinge_power"])
@pytest.mark.parametrize(("layers", "length"), [(1, 3), (2, 2), (3, 3), (3, 1)])
@pytest.mark.parametrize("arm", [REGULARISED, Arm("bare"), Arm("decayed", weight_decay=0.1)])
def test_convolutions_are_measured_alike(make_cell, make_rows, loss, layers, length, arm):
    data = some_data(2)
    cell = convolution(make_cell, arm, layers, length, loss)
    objective = arm_objective(cell, arm, data)
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(4, objective.n_params))
    theta[1, :2] = theta[1, 0]  # a filter under a kink, where two places of the data cancel
    theta[2, -5] = 0.0
    vector = {}
    if arm.lam is not None:
        lam = _strengths(arm, objective.n_lambda)
        vector = {"lam_vector": [lam.tolist()] * 4, "lam": [float(lam.mean())] * 4}
    rows = make_rows(cell, data, theta, "unresolved", "none", **vector)
    audited = audit_arm(rows, data, root=0)
    assert audited.findings == [] and not audited.without_route
    for name in MEASURED:
        columns = {key: list(values) for key, values in rows.columns.items()}
        columns[name][0] = columns[name][0] * (1 + 1e-6) + (name in MEASURED[3:])
        assert audit_arm(replace(rows, columns=columns), data, root=0).findings, name


def _strengths(arm: Arm, size: int) -> np.ndarray:
    found = arm_lambdas(arm, 0, size)
    assert found is not None
    return found[0]


def test_no_global_minimum_or_escape_of_regularised_convolutions_is_believed(make_cell, make_rows):
    data = some_data(2)
    cell = convolution(make_cell, REGULARISED, 2, 2, "hinge_power")
    objective = arm_objective(cell, REGULARISED, data)
    lam = _strengths(REGULARISED, objective.n_lambda)
    vector = {"lam_vector": [lam.tolist()], "lam": [float(lam.mean())]}
    theta = np.random.default_rng(2).normal(size=(1, objective.n_params))
    for verdict, certificate in (("global_minimum", "separates"), ("escaping", "ray")):
        rows = make_rows(cell, data, theta, verdict, certificate, **vector)
        found = audit_arm(rows, data, root=0).findings
        assert any("nothing" in finding.recomputed for finding in found)


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


@pytest.fixture(params=[2, 3])
def corners(make_cell, request):
    """Judged minima of turned corners: (data, points, λ, judgement), some under a kink."""
    flat = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    data = Data(flat @ turn.T, -flat.prod(axis=1))
    cell = convolution(make_cell, REGULARISED, request.param, 2, "logistic")
    objective = arm_objective(cell, REGULARISED, data)
    params = 0.7 * np.random.default_rng(3).normal(size=(24, objective.n_params))
    lam = np.tile(_strengths(REGULARISED, objective.n_lambda), (len(params), 1))
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return data, cell, lam, StandardJudge().judge(objective, Ended(params, stop), lam)


def audited(corners, make_rows, theta, k: int, **changes):
    """Findings at one point, claimed to be what member k is."""
    data, cell, lam, found = corners
    claims = {
        "lam_vector": [lam[k].tolist()],
        "lam": [float(lam[k].mean())],
        "certificate_radius": [float(found.certificate_radius[k])],
        **changes,
    }
    certificate = claims.pop("certificate", found.certificate[k])
    rows = make_rows(cell, data, theta[None], "local_minimum", certificate, **claims)
    return audit_arm(rows, data, root=0).findings


def test_minima_of_convolutions_are_confirmed_and_their_neighbours_refused(corners, make_rows):
    found = corners[3]
    assert (found.verdict == Verdict.LOCAL_MINIMUM.value).all()
    rng = np.random.default_rng(4)
    for certificate in (Certificate.KINK, Certificate.INACTIVE):
        k = int(np.flatnonzero(found.certificate == certificate.value)[0])
        theta = found.params[k]
        assert audited(corners, make_rows, theta, k) == []
        moved = theta + 1e-4 * rng.normal(size=len(theta)) * (theta != 0)
        assert audited(corners, make_rows, moved, k)
        for first in range(0, 2 * (corners[1].model.settings["layers"] - 1), 2):
            off = theta.copy()
            off[first : first + 2] += 1e-6 * np.array([-theta[first + 1], theta[first]])
            assert audited(corners, make_rows, off, k)
        assert audited(corners, make_rows, theta, k, certificate="strict")
        assert audited(corners, make_rows, theta, k, certificate_radius=[None])
        assert audited(corners, make_rows, theta, k, judged_min_eig=[0.1])
        low = corners[2][k].copy()
        idle = np.flatnonzero(theta[-len(low) :] == 0)
        if len(idle):
            low[idle] = 1e-6
            assert audited(corners, make_rows, theta, k, lam_vector=[low.tolist()])


def test_a_kink_that_hides_a_descent_is_not_believed(make_cell):
    """At rest on the kink's line, a step off it lowers F to first order."""
    arm = Arm("c", regularizer=Choice("convolution"), lam=REGULARISED.lam)
    for batch in released(np.random.default_rng(0)):
        settings = {"width": batch.lam.shape[1], "layers": 2, "filter": 2, "negative_slope": 0.1}
        cell = replace(make_cell(arm, "logistic"), model=Choice("convolution", settings))
        data = Data(batch.objective.x.numpy(), batch.objective.y.numpy())
        beside = Beside.of(any_formula(cell, arm, data), batch.points[0], batch.lam[0])
        assert int(beside.kinks.sum()) == 2
        assert beside.least_across()[0] < 0
        off = np.zeros((2, batch.points.shape[1]))
        off[:, :2] = 1e-7 * np.outer([1, -1], beside.across.T[0])
        F = batch.objective.measure(batch.points[0] + off, batch.lam[:2]).objective
        assert F.min() < batch.objective.measure(batch.points[:1], batch.lam[:1]).objective[0]


def test_a_kink_of_the_second_layer_that_hides_a_descent_is_not_believed(make_cell):
    """At rest on a face of random places, F falls off it to first order."""
    data = some_data(2)
    cell = convolution(make_cell, REGULARISED, 3, 2, "logistic")
    objective = arm_objective(cell, REGULARISED, data)
    plain, refused = StackPath.of(objective), 0
    assert plain is not None
    for seed in range(12):
        rng = np.random.default_rng(seed)
        lam = 0.02 * (0.5 + rng.random(plain.last.m))
        Z, s = rng.normal(size=(plain.last.m, plain.last.D + 1)), np.array([1.0, -1, 1, -1, 1])
        held = np.zeros(sum(z.size for z in plain.layers(rng.normal(size=4))), dtype=bool)
        held[plain.x.shape[0] * 3 + rng.integers(plain.x.shape[0] * 4)] = True
        place = place_at(plain, Z, s, rng.normal(size=4), lam, 1e-9, held)
        steps = 0
        while place is not None and steps < 60:
            local, before = place.local(plain, lam), place
            place, steps = newton(plain, place, local, local.gradient(), lam), steps + 1
        if place is not None or not (before.face.slopes[1] == 0).any():
            continue
        theta = plain.balanced(before.v, before.Z, before.s)
        beside = Beside.of(any_formula(cell, REGULARISED, data), theta, lam)
        held = before.face.held & ~plain.blank
        np.testing.assert_array_equal(beside.kinks.numpy(), held)
        ways = rng.normal(size=(20, beside.across.shape[1])) @ beside.across.numpy().T
        off = np.zeros((21, len(theta)))
        off[1:, :4] = 1e-7 * ways / np.linalg.norm(ways, axis=1, keepdims=True)
        F = objective.measure(theta + off, np.tile(lam, (21, 1))).objective
        slopes = [
            float(
                torch.func.grad(beside.value)(beside.v, beside.neurons, beside.towards(way)) @ way
            )
            for way in torch.as_tensor(off[1:, :4] / 1e-7)
        ]
        np.testing.assert_allclose(slopes, (F[1:] - F[0]) / 1e-7, rtol=1e-4, atol=1e-5)
        refused += min(slopes) < 0
        if min(slopes) < 0:
            assert beside.least_across()[0] < 0
    assert refused >= 2


@pytest.mark.parametrize("activation", ["requ", "square"])
@pytest.mark.parametrize("augment", ["none", "exp_skip", "extra_neuron", "exp_per_layer"])
def test_squares_inside_an_mlp_are_measured_alike(make_cell, make_rows, activation, augment):
    settings = {"k": 2} if augment == "extra_neuron" else {}
    arm = Arm("squares", augment=Choice(augment, settings), weight_decay=0.01)
    data = some_data(3)
    cell = make_cell(arm, "logistic", width=[4, 3], activation={"name": activation})
    objective = arm_objective(cell, arm, data)
    theta = 0.5 * np.random.default_rng(3).normal(size=(5, objective.n_params))
    theta[0, :9] = 0.0
    rows = make_rows(cell, data, theta, "unresolved", "none")
    audited = audit_arm(rows, data, root=0)
    assert audited.findings == [] and not audited.without_route
    for name in MEASURED[:3]:
        columns = {key: list(values) for key, values in rows.columns.items()}
        columns[name][1] *= 1 + (1e-4 if name == "judged_grad_norm" else 1e-7)
        assert audit_arm(replace(rows, columns=columns), data, root=0).findings, name
