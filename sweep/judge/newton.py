"""The polish of one-hidden-layer networks with smooth units: monotone, float64, member by member.

Symbols as in `sweep.judge.smooth_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.newton_kernels import newton_member
from sweep.judge.shallow import Shallow, Units
from sweep.judge.smooth_kernels import activation_code, loss_code

# A modest start keeps the basin: the first step moves θ by at most a tenth of 1 + ‖θ‖.
FIRST_RADIUS = 0.1
BUDGET = 400


@dataclass(frozen=True, eq=False)
class Smooth:
    """A smooth one-hidden-layer objective in the kernels' terms; `code`, `loss` as they code them.

    `bare`: with the exponential neuron, in the limit problem (λ = 0).
    """

    X: np.ndarray
    y: np.ndarray
    H: int
    bare: bool
    code: int
    loss: int
    p: float
    decay: float

    @classmethod
    def of(cls, shallow: Shallow, bare: bool = False) -> Smooth | None:
        """The objective, or None where a kernel does not know the activation or the loss."""
        code, loss = activation_code(shallow.activation), loss_code(shallow.loss)
        if code is None or loss is None:
            return None
        return cls(
            np.ascontiguousarray(shallow.X),
            np.ascontiguousarray(shallow.y),
            shallow.width + shallow.extra,
            bare,
            code,
            *loss,
            float(shallow.weight_decay),
        )

    def pack(self, units: Units) -> tuple[np.ndarray, np.ndarray]:
        """θ (S, P) in the kernels' order, and the shift m (S,) of the exponential neuron."""
        count = len(units.c)
        packed = np.concatenate([units.a[:, :, None], units.W], axis=2).reshape(count, -1)
        packed = np.hstack([packed, units.c[:, None]])
        if not self.bare:
            return packed, np.zeros(count)
        assert units.alpha is not None and units.w is not None and units.b is not None
        return np.hstack([packed, units.alpha[:, None], units.w]), -units.b

    def unpack(self, packed: np.ndarray, shift: np.ndarray) -> Units:
        """The inverse of `pack`: b is −m."""
        count, n = len(packed), self.X.shape[1]
        base = self.H * (n + 1)
        units = packed[:, :base].reshape(count, self.H, n + 1)
        a, W, c = units[:, :, 0].copy(), units[:, :, 1:].copy(), packed[:, base].copy()
        if not self.bare:
            return Units(a, W, c)
        alpha, w = packed[:, base + 1].copy(), packed[:, base + 2 :].copy()
        return Units(a, W, c, alpha, w, -shift)


@dataclass(frozen=True, eq=False)
class Polished:
    """Where the polish of S members ended: θ (S, P) in kernel order, m, F, ‖∇F‖, λ_min, how, steps."""

    theta: np.ndarray
    shift: np.ndarray
    objective: np.ndarray
    slope: np.ndarray
    min_eig: np.ndarray
    status: np.ndarray
    steps: np.ndarray


def polish(
    smooth: Smooth, theta: np.ndarray, shift: np.ndarray | None = None, budget: int = BUDGET
) -> Polished:
    """Each member (S, P) on its own clock, from θ downhill."""
    shift = np.zeros(len(theta)) if shift is None else shift
    ends = []
    for point, m in zip(np.ascontiguousarray(theta, dtype=np.float64), shift, strict=True):
        radius = FIRST_RADIUS * (1.0 + float(np.linalg.norm(point)))
        ends.append(
            newton_member(
                point,
                smooth.X,
                smooth.y,
                smooth.H,
                smooth.bare,
                float(m),
                smooth.code,
                smooth.loss,
                smooth.p,
                smooth.decay,
                budget,
                radius,
            )
        )
    if not ends:
        null = np.zeros(0)
        return Polished(np.zeros_like(theta), null, null, null, null, null, null)
    columns = [np.array(column) for column in zip(*ends, strict=True)]
    return Polished(*columns)
