"""Points at which a certificate was once given wrongly: over barriers, within rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sweep.judge.base import Judgement
from sweep.judge.exponential.end import End
from sweep.judge.exponential.verdicts import store
from sweep.judge.limits import withdraw_unproven_limits
from sweep.judge.readings import read
from sweep.judge.saddle import settle_saddles
from sweep.judge.smooth.kernels import BARE, PLAIN, TANH, Task
from sweep.judge.smooth.trust_region import project
from sweep.judge.standard import StandardJudge
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.losses import HingePower, Loss, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Certificate, Stop, Verdict


@dataclass(frozen=True)
class Stairs:
    """Minima every 2π/100 of the first coordinate, each lower than the one before."""

    n_params: ClassVar[int] = 2
    lower_bound: ClassVar[float | None] = None

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        wave = 1 - torch.cos(100 * theta[0])
        return 0.01 * wave - 0.02 * theta[0] + theta[1] ** 2

    @property
    def digest(self) -> str:
        return "stairs"


@dataclass(frozen=True)
class Ending:
    params: np.ndarray
    stop: np.ndarray


def objective(
    x: np.ndarray, y: np.ndarray, loss: Loss, added: Any = None, width: int = 3
) -> DataObjective:
    mlp = Mlp(width, Choice("tanh"))
    found = build_objective(Data(x, y), mlp, added or NoAugmentation(), loss, NoRegularizer())
    assert isinstance(found, DataObjective)
    return found


def judged(f: Any, params: np.ndarray) -> Judgement:
    stop = np.full(len(params), Stop.GRADIENT.value, dtype=object)
    return StandardJudge().judge(f, Ending(params, stop), None)


def test_a_minimum_behind_a_barrier_is_neither_saddle_nor_left() -> None:
    f = build_objective(Stairs(), None, NoAugmentation(), HingePower(3), NoRegularizer())  # type: ignore[arg-type]  # a landscape has no model
    first = math.asin(0.02) / 100
    minima = np.array([[first + 2 * math.pi / 100 * k, 0.0] for k in (0, 3)])
    found = Judgement.unresolved(minima)
    settle_saddles(found, f, None)
    assert found.open.all()
    np.testing.assert_array_equal(found.params, minima)
    # The maxima between them are no such points: in θ₂ they are minima, in θ₁ F falls at once.
    top = np.array([[math.pi / 100 - first, 0.0]])
    found = Judgement.unresolved(top)
    settle_saddles(found, f, None)
    assert f.measure(found.params).objective[0] < f.measure(top).objective[0] - 1e-3


def test_a_bare_unit_stays_one() -> None:
    task = Task(np.ones((2, 2)), np.ones(2), np.array([PLAIN, BARE]), np.zeros(7), TANH, 0, 3.0)
    trial = np.arange(1.0, 8.0)
    project(trial, np.zeros(7), np.ones(7), task)
    # (a, w, b), (α, w, η), c: only η is not free.
    np.testing.assert_array_equal(trial, [1, 2, 3, 4, 5, 0, 7])


def escaping(f: DataObjective, params: np.ndarray, limit: float) -> Judgement:
    found = Judgement.unresolved(params[None])
    found.settle(0, Verdict.ESCAPING, Certificate.CHART, {})
    found.limit_objective[0] = limit
    withdraw_unproven_limits(found, f, None)
    return found


def test_a_limit_above_the_point_is_withdrawn() -> None:
    draw = stream("test", "limits")
    f = objective(draw.normal(size=(5, 2)), np.array([1.0, -1, 1, -1, 1]), HingePower(3))
    theta = draw.normal(size=f.n_params)
    F = float(f.measure(theta[None]).objective[0])
    assert escaping(f, theta, F).verdict[0] == escaping(f, theta, 0.5 * F).verdict[0] == "escaping"
    above = escaping(f, theta, F * (1 + 1e-9))
    assert above.verdict[0] == "unresolved" and np.isnan(above.limit_objective[0])


def test_rounding_of_f_is_seen_where_the_neuron_and_the_bias_cancel() -> None:
    draw = stream("test", "cancel")
    x = draw.normal(size=(5, 2))
    f = objective(x, np.array([1.0, -1, 1, -1, 1]), HingePower(3), ExpSkip(), 1)
    theta = np.array([1.0, 0.5, 0.1, 0.5, 0.2, 0.3, 0.1, 0.1, 0.0])
    # f + a·e^{w·x} − a·e^{…}: with a at 1e12 some four digits are left.
    far = theta.copy()
    far[4], far[5], far[6:8] = -1e12, 1e12, 0.1e-12
    points = np.stack([theta, far])
    seen = read(f, points, None)
    assert seen.doubt[0] < 1e-12 * seen.objective[0] < 1e-6 * seen.objective[1] < seen.doubt[1]
    # Such a point is not stored, however low its F looks; one whose F is known is.
    high = theta.copy()
    high[4] = 1e3
    found = Judgement.unresolved(np.stack([high, high]))
    ends = {k: End([point], False, 0) for k, point in enumerate((theta, far))}
    assert store(found, f, None, ends) == {0}
    np.testing.assert_array_equal(found.params, [theta, high])


@pytest.mark.parametrize("size", [0.0, 1e-17])
def test_constant_labels_are_fitted_by_a_constant(size: float) -> None:
    draw = stream("test", "constant")
    f = objective(draw.normal(size=(6, 2)), np.ones(6), Squared())
    params = draw.normal(size=(4, f.n_params))
    params[:, -4:-1] *= size
    params[:, -1] = 1.0
    found = judged(f, params)
    assert (found.verdict == "global_minimum").all()
    assert (found.certificate == "lower_bound").all()
    # A bias that misses by far more than rounding is no such fit.
    params[:, -1] = 1.1
    assert not (Judgement.unresolved(params).params == judged(f, params).params).all()


def test_a_fit_within_rounding_is_no_slide() -> None:
    draw = stream("test", "perfect fit")
    f = objective(draw.normal(size=(6, 2)), np.ones(6), Squared())
    found = judged(f, draw.normal(size=(12, f.n_params)))
    here = read(f, found.params, None)
    slides = found.verdict == "escaping"
    assert (here.objective[slides] > here.doubt[slides]).all()
    assert (found.limit_objective[slides] <= here.objective[slides]).all()
