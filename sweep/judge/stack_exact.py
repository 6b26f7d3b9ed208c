"""Whether all held places vanish wherever a few of them do: counted exactly, modulo a prime.

On a face M held windows may depend on each other: those of points that share numbers, at the ends
of a layer, above a place that is held itself. That is no rounding, but an identity in the filters,
and it holds at all points of M if it does at a random one: M is traced by v_1 in a subspace, v_2 at
right angles to windows that are polynomials in v_1, and so on, so that every minor of the windows
is a rational function on M. Here such a point is drawn in the field of residues, where float64
numbers have exact counterparts, as in `sweep.judge.exact_rank`; the rank of the windows there is
that at almost all points of M, less with a chance of some 1e-8.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.exact_rank import PRIME, inverse, residues
from sweep.judge.stack_plain import Stacked, StackFace
from sweep.seeds import stream


def ranks(plain: Stacked, face: StackFace) -> list[int] | None:
    """Ranks of the held windows at a random point of M, layer by layer; None if some v_k is 0."""
    h, found, rng = residues(plain.x), [], stream("judge", "random filters", plain.n_filters)
    for slope in face.slopes:
        w = _windows(h, plain.length)
        rows, pivots = reduced(w[slope == 0])
        found.append(len(pivots))
        if len(pivots) == plain.length:
            return None
        v = rng.integers(1, PRIME, size=plain.length)
        # Rows are of the form v[pivot] + Σ row·v[free] = 0.
        v[pivots] = 0
        v[pivots] = -_products(rows, v).sum(axis=1) % PRIME
        z = _products(w, v).sum(axis=2) % PRIME
        h = z * residues(slope) % PRIME
    return found


def _windows(h: np.ndarray, length: int) -> np.ndarray:
    wider = np.pad(h, ((0, 0), (length - 1, length - 1)))
    return np.lib.stride_tricks.sliding_window_view(wider, length, axis=1)


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of residues, broadcast: each below 2³¹, so that thousands can be added up."""
    return np.asarray(a * b % PRIME)


def reduced(rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Rows of residues (m, n) in reduced echelon form (r, n), and the columns of their pivots."""
    kept: list[np.ndarray] = []
    pivots: list[int] = []
    for row in np.unique(rows, axis=0):
        left = row.copy()
        for own, pivot in zip(kept, pivots, strict=True):
            left = (left - left[pivot] * own) % PRIME
        if not left.any():
            continue
        pivot = int(np.flatnonzero(left)[0])
        left = left * inverse(int(left[pivot])) % PRIME
        kept = [(own - own[pivot] * left) % PRIME for own in kept]
        kept.append(left)
        pivots.append(pivot)
    return np.array(kept, dtype=np.int64).reshape(len(kept), rows.shape[1]), pivots
