"""Directions in which a unit saturates: every preactivation moves away from zero, or rests.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, n    data points, input dimension + 1
x̃       data with a last column of ones                            (N, n)
z       the unit's preactivations                                  (N,)
d       how its (w, b) moves                                       (n,)
======  =========================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

# Preactivations below these count as tied; the first gives the unit's own direction.
TIES = (0.0, 0.5, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, eq=False)
class Way:
    """d, how fast each point moves (slowest 1), and which points (N,) are tied: they rest."""

    d: np.ndarray
    moves: np.ndarray
    tied: np.ndarray


def grown(X: np.ndarray, z: np.ndarray, own: np.ndarray, stops: Callable[[Way], int]) -> Way | None:
    """A way that nothing `stops`, with a few points tied, or these and those that stand in its way.

    `own` (n,) is the unit itself, `stops` says −1, or which point stands in the way, N if none.
    """
    tried: set[bytes] = set()
    for tie in TIES:
        tied = np.abs(z) <= tie
        while tied.sum() < X.shape[1] and tied.tobytes() not in tried:
            tried.add(tied.tobytes())
            way = _way(X, own, tied, z)
            if way is None:
                break
            worst = stops(way)
            if worst < 0:
                return way
            if worst == len(z):
                break
            tied = tied | (np.arange(len(z)) == worst)
    return None


def _way(X: np.ndarray, own: np.ndarray, tied: np.ndarray, z: np.ndarray) -> Way | None:
    """The unit's own way with the tied points left out of it; None if one would move to zero."""
    d = own
    if tied.any():
        basis, sizes, _ = np.linalg.svd(X[tied].T, full_matrices=False)
        # Tied points in special position have more than one direction; the generic case is enough.
        if sizes[-1] < 1e-8 * sizes[0]:
            return None
        d = own - basis @ (basis.T @ own)
    if tied.all():
        return None
    outward = np.where(z > 0, 1.0, -1.0)
    if not (outward * (X @ d) > 0)[~tied].all():
        found = _widest(X * outward[:, None], tied)
        if found is None:
            return None
        d = found
    moves = np.where(tied, 0.0, X @ d)
    slowest = np.abs(moves[~tied]).min()
    # A move that is all rounding has no sign.
    if slowest < 1e-9 * np.linalg.norm(d) * np.abs(X).max():
        return None
    return Way(d / slowest, moves / slowest, tied)


def _widest(signed: np.ndarray, tied: np.ndarray) -> np.ndarray | None:
    """The d in the unit box that moves the slowest free point outward fastest; tied ones rest."""
    n, free = signed.shape[1], ~tied
    # Unknowns (d, s): maximise s with s ≤ ±x̃ᵢ·d at free points.
    rows = np.column_stack([-signed[free], np.ones(free.sum())])
    rest = {}
    if tied.any():
        rest["A_eq"] = np.column_stack([signed[tied], np.zeros(tied.sum())])
        rest["b_eq"] = np.zeros(tied.sum())
    cost = np.append(np.zeros(n), -1.0)
    bounds = [(-1.0, 1.0)] * n + [(None, None)]
    found = linprog(cost, A_ub=rows, b_ub=np.zeros(free.sum()), bounds=bounds, **rest)
    if found.status != 0 or not found.x[-1] > 0:
        return None
    d = np.asarray(found.x[:n])
    # The solver keeps tied points only to its tolerance of 1e-7.
    if tied.any():
        basis = np.linalg.svd(signed[tied].T, full_matrices=False)[0]
        d = d - basis @ (basis.T @ d)
    return d if (signed[free] @ d > 0).all() else None
