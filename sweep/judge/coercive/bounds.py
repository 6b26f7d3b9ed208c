"""How far E, its gradient and its curvature can be from what is computed, around a centre.

A neighbourhood is {z + Sw, ‖w‖ ≤ r} with S = (∇²E)^{−1/2}, as computed, so that stiff and soft
directions count alike; S itself enters all bounds as the matrix that is stored, and no property of
it is taken for granted. θ and the data are exact as stored. A sum of m products errs by at most
(m+2)u times the sum of their sizes, and the loss's derivatives by a relative 32u (`RELATIVE`)
besides what their argument does.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
P       k·n, coordinates of the active neurons
S       the neighbourhood's axes, neuron by neuron                 (P, P)
r       its radius in w
u       unit roundoff, 2⁻⁵³
h, f    as computed at the centre; ‖h‖ over neurons                (k, N), (N,)
E       bound of the rounding error of ‖hᵢ‖                        (N,)
α       x̃ᵢ·(Sw)ⱼ changes by at most αⱼᵢ‖w‖; ‖αᵢ‖ over neurons      (k, N), (N,)
γ       ‖Sᵀ∇fᵢ‖                                                    (N,)
ε       bound of ‖h′ᵢ − hᵢ‖, h′ exact and anywhere in reach        (N,)
φ       bound of |f′ᵢ − fᵢ|                                        (N,)
dq, dc  bounds of |q′ − q| and |c′ − c|                            (N,)
======  =========================================================  ==========

Other symbols as in `sweep.judge.coercive.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.kernels import Task, activations, gradient, hessian, loss_rows, outputs
from sweep.judge.numerics.kernel_losses import HINGE, LOGISTIC
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen

RELATIVE = 32 * UNIT
# The bounds are themselves rounded: sums of at most some ten thousand positive terms.
ROOM = 1.0 + 1e-6


@dataclass(frozen=True, eq=False)
class Changes:
    """What can change within reach, (N,) each: ε, φ, dq, dc."""

    eps: np.ndarray
    phi: np.ndarray
    dq: np.ndarray
    dc: np.ndarray


@dataclass(frozen=True, eq=False)
class Centre:
    """A point z of the active neurons with what is computed there, and the axes S around it.

    `t` (k, N) are the preactivations and `e_t` their rounding errors.
    """

    task: Task
    Z: np.ndarray
    s: np.ndarray
    lam: np.ndarray
    h: np.ndarray
    f: np.ndarray
    q: np.ndarray
    c: np.ndarray
    t: np.ndarray
    e_t: np.ndarray
    S: np.ndarray
    alpha: np.ndarray
    gamma: np.ndarray

    @classmethod
    def of(cls, task: Task, Z: np.ndarray, s: np.ndarray, lam: np.ndarray) -> Centre | None:
        """The centre at z (k, n), k ≥ 1; None where the computed ∇²E is not positive definite."""
        h = activations(Z, task)
        f = outputs(h, s)
        _, q, c = loss_rows(f, task)
        t = Z @ task.X.T
        values, basis = eigen(hessian(s, lam, h, q, c, (t > 0) | (not task.rectified), task))
        if not (values > 0).all():
            return None
        S = basis / np.sqrt(values)
        along = np.einsum("id,jdp->jip", task.X, S.reshape(*Z.shape, -1))
        gamma = np.linalg.norm(2 * np.einsum("j,ji,jip->ip", s, h, along), axis=1)
        alpha = ROOM * np.linalg.norm(along, axis=2)
        e_t = (Z.shape[1] + 2) * UNIT * np.abs(Z) @ np.abs(task.X).T
        return cls(task, Z, s, lam, h, f, q, c, t, e_t, S, alpha, ROOM * gamma)

    @property
    def squares(self) -> np.ndarray:
        """‖x̃ᵢ‖², (N,)."""
        return np.asarray((self.task.X**2).sum(axis=1))

    @property
    def widest(self) -> np.ndarray:
        """‖αᵢ‖ over neurons, (N,)."""
        return np.asarray(ROOM * np.linalg.norm(self.alpha, axis=0))

    def changes(self, r: float) -> Changes:
        """What can change within ‖w‖ ≤ r.

        f′ − f = ∇f·Sw + Σⱼ sⱼ[…]², the bracket at most 3(αⱼr)² where a kink is crossed.
        """
        size, error = np.linalg.norm(self.h, axis=0), np.linalg.norm(self.e_t, axis=0)
        far = self.widest * r
        eps = ROOM * (error + far)
        rounding = UNIT * ((len(self.h) + 4) * size**2 + 4 * (1 + np.abs(self.f)))
        phi = self.gamma * r + 3 * far**2 + 2 * error * (size + eps) + rounding
        second, third = steepest(self.task, -self.task.y * self.f, ROOM * phi)
        return Changes(
            eps=eps,
            phi=ROOM * phi,
            dq=ROOM * (second * phi * ROOM + RELATIVE * np.abs(self.q)),
            dc=ROOM * (third * phi * ROOM + RELATIVE * self.c),
        )

    def gradient(self) -> float:
        """An upper bound of ‖Sᵀ∇E‖."""
        at = self.changes(0.0)
        g = gradient(self.Z, self.s, self.lam, self.h, self.q, self.task)
        N, X = len(self.f), np.abs(self.task.X)
        # Per neuron and coordinate: Σᵢ 2(|dq|h + |q|ε)|x̃ᵢ| and the rounding of the sum.
        terms = 2 * (at.dq * (self.h + at.eps) + np.abs(self.q) * at.eps)
        terms = terms + 2 * (N + 6) * UNIT * np.abs(self.q) * self.h
        error = np.abs(terms) @ X + 2 * (N + 6) * UNIT * self.lam[:, None] * np.abs(self.Z)
        size = np.linalg.norm(self.S.T @ g) + np.linalg.norm(np.abs(self.S).T @ error.ravel())
        size += len(g) * UNIT * np.linalg.norm(np.abs(self.S).T @ np.abs(g))
        return float(ROOM * size)

    def on(self, r: float) -> tuple[np.ndarray, bool]:
        """Second derivatives of h² (k, N) that make ∇²E least within reach; whether a kink is.

        Where z_j·x̃ᵢ may have either sign, sⱼqᵢ‖x̃ᵢ‖² counts if it is negative.
        """
        if not self.task.rectified:
            return np.ones(self.t.shape, dtype=bool), False
        near = np.abs(self.t) <= ROOM * (self.alpha * r + 2 * self.e_t)
        on = np.where(near, self.s[:, None] * self.q < 0, self.t > 0)
        return on, bool(near.any())

    def least(self, on: np.ndarray) -> float:
        """A lower bound of λ_min(SᵀHS), H the exact ∇²E at f, h as computed, with that `on`."""
        H = hessian(self.s, self.lam, self.h, self.q, self.c, on, self.task)
        N, P, S = len(self.f), len(H), self.S
        K = S.T @ (H @ S)
        products = np.linalg.norm(np.abs(S).T @ (np.abs(H) @ np.abs(S)))
        sizes = 4 * self.squares @ (self.c * (self.h**2).sum(axis=0))
        sizes += 2 * self.squares @ np.abs(self.q) + 2 * self.lam.max()
        formed = (N + 10) * sizes * np.linalg.norm(S) ** 2
        doubt = ROOM * UNIT * (2 * (P + 2) * products + formed)
        return proven_least((K + K.T) / 2, float(doubt))

    def curvature_change(self, r: float) -> float:
        """How far below that the curvature of E in w can be anywhere within reach."""
        far, wide = self.changes(r), self.widest
        turned = 2 * far.eps * wide
        total = far.dc @ (self.gamma + turned) ** 2
        total += self.c @ (turned * (2 * self.gamma + turned))
        total += 2 * far.dq @ wide**2
        return float(ROOM * total)


def steepest(task: Task, z: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of ℓ″ and |ℓ‴| on [z − reach, z + reach], (N,) each."""
    if task.loss == LOGISTIC:
        # |ℓ‴| ≤ ℓ″, so that ℓ″ grows at most like e^{|z|}.
        second = loss_rows(-task.y * z, task)[2] * np.exp(np.minimum(reach, 700.0))
        return second, second
    second = loss_rows(-task.y * (z + reach), task)[2]
    if task.loss != HINGE:
        return second, np.zeros_like(second)
    u, p = np.maximum(z + reach + 1, 0), task.p
    # p ≥ 3; where the hinge itself is out of reach ℓ is zero.
    third = np.where(u > 0, p * (p - 1) * (p - 2) * u ** (p - 3), 0.0)
    return second, third
