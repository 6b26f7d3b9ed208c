"""Controls of piecewise-linear networks: affine minima, what lies beside them, linear networks.

A constructed minimum is `clear` (away from rounding trouble) by construction: every preactivation
is at least a twentieth of its unit's spread away from the kink, and the best affine fit's Hessian
has a condition number below 10⁴ (`sweep.controls.fits`); |θ| must stay below 10³ besides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweep.constructions.layers import (
    Net,
    affine_net,
    leaky,
    objective_of,
    preactivations,
    unflat,
)
from sweep.constructions.theorems import Kink, better_net
from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.controls.fits import BestFit, draw_fit
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.base import Augmenting
from sweep.models.mlp import Mlp
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.verdicts import Verdict

V = Verdict
MINIMUM = Truth(
    "local minimum", frozenset({V.LOCAL_MINIMUM}), frozenset({V.LOCAL_MINIMUM}), everywhere=False
)
# Where descent exists: anything that lies lower.
DESCENT = Truth(
    "descent exists",
    frozenset(V) - {V.FAILED},
    frozenset({V.LOCAL_MINIMUM, V.GLOBAL_MINIMUM, V.SADDLE, V.ESCAPING}),
    falls=True,
)
# [A] Thm 1: with λ > 0 every local minimum of the exponential arm is global; and if F = 0 there,
# the base network itself separates the data.
NO_BAD_MINIMUM = Truth(
    "no bad minimum",
    frozenset({V.ESCAPING, V.SADDLE, V.GLOBAL_MINIMUM}),
    frozenset({V.ESCAPING, V.SADDLE, V.GLOBAL_MINIMUM}),
)
LINEAR = Truth(
    "affine optimum only",
    frozenset({V.LOCAL_MINIMUM, V.SADDLE}),
    frozenset({V.LOCAL_MINIMUM, V.SADDLE}),
)
SHALLOW: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (4,), (8,))
DEEP: tuple[tuple[int, ...], ...] = ((2, 2), (3, 2), (2, 3, 2), (4, 4), (2, 2, 2, 2))
SLOPES = (0.0, 0.0, 0.01, 0.3, 1.7, -0.2)
LARGEST = 1e3
# A neighbour lies this far from the point, relative to the least distance of a kink.
BESIDE = 0.05
POINTS, BATCHES, BETTER = 12, 3, 4


def objective_for(
    fit: BestFit, widths: tuple[int, ...], slope: float, augmentation: Augmenting | None = None
) -> Objective:
    """The objective of a network with that negative slope on the fit's data."""
    names = {0.0: Choice("relu"), 1.0: Choice("identity")}
    activation = names.get(slope, Choice("leaky_relu", {"negative_slope": slope}))
    return build_objective(
        Data(fit.x, fit.y),
        Mlp(widths, activation),
        NoAugmentation() if augmentation is None else augmentation,
        fit.loss,
        NoRegularizer() if augmentation is None else Augment(),
    )


def clearance(net: Net, x: np.ndarray, slopes: tuple[float, float]) -> float:
    """About how far θ may move before a unit changes its piece: least |z| over the scale it has.

    The scale is that of the unit's inputs and of all later weights; used for the size of a
    neighbourhood only, which `same_pieces` checks.
    """
    least, inputs, growth = np.inf, x, 1.0
    for z, (W, _) in zip(preactivations(net, x, leaky(slopes)), net.hidden, strict=False):
        length = np.sqrt((inputs**2).sum(axis=1) + 1)
        least = min(least, float((np.abs(z).min(axis=1) / length).min()) / growth)
        growth *= max(1.0, float(np.linalg.norm(W)))
        inputs = leaky(slopes)(z)
    return least


def same_pieces(a: Net, b: Net, x: np.ndarray, slopes: tuple[float, float]) -> bool:
    """Whether every unit is in the same piece at every data point."""
    first = preactivations(a, x, leaky(slopes))[:-1]
    second = preactivations(b, x, leaky(slopes))[:-1]
    return all(((p > 0) == (r > 0)).all() for p, r in zip(first, second, strict=True))


def _minima(rng: np.random.Generator, choices: tuple[tuple[int, ...], ...]) -> Iterator[Batch]:
    for _ in range(BATCHES):
        fit, slope = draw_fit(rng), float(rng.choice(SLOPES))
        slopes, widths = (slope, 1.0), choices[rng.integers(len(choices))]
        nets = [affine_net(rng, fit.x, fit.A, widths, slopes) for _ in range(POINTS)]
        points, near = at_and_near(
            rng,
            np.stack([net.flat() for net in nets]),
            np.array([BESIDE * clearance(net, fit.x, slopes) for net in nets]),
        )
        inside = [
            same_pieces(net, unflat(point, fit.x.shape[1], widths), fit.x, slopes)
            for net, point in zip(nets + nets, points, strict=True)
        ]
        clear = np.array(inside) & (np.abs(points).max(axis=1) < LARGEST)
        objective = objective_for(fit, widths, slope)
        yield Batch(objective, MINIMUM, points, near, clear, value=fit.value)


def shallow_minima(rng: np.random.Generator) -> Iterator[Batch]:
    """[C] Lemma 3: one hidden layer."""
    return _minima(rng, SHALLOW)


def deep_minima(rng: np.random.Generator) -> Iterator[Batch]:
    """[C] Lemma 4: more layers."""
    return _minima(rng, DEEP)


def better_points(rng: np.random.Generator) -> Iterator[Batch]:
    """[C] Thms 3 and 4: a lower point, which shows that the minimum is spurious."""
    for choices in (SHALLOW[1:], SHALLOW[1:], DEEP):
        slope, widths = float(rng.choice(SLOPES)), choices[rng.integers(len(choices))]
        fit = draw_fit(rng)
        found = [better_net(rng, fit, widths, Kink.at_zero(slope, 1.0)) for _ in range(BETTER)]
        nets = [net for net in found if net is not None]
        if nets:
            flat = np.stack([net.flat() for net in nets])
            points, near = at_and_near(rng, flat, 1e-6)
            objective = objective_for(fit, widths, slope)
            yield _falling(objective, points, near)


def pushed(rng: np.random.Generator) -> Iterator[Batch]:
    """Affine minima with one unit's bias moved across the kink of one data point."""
    for _ in range(BATCHES):
        fit, slope = draw_fit(rng), float(rng.choice(SLOPES))
        slopes, widths = (slope, 1.0), SHALLOW[rng.integers(len(SHALLOW))]
        nets = [affine_net(rng, fit.x, fit.A, widths, slopes) for _ in range(POINTS)]
        flat = np.stack([_push(rng, net, fit, slopes).flat() for net in nets])
        points, near = at_and_near(rng, flat, 1e-7)
        yield _falling(objective_for(fit, widths, slope), points, near)


def _push(rng: np.random.Generator, net: Net, fit: BestFit, slopes: tuple[float, float]) -> Net:
    """The bias of a unit that matters moves to half way between its nearest two data points."""
    (W, b), *_ = net.hidden
    alive = np.flatnonzero((net.v[0] != 0) & ((b > 0) | (slopes[0] != 0)))
    j = int(rng.choice(alive)) if len(alive) else 0
    z = np.sort((fit.x @ W.T + b)[:, j])
    between = z[:2].mean() if z[0] > 0 else z[-2:].mean()
    b = b.copy()
    b[j] -= between
    # What the shift does to the constant in the unit's old piece is taken back.
    tilt = slopes[1] if z[0] > 0 else slopes[0]
    moved = Net([(W, b), *net.hidden[1:]], net.v, net.c + net.v[0, j] * tilt * between)
    return moved if objective_of(fit, moved, leaky(slopes)) > 0 else net


def _falling(objective: Objective, points: np.ndarray, near: np.ndarray) -> Batch:
    """Points that are not stationary: their gradient is far above rounding, by measurement."""
    measures = objective.measure(points)
    steep = measures.grad_norm > 1e-4 * np.maximum(1.0, measures.objective)
    keep = np.flatnonzero(steep)
    return Batch(objective, DESCENT, points[keep], near[keep], np.ones(len(keep), dtype=bool))


def with_exponential(rng: np.random.Generator) -> Iterator[Batch]:
    """Affine minima with the exponential neuron at a = 0, at a generic w and at w = 0."""
    for _ in range(BATCHES):
        fit, slope = draw_fit(rng), float(rng.choice(SLOPES))
        slopes, widths = (slope, 1.0), SHALLOW[rng.integers(len(SHALLOW))]
        nets = [affine_net(rng, fit.x, fit.A, widths, slopes) for _ in range(POINTS)]
        flat = np.stack([net.flat() for net in nets])
        w = rng.normal(size=(POINTS, fit.x.shape[1]))
        w[::3] = 0.0
        b = rng.normal(size=(POINTS, 1))
        base = np.hstack([flat, np.zeros((POINTS, 1)), w, b])
        beside = np.array([BESIDE * clearance(net, fit.x, slopes) for net in nets])
        points, near = at_and_near(rng, base, beside)
        objective = objective_for(fit, widths, slope, ExpSkip())
        lam = np.full((len(points), 1), float(rng.choice([0.01, 0.1, 1.0])))
        clear = np.abs(points).max(axis=1) < LARGEST
        yield Batch(objective, NO_BAD_MINIMUM, points, near, clear, lam)


def linear_networks(rng: np.random.Generator) -> Iterator[Batch]:
    """Linear networks: the affine optimum in many forms, random points, and θ = 0 but for c."""
    for choices in (SHALLOW, DEEP):
        fit, widths = draw_fit(rng), choices[rng.integers(len(choices))]
        nets = [affine_net(rng, fit.x, fit.A, widths, (1.0, 1.0)) for _ in range(POINTS)]
        optimal = np.stack([net.flat() for net in nets])
        anywhere = rng.normal(size=optimal.shape) / 2
        zero = np.zeros((1, optimal.shape[1]))
        zero[0, -1] = rng.normal()
        points, near = at_and_near(rng, np.vstack([optimal, anywhere, zero]), 1e-3)
        clear = np.abs(points).max(axis=1) < LARGEST
        objective = objective_for(fit, widths, 1.0)
        yield Batch(objective, LINEAR, points, near, clear, value=fit.value)


FAMILIES = (
    Family("affine, one layer", "[C] Lemma 3: all units in one piece", shallow_minima),
    Family("affine, deep", "[C] Lemma 4", deep_minima),
    Family("better point", "[C] Thms 3, 4: lower than the affine minimum", better_points),
    Family("pushed over a kink", "an affine minimum, one bias moved too far", pushed),
    Family("exp neuron added", "an affine minimum, a = 0, λ > 0", with_exponential),
    Family("linear network", "no spurious minimum at all", linear_networks),
)
