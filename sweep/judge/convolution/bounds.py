"""How far E on a face, its slopes and its curvature can be from what is computed, around a centre.

A neighbourhood is {p + Sw, ‖w‖ ≤ r}, p = (z, τ), S = (∇²E)^{−1/2} as computed and stored, as in
`sweep.judge.coercive.bounds`. The exact function is that of the exact T: with the basis B′ of
`Face.tilt` in place of B, Aᵢ errs by e_h, which is treated like rounding. t is quadratic in (z, τ),
so that along w of length r it changes by at most αr + mr²/2, and Sᵀ∇t by mr.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
u       unit roundoff, 2⁻⁵³
e_h     bound of ‖A′ᵢ − Aᵢ‖                                        (N,)
e_t     bound of |t′ − t|; e_a of ‖Sᵀ∇t′ − Sᵀ∇t‖, both at w = 0    (k, N)
α, m    ‖Sᵀ∇t‖; bound of ‖Sᵀ∇²t S‖                                 (k, N)
γ       ‖Sᵀ∇fᵢ‖                                                    (N,)
φ       bound of |f′ᵢ − fᵢ|                                        (N,)
dq, dc  bounds of |q′ − q| and |c′ − c|                            (N,)
======  =========================================================  ==========

Primes are exact and anywhere in reach. Other symbols as in `sweep.judge.convolution.local`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.bounds import RELATIVE, ROOM, steepest
from sweep.judge.convolution.local import Local
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen


@dataclass(frozen=True, eq=False)
class Reach:
    """What can change within some ‖w‖ ≤ r.

    `dt`, `da` (k, N) bound the changes of t and of Sᵀ∇t; `turned` (N,) that of Sᵀ∇fᵢ, `bent` (N,)
    ‖Sᵀ∇²f′ᵢS‖; then φ, dq and dc.
    """

    dt: np.ndarray
    da: np.ndarray
    turned: np.ndarray
    bent: np.ndarray
    phi: np.ndarray
    dq: np.ndarray
    dc: np.ndarray


@dataclass(frozen=True, eq=False)
class FaceCentre:
    """A point of a face with the axes S (P, P) around it; `S_z` (k,), `S_tau` their block norms."""

    at: Local
    S: np.ndarray
    S_z: np.ndarray
    S_tau: float
    e_h: np.ndarray
    e_t: np.ndarray
    e_a: np.ndarray
    alpha: np.ndarray
    gamma: np.ndarray
    m: np.ndarray

    @classmethod
    def of(cls, at: Local) -> FaceCentre | None:
        """The centre; None where the computed ∇²E is not positive definite."""
        values, basis = eigen(at.hessian(at.t > 0)[0])
        if not (values > 0).all():
            return None
        S = basis / np.sqrt(values)
        (k, n), P, face = at.Z.shape, len(S), at.face
        S_z = ROOM * np.linalg.norm(S[: k * n].reshape(k, n * P), axis=1)
        S_tau = ROOM * float(np.linalg.norm(S[k * n :]))
        own, tau = np.linalg.norm(face.A, axis=(1, 2)), float(np.linalg.norm(at.tau))
        rows = np.linalg.norm(at.plain.C, axis=(1, 2))
        sums = (at.plain.length + n + 4) * UNIT
        e_h = ROOM * rows * (face.tilt + sums * np.linalg.norm(face.B))
        e_g = ROOM * (e_h + sums * own) * tau
        lengths = np.linalg.norm(at.Z, axis=1)[:, None]
        e_t = lengths * e_g + sums * np.abs(at.Z) @ np.abs(at.task.X).T
        along = at.J @ S
        e_a = S_z[:, None] * e_g + lengths * (e_h + sums * own) * S_tau
        e_a = e_a + (P + 2) * UNIT * np.linalg.norm(np.abs(at.J) @ np.abs(S), axis=2)
        alpha = ROOM * np.linalg.norm(along, axis=2)
        gamma = np.linalg.norm(np.einsum("j,ji,jip->ip", 2 * at.s, at.h, along), axis=1)
        gamma += (k + 4) * UNIT * (2 * at.h * alpha).sum(axis=0)
        return cls(
            at=at,
            S=S,
            S_z=S_z,
            S_tau=S_tau,
            e_h=e_h,
            e_t=ROOM * e_t,
            e_a=ROOM * e_a,
            alpha=alpha,
            gamma=ROOM * gamma,
            m=ROOM * 2 * S_z[:, None] * (own + e_h) * S_tau,
        )

    def reach(self, r: float) -> Reach:
        """What can change within ‖w‖ ≤ r; f is C¹ with a Lipschitz gradient, kinks or not."""
        at, n_terms = self.at, len(self.at.s) + 4
        dt = ROOM * (self.e_t + (self.alpha + self.e_a) * r + self.m * r * r / 2)
        da = ROOM * (self.e_a + self.m * r)
        wide = self.alpha + da
        turned = ROOM * 2 * (dt * wide + at.h * da).sum(axis=0)
        bent = ROOM * 2 * (wide**2 + (at.h + dt) * self.m).sum(axis=0)
        still = ROOM * 2 * (self.e_t * (self.alpha + self.e_a) + at.h * self.e_a).sum(axis=0)
        rounding = ((2 * at.h + self.e_t) * self.e_t).sum(axis=0)
        rounding += UNIT * (n_terms * (at.h**2).sum(axis=0) + 4 * (1 + np.abs(at.f)))
        phi = ROOM * (rounding + (self.gamma + still) * r + bent * r * r / 2)
        second, third = steepest(at.task, -at.task.y * at.f, ROOM * phi)
        dq = ROOM * (second * phi + RELATIVE * np.abs(at.q))
        dc = ROOM * (third * phi + RELATIVE * at.c)
        return Reach(dt, da, turned, bent, phi, dq, dc)

    def inside(self, r: float) -> bool:
        """Whether every row that is not held keeps its sign within ‖w‖ ≤ r."""
        at, C = self.at, self.at.plain.C
        sizes = np.linalg.norm(C, axis=2)
        free = ~at.face.held & (sizes > 0)
        tau, width = float(np.linalg.norm(at.tau)), 1 + float(np.linalg.norm(at.face.B))
        # Of Bτ and of its product with a row: sums of s terms each.
        rounding = (C.shape[2] + 8) * UNIT * width
        moved = self.S_tau * r + (at.face.tilt + rounding) * tau
        along = np.abs(C @ (at.face.B @ at.tau))
        return bool((along > ROOM * sizes * moved)[free].all())

    def gradient(self) -> float:
        """An upper bound of ‖Sᵀ∇E‖."""
        at, still, (k, n) = self.at, self.reach(0.0), self.at.Z.shape
        g, P, size = at.gradient(), len(self.S), np.abs(self.S).T
        terms = len(at.f) * k + P + n + 32
        total = float(np.linalg.norm(self.S.T @ g))
        total += float(still.dq @ (self.gamma + still.turned) + np.abs(at.q) @ still.turned)
        total += 2 * terms * UNIT * float(np.linalg.norm(size @ (at.gradient_sizes() + np.abs(g))))
        total += self._skewed(3.0) * float(np.linalg.norm(at.tau)) * self.S_tau
        return float(ROOM * total)

    def _skewed(self, factor: float) -> float:
        """What ‖B′ᵀB′ − I‖ does to the derivatives of (λ_c/4)(‖B′τ‖² − 1)²."""
        square = float(self.at.tau @ self.at.tau)
        return self.at.plain.strength * factor * self.at.face.skew * (2 * square + 1)

    def on(self, r: float) -> tuple[np.ndarray, bool]:
        """Second derivatives of h² (k, N) that make ∇²E least within reach; whether a kink is."""
        at = self.at
        near = np.abs(at.t) <= 2 * self.reach(r).dt
        on = np.where(near, at.s[:, None] * at.q < 0, at.t > 0)
        return on, bool(near.any())

    def least(self, on: np.ndarray) -> float:
        """A lower bound of λ_min(SᵀHS), H of the centre with that `on`, its sums' rounding off."""
        (H, sizes), S = self.at.hessian(on), self.S
        K, wide, (k, n) = S.T @ (H @ S), np.abs(S), self.at.Z.shape
        products = 2 * (len(H) + 2) * np.linalg.norm(wide.T @ (np.abs(H) @ wide))
        formed = 2 * (len(self.at.f) * (k + 2) + n + 32) * np.linalg.norm(wide.T @ (sizes @ wide))
        return proven_least((K + K.T) / 2, float(ROOM * UNIT * (products + formed)))

    def curvature_change(self, r: float) -> float:
        """How far below that the curvature of E in w can be within reach; inf beyond the face."""
        if not self.inside(r):
            return float("inf")
        at, far = self.at, self.reach(r)
        total = far.dc @ (self.gamma + far.turned) ** 2
        total += at.c @ (far.turned * (2 * self.gamma + far.turned))
        total += far.dq @ far.bent
        exact = 2 * self.S_z[:, None] * self.e_h * self.S_tau
        moved = far.da * (2 * self.alpha + far.da) + far.dt * self.m + at.h * exact
        total += 2 * np.abs(at.q) @ moved.sum(axis=0)
        tau, rho = float(np.linalg.norm(at.tau)), self.S_tau * r
        pull = 3 * at.plain.strength * rho * (2 * tau + rho) + self._skewed(8.0)
        return float(ROOM * (total + pull * self.S_tau**2))
