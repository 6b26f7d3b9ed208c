"""Piecewise-linear networks built by hand: affine maps, and the better point beside them.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
W, b    weights and biases of a layer                         (K, H), (K,)
s₋, s₊  slopes of the activation left and right of zero
A       affine map, its constant last                         (D+1,)
β       ∂f/∂z of the first layer                              (K,)
======  ====================================================  ==========

Parameters lie in the order of `sweep.models.mlp`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep.controls.fits import BestFit, derivatives, features

# Units keep this share of their preactivations' spread (at least) away from the kink: the
# relative clearance of a constructed point, and why none of them is in rounding trouble.
CLEARANCE = (0.1, 2.0)
# The first layer is corrected through one unit; its effect on the output must not be tiny.
LEAST_BETA = 0.05


@dataclass(frozen=True, eq=False)
class Net:
    """A network's parameters: hidden layers (W, b), output weights v and bias c."""

    hidden: list[tuple[np.ndarray, np.ndarray]]
    v: np.ndarray
    c: float

    def flat(self) -> np.ndarray:
        """θ, (P,)."""
        return np.concatenate(
            [*(p.ravel() for pair in self.hidden for p in pair), self.v, [self.c]]
        )


def unflat(theta: np.ndarray, D: int, widths: tuple[int, ...]) -> Net:
    """The inverse of `Net.flat`, for D inputs; parameters behind the network's are ignored."""
    hidden, position, before = [], 0, D
    for width in widths:
        W = theta[position : position + width * before].reshape(width, before).copy()
        position += W.size
        hidden.append((W, theta[position : position + width].copy()))
        position, before = position + width, width
    return Net(hidden, theta[position : position + before].copy(), float(theta[position + before]))


def preactivations(
    net: Net, x: np.ndarray, h: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """The z of every hidden layer, (N, K) each, then the output (N, 1)."""
    found, inputs = [], x
    for W, b in net.hidden:
        found.append(inputs @ W.T + b)
        inputs = h(found[-1])
    return [*found, (inputs @ net.v + net.c)[:, None]]


def leaky(slopes: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The activation with these slopes."""
    return lambda z: np.asarray(np.where(z > 0, slopes[1] * z, slopes[0] * z))


def objective_of(fit: BestFit, net: Net, slopes: tuple[float, float]) -> float:
    """F of a network without regularizer."""
    output = preactivations(net, fit.x, leaky(slopes))[-1][:, 0]
    return float(derivatives(fit.loss, -fit.y * output)[0].sum())


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
    return Net(hidden, v, float((features(x) @ A - h @ v).mean()))


def better_net(
    rng: np.random.Generator, fit: BestFit, widths: tuple[int, ...], slopes: tuple[float, float]
) -> Net | None:
    """A network of lower F than the best affine fit ([C] Thms 3, 4); None if widths forbid it.

    Two units carry an affine p as [h(p+γ) − h(−p+γ)]/(s₊+s₋), which is p + κγ·sgn p for |p| ≥ |γ|,
    κ = (s₊−s₋)/(s₊+s₋). As Σq = 0 at the best fit, F changes by 2κγ·Σ_I q to first order, with I
    the points where p > 0. p is the best fit less a level, tilted a little to tell all points
    apart; the tilt costs second order only.
    """
    total = slopes[0] + slopes[1]
    if widths[0] < 2 or total == 0 or slopes[0] == slopes[1]:
        return None
    kappa, X = (slopes[1] - slopes[0]) / total, features(fit.x)
    best: tuple[float, Net] | None = None
    direction = rng.normal(size=fit.x.shape[1])
    for tilt in np.append(0.0, 10.0 ** np.arange(-4.0, 1.0)):
        A = fit.A + tilt * np.append(direction, 0.0)
        values = np.sort(X @ A)
        for level, gap in zip((values[1:] + values[:-1]) / 2, np.diff(values), strict=True):
            inside = np.greater(X @ A, level)
            sign = -np.sign(kappa * fit.q[inside].sum())
            for share in (0.02, 0.2, 0.45):
                gamma = float(sign * share * gap)
                net = _pair(rng, fit.x, A, float(level), gamma, widths, slopes)
                value = objective_of(fit, net, slopes)
                if best is None or value < best[0]:
                    best = value, net
    assert best is not None
    return best[1] if best[0] < fit.value * (1 - 1e-6) else None


def _pair(
    rng: np.random.Generator,
    x: np.ndarray,
    A: np.ndarray,
    level: float,
    gamma: float,
    widths: tuple[int, ...],
    slopes: tuple[float, float],
) -> Net:
    """The pair of units in the first layer; later layers pass it on through one live unit."""
    width, D = widths[0], x.shape[1]
    W = np.vstack([A[:-1], -A[:-1], np.zeros((width - 2, D))])
    b = np.concatenate([[A[-1] - level + gamma, level - A[-1] + gamma], np.ones(width - 2)])
    hidden = [(W, b)]
    share = np.append([1.0, -1.0], np.zeros(width - 2)) / (slopes[0] + slopes[1])
    out, constant = share, level
    for before, k in pairwise(widths):
        h = leaky(slopes)(preactivations(Net(hidden, out, 0.0), x, leaky(slopes))[-2])
        W = np.vstack([out, np.zeros((k - 1, before))])
        lift = float(-(h @ out).min() + 1 + np.ptp(h @ out))
        hidden.append((W, np.append(lift, np.ones(k - 1))))
        out = np.append(1 / slopes[1], np.zeros(k - 1))
        constant -= lift
    return Net(hidden, out, constant)
