"""Whether inactive neurons may stay so: max over unit u of |Σᵢ qᵢ σ(u·x̃ᵢ)| against a level.

Symbols as in `sweep.judge.coercive.sphere`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.kernels import Task
from sweep.judge.coercive.sphere import ABOVE, BELOW, climb, on_direction, search
from sweep.judge.numerics.proven_eigen import positive_definite
from sweep.judge.numerics.spectra import eigen

# Cones for each sign: some thousands are usual for n = 5, and 2·10⁵ take half a second.
BUDGET = 200_000
# Room for rounding, relative to level + Σ|qᵢ|‖x̃ᵢ‖²: the sums have N terms and every direction and
# pivot some ten roundings more, so that 1e-14 would do for hundreds of points.
ROUNDING = 1e-11
CLIMBS = 50
# The first 2ⁿ cones of the search are its cost: in more dimensions only the quick bound is tried.
MOST_DIMENSIONS = 10


@dataclass(frozen=True, eq=False)
class Sphere:
    """What is known of the maximum: `below` the level for certain, or `u` (n,) with sign ±1 above.

    `value` is Σᵢ qᵢ σ(u·x̃ᵢ) there. Neither, if the search gave up.
    """

    below: bool
    u: np.ndarray | None = None
    sign: float = 0.0
    value: float = 0.0


def room(q: np.ndarray, X: np.ndarray, level: float) -> float:
    """What the level must be lowered by so that rounding cannot spoil the proof."""
    return ROUNDING * (level + float(np.abs(q) @ (X**2).sum(axis=1)))


def against(q: np.ndarray, task: Task, level: float) -> Sphere:
    """The maximum over the sphere for q (N,), as computed, against the level."""
    level = level - room(q, task.X, level)
    if not (np.isfinite(q).all() and level > 0):
        return Sphere(False)
    return _by_cones(q, task.X, level) if task.rectified else _by_spectrum(q, task.X, level)


def _by_cones(q: np.ndarray, X: np.ndarray, level: float) -> Sphere:
    n = X.shape[1]
    for sign in (1.0, -1.0):
        # Terms with q > 0 alone, on all of the sphere: enough where few points are left to serve.
        M = (X.T * np.maximum(sign * q, 0)) @ X
        if positive_definite(level * np.eye(n) - M) > -np.inf:
            continue
        u = _steepest(sign * q, X)
        if sign * on_direction(u, q, X, True) >= level:
            return Sphere(False, u, sign, on_direction(u, q, X, True))
        if n > MOST_DIMENSIONS:
            return Sphere(False)
        ended, u, _ = search(sign * q, X, level, BUDGET, np.zeros((0, len(q)), dtype=bool), level)
        if ended == ABOVE:
            u = climb(u, sign * q, X, CLIMBS)
            return Sphere(False, u, sign, on_direction(u, q, X, True))
        if ended != BELOW:
            return Sphere(False)
    return Sphere(True)


def _steepest(q: np.ndarray, X: np.ndarray) -> np.ndarray:
    """A direction u (n,) of large Σᵢ qᵢ ReQU(u·x̃ᵢ), uphill of the best towards a data point."""
    towards = X / np.linalg.norm(X, axis=1, keepdims=True)
    heights = np.maximum(towards @ X.T, 0) ** 2 @ q
    return np.asarray(climb(np.ascontiguousarray(towards[heights.argmax()]), q, X, CLIMBS))


def _by_spectrum(q: np.ndarray, X: np.ndarray, level: float) -> Sphere:
    """Σᵢ qᵢ(u·x̃ᵢ)² = uᵀQu: its extremes are eigenvalues."""
    Q = X.T @ (q[:, None] * X)
    for sign in (1.0, -1.0):
        if positive_definite(level * np.eye(len(Q)) - sign * Q) == -np.inf:
            _, basis = eigen(sign * Q)
            u = np.ascontiguousarray(basis[:, -1])
            value = on_direction(u, q, X, False)
            return Sphere(False, u, sign, value) if sign * value > level else Sphere(False)
    return Sphere(True)
