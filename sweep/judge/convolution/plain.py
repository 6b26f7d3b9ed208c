"""One convolution below ReQU neurons ([B] Theorem 2, l = 2) in plain numbers, and its faces.

What the last layer sees is linear in the filter v on every cell of the kinks of the leaky ReLU: the
hyperplanes c·v = 0, c the s inputs that a place of one data point is computed from. A *face* is the
set of filters on which some of those rows vanish and the others keep their signs: a subspace T, as
far as no other hyperplane is met.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, H    data points, places of what the last layer sees; n = H + 1
s, d    numbers of a filter, dimension of T
m, k    neurons, active ones
C       rows c of every data point and place                       (N, H, s)
B, Q    orthonormal bases of T and of T⊥                           (s, d), (s, s−d)
τ       coordinates in T: v = Bτ                                   (d,)
A       what h is on the face: hᵢ = Aᵢτ                            (N, H, d)
g       (h, 1), what a neuron is applied to                        (N, n)
z, s    reduced neurons √|a|·(w, b) and signs of a                 (m, n), (m,)
P       k·n + d, coordinates of active neurons and of T
======  =========================================================  ==========

E(z, v) = Σᵢ ℓ(−yᵢfᵢ) + Σⱼ λⱼ‖zⱼ‖² + (λ_c/4)(‖v‖² − 1)², f = Σⱼ sⱼ max(zⱼ·gᵢ(v), 0)²: as in
`sweep.judge.coercive.kernels` F ≥ E, with equality where |aⱼ| = ‖(wⱼ, bⱼ)‖.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.kernels import Task, energy, loss_rows
from sweep.judge.coercive.plain import Coordinates
from sweep.judge.convolution.local import Local
from sweep.judge.numerics.exact_rank import exact_rank
from sweep.judge.numerics.kernel_losses import code_of
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.convolution import ConvolutionNetwork, ConvolutionRegularizer
from sweep.models.objective import DataObjective, Objective

#: |c·v| at most this share of ‖c‖‖v‖ is zero: the polish holds kinks to rounding.
ON_KINK = 1e-12
#: Singular values of the rows of a face below this share of the largest are not believed.
APART = 1e-6


@dataclass(frozen=True, eq=False)
class Face:
    """T with its bases, the rows (N, H) that vanish on it, and A for the signs of the others.

    `tilt` bounds ‖B − B′‖ for some B′ whose columns span the exact T, and the same of Q;
    `skew` bounds ‖B′ᵀB′ − I‖.
    """

    held: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    A: np.ndarray
    tilt: float
    skew: float


@dataclass(frozen=True, eq=False)
class Filtered:
    """The objective: data, rows C, slope of the leaky ReLU, λ_c, and the last layer's layout."""

    y: np.ndarray
    C: np.ndarray
    slope: float
    strength: float
    loss: tuple[int, float]
    last: Coordinates

    @classmethod
    def of(cls, objective: Objective) -> Filtered | None:
        """The objective in numbers; None unless it is such a network with its regularizer alone."""
        if not isinstance(objective, DataObjective):
            return None
        network, loss = objective.network, code_of(objective.loss)
        if loss is None or not isinstance(network, ConvolutionNetwork) or network.filters != 1:
            return None
        regularizer = objective.regularizer
        if not isinstance(regularizer, ConvolutionRegularizer) or objective.weight_decay > 0:
            return None
        x = objective.x.cpu().numpy().astype(np.float64)
        y = objective.y.cpu().numpy().astype(np.float64)
        size = network.length
        padded = np.pad(x, ((0, 0), (size - 1, size - 1)))
        C = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1).copy()
        H = C.shape[1]
        none = Task(np.ones((len(y), H + 1)), y, *loss, True)
        last = Coordinates(none, network.width, H)
        return cls(y, C, network.leaky.negative_slope, regularizer.lambda_c, loss, last)

    @property
    def length(self) -> int:
        """The filter's length."""
        return int(self.C.shape[2])

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of θ (P,): the filter (s,), z (m, n) and the signs (m,)."""
        v, rest = theta[: self.length], theta[self.length :]
        return v, *self.last.reduced(rest)

    def balanced(self, v: np.ndarray, Z: np.ndarray, s: np.ndarray) -> np.ndarray:
        """The θ (P,) of least norms with these v, z and s."""
        return np.concatenate([v, self.last.balanced(Z, s)])

    def seen(self, v: np.ndarray) -> Task:
        """The last layer's task for the filter v (s,): g as its data."""
        z = self.C @ v
        h = np.where(z > 0, z, self.slope * z)
        return self._task(h)

    def on_face(self, face: Face, tau: np.ndarray) -> Task:
        """The same at τ (d,) of a face, where held places are exactly zero."""
        return self._task(face.A @ tau)

    def task(self, face: Face, v: np.ndarray) -> Task:
        """The same at v (s,) on a face."""
        return self.on_face(face, face.B.T @ v)

    def local(
        self, face: Face, Z: np.ndarray, s: np.ndarray, lam: np.ndarray, v: np.ndarray
    ) -> Local:
        """Derivatives of E along a face at active neurons and v (s,) on it."""
        return Local.at(self, face, Z, s, lam, face.B.T @ v)

    def _task(self, h: np.ndarray) -> Task:
        g = np.concatenate([h, np.ones((len(h), 1))], axis=1)
        return Task(np.ascontiguousarray(g), self.y, *self.loss, True)

    def pull(self, v: np.ndarray) -> float:
        """(λ_c/4)(‖v‖² − 1)²."""
        return self.strength / 4 * float(v @ v - 1) ** 2

    def energy(self, Z: np.ndarray, s: np.ndarray, v: np.ndarray, lam: np.ndarray) -> float:
        """E at z (m, n), v (s,)."""
        return float(energy(Z, s, lam, self.seen(v))) + self.pull(v)

    def face(self, v: np.ndarray, near: float = ON_KINK) -> Face | None:
        """The face on which v (s,) lies, rows within `near` of zero counting as held.

        None where floating point cannot tell which rows depend on each other.
        """
        sizes = np.linalg.norm(self.C, axis=2)
        along = self.C @ v
        held = (np.abs(along) <= near * sizes * np.linalg.norm(v)) & (sizes > 0)
        rows = self.C[held] / sizes[held][:, None]
        size, rank, tilt = self.length, 0, 0.0
        basis = np.eye(size)
        if len(rows):
            # Of many rows only the right side is wanted: the left one has their number squared.
            _, values, basis = np.linalg.svd(rows, full_matrices=len(rows) < size)
            rank = int((values > APART * values[0]).sum())
            if exact_rank(self.C[held]) != rank:
                return None
            left = np.abs(rows @ basis[rank:].T).max(initial=0.0) * np.sqrt(rows.size)
            left += (size + 4) * UNIT * np.sqrt(rows.size)
            tilt = 2 * float(left / values[rank - 1])
        B, Q = basis[rank:].T.copy(), basis[:rank].T.copy()
        # Signs at the point of T: v itself may be as far from it as `near` lets it.
        on_face = self.C @ (B @ (B.T @ v))
        slopes = np.where(held, 0.0, np.where(on_face > 0, 1.0, self.slope))
        A = slopes[:, :, None] * (self.C @ B)
        off = float(np.linalg.norm(B.T @ B - np.eye(B.shape[1]))) + size * size * UNIT
        return Face(held, B, Q, A, tilt, off + 2 * tilt * (1 + tilt) if rank else 0.0)

    def placed(
        self, v: np.ndarray, near: float = ON_KINK, held: np.ndarray | None = None
    ) -> tuple[Face, np.ndarray] | None:
        """The face of v and v moved onto it; None as in `face`. A row that `held` adds is near."""
        face = self.face(v, near)
        if face is None:
            return None
        return face, face.B @ (face.B.T @ v) if face.held.any() else v

    def next_kink(
        self, face: Face, v: np.ndarray, dv: np.ndarray, limit: float
    ) -> tuple[float, np.ndarray] | None:
        """The share < `limit` of a step at which a free row vanishes first, and rows held there."""
        here, there = self.C @ v, self.C @ dv
        crossed = ~face.held & (here * there < 0)
        share = float((-here[crossed] / there[crossed]).min(initial=np.inf))
        return (share, face.held) if share < limit else None

    def rays(self, face: Face) -> np.ndarray | None:
        """Unit vectors (K, s) that span every cell of the held rows in T⊥; None beyond a plane.

        On a cell the derivative of E across the face is linear and u a sum of its rays with
        weights that add up to at least ‖u‖.
        """
        Q = face.Q
        if Q.shape[1] > 2:
            return None
        ways = Q.T
        if Q.shape[1] == 2:
            rows = self.C[face.held]
            rows = np.unique(rows / np.linalg.norm(rows, axis=1, keepdims=True), axis=0)
            inside = rows @ Q
            inside /= np.linalg.norm(inside, axis=1, keepdims=True)
            ways = np.stack([-inside[:, 1], inside[:, 0]], axis=1) @ Q.T
        return np.concatenate([ways, -ways])

    def slopes_across(
        self, face: Face, Z: np.ndarray, s: np.ndarray, tau: np.ndarray, rays: np.ndarray
    ) -> np.ndarray:
        """One-sided derivatives of E along the rays (K,), at active z (k, n) and τ of the face."""
        task = self.on_face(face, tau)
        h = np.maximum(Z @ task.X.T, 0)
        q = loss_rows(s @ h**2, task)[1]
        p = 2 * q[:, None] * ((s[:, None] * h).T @ Z[:, :-1])
        own = np.where(self.C @ (face.B @ tau) > 0, 1.0, self.slope)
        free = np.einsum("ih,ihs->s", np.where(face.held, 0.0, p * own), self.C)
        along = rays @ self.C[face.held].T
        sides = np.where(along > 0, 1.0, self.slope)
        return np.asarray(rays @ free + (along * sides) @ p[face.held])

    def downhill(
        self, face: Face, Z: np.ndarray, s: np.ndarray, lam: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rays off the face (R, s) and the derivatives of E along them; none if none are known."""
        rays = self.rays(face)
        if rays is None or not len(rays):
            return np.zeros((0, self.length)), np.zeros(0)
        return rays, self.slopes_across(face, Z, s, face.B.T @ v, rays)
