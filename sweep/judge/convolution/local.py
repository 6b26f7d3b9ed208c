"""E on a face: its value, gradient and Hessian in the coordinates (z, τ) of active neurons and T.

With t = zⱼ·gᵢ, whose second derivative is Aᵢ between zⱼ and τ, h = max(t, 0) and on = [t > 0],

    ∇f = Σⱼ 2sⱼ h ∇t,   ∇²f = Σⱼ 2sⱼ (on ∇t∇tᵀ + h ∇²t),   ∇²E = Σᵢ cᵢ∇f∇fᵀ + qᵢ∇²f + penalties.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
J       ∇t, coordinates of z neuron by neuron and then τ           (k, N, P)
q, c    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
======  =========================================================  ==========

Other symbols as in `sweep.judge.convolution.plain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.judge.coercive.kernels import Task, loss_rows

if TYPE_CHECKING:
    from sweep.judge.convolution.plain import Face, Filtered


@dataclass(frozen=True, eq=False)
class Local:
    """What is computed at active z (k, n), s, λ (k,) and τ (d,) of a face."""

    plain: Filtered
    face: Face
    Z: np.ndarray
    s: np.ndarray
    lam: np.ndarray
    tau: np.ndarray
    task: Task
    t: np.ndarray
    h: np.ndarray
    J: np.ndarray
    f: np.ndarray
    q: np.ndarray
    c: np.ndarray

    @classmethod
    def at(
        cls,
        plain: Filtered,
        face: Face,
        Z: np.ndarray,
        s: np.ndarray,
        lam: np.ndarray,
        tau: np.ndarray,
    ) -> Local:
        """Everything at one point."""
        task = plain.on_face(face, tau)
        t = Z @ task.X.T
        h = np.maximum(t, 0)
        f = s @ h**2
        _, q, c = loss_rows(f, task)
        k, n = Z.shape
        J = np.zeros((k, len(f), k * n + len(tau)))
        for j in range(k):
            J[j, :, j * n : (j + 1) * n] = task.X
            J[j, :, k * n :] = np.einsum("ihd,h->id", face.A, Z[j, :-1])
        return cls(plain, face, Z, s, lam, tau, task, t, h, J, f, q, c)

    @property
    def slopes(self) -> np.ndarray:
        """∇f, (N, P)."""
        return np.asarray(np.einsum("j,ji,jip->ip", 2 * self.s, self.h, self.J))

    @property
    def excess(self) -> float:
        """‖τ‖² − 1."""
        return float(self.tau @ self.tau - 1)

    def gradient(self) -> np.ndarray:
        """∇E, (P,)."""
        z = 2 * self.lam[:, None] * self.Z
        own = np.concatenate([z.ravel(), self.plain.strength * self.excess * self.tau])
        return np.asarray(own + self.q @ self.slopes)

    def gradient_sizes(self) -> np.ndarray:
        """The sums of sizes that the rounding of ∇E is relative to, (P,)."""
        z = 2 * self.lam[:, None] * np.abs(self.Z)
        pull = self.plain.strength * (abs(self.excess) + 2 + self.excess) * np.abs(self.tau)
        terms = np.einsum("ji,jip->p", 2 * np.abs(self.q) * self.h, np.abs(self.J))
        return np.asarray(np.concatenate([z.ravel(), pull]) + terms)

    def hessian(self, on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇²E (P, P) with that `on` (k, N), and the sums of its terms' sizes."""
        slopes, c, sizes = self.slopes, self.c[:, None], np.abs(self.J)
        wide = np.einsum("ji,jip->ip", 2 * self.h, sizes)
        P = self.J.shape[2]
        flat, weight = self.J.reshape(-1, P), (2 * self.s[:, None] * self.q * on).ravel()
        H = (slopes * c).T @ slopes + (flat * weight[:, None]).T @ flat
        size = (wide * c).T @ wide + np.abs(flat * weight[:, None]).T @ np.abs(flat)
        k, n = self.Z.shape
        for j in range(k):
            turned = 2 * self.s[j] * self.q * self.h[j]
            cross, rows = np.einsum("i,ihd->hd", turned, self.face.A), slice(j * n, j * n + n - 1)
            H[rows, k * n :] += cross
            H[k * n :, rows] += cross.T
            cross = np.einsum("i,ihd->hd", np.abs(turned), np.abs(self.face.A))
            size[rows, k * n :] += cross
            size[k * n :, rows] += cross.T
        tau = slice(k * n, P)
        own = np.repeat(2 * self.lam, n)
        H[range(k * n), range(k * n)] += own
        size[range(k * n), range(k * n)] += own
        d, strength = len(self.tau), self.plain.strength
        H[tau, tau] += strength * (self.excess * np.eye(d) + 2 * np.outer(self.tau, self.tau))
        around = (self.excess + 2) * np.eye(d) + 2 * np.outer(np.abs(self.tau), np.abs(self.tau))
        size[tau, tau] += strength * around
        return (H + H.T) / 2, size
