"""`affine` for several outputs and for kinks anywhere: derivatives, verdicts, the ball."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.constructions import Constructed
from sweep.controls.confusion import Ended
from sweep.judge import StandardJudge
from sweep.judge.affine.outputs import OutputsFit, derivatives
from sweep.judge.affine.verdicts import settle_affine
from sweep.judge.base import Judgement
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import CrossEntropy, HingePower, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop

MOONS = PROBLEMS.build(Choice("two_moons")).load()
CLOUDS = PROBLEMS.build(Choice("clouds")).load()
PLANE = PROBLEMS.build(Choice("planar_map")).load()
HARD_TANH, RELU = Choice("piecewise_linear"), Choice("relu")
CASES = [
    (MOONS, HingePower(), (3, 2), HARD_TANH, 5),
    (MOONS, Squared(), (3,), HARD_TANH, 5),
    (CLOUDS, CrossEntropy(), (5,), RELU, 3),
    (CLOUDS, CrossEntropy(), (4, 4), HARD_TANH, 5),
    (PLANE, Squared(), (4, 3), Choice("two_piece", {"negative_slope": -2.0}), 4),
]


def objective_of(data, loss, widths, activation):
    model = Mlp(widths, activation, data.outputs or 1)
    return build_objective(data, model, NoAugmentation(), loss, NoRegularizer())


@pytest.mark.parametrize("loss", [CrossEntropy(), Squared()], ids=str)
def test_derivatives_are_torchs_in_the_free_directions(loss):
    X = np.column_stack([CLOUDS.x, np.ones(len(CLOUDS.x))])
    fit = OutputsFit(X, CLOUDS.y, loss)
    assert np.allclose(fit.frame.T @ fit.frame, np.eye(fit.frame.shape[1]), atol=1e-15)
    rng = stream("controls", "test", "outputs", str(loss))
    A = rng.normal(size=fit.frame.shape[1] * 3)
    here = fit.at(A)
    tensors = [torch.as_tensor(a) for a in (X, CLOUDS.y, fit.frame)]

    def value(a):
        f = tensors[0] @ (tensors[2] @ a.reshape(fit.frame.shape[1], 3)).T
        return loss.of_outputs(f.T.unsqueeze(-1), tensors[1].T.unsqueeze(-1)).sum()

    point = torch.as_tensor(A)
    gradient = torch.func.grad(value)(point).numpy()
    hessian = torch.autograd.functional.hessian(value, point).numpy()
    assert here.value == pytest.approx(float(value(point)), rel=1e-13)
    assert np.linalg.norm(here.gradient - gradient) < 4 * here.gradient_error
    assert np.linalg.norm(here.hessian - hessian) < 4 * here.hessian_error + 1e-12
    # The Lipschitz bound holds for steps of any size.
    for size in (1e-3, 0.1, 3.0):
        step = size * rng.normal(size=len(A))
        moved = np.linalg.norm(fit.at(A + step).hessian - here.hessian, 2)
        assert moved <= fit.lipschitz(here, 0.0) * np.linalg.norm(step) + 1e-11


def test_a_cross_entropy_keeps_its_digits_where_all_outputs_are_large():
    gap, y = np.array([[0.25, -1.5, 2.0]]), np.eye(3)[[2]]
    error = np.zeros_like(gap)
    near = derivatives(CrossEntropy(), y, gap, error).value[0]
    far = derivatives(CrossEntropy(), y, gap + 2.0**40, error).value[0]
    assert far == pytest.approx(near, rel=1e-15)


def test_errors_of_derivatives_hold_where_a_probability_underflows():
    y, doubt = np.eye(2)[[0]], 30.0
    f, error = np.array([[0.0, -760.0]]), np.full((1, 2), doubt)
    found = derivatives(CrossEntropy(), y, f, error)
    moved = derivatives(CrossEntropy(), y, f + np.array([[-doubt, doubt]]), 0 * error)
    assert (np.abs(moved.slope - found.slope) <= found.slope_error).all()
    assert found.bend[0, 1, 1] == 0 < moved.bend[0, 1, 1]
    assert (np.abs(moved.bend - found.bend) <= found.bend_error).all()


@pytest.mark.parametrize(("data", "loss", "widths", "activation", "lemma"), CASES)
def test_constructed_minima_are_certified_on_a_ball(data, loss, widths, activation, lemma):
    objective = objective_of(data, loss, widths, activation)
    points = objective.initial(Constructed(lemma), 0, range(6))
    found = Judgement.unresolved(points)
    settle_affine(found, objective, None)
    assert (found.certificate == "affine").all()
    here = objective.measure(points).objective
    rng = stream("controls", "test", "ball", str(widths))
    for point, radius, value in zip(points, found.certificate_radius, here, strict=True):
        step = rng.normal(size=(60, len(point)))
        step *= (radius * rng.uniform(0, 1, size=60) / np.linalg.norm(step, axis=1))[:, None]
        around = objective.measure(point + step).objective
        assert (around >= value - 1e-12 * max(1.0, value)).all()


def judged(objective, start):
    stop = np.full(len(start), Stop.GRADIENT.value, dtype=object)
    found = StandardJudge().judge(objective, Ended(start, stop), None)
    before, after = objective.measure(start).objective, objective.measure(found.params).objective
    assert (after <= before * (1 + 1e-13)).all()
    return found, after


@pytest.mark.parametrize(("data", "loss", "widths", "activation", "lemma"), CASES[1:3])
def test_the_judge_returns_from_beside_a_minimum(data, loss, widths, activation, lemma):
    objective = objective_of(data, loss, widths, activation)
    minimum = objective.initial(Constructed(lemma), 1, range(3))
    beside = minimum + 1e-7 * stream("controls", "test", "beside").normal(size=minimum.shape)
    found, value = judged(objective, np.vstack([minimum, beside]))
    assert (found.verdict == "local_minimum").all()
    level = objective.measure(minimum).objective
    assert value == pytest.approx(np.tile(level, 2), rel=1e-11)


def test_a_better_point_is_no_minimum_of_the_fit():
    objective = objective_of(PLANE, Squared(), (3,), RELU)
    fit = objective.measure(objective.initial(Constructed(3), 0, [0])).objective[0]
    _, value = judged(objective, objective.initial(Constructed(3, "better"), 1, range(3)))
    assert (value < fit * (1 - 1e-4)).all()


def test_an_output_that_misses_its_fit_gets_nothing():
    objective = objective_of(PLANE, Squared(), (4,), RELU)
    points = objective.initial(Constructed(3), 0, range(4))
    points[:, -1] += 1e-5
    found = Judgement.unresolved(points)
    settle_affine(found, objective, None)
    assert found.open.all()
