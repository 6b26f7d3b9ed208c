"""Minima certified on a ball that no training could stay in are no verdicts.

The points: an affine minimum and one ReLU more, off on all data, but beside the kink of a point at
which F would have it on. F falls to first order as soon as a move crosses that kink.
"""

from __future__ import annotations

import numpy as np
import pytest

from sweep.constructions.fits import derivatives, features
from sweep.constructions.layers import Net, affine_net
from sweep.controls.fits import BestFit, draw_fit
from sweep.controls.piecewise import objective_for
from sweep.judge.affine.verdicts import settle_affine
from sweep.judge.base import CLEAR, Judgement
from sweep.judge.monomial.rest import settle_resting
from sweep.judge.standard import StandardJudge
from sweep.models.augmentations import Monomial, NoAugmentation
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.training.base import Ending
from sweep.verdicts import Stop, Verdict

HAIRS = (1e-13, 1e-11, 1e-9, 1e-7)


def beside_a_kink(
    rng: np.random.Generator, fit: BestFit, widths: tuple[int, ...], hair: float
) -> tuple[np.ndarray, np.ndarray]:
    """θ of the net with one unit more in its first layer, and a move of its bias."""
    net = affine_net(rng, fit.x, fit.A, widths, (0.0, 1.0))
    q = -fit.y * derivatives(fit.loss, -fit.y * (features(fit.x) @ fit.A))[1]
    ways = rng.normal(size=(50, fit.x.shape[1]))
    reach = fit.x @ ways.T
    second, first = np.sort(reach, axis=0)[-2:]
    top = reach.argmax(axis=0)
    best = int((np.abs(q[top]) * (first - second)).argmax())
    out = -np.sign(q[top[best]])
    (W, b), *later = net.hidden
    joined = (np.vstack([W, ways[best]]), np.append(b, -first[best] - hair))
    if not later:
        return Net([joined], np.hstack([net.v, [[out]]]), net.c).flat(), _bias(widths, fit)
    # Every unit of the next layer has the piece it had; the first of them feels the new unit.
    (W_next, b_next), *rest = later
    column = np.zeros((len(W_next), 1))
    column[0] = 1.0
    hidden = [joined, (np.hstack([W_next, column]), b_next), *rest]
    return Net(hidden, net.v, net.c).flat(), _bias(widths, fit)


def _bias(widths: tuple[int, ...], fit: BestFit) -> np.ndarray:
    D, first, before = fit.x.shape[1], widths[0] + 1, fit.x.shape[1]
    total = 0
    for width in (first, *widths[1:]):
        total, before = total + width * (before + 1), width
    move = np.zeros(total + before + 1)
    move[first * D + first - 1] = 1.0
    return move


def ended(points: np.ndarray) -> Ending:
    count = len(points)
    return Ending(points, np.zeros(count, dtype=np.int64), np.full(count, Stop.STEPS.value))


def stands(objective: Objective, point: np.ndarray, length: float) -> bool:
    """Whether no one of many moves of that length lowers F beyond its rounding."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((4000, len(point)))
    steps[2000:] *= rng.random((2000, len(point))) < 0.2
    steps *= length / np.maximum(np.linalg.norm(steps, axis=1), 1e-300)[:, None]
    here = objective.measure(point[None]).objective[0]
    return bool((objective.measure(point + steps).objective >= here * (1 - 1e-12)).all())


@pytest.mark.parametrize("hair", HAIRS)
@pytest.mark.parametrize("key", range(3))
def test_a_minimum_that_is_certified_stands_small_moves(hair: float, key: int) -> None:
    rng = stream("tests", "hair", key)
    fit = draw_fit(rng, HingePower())
    theta, across = beside_a_kink(rng, fit, (2,), hair)
    objective = objective_for(fit, (3,), 0.0)
    here = objective.measure(theta[None]).objective[0]
    assert objective.measure((theta + 1e-5 * across)[None]).objective[0] < here * (1 - 1e-9)
    found = StandardJudge().judge(objective, ended(theta[None]), None)
    if found.verdict[0] == Verdict.LOCAL_MINIMUM:
        assert stands(objective, found.params[0], CLEAR / 10)
        ends = found.params + np.outer([0.0, CLEAR / 10], across)
        there, moved = objective.measure(ends).objective
        assert moved >= there * (1 - 1e-12)


@pytest.mark.parametrize("widths", [(2,), (2, 2)])
@pytest.mark.parametrize("hair", [*HAIRS, 0.3])
def test_an_affine_minimum_beside_a_kink_is_left_open(widths: tuple[int, ...], hair: float) -> None:
    rng = stream("tests", "hair", len(widths))
    fit = draw_fit(rng, HingePower())
    theta, _ = beside_a_kink(rng, fit, widths, hair)
    objective = objective_for(fit, (widths[0] + 1, *widths[1:]), 0.0)
    found = Judgement.unresolved(theta[None])
    settle_affine(found, objective, None)
    assert (found.certificate[0] == "affine") == (hair > CLEAR)


@pytest.mark.parametrize(("hair", "rests"), [(1e-12, False), (0.05, True)])
def test_a_monomial_neuron_does_not_rest_beside_a_kink(hair: float, rests: bool) -> None:
    """All units off; on the four corners x₂ = −1 of the cube a unit misses its kink by a hair."""
    data = PROBLEMS.build(Choice("polynomial", {"degree": 3, "d": 3})).load()
    assert isinstance(data, Data)
    objective = build_objective(data, Mlp(2, Choice("relu")), Monomial(2), HingePower(), Augment())
    assert isinstance(objective, DataObjective)
    W = np.array([[0.0, -0.3, 0.0], [0.1, 0.1, 0.1]])
    b = np.array([-0.3 - hair, -0.6])
    theta = np.concatenate([W.ravel(), b, [2e-6, 0.3], [0.0], [0.0], [1.0, 0.0, 0.0], [0.0]])
    found = Judgement.unresolved(theta[None])
    settle_resting(found, objective, np.full((1, 1), 0.1))
    assert (found.verdict[0] == Verdict.LOCAL_MINIMUM) == rests


def test_a_unit_that_training_put_out_keeps_its_distance_from_the_kinks() -> None:
    """Its a has all but vanished, (w, b) has not: the polish must not shrink the latter."""
    data = PROBLEMS.build(Choice("xor")).load()
    assert isinstance(data, Data)
    plain = (NoAugmentation(), HingePower(), NoRegularizer())
    objective = build_objective(data, Mlp(2, Choice("relu")), *plain)
    W = np.array([[-0.17, 0.03], [0.09, -0.45]])
    theta = np.concatenate([W.ravel(), [-0.49, 0.75], [0.58, -4.9e-10], [2.9e-10]])
    found = StandardJudge().judge(objective, ended(theta[None]), None)
    assert found.verdict[0] == Verdict.LOCAL_MINIMUM
    assert found.moved[0] < 0.6
    assert stands(objective, found.params[0], 1e-3)
