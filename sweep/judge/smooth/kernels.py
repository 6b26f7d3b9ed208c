"""Compiled: a one-hidden-layer network with smooth units, its objective and two derivatives.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, D    data points, input dimension
n, H    D + 1, units
x̃       data with a last column of ones                            (N, n)
θ       per unit (a_j, w_j, b_j), then c                           (P,)
z       preactivations; in a loss z = −y·f                         (N, H)
q, k    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
======  =========================================================  ==========

A unit's `kind` says what its three parts mean. `PLAIN`: a·σ(w·x+b). `TAIL` is the chart of a
sigmoid or tanh unit that saturates on all data: (κ, w, η) give κE/(1+ηE), E = e^{w·x−m}, m a shift
that keeps E ≤ 1. For η > 0 it is the same unit in other coordinates (the constant it tends to is
in c); η = 0 is infinity, where it has become a free exponential neuron. `BARE` is that
exponential neuron alone, η = 0 for good: also the arm `exp_skip` without its regularizer, where a
and b enter as α = a·e^{b+m} only. Weight decay is for plain units.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.kernels.compiled import compiled
from sweep.models.activations import Activation, Sigmoid, Softplus, Tanh

TANH, SIGMOID, SOFTPLUS = 0, 1, 2
PLAIN, TAIL, BARE = 0, 1, 2
# e^700 is near the largest float64: larger exponents are held there.
LARGEST = 700.0


def activation_code(activation: Activation) -> int | None:
    """The kernels' code of a smooth activation; None for any other."""
    codes: dict[type[object], int] = {Tanh: TANH, Sigmoid: SIGMOID, Softplus: SOFTPLUS}
    return codes.get(type(activation))


class Task(NamedTuple):
    """A smooth one-hidden-layer objective as the kernels take it; what stays fixed in a polish.

    `kinds` (H,) says what each unit is, `decays` (P,) each parameter's weight decay; `code`,
    `loss`, `p` name activation and loss (`activation_code`, `kernel_losses.code_of`).
    """

    X: np.ndarray
    y: np.ndarray
    kinds: np.ndarray
    decays: np.ndarray
    code: int
    loss: int
    p: float


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
def preactivation(theta: np.ndarray, at: int, x: np.ndarray, kind: int, shift: float) -> float:
    """w·x + b of a plain unit, w·x − m of any other; the unit's parameters start at `at`."""
    n = len(x)
    z = theta[at + n] if kind == PLAIN else -shift
    for k in range(n - 1):
        z += theta[at + 1 + k] * x[k]
    return min(z, LARGEST) if kind != PLAIN else z


@compiled
def unit_value(kind: int, code: int, z: float, last: float) -> float:
    """The unit's output over its weight; `last` is η."""
    if kind == PLAIN:
        return activate(code, z)[0]
    e = math.exp(z)
    return e / (1.0 + last * e)


@compiled
def outputs(theta: np.ndarray, shifts: np.ndarray, task: Task) -> np.ndarray:
    """f̃ at the data, (N,)."""
    X, kinds = task.X, task.kinds
    N, n = X.shape
    H = len(kinds)
    f = np.full(N, theta[H * (n + 1)])
    for i in range(N):
        for j in range(H):
            at = j * (n + 1)
            z = preactivation(theta, at, X[i], kinds[j], shifts[j])
            f[i] += theta[at] * unit_value(kinds[j], task.code, z, theta[at + n])
    return f


@compiled
def total(theta: np.ndarray, f: np.ndarray, task: Task) -> float:
    """F at θ, with outputs f."""
    value = 0.0
    for i in range(len(f)):
        value += loss_terms(task.loss, task.p, -task.y[i] * f[i])[0]
    size = 0.0
    for k in range(len(theta)):
        size += task.decays[k] * theta[k] * theta[k]
    return value + 0.5 * size


@compiled
def unit_row(
    theta: np.ndarray,
    at: int,
    x: np.ndarray,
    kind: int,
    shift: float,
    code: int,
    q: float,
    row: np.ndarray,
    hess: np.ndarray,
) -> None:
    """Write ∂f/∂(unit) into `row` and add q·∂²f/∂(unit)² to the lower half of `hess`."""
    n = len(x)
    z = preactivation(theta, at, x, kind, shift)
    weight, last = theta[at], theta[at + n]
    if kind == PLAIN:
        value, slope, turn, _ = activate(code, z)
        free = n
    else:
        e = math.exp(z)
        under = 1.0 / (1.0 + last * e)
        value, slope = e * under, e * under * under
        turn = slope * (1.0 - last * e) * under
        free = n - 1
        row[at + n] = -weight * value * value
        hess[at + n, at] -= q * value * value
        hess[at + n, at + n] += 2.0 * q * weight * value * value * value
        for k in range(free):
            hess[at + n, at + 1 + k] -= 2.0 * q * weight * value * slope * x[k]
    row[at] = value
    for k in range(free):
        row[at + 1 + k] = weight * slope * x[k]
        hess[at + 1 + k, at] += q * slope * x[k]
        bend = q * weight * turn * x[k]
        for m in range(k + 1):
            hess[at + 1 + k, at + 1 + m] += bend * x[m]


@compiled
def differentiate(
    theta: np.ndarray, shifts: np.ndarray, task: Task
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """F, ∇F (P,), ∇²F (P, P), and the size (P,) against which ∇F rounds.

    That size is Σᵢ (|qᵢ| + kᵢ(1+|fᵢ|))·|∂fᵢ|: q inherits the rounding of 1 − y·f times k.
    """
    X, kinds, decays = task.X, task.kinds, task.decays
    N, n = X.shape
    P = len(theta)
    f = outputs(theta, shifts, task)
    g, size, hess = np.zeros(P), np.zeros(P), np.zeros((P, P))
    row = np.zeros(P)
    row[P - 1] = 1.0
    for i in range(N):
        _, l1, l2 = loss_terms(task.loss, task.p, -task.y[i] * f[i])
        q = -task.y[i] * l1
        if l1 == 0.0 and l2 == 0.0:
            continue
        for j in range(len(kinds)):
            unit_row(theta, j * (n + 1), X[i], kinds[j], shifts[j], task.code, q, row, hess)
        doubt = abs(q) + l2 * (1.0 + abs(f[i]))
        for k in range(P):
            g[k] += q * row[k]
            size[k] += doubt * abs(row[k])
            steep = l2 * row[k]
            if steep != 0.0:
                for m in range(k + 1):
                    hess[k, m] += steep * row[m]
    for k in range(P):
        g[k] += decays[k] * theta[k]
        size[k] += abs(decays[k] * theta[k])
        hess[k, k] += decays[k]
        for m in range(k):
            hess[m, k] = hess[k, m]
    return total(theta, f, task), g, hess, size
