"""Compiled: trust-region Newton on the exact Hessian, one member at a time, never uphill.

Symbols as in `sweep.judge.smooth.kernels`; Δ is the trust radius, μ the multiplier of its ball.
The chart coordinate η of a `TAIL` unit stays ≥ 0: while it rests at 0 and F would only fall
beyond, it is frozen.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.numerics.kernel_losses import SQUARED
from sweep.judge.numerics.spectra import eigen_kernel
from sweep.judge.smooth.kernels import (
    BARE,
    LARGEST,
    PLAIN,
    TAIL,
    Task,
    differentiate,
    outputs,
    total,
)
from sweep.kernels.compiled import compiled

# How a polish ends.
BUDGET, SEPARATED, STATIONARY, STALLED = 0, 1, 2, 3
EPS = 2.0**-52
# Below this share of F a difference of two computed F says nothing (sums of some hundred terms).
NOISE = 64 * EPS
# ‖∇F‖ at this many units of its own rounding is as good as zero.
FLOOR = 2.0 * EPS
# Directions of curvature above these shares of the largest are resolved by Newton even where F is
# all noise, and the flat rest is left alone; below the last a curvature is rounding itself.
STIFF = (1e-7, 1e-10, 1e-13)
# η below this (E ≤ 1 everywhere) and pushed down is taken to 0 in one step.
NEAR = 1e-9
# The radius may grow to this share of 1 + ‖θ‖: larger steps were seen to change the basin.
WIDEST = 0.5


@compiled
def trust_step(values: np.ndarray, g: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """Argmin of g·d + d·diag(values)·d/2 over ‖d‖ ≤ radius, and the model's decrease ≥ 0.

    `values` ascend; everything is in the eigenbasis of the Hessian.
    """
    P = len(g)
    d = np.zeros(P)
    low = max(0.0, -values[0])
    tiny = 1e-300 + 1e-18 * max(abs(values[0]), abs(values[P - 1]))
    length = 0.0
    for k in range(P):
        d[k] = -g[k] / max(values[k] + low, tiny) if g[k] != 0.0 else 0.0
        length += d[k] * d[k]
    length = math.sqrt(length)
    if length > radius:
        most = math.sqrt((g * g).sum()) / radius
        down, up = low, low + most
        for _ in range(60):
            mu = 0.5 * (down + up)
            length = 0.0
            for k in range(P):
                length += (g[k] / max(values[k] + mu, tiny)) ** 2
            if math.sqrt(length) > radius:
                down = mu
            else:
                up = mu
        for k in range(P):
            d[k] = -g[k] / max(values[k] + up, tiny)
    elif low > 0.0:
        # The hard case: fill the ball along the direction of most negative curvature.
        rest = math.sqrt(max(0.0, radius * radius - length * length + d[0] * d[0]))
        d[0] = -rest if g[0] > 0.0 else rest
    gain = 0.0
    for k in range(P):
        gain -= d[k] * (g[k] + 0.5 * values[k] * d[k])
    return d, gain


@compiled
def recentre(theta: np.ndarray, X: np.ndarray, kinds: np.ndarray, shifts: np.ndarray) -> None:
    """Make every chart unit's largest exponent zero, in place; κ and η are rescaled to fit."""
    N, n = X.shape
    for j in range(len(kinds)):
        if kinds[j] == PLAIN:
            continue
        at = j * (n + 1)
        top = -np.inf
        for i in range(N):
            z = 0.0
            for k in range(n - 1):
                z += theta[at + 1 + k] * X[i, k]
            top = max(top, z)
        factor = math.exp(min(max(top - shifts[j], -LARGEST), LARGEST))
        theta[at] *= factor
        theta[at + n] *= factor
        shifts[j] = top


@compiled
def separated(f: np.ndarray, y: np.ndarray) -> bool:
    """Whether every point is on its side."""
    return bool((y * f > 0.0).all())


@compiled
def freeze(
    theta: np.ndarray, g: np.ndarray, hess: np.ndarray, size: np.ndarray, kinds: np.ndarray, n: int
) -> None:
    """Take out of the step what rests: η of bare units, η near 0 and pushed there."""
    for j in range(len(kinds)):
        at = j * (n + 1) + n
        if kinds[j] == BARE or (kinds[j] == TAIL and theta[at] <= NEAR and g[at] >= 0.0):
            g[at] = 0.0
            size[at] = 0.0
            hess[at, :] = 0.0
            hess[:, at] = 0.0
            # Any positive number keeps the coordinate out of the spectrum's two ends.
            hess[at, at] = max(1.0, hess[0, 0])


@compiled
def project(trial: np.ndarray, theta: np.ndarray, g: np.ndarray, task: Task) -> None:
    """Move every η < 0 of a trial point to 0, and the η that rests near 0 at `theta`.

    A bare unit has none, but a step from an eigenbasis rounds into its place too.
    """
    n = task.X.shape[1]
    for j in range(len(task.kinds)):
        at = j * (n + 1) + n
        if task.kinds[j] == BARE:
            trial[at] = 0.0
        if task.kinds[j] == TAIL and (trial[at] < 0.0 or (theta[at] <= NEAR and g[at] == 0.0)):
            trial[at] = 0.0


@compiled
def stiff_step(values: np.ndarray, g: np.ndarray, share: float) -> np.ndarray:
    """The Newton step within the directions of curvature above that share of the largest."""
    d = np.zeros(len(g))
    for k in range(len(g)):
        if values[k] > share * values[-1]:
            d[k] = -g[k] / values[k]
    return d


@compiled
def steadied(
    theta: np.ndarray, d: np.ndarray, shifts: np.ndarray, task: Task, F: float, slope: float
) -> tuple[bool, np.ndarray]:
    """Whether at θ + d the gradient is clearly below `slope`, F no higher but for noise; θ + d."""
    trial = theta + d
    project(trial, theta, np.ones(len(theta)), task)
    reached, g, hess, size = differentiate(trial, shifts, task)
    freeze(trial, g, hess, size, task.kinds, task.X.shape[1])
    falls = math.sqrt((g * g).sum()) < 0.9 * slope
    return falls and reached <= F + NOISE * F, trial


@compiled
def newton_member(
    start: np.ndarray, shifts: np.ndarray, task: Task, budget: int, radius: float
) -> tuple[np.ndarray, np.ndarray, float, float, float, int, int]:
    """θ, the shifts m, F, ‖∇F‖ and λ_min(∇²F) over the free coordinates, how it ended, steps.

    `radius` is the first trust radius. Without decay a monotone loss's data that the outputs
    separate end the polish (`SEPARATED`): nothing but scaling is left to do.
    """
    X, kinds = task.X, task.kinds
    n = X.shape[1]
    theta, shifts = start.copy(), shifts.copy()
    status, steps = BUDGET, 0
    monotone = task.loss != SQUARED and not task.decays.any()
    recentre(theta, X, kinds, shifts)
    F, g, hess, size = differentiate(theta, shifts, task)
    least = np.nan
    for steps in range(budget + 1):
        freeze(theta, g, hess, size, kinds, n)
        slope = math.sqrt((g * g).sum())
        if monotone and separated(outputs(theta, shifts, task), task.y):
            status = SEPARATED
            break
        values, basis = eigen_kernel(hess)
        least = values[0]
        if not math.isfinite(slope + least):
            status = STALLED
            break
        flat = slope <= FLOOR * math.sqrt((size * size).sum())
        if flat and values[0] >= -NOISE * abs(values[-1]):
            status = STATIONARY
            break
        if steps == budget:
            break
        turned = basis.T @ g
        moved = False
        for _ in range(40):
            d, gain = trust_step(values, turned, radius)
            trial = theta + basis @ d
            project(trial, theta, g, task)
            reached = total(trial, outputs(trial, shifts, task), task)
            if gain <= NOISE * F:
                # F no longer tells: go on only while the gradient falls.
                moved, trial = steadied(theta, basis @ d, shifts, task, F, slope)
                for share in STIFF:
                    if not moved:
                        steep = basis @ stiff_step(values, turned, share)
                        moved, trial = steadied(theta, steep, shifts, task, F, slope)
            elif reached < F and F - reached >= 1e-4 * gain:
                moved = True
            if moved:
                break
            radius = 0.25 * min(radius, math.sqrt((d * d).sum()))
            if radius < 1e-16:
                break
        if not moved:
            # As good as flat: the last Newton step only stirs the rounding.
            status = STATIONARY if slope <= 32 * FLOOR * math.sqrt((size * size).sum()) else STALLED
            break
        if F - reached > 0.5 * gain and math.sqrt((d * d).sum()) > 0.9 * radius:
            radius = min(2.0 * radius, WIDEST * (1.0 + math.sqrt((trial * trial).sum())))
        theta = trial
        recentre(theta, X, kinds, shifts)
        F, g, hess, size = differentiate(theta, shifts, task)
    for j in range(len(kinds)):
        at = j * (n + 1) + n
        if kinds[j] == TAIL and theta[at] <= NEAR and g[at] == 0.0:
            theta[at] = 0.0
    return theta, shifts, F, math.sqrt((g * g).sum()), least, status, steps
