"""Convolutions, and squares inside an mlp, by the second route."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sweep.audit import audit_arm
from sweep.job import arm_lambdas, arm_objective
from sweep.problems import Data
from sweep.registry import Choice
from sweep.spec import Arm

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
