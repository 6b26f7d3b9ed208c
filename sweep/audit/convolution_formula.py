"""Convolutions with padding below ReQU units ([B] eq. 1 and 6), for one member.

A layer's output at place j is σ(Σᵢ vᵢ·h̄_{i+j}), i and j from 0, h̄ its input between s−1 zeros on
either side: a product with the matrix whose entry (j, k) is v_{k−j+s−1}. Here every layer is
written as that matrix.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
s       length of a filter                                     v (s,)
m, H    units of the last layer, what they see                 W (m, H), b, a (m,)
λ       strengths, one per unit or one for all                 (m,) or ()
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweep.audit.formulas import DataFormula

U = 2.0**-53


@dataclass(frozen=True, eq=False)
class ConvolutionFormula(DataFormula):
    """F of such a network; `strength` is λ_c of its regularizer, None without one."""

    filters: int
    length: int
    width: int
    slope: float
    strength: float | None

    def parts(
        self, theta: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of θ (P,): the filters v, then W, b and a."""
        first = self.filters * self.length
        seen = self.x.shape[1] + self.filters * (self.length - 1)
        inner = first + self.width * seen
        weights = theta[first:inner].reshape(self.width, seen)
        v = [theta[k * self.length : (k + 1) * self.length] for k in range(self.filters)]
        return v, weights, theta[inner : inner + self.width], theta[inner + self.width :]

    def matrix(self, v: torch.Tensor, size: int) -> torch.Tensor:
        """What the filter v (s,) does to vectors of that size, (size + s − 1, size)."""
        s = self.length
        rows, columns = torch.arange(size + s - 1)[:, None], torch.arange(size)[None, :]
        index = columns - rows + s - 1
        inside = (index >= 0) & (index < s)
        return torch.where(inside, v[index.clamp(0, s - 1)], torch.zeros((), dtype=v.dtype))

    def seen(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the last layer sees (N, H), the bound of its error, and whether a kink is near (N,).

        Near: some preactivation may, for its rounding, lie on either side.
        """
        h, error = self.x, torch.zeros_like(self.x)
        near = torch.zeros(len(h), dtype=torch.bool)
        for v in self.parts(theta)[0]:
            C = self.matrix(v, h.shape[1])
            z = h @ C.T
            error = error @ C.abs().T + (self.length + 2) * U * (h.abs() @ C.abs().T)
            near = near | (z.abs() <= 4 * error).any(1)
            h = torch.where(z > 0, z, self.slope * z)
            error = error + U * h.abs()
        return h, error, near

    def preactivations(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of the last layer and the bounds of their errors, (N, m) each."""
        h, error, _ = self.seen(theta)
        _, W, b, _ = self.parts(theta)
        size = h.abs() @ W.abs().T + b.abs()
        return h @ W.T + b, error @ W.abs().T + (h.shape[1] + 2) * U * size

    def base(self, theta: torch.Tensor) -> torch.Tensor:
        """The network's f, (N,)."""
        z, _ = self.preactivations(theta)
        return torch.clamp(z, min=0.0) ** 2 @ self.parts(theta)[3]

    def base_error(self, theta: torch.Tensor) -> torch.Tensor:
        """A bound of the rounding error of f, (N,)."""
        z, error = self.preactivations(theta)
        a = self.parts(theta)[3].abs()
        moved = (2 * torch.clamp(z, min=0.0) + error) * error
        return moved @ a + (self.width + 6) * U * (torch.clamp(z, min=0.0) ** 2 @ a)

    def dead(self, theta: torch.Tensor) -> torch.Tensor:
        """Units with output zero on all data: as computed, surely, possibly, (3,)."""
        z, error = self.preactivations(theta)
        zero = (error == 0) & (z <= 0)
        surely = zero | (z + 2 * error <= 0)
        # A square below the least float64 is zero too.
        possibly = surely | (z - 2 * error <= 1e-160)
        counts = torch.stack([(z <= 0).all(0), surely.all(0), possibly.all(0)])
        return counts.sum(1).to(theta.dtype)

    def penalty(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What F adds to the loss, a scalar."""
        total = torch.zeros_like(theta[0])
        if self.weight_decay:
            total = total + self.weight_decay * (theta**2).sum() / 2
        if self.strength is not None:
            v, W, b, a = self.parts(theta)
            cubes = a.abs() ** 3 + 2 * ((W**2).sum(1) + b**2) ** 1.5
            total = total + (lam * cubes).sum() / 3
            for one in v:
                total = total + self.strength / 4 * ((one**2).sum() - 1) ** 2
        return total

    def penalty_size(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What the penalty's rounding is relative to: a norm near one leaves little of (n − 1)²."""
        total = self.penalty(theta, lam)
        if self.strength is not None:
            for v in self.parts(theta)[0]:
                n = (v**2).sum()
                total = total + self.strength * (n + 1) * ((n - 1).abs() + U * (n + 1))
        return total

    def penalty_slope_error(self, theta: torch.Tensor) -> torch.Tensor:
        """A bound of the rounding error of the penalty's gradient in the filters, a scalar."""
        total = torch.zeros_like(theta[0])
        if self.strength is not None:
            for v in self.parts(theta)[0]:
                n = (v**2).sum()
                total = total + (self.length + 8) * U * self.strength * (n + 1) * n.sqrt()
        return total
