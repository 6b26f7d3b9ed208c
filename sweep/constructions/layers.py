"""Piecewise-linear networks layer by layer, and random ones that are an affine map of x.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
C       outputs
W, b    weights and biases of a layer                         (K, H), (K,)
v, c    output weights and biases                             (C, K), (C,)
s₋, s₊  slopes of the activation left and right of zero
A       affine map, its constant last                         (D+1,)
β       ∂f/∂z of the first layer                              (K,)
======  ====================================================  ==========

Parameters lie in the order of `sweep.models.mlp`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sweep.constructions.fits import BestFit, features, point_losses

# Units keep this share of their preactivations' spread (at least) away from the kink: the
# relative clearance of a constructed point, and why none of them is in rounding trouble.
CLEARANCE = (0.1, 2.0)
# The first layer is corrected through one unit; its effect on the output must not be tiny.
LEAST_BETA = 0.05


@dataclass(frozen=True, eq=False)
class Net:
    """A network's parameters: hidden layers (W, b), output weights v (C, K) and biases c (C,)."""

    hidden: list[tuple[np.ndarray, np.ndarray]]
    v: np.ndarray
    c: np.ndarray

    def flat(self) -> np.ndarray:
        """θ, (P,)."""
        return np.concatenate(
            [*(p.ravel() for pair in self.hidden for p in pair), self.v.ravel(), self.c]
        )


def unflat(theta: np.ndarray, D: int, widths: tuple[int, ...]) -> Net:
    """The inverse of `Net.flat`, for D inputs and one output; what stands behind is ignored."""
    hidden, position, before = [], 0, D
    for width in widths:
        W = theta[position : position + width * before].reshape(width, before).copy()
        position += W.size
        hidden.append((W, theta[position : position + width].copy()))
        position, before = position + width, width
    end = position + before
    return Net(hidden, theta[None, position:end].copy(), theta[end : end + 1].copy())


def preactivations(
    net: Net, x: np.ndarray, h: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """The z of every hidden layer, (N, K) each, then the outputs (N, C)."""
    found, inputs = [], x
    for W, b in net.hidden:
        found.append(inputs @ W.T + b)
        inputs = h(found[-1])
    return [*found, inputs @ net.v.T + net.c]


def leaky(slopes: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The activation with these slopes."""
    return lambda z: np.asarray(np.where(z > 0, slopes[1] * z, slopes[0] * z))


def objective_of(fit: BestFit, net: Net, h: Callable[[np.ndarray], np.ndarray]) -> float:
    """F of a network with activation h and without regularizer."""
    output = preactivations(net, fit.x, h)[-1]
    return float(point_losses(fit.loss, fit.y, output).values.sum())


def affine_net(
    rng: np.random.Generator,
    x: np.ndarray,
    A: np.ndarray,
    widths: tuple[int, ...],
    slopes: tuple[float, float],
) -> Net:
    """A network of any depth that is the affine map A on x, every unit inside one piece.

    [C] Lemmas 3 and 4 with all their constants free and random: weights, the piece of every unit
    (each layer keeps a live one), and its distance from the kink.
    """
    while True:
        fans = [x.shape[1], *widths]
        Ws = [rng.normal(size=(k, h)) / np.sqrt(h) for h, k in zip(fans, widths, strict=False)]
        signs = [np.where(rng.random(k) < 0.7, 1.0, -1.0) for k in widths]
        for sign in signs:
            sign[rng.integers(len(sign))] = 1.0
        v = rng.normal(size=widths[-1])
        tilts = [np.where(sign > 0, slopes[1], slopes[0]) for sign in signs]
        beta = v * tilts[-1]
        for W, tilt in zip(Ws[:0:-1], tilts[-2::-1], strict=True):
            beta = (beta @ W) * tilt
        j = int(np.abs(beta).argmax())
        if abs(beta[j]) >= LEAST_BETA:
            break
    Ws[0][j] += (A[:-1] - beta @ Ws[0]) / beta[j]
    hidden, h = [], x
    for W, sign, tilt in zip(Ws, signs, tilts, strict=True):
        z = h @ W.T
        gap = rng.uniform(*CLEARANCE, size=len(W)) * (np.ptp(z, axis=0) + 0.1)
        b = sign * (gap - (sign * z).min(axis=0))
        hidden.append((W, b))
        h = (z + b) * tilt
    return Net(hidden, v[None], (features(x) @ A - h @ v).mean(keepdims=True))
