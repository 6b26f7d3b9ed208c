"""Compiled: a one-hidden-layer network with smooth units, its objective and two derivatives.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, D    data points, input dimension
n, H    D + 1, hidden units
x̃       data with a last column of ones                            (N, n)
θ       per unit a_j, (w_j, b_j); then c; then α, w if `bare`      (P,)
E       e^{w·x−m}, the exponential neuron without its weight       (N,)
z       preactivations, or z = −y·f in a loss                      (N, H)
q, k    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
======  =========================================================  ==========

The exponential neuron stands in the limit problem: its regularizer is zero and (a, b) enter as
α = a·e^{b+m} alone, m a shift that keeps E ≤ 1. Weight decay acts on units and c only.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.compiled import compiled
from sweep.models.activations import Activation, Sigmoid, Softplus, Tanh
from sweep.models.losses import HingePower, Logistic, Loss, Squared

TANH, SIGMOID, SOFTPLUS = 0, 1, 2
HINGE, LOGISTIC, SQUARED = 0, 1, 2
LOG2 = math.log(2.0)


def activation_code(activation: Activation) -> int | None:
    """The kernels' code of a smooth activation; None for any other."""
    codes: dict[type[object], int] = {Tanh: TANH, Sigmoid: SIGMOID, Softplus: SOFTPLUS}
    return codes.get(type(activation))


def loss_code(loss: Loss) -> tuple[int, float] | None:
    """The kernels' code of a loss and its power; None for a loss not known here."""
    if isinstance(loss, HingePower):
        return HINGE, float(loss.p)
    if isinstance(loss, Logistic):
        return LOGISTIC, 0.0
    return (SQUARED, 0.0) if isinstance(loss, Squared) else None


@compiled
def activate(code: int, z: float) -> tuple[float, float, float, float]:
    """σ(z) and its first three derivatives, each to a few ulps also where σ saturates."""
    # With e = e^{−|z|} nothing cancels: sech² = 4e²/(1+e²)², σ′ = e/(1+e)².
    if code == TANH:
        e = math.exp(-2.0 * abs(z))
        s = 4.0 * e / ((1.0 + e) * (1.0 + e))
        t = math.tanh(z)
        return t, s, -2.0 * t * s, s * (4.0 - 6.0 * s)
    e = math.exp(-abs(z))
    up = 1.0 / (1.0 + e) if z >= 0.0 else e / (1.0 + e)
    slope = e / ((1.0 + e) * (1.0 + e))
    turn = -(1.0 - e) / (1.0 + e) if z >= 0.0 else (1.0 - e) / (1.0 + e)
    if code == SIGMOID:
        return up, slope, slope * turn, slope * (1.0 - 6.0 * slope)
    return max(z, 0.0) + math.log1p(e), up, slope, slope * turn


@compiled
def lose(code: int, p: float, z: float) -> tuple[float, float, float, float]:
    """ℓ(z) and its first three derivatives."""
    if code == HINGE:
        u = z + 1.0
        if u <= 0.0:
            return 0.0, 0.0, 0.0, 0.0
        if p == 3.0:
            return u * u * u, 3.0 * u * u, 6.0 * u, 6.0
        third = p * (p - 1.0) * (p - 2.0) * u ** (p - 3.0)
        return u**p, p * u ** (p - 1.0), p * (p - 1.0) * u ** (p - 2.0), third
    if code == SQUARED:
        u = z + 1.0
        return u * u, 2.0 * u, 2.0, 0.0
    soft, up, slope, turn = activate(SOFTPLUS, z)
    return soft / LOG2, up / LOG2, slope / LOG2, turn / LOG2


@compiled
def outputs(
    theta: np.ndarray, X: np.ndarray, H: int, bare: bool, shift: float, code: int
) -> np.ndarray:
    """f̃ at the data, (N,)."""
    N, n = X.shape
    f = np.full(N, theta[H * (n + 1)])
    last = H * (n + 1) + 1
    for i in range(N):
        for j in range(H):
            at = j * (n + 1)
            z = 0.0
            for k in range(n):
                z += theta[at + 1 + k] * X[i, k]
            f[i] += theta[at] * activate(code, z)[0]
        if bare:
            z = -shift
            for k in range(n - 1):
                z += theta[last + 1 + k] * X[i, k]
            f[i] += theta[last] * math.exp(min(z, 700.0))
    return f


@compiled
def total(
    theta: np.ndarray, f: np.ndarray, y: np.ndarray, decay: float, ordinary: int, loss: int, p: float
) -> float:
    """F of outputs f; the first `ordinary` parameters decay."""
    value = 0.0
    for i in range(len(y)):
        value += lose(loss, p, -y[i] * f[i])[0]
    size = 0.0
    for k in range(ordinary):
        size += theta[k] * theta[k]
    return value + 0.5 * decay * size


@compiled
def differentiate(
    theta: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    H: int,
    bare: bool,
    shift: float,
    code: int,
    loss: int,
    p: float,
    decay: float,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """F, ∇F (P,), ∇²F (P, P), and the size (P,) against which ∇F rounds.

    That size is Σᵢ (|qᵢ| + kᵢ(1+|fᵢ|))·|∂fᵢ|: q inherits the rounding of 1 − y·f times k.
    """
    N, n = X.shape
    P = len(theta)
    base = H * (n + 1)
    f = outputs(theta, X, H, bare, shift, code)
    g, size, hess = np.zeros(P), np.zeros(P), np.zeros((P, P))
    row = np.zeros(P)
    for i in range(N):
        _, l1, l2, _ = lose(loss, p, -y[i] * f[i])
        q = -y[i] * l1
        if l1 == 0.0 and l2 == 0.0:
            continue
        row[base] = 1.0
        for j in range(H):
            at = j * (n + 1)
            z = 0.0
            for k in range(n):
                z += theta[at + 1 + k] * X[i, k]
            h, h1, h2, _ = activate(code, z)
            row[at] = h
            for k in range(n):
                row[at + 1 + k] = theta[at] * h1 * X[i, k]
                hess[at + 1 + k, at] += q * h1 * X[i, k]
                bend = q * theta[at] * h2 * X[i, k]
                for m in range(k + 1):
                    hess[at + 1 + k, at + 1 + m] += bend * X[i, m]
        if bare:
            at = base + 1
            z = -shift
            for k in range(n - 1):
                z += theta[at + 1 + k] * X[i, k]
            e = math.exp(min(z, 700.0))
            row[at] = e
            for k in range(n - 1):
                row[at + 1 + k] = theta[at] * e * X[i, k]
                hess[at + 1 + k, at] += q * e * X[i, k]
                bend = q * theta[at] * e * X[i, k]
                for m in range(k + 1):
                    hess[at + 1 + k, at + 1 + m] += bend * X[i, m]
        for k in range(P):
            g[k] += q * row[k]
            size[k] += (abs(q) + l2 * (1.0 + abs(f[i]))) * abs(row[k])
            steep = l2 * row[k]
            if steep != 0.0:
                for m in range(k + 1):
                    hess[k, m] += steep * row[m]
    for k in range(base + 1):
        g[k] += decay * theta[k]
        size[k] += abs(decay * theta[k])
        hess[k, k] += decay
    for k in range(P):
        for m in range(k):
            hess[m, k] = hess[k, m]
    return total(theta, f, y, decay, base + 1, loss, p), g, hess, size
