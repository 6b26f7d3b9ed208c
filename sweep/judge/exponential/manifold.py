"""F on the manifold of the held kinks, around a finite place of the limit problem.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
M       free base coordinates: per unit along its held kinks, c
k       of them those that the misfit points see                   p (k,)
x       (p, ω), all coordinates                                    (k+n,)
others  as in `sweep.judge.exponential.limit`
======  =========================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.exponential.limit import Limit
from sweep.judge.exponential.neuron import FLAT, MAX_EXPONENT
from sweep.judge.numerics.exact_rank import exact_rank, rank_on_manifold
from sweep.judge.numerics.kernel_losses import loss_rows
from sweep.judge.numerics.roundoff import UNIT

# Singular values are nothing below this share of the largest and something above GAP; a value in
# between leaves the rank open.
NOTHING, GAP = 1e-11, 1e-7


class Manifold:
    """F on the manifold of the held kinks around one place, in EXP coordinates."""

    def __init__(self, limit: Limit) -> None:
        setting, place = limit.setting, limit.place
        self.setting, self.s, self.sigma = setting, limit.start.s, limit.start.sigma
        self.on = limit.on
        self.V, self.c, self.omega = place.V.copy(), place.c, place.omega.copy()
        if place.chart == FLAT:
            self.omega = np.append(place.omega[:-1] * place.eps, -np.log(abs(place.eps)))
            self.c = place.c - 1 / place.eps
        Z = self.V @ setting.X.T
        self.slope = np.where(Z > 0, setting.slopes[1], setting.slopes[0]) * self.s[:, None]
        self.rows = self._rows()
        self.evaluate()
        if not self.misfit.any():
            self.clear, self.W = False, self.rows[:0].T
            return
        seen = self.rows[self.misfit]
        _, sizes, W = np.linalg.svd(seen, full_matrices=False)
        self.clear = bool(((sizes < NOTHING * sizes[0]) | (sizes > GAP * sizes[0])).all())
        self.W = W[sizes > GAP * sizes[0]].T
        self.clear = self.clear and self._counted(self.W.shape[1])

    def _counted(self, rank: int) -> bool:
        """Whether the ranks taken from singular values are the exact ones."""
        held = [self.setting.X[on] for on in self.on]
        for rows, frame in zip(held, self.frames, strict=True):
            if exact_rank(rows) != len(frame) - frame.shape[1]:
                return False
        slopes, X = self.slope[:, self.misfit] * self.s[:, None], self.setting.X[self.misfit]
        return rank == len(X) or rank_on_manifold(slopes, held, X, []) == rank

    def _rows(self) -> np.ndarray:
        """∂f_i/∂(base coordinates), (N, M): per unit its free directions, then c."""
        X = self.setting.X
        self.frames = [_free(X[held]) for held in self.on]
        parts = [
            np.where(self.on[j], 0.0, self.slope[j])[:, None] * (X @ frame)
            for j, frame in enumerate(self.frames)
        ]
        return np.hstack([*parts, np.ones((len(X), 1))])

    def evaluate(self) -> None:
        """Outputs and the loss's derivatives here; `doubt` (N,) is the rounding error of f."""
        setting = self.setting
        Z = np.where(self.on, 0.0, self.V @ setting.X.T)
        self.Z = Z
        self.added = self.sigma * np.exp(np.minimum(setting.centred @ self.omega, MAX_EXPONENT))
        self.f = (self.slope * Z).sum(axis=0) + self.c + self.added
        size = (np.abs(self.slope) * (np.abs(self.V) @ np.abs(setting.X.T))).sum(axis=0)
        size += abs(self.c) + np.abs(self.added) * (
            1 + np.abs(setting.centred) @ np.abs(self.omega)
        )
        self.doubt = (setting.X.shape[1] + len(self.V) + 8) * UNIT * size
        _, first, second = loss_rows(setting.code, setting.p, -setting.y * self.f)
        self.q, self.k = -setting.y * first, second
        self.misfit = first != 0

    def jacobian(self) -> np.ndarray:
        """∂f_i/∂x, (N, k+n)."""
        return np.hstack([self.rows @ self.W, self.added[:, None] * self.setting.centred])

    def hessian(self, J: np.ndarray) -> np.ndarray:
        """∂²F/∂x², (k+n, k+n)."""
        A = (J * self.k[:, None]).T @ J
        n = len(self.omega)
        x = self.setting.centred
        A[-n:, -n:] += (x * (self.q * self.added)[:, None]).T @ x
        return np.asarray(A)

    def step(self, dx: np.ndarray) -> None:
        """Move by dx in the coordinates x."""
        n = len(self.omega)
        base = self.W @ dx[:-n]
        at = 0
        for j, frame in enumerate(self.frames):
            self.V[j] += frame @ base[at : at + frame.shape[1]]
            at += frame.shape[1]
        self.c += base[-1]
        self.omega += dx[-n:]
        self.evaluate()


def _free(held: np.ndarray) -> np.ndarray:
    """Orthonormal directions (n, ·) that keep a unit on its held kinks, given their x̃."""
    if not len(held):
        return np.eye(held.shape[1])
    _, sizes, W = np.linalg.svd(held)
    return np.asarray(W[(sizes > GAP * sizes[0]).sum() :].T)
