"""A way down from a concave kink: where the first-order test is no least squares.

At v_j = 0 every point is on the unit's kink, and those with κ_i = q_i s_j (s₊−s₋) < 0 are concave:
the derivative D(δ) = g·δ + Σ_i κ_i relu(δ·x̃_i) may be negative although it is not along −g.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
δ       direction of one unit's v                             (n,)
g       the unit's gradient with its kinks on the lower side  (n,)
κ       convexity of its kinks, 0 for points not on one       (N,)
D       one-sided derivative of F                             scalar
======  ====================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.kinks.search import Task
from sweep.judge.kinks.step import Seen
from sweep.kernels.compiled import compiled

# Steps of length 1/2, 1/3, … on the unit sphere. Measured on 300 random corners: one in a hundred
# ways down is missed.
ROUNDS = 24


@compiled
def kinks_of(
    seen: Seen, j: int, at: np.ndarray, task: Task, g: np.ndarray, kappa: np.ndarray
) -> float:
    """Write g and κ of unit j with the points `at` its kink; the least κ."""
    least = 0.0
    for i in range(at.size):
        kappa[i] = 0.0
        up = seen.Z[j, i] > 0.0 and not at[i]
        part = seen.q[i] * task.s[j] * (task.hi if up else task.lo)
        for k in range(g.size):
            g[k] += part * task.X[i, k]
        if at[i]:
            kappa[i] = seen.q[i] * task.s[j] * (task.hi - task.lo)
            least = min(least, kappa[i])
    return least


@compiled
def derivative(
    delta: np.ndarray, g: np.ndarray, kappa: np.ndarray, X: np.ndarray, down: np.ndarray
) -> float:
    """D(δ)/‖δ‖; `down` receives the negative gradient of D in the cone of δ."""
    total, length = 0.0, 0.0
    for k in range(g.size):
        down[k] = -g[k]
        length += delta[k] ** 2
    for i in range(kappa.size):
        if kappa[i] != 0.0:
            z = 0.0
            for k in range(g.size):
                z += delta[k] * X[i, k]
            if z > 0.0:
                for k in range(g.size):
                    down[k] -= kappa[i] * X[i, k]
    for k in range(g.size):
        total -= down[k] * delta[k]
    return total / math.sqrt(length + 1e-300)


@compiled
def turn(delta: np.ndarray, down: np.ndarray, length: float) -> None:
    """Take δ to δ/‖δ‖ + length·down/‖down‖, in place."""
    a, b = 1e-300, 1e-300
    for k in range(delta.size):
        a += delta[k] ** 2
        b += down[k] ** 2
    a, b = math.sqrt(a), math.sqrt(b)
    for k in range(delta.size):
        delta[k] = delta[k] / a + length * down[k] / b


@compiled
def corner_direction(seen: Seen, j: int, at: np.ndarray, task: Task) -> tuple[np.ndarray, float]:
    """(δ (n,), D(δ)/‖δ‖) of the steepest way found for unit j; D = 0 if none is found.

    Subgradient steps of falling length on the sphere, from both sides of each concave kink.
    Finding nothing proves nothing: that is for the certificate.
    """
    n = task.X.shape[1]
    g, kappa, down = np.zeros(n), np.zeros(at.size), np.zeros(n)
    best, delta, lowest = np.zeros(n), np.zeros(n), 0.0
    if kinks_of(seen, j, at, task, g, kappa) >= 0.0:
        return best, lowest
    for start in range(2 * at.size):
        i = start // 2
        if kappa[i] >= 0.0:
            continue
        side = 1.0 if start % 2 == 0 else -1.0
        for k in range(n):
            delta[k] = side * task.X[i, k]
        for k in range(ROUNDS):
            value = derivative(delta, g, kappa, task.X, down)
            if value < lowest:
                lowest = value
                best[:] = delta
            turn(delta, down, 1.0 / (2.0 + k))
    return best, lowest
