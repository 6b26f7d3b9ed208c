"""Faces: where some units stay on kinks, known to within rounding.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, n    data points, input dimension + 1
H, P    hidden units, parameters
K       held pairs (j, i): w_j·x̃_i = 0                        (H, N)
X_j     rows x̃_i of the pairs that unit j holds               (m_j, n)
Y_j     X_j⁺                                                  (n, m_j)
M       the face {θ: w_j·x̃_i = 0 for all of K}, a linear subspace
π       the orthogonal projection onto M
θ0, p   a point as it is stored, and π(θ0)                    (P,)
======  ====================================================  ==========

Stored numbers meet w_j·x̃_i = 0 to their rounding only. So p is meant by a stored θ0, and by a
stored matrix of moves the one whose columns are projected; both differ from what is stored by at
most ‖X_j v‖/σ_min(X_j) in each unit, which is bounded here and goes into every ball.

On M a held pair adds nothing to any output, whatever its slope: there F is that of `FaceTask`,
which gives held pairs the slope 0, and is smooth as long as no other unit reaches a kink.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge.numerics.balls import Ball, contract
from sweep.judge.numerics.exact_rank import exact_rank, sure_rank
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import singular_values
from sweep.judge.outputs.gradient import LONG_UNIT, gradient
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.strict_kernels import ROOM

# Held rows whose least singular value is below this share of the largest count as dependent.
DEPENDENT = 1e-6
# Of a move of length 1 this much is left to what projecting it adds: √(1 − s²) and s.
SHARE = 1e-2


@dataclass(frozen=True, eq=False)
class FaceTask(OutputsTask):
    """The objective with a slope given to every pair; F itself where these are in force."""

    pattern: np.ndarray

    @classmethod
    def with_slopes(cls, task: OutputsTask, pattern: np.ndarray) -> FaceTask:
        """The same objective with slopes (H, N)."""
        known = (task.X, task.y, task.loss, task.width, task.activation, task.code, task.slopes)
        return cls(*known, pattern)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """The given ones."""
        return self.pattern


class Space:
    """All of θ-space: nothing is held, and numbers are what is stored."""

    @cached_property
    def off(self) -> float:
        """‖p − θ0‖ is at most this."""
        return 0.0

    def tangent(self, moves: np.ndarray) -> Ball:
        """What the moves (P, Q) stand for."""
        return Ball.exact(moves)

    def moves(self, found: Ball, r: float) -> np.ndarray:
        """Moves that hold p + `found`·w, ‖w‖ ≤ r, in the sense of `OutputsTask.second`."""
        return ROOM * r * found.mid

    def gradient(self, task: OutputsTask, theta: np.ndarray, bent: Ball) -> Ball:
        """∇F at p; `bent` holds the Hessians between θ0 and p."""
        return gradient(task, theta)


@dataclass(frozen=True, eq=False)
class Face(Space):
    """The face M with the point θ0; made by `face_of`."""

    task: OutputsTask
    theta: np.ndarray
    held: np.ndarray
    rows: tuple[np.ndarray, ...]
    inverses: tuple[np.ndarray, ...]
    least: np.ndarray

    @cached_property
    def units(self) -> list[int]:
        """Units that hold pairs."""
        return [j for j, rows in enumerate(self.rows) if len(rows)]

    @cached_property
    def count(self) -> int:
        """How many pairs are held: P − dim M."""
        return int(self.held.sum())

    def place(self, j: int) -> slice:
        """Where w_j stands in θ."""
        n, C = self.task.X.shape[1], self.task.y.shape[1]
        first = C * self.task.width + C + j * n
        return slice(first, first + n)

    @cached_property
    def basis(self) -> np.ndarray:
        """Orthonormal columns (P, dim M) that span M but for rounding."""
        P, columns = len(self.theta), []
        taken = np.zeros(P, dtype=bool)
        for j in self.units:
            block = np.zeros((P, len(self.inner[j].T)))
            block[self.place(j)] = self.inner[j]
            columns.append(block)
            taken[self.place(j)] = True
        return np.hstack([np.eye(P)[:, ~taken], *columns])

    @cached_property
    def inner(self) -> dict[int, np.ndarray]:
        """Orthonormal columns (n, n − m_j) of what unit j may do, but for rounding."""
        return {j: np.linalg.svd(self.rows[j])[2][len(self.rows[j]) :].T for j in self.units}

    def spanning(self, j: int, X: np.ndarray) -> np.ndarray | None:
        """Rows (·, n), independent on M, from which w_j·x̃ follows for all data X (·, n) there.

        None if it is unclear which do.
        """
        rows, inner = self.rows[j], self.inner[j]
        every = sure_rank(np.vstack([rows, X]))
        if every is None:
            return None
        rank = every - len(rows)
        if rank == len(inner.T):
            return np.ascontiguousarray(inner.T)
        # Pivoted Gram-Schmidt: those that stick out most.
        left, chosen = X @ inner, []
        for _ in range(rank):
            k = int(np.argmax(np.linalg.norm(left, axis=1)))
            way = left[k] / max(float(np.linalg.norm(left[k])), 1e-300)
            left = left - np.outer(left @ way, way)
            chosen.append(k)
        found = np.ascontiguousarray(X[sorted(chosen)])
        return found if exact_rank(np.vstack([rows, found])) == rank + len(rows) else None

    def projected(self, theta: np.ndarray) -> np.ndarray:
        """π(θ) but for rounding, in θ's own type."""
        found = theta.copy()
        for j in self.units:
            for _ in range(2):
                z = self.rows[j].astype(theta.dtype) @ found[self.place(j)]
                found[self.place(j)] -= self.inverses[j].astype(theta.dtype) @ z
        return found

    def away(self, theta: np.ndarray, unit: float) -> float:
        """‖θ − π(θ)‖ is at most this; `unit` is the roundoff of θ's type."""
        total = 0.0
        for j in self.units:
            rows, w = self.rows[j].astype(theta.dtype), theta[self.place(j)]
            rounds = (len(w) + 2) * unit * (np.abs(rows) @ np.abs(w))
            miss = np.linalg.norm(np.abs(rows @ w) + ROOM * rounds) / self.least[j]
            total += float(miss) ** 2
        return ROOM * float(np.sqrt(total))

    @cached_property
    def off(self) -> float:
        """‖p − θ0‖ is at most this."""
        return self.away(self.theta, UNIT)

    def tangent(self, moves: np.ndarray) -> Ball:
        """The moves (P, Q) projected; twice beforehand, so that little is left to the ball."""
        mid, rad = moves.copy(), np.zeros_like(moves)
        for j in self.units:
            at = self.place(j)
            for _ in range(2):
                mid[at] -= self.inverses[j] @ (self.rows[j] @ mid[at])
            left = contract("mn,nq->mq", self.rows[j], Ball.exact(mid[at])).size
            rad[at] = ROOM * np.linalg.norm(left, axis=0) / self.least[j]
        return Ball(mid, rad)

    def moves(self, found: Ball, r: float) -> np.ndarray:
        """Moves v that hold p + `found`·w, ‖w‖ ≤ r: what of v is not w makes up for rounding."""
        slack = self.off + r * float(np.linalg.norm(found.known))
        every = np.eye(len(self.theta))
        loose = np.hstack([every[:, self.place(j)] for j in self.units])
        return ROOM * np.hstack([r / np.sqrt(1 - SHARE**2) * found.mid, slack / SHARE * loose])

    def gradient(self, task: OutputsTask, theta: np.ndarray, bent: Ball) -> Ball:
        """∇F at p: at a nearer point than θ0, and the Hessian times what is left."""
        near = self.projected(theta.astype(np.longdouble))
        left = self.away(near, LONG_UNIT)
        found = gradient(task, near)
        return found.widened(ROOM * left * np.linalg.norm(bent.size, axis=1))


def face_of(task: OutputsTask, theta: np.ndarray, held: np.ndarray) -> Face | None:
    """M of the held pairs (H, N); None if the rows of a unit are dependent, or are all of space."""
    rows, inverses, least = [], [], np.full(task.width, np.inf)
    for j in range(task.width):
        X = np.ascontiguousarray(task.X[held[j]])
        rows.append(X)
        if not len(X):
            inverses.append(np.zeros((X.shape[1], 0)))
            continue
        if len(X) >= X.shape[1] or exact_rank(X) < len(X):
            return None
        sizes = singular_values(X)
        # Singular values round by 1e-15 of the largest.
        if not sizes[-1] > DEPENDENT * sizes[0]:
            return None
        least[j] = 0.999 * sizes[-1]
        inverses.append(np.linalg.pinv(X))
    return Face(task, theta, held, tuple(rows), tuple(inverses), least)
