"""Several convolutions on their way down: what `polish.py` asks of what lies below.

A step is one along the face at the place, and is brought back onto it filter by filter. There the
curvature of E is that of E + Σ μᵢzᵢ with the multipliers of the held zᵢ, in coordinates of the
neurons and of the directions B. Symbols as in `sweep.judge.convolution.stack_local`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.kernels import Task
from sweep.judge.convolution.local import Local
from sweep.judge.convolution.plain import Filtered
from sweep.judge.convolution.stack_bounds import basis_of
from sweep.judge.convolution.stack_cones import across
from sweep.judge.convolution.stack_local import StackLocal
from sweep.judge.convolution.stack_plain import Stacked, StackFace
from sweep.judge.numerics.balls import Ball
from sweep.models.objective import Objective

# How exactly the share of a step is found at which a place changes its sign.
BISECTIONS = 50


@dataclass(frozen=True, eq=False)
class StackRest:
    """Derivatives of E along a face, in (z, τ)."""

    at: StackLocal

    @property
    def t(self) -> np.ndarray:
        """Preactivations of the active neurons, (k, N)."""
        return self.at.t.mid

    @property
    def first(self) -> int:
        """Coordinates of the neurons."""
        return int(self.at.Z.mid.size)

    def _reduced(self, g: np.ndarray) -> np.ndarray:
        return np.concatenate([g[: self.first], self.at.face.B.T @ g[self.first :]])

    def gradient(self) -> np.ndarray:
        """∇E, (P,)."""
        return self._reduced(self.at.gradient().mid)

    def gradient_sizes(self) -> np.ndarray:
        """The sums of sizes that the rounding of ∇E is relative to, (P,)."""
        at = self.at
        terms = np.einsum("ji,jip->p", np.abs(at.pulls.mid), np.abs(at.dt.mid))
        terms[: self.first] += (2 * at.lam[:, None] * np.abs(at.Z.mid)).ravel()
        for place, own, excess in at.norms():
            there = slice(self.first + place.start, self.first + place.stop)
            terms[there] += at.plain.strength * (abs(excess.mid) + 2 + excess.mid) * np.abs(own.mid)
        along = np.abs(at.face.B.T) @ terms[self.first :]
        return np.concatenate([terms[: self.first], along])

    def hessian(self, on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇²E (P, P) along the face with that `on`, and its sizes."""
        at, n = self.at, self.at.plain.n_filters
        H, B = at.hessian(on).mid, at.face.B
        if at.face.kinks:
            held = at.face.held & ~at.plain.blank
            D = np.concatenate([D.mid.reshape(-1, n) for D in at.trace.Dz])[held]
            D2 = np.concatenate([D2.mid.reshape(-1, n, n) for D2 in at.trace.D2z])[held]
            mu = -np.linalg.lstsq(D.T, at.gradient().mid[self.first :], rcond=1e-9)[0]
            H[self.first :, self.first :] += np.einsum("r,rpq->pq", mu, D2)
        T = np.zeros((len(H), self.first + B.shape[1]))
        T[: self.first, : self.first], T[self.first :, self.first :] = np.eye(self.first), B
        found = T.T @ H @ T
        return (found + found.T) / 2, np.abs(found)


class StackPath(Stacked):
    """The objective with what its polish needs."""

    def task(self, face: StackFace, v: np.ndarray) -> Task:
        """The last layer's task at v on a face, where held places are exactly zero."""
        return self.task_of(np.asarray(self.trace(face, Ball(v), curved=False).h.mid))

    def local(
        self, face: StackFace, Z: np.ndarray, s: np.ndarray, lam: np.ndarray, v: np.ndarray
    ) -> StackRest:
        """Derivatives along a face at active neurons and v on it."""
        return StackRest(StackLocal.at(self, face, Ball(Z), s, lam, Ball(v)))

    def next_kink(
        self, face: StackFace, v: np.ndarray, dv: np.ndarray, limit: float
    ) -> tuple[float, np.ndarray] | None:
        """The share < `limit` of a step at which a free place vanishes, and what is held there.

        The first one, unless some place changes its sign twice before.
        """
        up = np.concatenate([slope.ravel() == 1 for slope in face.slopes])

        def crossed(share: float) -> np.ndarray:
            z = np.concatenate([z.ravel() for z in self.layers(v + share * dv)])
            return np.asarray(~face.held & ((z > 0) != up))

        low, high = 0.0, limit
        if not crossed(high).any():
            return None
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if crossed(middle).any() else (middle, high)
        return high, face.held | crossed(high)

    def downhill(
        self, face: StackFace, Z: np.ndarray, s: np.ndarray, lam: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rays off the face (R, K·s) and the derivatives of E along them."""
        at = StackLocal.at(self, face, Ball(Z), s, lam, Ball(v))
        found = across(at, basis_of(at)[1])
        if found is None:
            return np.zeros((0, self.n_filters)), np.zeros(0)
        return found.ways, found.slopes


Below = Filtered | StackPath
Rest = Local | StackRest


def below(objective: Objective) -> Below | None:
    """What lies below the last layer of such a network with its regularizer alone; None of others.

    A network without convolutions is not among them.
    """
    return Filtered.of(objective) or StackPath.of(objective)
