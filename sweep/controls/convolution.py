"""Controls for one convolution below ReQU neurons ([B] Theorem 2), kinks of its filter included.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N       data points in the plane, each with its opposite       x (N, 2)
v       the filter                                             (2,)
T       the filters at a right angle to one data point's row
======  =====================================================  ==========

The row of a point x and that of −x vanish together on the line T, and F has a kink there that leans
to both sides. On T alone F is smooth in (v, W, b, a), and its minimum on T is found by BFGS. A
step off T to either side, so short that only first order counts, then tells whether that point is a
minimum of F or has a descent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import minimize

from sweep.controls.base import Batch, Family, at_and_near
from sweep.controls.coercive import BESIDE, DESCENDS, MINIMUM, NEIGHBOURS, SEPARATES, STARTS
from sweep.models.augmentations import NoAugmentation
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.lanes import one_thread
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.models.strengths import epsilon_of
from sweep.problems.base import Data

#: Of the corners (±1, ±1) under filters of two numbers and slope 0.1: `filter_strength_bound` gives
#: a margin of 0.01232; and (D + ls)N + 1 neurons.
MARGIN, WIDTH = 0.0123, 25
CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
#: Points on T that are looked for, and tries at them.
WANTED, TRIES = 1, 12
#: A neuron this small is on its way to zero; ∇F on T as BFGS leaves it, relative to 1 + F.
LIVE, AT_REST = 0.05, 1e-6
#: A step off T, and the least change of F there that tells first order from rounding.
STEP, TELLS = 1e-5, 1e-9


def theorem_2(rng: np.random.Generator) -> Iterator[Batch]:
    """[B] Thm 2: m > (D + ls)N and λ in (0, λ₀)^m: every local minimum has R = 0."""
    x = CORNERS[rng.permutation(4)]
    loss = HingePower(3) if rng.random() < 0.5 else Logistic()
    objective = _objective(Data(x, -x[:, 0] * x[:, 1]), WIDTH, loss)
    points, near = at_and_near(rng, 0.7 * rng.normal(size=(STARTS, objective.n_params)), BESIDE)
    lam = MARGIN * epsilon_of(loss) * rng.random((len(points), WIDTH))
    yield Batch(objective, SEPARATES, points, near, np.ones(len(points), dtype=bool), lam)


def held(rng: np.random.Generator) -> Iterator[Batch]:
    """Minima of F under a kink: uphill off T on both sides."""
    return _on_kink(rng, leans=True)


def released(rng: np.random.Generator) -> Iterator[Batch]:
    """Minima of F on T alone, with a descent off it."""
    return _on_kink(rng, leans=False)


def _objective(data: Data, width: int, loss: HingePower | Logistic) -> Objective:
    model = Convolution(width, layers=2, filter=2, negative_slope=0.1)
    return build_objective(data, model, NoAugmentation(), loss, ConvolutionRegularizer())


def _on_kink(rng: np.random.Generator, leans: bool) -> Iterator[Batch]:
    found = 0
    for _ in range(TRIES):
        turn, width = rng.uniform(0, 2 * math.pi), int(rng.integers(2, 4))
        # Turned corners: kinks that no float64 filter meets exactly.
        x = CORNERS @ np.array(
            [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        )
        # Opposite points of one label pull alike from both sides.
        y = -CORNERS.prod(axis=1) if leans else np.where(rng.permutation(4) < 2, 1.0, -1.0)
        objective = _objective(Data(x, y), width, Logistic())
        lam = 0.02 + 0.03 * rng.random(width)
        theta = _least_on(objective, rng, np.array([-x[0, 1], x[0, 0]]) / math.sqrt(2), lam)
        if theta is None:
            continue
        off = np.zeros((2, len(theta)))
        off[:, :2] = STEP * np.outer([1.0, -1.0], x[0] / math.sqrt(2))
        values = objective.measure(theta + np.vstack([0 * off[:1], off]), np.tile(lam, (3, 1)))
        change = float((values.objective[1:] - values.objective[0]).min())
        if abs(change) < TELLS or (change > 0) != leans:
            continue
        found += 1
        points, near = at_and_near(rng, np.tile(theta, (NEIGHBOURS, 1)), BESIDE)
        points, near = points[NEIGHBOURS - 1 :], near[NEIGHBOURS - 1 :]
        strengths, clear = np.tile(lam, (len(points), 1)), np.ones(len(points), dtype=bool)
        value = float(values.objective[0]) if leans else math.nan
        truth = MINIMUM if leans else DESCENDS
        yield Batch(objective, truth, points, near, clear, strengths, value)
        if found == WANTED:
            return


def _least_on(
    objective: Objective, rng: np.random.Generator, way: np.ndarray, lam: np.ndarray
) -> np.ndarray | None:
    """A minimum (P,) of F over filters along the unit `way` (2,); None if a neuron dies there."""
    start = rng.normal(size=objective.n_params - 1)
    strengths = torch.as_tensor(lam[:, None])

    def point(free: np.ndarray) -> np.ndarray:
        return np.concatenate([free[0] * way, free[1:]])

    def value(free: np.ndarray) -> tuple[float, np.ndarray]:
        F, slope = objective.value_and_grad(torch.as_tensor(point(free)[:, None]), strengths)
        g = slope[:, 0].numpy()
        return float(F[0]), np.concatenate([[g[:2] @ way], g[2:]])

    with one_thread():
        options = {"gtol": 1e-8, "maxiter": 200}
        end = minimize(value, start, jac=True, method="BFGS", options=options)
    out = end.x[-len(lam) :]
    small = float(np.abs(end.jac).max()) <= AT_REST * (1 + float(end.fun))
    return point(end.x) if small and float(np.abs(out).min()) > LIVE else None


FAMILIES = (
    Family("convolution, m > (D+ls)N", "[B] Thm 2: random starts, λ below λ₀", theorem_2),
    Family("filter under a kink", "least on the kink's line, and uphill off it", held),
    Family("filter off its kink", "least on the kink's line, and downhill off it", released),
)
