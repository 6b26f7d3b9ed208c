"""The first-order test of one unit whose kinks are not all convex, or not independent.

D(δ) = g·δ + Σ_i κ_i relu(δ·x̃_i) is linear on the cones into which the hyperplanes δ·x̃_i = 0 cut
space, so D ≥ 0 everywhere iff D ≥ 0 on their extreme rays (and g vanishes where no x̃_i looks). With
convex kinks only, D ≥ 0 iff −g = Σ τ_i κ_i x̃_i for some τ in [0, 1]; when the x̃_i are dependent
there are many such τ, and a linear program finds the one furthest from 0 and 1.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
δ       direction of one unit's v                             (n,)
g       the unit's gradient with its kinks on the lower side  (n,)
κ, x̃    convexity and place of the kinks, κ ≠ 0               (M,), (M, n)
======  ====================================================  ==========
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linprog

from sweep.judge.numerics.exact_rank import exact_rank

# All extreme rays are looked at, up to so many: some 0.1 s.
MAX_RAYS = 20_000
# Rows whose least singular value is below this share of the largest count as dependent: data that
# are distinct in float64 but not in any meaningful sense.
DEPENDENT = 1e-9
# Kinks fainter than this beside the strongest one are not told from rounding with certainty.
FAINT = 1e-6


def least_derivative(
    g: np.ndarray, kappa: np.ndarray, points: np.ndarray, tolerance: float
) -> float | None:
    """The least D(δ)/‖δ‖ over the extreme rays on which D is not identically zero.

    None if there are too many rays, if g does not vanish where no kink looks (up to `tolerance`),
    or if some kinks are so faint that their rays look like idle ones.
    """
    strongest = np.abs(kappa).max()
    if not (np.isfinite(g).all() and np.isfinite(strongest)):
        return None
    if np.abs(kappa).min() < FAINT * strongest:
        return None
    _, sizes, rows = np.linalg.svd(points, full_matrices=False)
    span = rows[sizes > DEPENDENT * sizes[0]] if sizes.size else rows[:0]
    if np.linalg.norm(g - span.T @ (span @ g)) > tolerance:
        return None
    rank = len(span)
    # A direction in which the points hardly vary is still one in which F may fall.
    if exact_rank(points) != rank:
        return None
    if rank == 0 or comb(len(points), rank - 1) > MAX_RAYS:
        return None if rank else np.inf
    inside, down = points @ span.T, span @ g
    rays = np.array([[1.0]]) if rank == 1 else _normals(inside, rank)
    rays = np.vstack([rays, -rays])
    bent = np.maximum(rays @ inside.T, 0.0)
    values = rays @ down + bent @ kappa
    size = np.abs(rays @ down) + bent @ np.abs(kappa)
    # A ray rounds by 1e-16: points on its own hyperplanes look this faint, others do not.
    felt = size > FAINT * FAINT * (np.abs(kappa) @ np.linalg.norm(points, axis=1))
    return float(values[felt].min()) if felt.any() else np.inf


def _normals(points: np.ndarray, rank: int) -> np.ndarray:
    """Unit vectors orthogonal to each choice of rank − 1 independent rows of `points`."""
    picks = points[np.array(list(combinations(range(len(points)), rank - 1)))]
    _, sizes, rows = np.linalg.svd(picks)
    return np.asarray(rows[sizes[:, -1] > DEPENDENT * sizes[:, 0], -1])


def inner_multipliers(g: np.ndarray, kappa: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """τ (M,) with −g = Σ τ_i κ_i x̃_i that stays furthest from 0 and 1; None if there is none."""
    M, n = points.shape
    A = (kappa[:, None] * points).T
    size = max(float(np.abs(A).max()), 1e-300)
    if not (np.isfinite(g / size).all() and np.isfinite(size)):
        return None
    found = linprog(
        np.append(np.zeros(M), -1.0),
        A_ub=np.vstack([np.c_[-np.eye(M), np.ones(M)], np.c_[np.eye(M), np.ones(M)]]),
        b_ub=np.append(np.zeros(M), np.ones(M)),
        A_eq=np.c_[A / size, np.zeros(n)],
        b_eq=-g / size,
        bounds=[(0, 1)] * M + [(0, 0.5)],
    )
    return np.asarray(found.x[:M]) if found.status == 0 else None
