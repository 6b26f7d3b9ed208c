"""Whether all held places vanish wherever a few of them do: counted exactly, modulo a prime.

On a face M held windows may depend on each other: those of points that share numbers, at the ends
of a layer, above a place that is held itself. That is no rounding, but an identity in the filters.
The windows w of a layer are polynomials in the filters below (held places hand on zeros). What
minors of them vanish at a random point of a set that is traced by rational functions, vanish on all
of it. Such a set, with M in it near p*, is drawn from layer by layer: v_k at right angles to the
held windows if those of the basis are independent at p* and span the others, as then they do so
near p* too; and any v_k if not. With w_b the windows of the basis in a layer,

1. if they are independent at p*, and the rank of all held windows of the layer is their number, all
   these are sums of them;
2. if not, but each w_b ≠ 0 at p* and each held window is parallel to one of them, it is a multiple
   of that one.

Either way, held places vanish near p* where those of the basis do. The point is drawn in the field
of residues, where float64 numbers have exact counterparts, as in
`sweep.judge.numerics.exact_rank`: a minor that does not vanish identically is zero there with a
chance of some 1e-8. (The data's own residues are what they are: a minor of them that the prime
divides by chance, one in some 1e9, is not told.)
"""

from __future__ import annotations

import numpy as np

from sweep.judge.convolution.stack_plain import Stacked, StackFace
from sweep.judge.numerics.exact_rank import PRIME, inverse, rank_of, residues
from sweep.seeds import stream


def vanish_together(
    plain: Stacked,
    face: StackFace,
    basis: tuple[tuple[np.ndarray, np.ndarray], ...],
    apart: list[bool],
) -> bool:
    """Whether all held places vanish where those of the basis do; `apart`: case 1, not 2."""
    h, rng = residues(plain.x), stream("judge", "random filters", plain.n_filters)
    for slope, chosen, independent in zip(face.slopes, basis, apart, strict=True):
        w = _windows(h, plain.length)
        held, v = w[slope == 0], rng.integers(1, PRIME, size=plain.length)
        if independent:
            rows, pivots = reduced(held)
            if len(pivots) != len(chosen[0]):
                return False
            # Rows are of the form v[pivot] + Σ row·v[free] = 0.
            v[pivots] = 0
            v[pivots] = -_products(rows, v).sum(axis=1) % PRIME
        elif not all(_parallel(row, w[chosen]) for row in np.unique(held, axis=0)):
            return False
        h = _products(w, v).sum(axis=2) % PRIME * residues(slope) % PRIME
    return True


def _parallel(row: np.ndarray, others: np.ndarray) -> bool:
    """Whether a row (s,) of residues is a multiple of one of the others (r, s)."""
    return any(rank_of(np.ascontiguousarray(np.stack([other, row]))) <= 1 for other in others)


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
