"""ℓ, ℓ′, ℓ″ of the scalar losses, compiled.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
z       −y·f of one data point                                scalar
ℓ       its loss                                              scalar
p       the power of hinge_power; idle for the others         scalar
======  ====================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.kernels.compiled import compiled
from sweep.models.losses import HingePower, Logistic, Loss, Squared

HINGE, SQUARED, LOGISTIC = 0, 1, 2
LN2 = math.log(2.0)


def code_of(loss: Loss) -> tuple[int, float] | None:
    """(code, p) of a loss for the kernels; None for a loss that they do not know."""
    if isinstance(loss, HingePower):
        return HINGE, float(loss.p)
    if isinstance(loss, Squared):
        return SQUARED, 2.0
    if isinstance(loss, Logistic):
        return LOGISTIC, 1.0
    return None


@compiled
def loss_terms(code: int, p: float, z: float) -> tuple[float, float, float]:
    """(ℓ, ℓ′, ℓ″) at z."""
    if code == LOGISTIC:
        e = math.exp(-abs(z))
        sigmoid = 1.0 / (1.0 + e) if z >= 0.0 else e / (1.0 + e)
        # sigmoid·(1−sigmoid) without the cancellation in 1−sigmoid
        curvature = e / (1.0 + e) ** 2
        return (max(z, 0.0) + math.log1p(e)) / LN2, sigmoid / LN2, curvature / LN2
    u = z + 1.0
    if code == SQUARED:
        return u * u, 2.0 * u, 2.0
    if u <= 0.0:
        return 0.0, 0.0, 0.0
    # p = 3 is the usual case, and pow costs more than all the rest
    power = u if p == 3.0 else u ** (p - 2.0)
    return power * u * u, p * power * u, p * (p - 1.0) * power


@compiled
def add_losses(code: int, p: float, z: np.ndarray, value: np.ndarray, first: np.ndarray) -> None:
    """Write ℓ and ℓ′ at z (N,) into `value` and `first`, to the last bit those of `loss_terms`."""
    if code == HINGE and p == 3.0:
        # Free of branches: this loop runs on vectors.
        for i in range(z.size):
            u = max(z[i] + 1.0, 0.0)
            value[i], first[i] = u * u * u, 3.0 * u * u
        return
    for i in range(z.size):
        value[i], first[i], _ = loss_terms(code, p, z[i])


@compiled
def loss_rows(code: int, p: float, z: np.ndarray) -> np.ndarray:
    """ℓ, ℓ′, ℓ″ at many z (N,), (3, N)."""
    found = np.empty((3, z.size))
    for i in range(z.size):
        found[0, i], found[1, i], found[2, i] = loss_terms(code, p, z[i])
    return found
