"""`strict` and `cell` for several outputs: derivatives in balls, verdicts, attacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge
from sweep.judge.outputs.frame import frame_at
from sweep.judge.outputs.gradient import gradient
from sweep.judge.outputs.proof import prove
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.autograd import Oracle
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import CrossEntropy, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

from .conftest import longer

CLOUDS = PROBLEMS.build(Choice("clouds")).load()
LOSSES = [CrossEntropy(), Squared()]
TWO_PIECE = Choice("two_piece", {"negative_slope": -0.5})
ACTIVATIONS = [Choice("tanh"), Choice("sigmoid"), Choice("softplus"), Choice("relu"), TWO_PIECE]
# Kinds whose minima the starts reach: (loss, activation, width).
REACHED = [
    (Squared(), "tanh", 2),
    (CrossEntropy(), "tanh", 2),
    (CrossEntropy(), "sigmoid", 1),
    (CrossEntropy(), "relu", 2),
    (Squared(), "relu", 2),
    (Squared(), "leaky_relu", 2),
]


def objective_of(loss, activation, width, data=CLOUDS):
    choice = Choice(activation) if isinstance(activation, str) else activation
    model = Mlp(width, choice, 3)
    return build_objective(data, model, NoAugmentation(), loss, NoRegularizer())


def taught(loss, activation, width):
    """(objective, starts): smooth networks get data of a network of their kind, with noise."""
    plain = objective_of(loss, activation, width)
    if plain.network.activation.piecewise_linear:
        return plain, starts(plain, 40)
    rng = stream("controls", "test", "taught", activation)
    x, lift = rng.normal(size=(400, 2)), 1.0 if activation == "tanh" else 2.0
    A = 2 * lift * np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])[:, :width]
    W = lift * np.array([[1.2, -0.7, 0.2], [0.5, 1.3, -0.4]])[:width]
    theta = np.concatenate([A.ravel(), np.zeros(3), W.ravel()])
    here = objective_of(loss, activation, width, replace(CLOUDS, x=x, y=np.eye(3)[[0] * 400]))
    teacher = OutputsTask.of(here).params(theta)
    f = here.outputs(torch.as_tensor(teacher)[:, None])[:, :, 0].numpy().T
    y = f + 0.3 * rng.normal(size=f.shape)
    if isinstance(loss, CrossEntropy):
        y = np.eye(3)[np.argmax(f + rng.gumbel(size=f.shape), axis=1)]
    near = teacher + 0.1 * rng.normal(size=(8, len(teacher)))
    return objective_of(loss, activation, width, replace(CLOUDS, x=x, y=y)), near


def judged(objective, start):
    stop = np.full(len(start), Stop.STEPS.value, dtype=object)
    found = StandardJudge().judge(objective, Ended(start, stop), None)
    before, after = objective.measure(start).objective, objective.measure(found.params).objective
    assert (after <= before * (1 + 1e-13)).all()
    return found


def starts(objective, count):
    return stream("controls", "test", "starts").normal(size=(count, objective.n_params))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda choice: choice.name)
def test_balls_hold_the_derivatives_all_around(loss, activation):
    objective = objective_of(loss, activation, 3)
    task = OutputsTask.of(objective)
    params = starts(objective, 1)
    theta = task.theta(params[0])
    assert (task.params(theta) == params[0]).all()
    F, g = Oracle.of(objective, None).gradient(params)
    point = torch.as_tensor(params[0])
    hessian = torch.func.jacrev(torch.func.grad(lambda p: objective.value(p[:, None])[0]))(point)
    here, slope, order = (
        task.second(theta, np.zeros((len(theta), 1))),
        gradient(task, theta),
        task.order,
    )
    assert here.value == pytest.approx(F[0], rel=1e-13)
    apart = np.abs(here.hessian.mid[np.ix_(order, order)] - hessian.numpy())
    assert (apart <= 2 * here.hessian.rad[np.ix_(order, order)]).all()
    assert (np.abs(slope.mid[order] - g[0]) <= here.gradient.rad[order]).all()
    assert (slope.rad < here.gradient.rad).all()
    rng = stream("controls", "test", "around", activation.name)
    for radius in (1e-4, 1e-2, 1.0):
        wide, tried = task.second(theta, radius * np.eye(len(theta))), 0
        for way in rng.normal(size=(40, len(theta))):
            there = theta + radius * way / np.linalg.norm(way)
            z = np.sign(task.split(there).W @ task.X.T) * (task.split(theta).W @ task.X.T)
            if task.code is None and (z < 0).any():
                continue
            found, tried = task.second(there, None), tried + 1
            for name in ("f", "gradient", "hessian"):
                ball, value = getattr(wide, name), getattr(found, name).mid
                assert (np.abs(value - ball.mid) <= ball.rad + 1e-11).all()
        assert tried or radius == 1.0


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS[2:], ids=lambda choice: choice.name)
def test_the_frame_leaves_out_what_no_output_notices(loss, activation):
    objective = objective_of(loss, activation, 4)
    task = OutputsTask.of(objective)
    for params in starts(objective, 12):
        theta = task.theta(params)
        frame = frame_at(task, theta)
        f = lambda p: objective.outputs(p[:, None])[:, :, 0]  # noqa: E731
        J = torch.func.jacrev(f)(torch.as_tensor(params)).numpy()
        J = np.einsum("cnp,cd->ndp", J, task.U).reshape(-1, len(theta))
        flat = np.linalg.svd(J[:, np.argsort(task.order)])[2][frame.N.shape[1] :]
        assert np.abs(frame.N.T @ frame.N - np.eye(frame.N.shape[1])).max() < 1e-13
        # The flat directions are those that the frame is orthogonal to.
        assert np.linalg.matrix_rank(J, tol=1e-9 * np.linalg.norm(J)) == frame.N.shape[1]
        assert (np.abs(flat @ frame.N) < 1e-8).all()


@pytest.mark.parametrize(("loss", "activation", "width"), REACHED, ids=str)
def test_no_move_lowers_a_certified_minimum(loss, activation, width):
    objective, start = taught(loss, activation, width)
    task = OutputsTask.of(objective)
    found = judged(objective, start)
    name = "strict" if task.code is not None else "cell"
    members = np.flatnonzero(found.certificate == name)[:4]
    assert len(members)
    rng = stream("controls", "test", "moves", activation)
    for member in members:
        theta = task.theta(found.params[member])
        eigenvalue = found.evidence[member]["least_eigenvalue_proven"]
        assert eigenvalue > 0
        assert np.isnan(found.min_eig[member]) == (found.flat_dim[member] > 0)
        assert found.certificate_radius[member] > 0
        here = longer(task, theta[None])[0]
        moves = rng.normal(size=(700, len(theta)))
        moves /= np.linalg.norm(moves, axis=1, keepdims=True)
        # The centre is no more than g²/λ above the minimum.
        room = found.evidence[member]["gradient"] ** 2 / eigenvalue + 1e-17 * here
        for size in 10.0 ** np.arange(-8, -2):
            size = min(size, 1.0 if name == "strict" else found.certificate_radius[member])
            assert (longer(task, theta + size * moves) >= here - room).all()


@pytest.mark.parametrize(("loss", "activation", "width"), REACHED[1:4], ids=str)
def test_a_verdict_depends_on_the_member_alone(loss, activation, width):
    objective, start = taught(loss, activation, width)
    start = start[:8]
    together = judged(objective, start)
    for k in range(8):
        alone = judged(objective, start[k : k + 1])
        assert alone.certificate[0] == together.certificate[k]
        assert (alone.params[0] == together.params[k]).all()
        assert alone.evidence[0] == together.evidence[k]


def _mixed(task, params):
    """Members whose first unit is alone in its class, on both sides of its kink."""
    up = np.array([task.split(task.theta(p)).W @ task.X.T > 0 for p in params])
    twin = (up[:, 1:] == up[:, :1]).all(axis=2).any(axis=1)
    return ~twin & (up[:, 0].sum(axis=1) > 3) & (up[:, 0].sum(axis=1) < up.shape[2])


@pytest.mark.parametrize(("loss", "activation", "width"), REACHED, ids=str)
def test_what_is_no_minimum_is_not_proven(loss, activation, width):
    objective, start = taught(loss, activation, width)
    task = OutputsTask.of(objective)
    found = judged(objective, start)
    members = np.flatnonzero(np.isin(found.certificate, ("strict", "cell")))
    if task.slopes is not None:
        members = members[_mixed(task, found.params[members])]
    theta = task.theta(found.params[members[0]])
    assert prove(task, theta) is not None
    # A slope: the minimum is far away, measured by the curvature's change.
    beside = theta + 1e-3 * stream("controls", "test", "slope").normal(size=len(theta))
    assert prove(task, beside) is None
    # A twin shares its unit's outgoing weight: a flat line, or a saddle.
    larger, at = replace(task, width=width + 1), task.split(theta)
    A, W = np.column_stack([at.A, at.A[:, 0] / 2]), np.vstack([at.W, at.W[:1]])
    A[:, 0] /= 2
    twin = np.concatenate([A.ravel(), at.c, W.ravel()])
    assert larger.value(twin) == pytest.approx(task.value(theta), rel=1e-14)
    assert prove(larger, twin) is None
    # The best constant with idle units.
    idle = np.zeros_like(theta)
    idle[task.y.shape[1] * task.width :][: task.y.shape[1]] = at.c
    assert prove(task, idle) is None


def test_near_a_kink_nothing_is_claimed_and_a_dead_unit_changes_nothing():
    objective = objective_of(CrossEntropy(), "relu", 2)
    task = OutputsTask.of(objective)
    found = judged(objective, starts(objective, 60))
    member = np.flatnonzero(found.certificate == "cell")[0]
    at = task.split(task.theta(found.params[member]))
    wide = objective_of(CrossEntropy(), "relu", 3)
    larger, low = OutputsTask.of(wide), float((CLOUDS.x @ np.ones(2)).max())
    for gap, proven in ((1e-2, True), (1e-8, False)):
        W = np.vstack([at.W, [1.0, 1.0, -low - gap]])
        A = np.column_stack([at.A, [0.3, -1.0, 2.0]])
        theta = np.concatenate([A.ravel(), at.c, W.ravel()])
        proof = prove(larger, theta)
        assert (proof is not None) == proven
        if proof is not None:
            assert proof.symmetries == found.flat_dim[member] + 6


def test_a_cross_entropy_of_one_class_gets_no_certificate_of_these():
    data = replace(CLOUDS, x=CLOUDS.x[:8], y=np.ones((8, 1)))
    model = Mlp(2, Choice("relu"), 1)
    objective = build_objective(data, model, NoAugmentation(), CrossEntropy(), NoRegularizer())
    assert OutputsTask.of(objective) is None
    found = judged(objective, starts(objective, 3))
    assert not np.isin(found.certificate, ("strict", "cell")).any()
