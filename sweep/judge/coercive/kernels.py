"""Compiled: ReQU and quadratic networks under the coercive regularizer, in reduced coordinates.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, D    data points, input dimension
n, k    D + 1, active neurons
x̃       data with a last column of ones                            (N, n)
v_j     (w_j, b_j)                                                 (k, n)
z_j     √|a_j|·v_j, the reduced coordinates of a neuron            (k, n)
s_j     sign of a_j                                                (k,)
h       z_j·x̃ᵢ, for ReQU its positive part                         (k, N)
q, c    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
E       Σᵢ ℓ(−yᵢ fᵢ) + Σⱼ λⱼ‖zⱼ‖², f = Σⱼ sⱼ hⱼ²
======  =========================================================  ==========

Both activations are homogeneous of degree 2, so a neuron's share of f is sⱼhⱼ², and by the
inequality of the means |a|³ + 2‖v‖³ ≥ 3|a|‖v‖² = 3‖z‖², with equality iff |a| = ‖v‖ ([B] eq. 9).
Hence F(θ) ≥ E(z(θ)), with equality where every neuron is balanced: the regularizer of order three,
under which a neuron dies ever more slowly, is the plain square of z in disguise, and Newton's
method takes a dying neuron to zero in one step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.kernels.compiled import compiled


class Task(NamedTuple):
    """What members share: data X = x̃ and y, the loss's code and power, ReQU or plain square."""

    X: np.ndarray
    y: np.ndarray
    loss: int
    p: float
    rectified: bool


@compiled
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """a·b."""
    total = 0.0
    for d in range(len(a)):
        total += a[d] * b[d]
    return total


@compiled
def activations(Z: np.ndarray, task: Task) -> np.ndarray:
    """h, (k, N)."""
    X = task.X
    h = np.empty((len(Z), len(X)))
    for j in range(len(Z)):
        for i in range(len(X)):
            t = dot(Z[j], X[i])
            h[j, i] = max(t, 0.0) if task.rectified else t
    return h


@compiled
def outputs(h: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Outputs f at the data, (N,)."""
    f = np.zeros(h.shape[1])
    for j in range(len(s)):
        for i in range(len(f)):
            f[i] += s[j] * h[j, i] * h[j, i]
    return f


@compiled
def loss_rows(f: np.ndarray, task: Task) -> np.ndarray:
    """ℓ, q and c at outputs f, (3, N)."""
    found = np.empty((3, len(f)))
    for i in range(len(f)):
        value, first, second = loss_terms(task.loss, task.p, -task.y[i] * f[i])
        found[0, i], found[1, i], found[2, i] = value, -task.y[i] * first, second
    return found


@compiled
def loss_sum(f: np.ndarray, task: Task) -> float:
    """Σᵢ ℓ(−yᵢ fᵢ)."""
    total = 0.0
    for i in range(len(f)):
        total += loss_terms(task.loss, task.p, -task.y[i] * f[i])[0]
    return total


@compiled
def penalty(Z: np.ndarray, lam: np.ndarray) -> float:
    """Σⱼ λⱼ‖zⱼ‖²."""
    total = 0.0
    for j in range(len(Z)):
        total += lam[j] * dot(Z[j], Z[j])
    return total


@compiled
def energy(Z: np.ndarray, s: np.ndarray, lam: np.ndarray, task: Task) -> float:
    """E."""
    return loss_sum(outputs(activations(Z, task), s), task) + penalty(Z, lam)


@compiled
def gradient(
    Z: np.ndarray, s: np.ndarray, lam: np.ndarray, h: np.ndarray, q: np.ndarray, task: Task
) -> np.ndarray:
    """∇E = 2λⱼzⱼ + 2sⱼ Σᵢ qᵢ hⱼᵢ x̃ᵢ, (k·n,) neuron by neuron."""
    X = task.X
    n = X.shape[1]
    g = np.empty(Z.size)
    for j in range(len(Z)):
        for d in range(n):
            g[j * n + d] = 2.0 * lam[j] * Z[j, d]
        for i in range(len(X)):
            share = 2.0 * s[j] * q[i] * h[j, i]
            if share != 0.0:
                for d in range(n):
                    g[j * n + d] += share * X[i, d]
    return g


@compiled
def hessian(
    s: np.ndarray,
    lam: np.ndarray,
    h: np.ndarray,
    q: np.ndarray,
    c: np.ndarray,
    on: np.ndarray,
    task: Task,
) -> np.ndarray:
    """∇²E, (k·n, k·n): Σᵢ cᵢ∇fᵢ∇fᵢᵀ and per neuron 2λⱼ + 2sⱼ Σᵢ qᵢ onⱼᵢ x̃ᵢx̃ᵢᵀ.

    `on` (k, N) says where the second derivative of hⱼᵢ² is taken as 2x̃x̃ᵀ rather than 0.
    """
    X = task.X
    n = X.shape[1]
    size = len(s) * n
    H = np.zeros((size, size))
    row = np.empty(size)
    for i in range(len(X)):
        for j in range(len(s)):
            for d in range(n):
                row[j * n + d] = 2.0 * s[j] * h[j, i] * X[i, d]
        if c[i] != 0.0:
            for a in range(size):
                share = c[i] * row[a]
                if share != 0.0:
                    for b in range(a, size):
                        H[a, b] += share * row[b]
        for j in range(len(s)):
            if on[j, i]:
                for d in range(n):
                    share = 2.0 * s[j] * q[i] * X[i, d]
                    for e in range(d, n):
                        H[j * n + d, j * n + e] += share * X[i, e]
    for a in range(size):
        H[a, a] += 2.0 * lam[a // n]
        for b in range(a + 1, size):
            H[b, a] = H[a, b]
    return H


@compiled
def switched_on(h: np.ndarray, task: Task) -> np.ndarray:
    """Where the second derivative of hⱼᵢ² is not zero, (k, N); on a kink, zero."""
    on = np.empty(h.shape, dtype=np.bool_)
    for j in range(len(h)):
        for i in range(h.shape[1]):
            on[j, i] = h[j, i] > 0.0 or not task.rectified
    return on


@compiled
def factorised(H: np.ndarray, shift: float) -> tuple[bool, np.ndarray]:
    """Whether H + shift·I is positive definite, and its LDLᵀ factors: D and D·Lᵀ above it.

    Row by row, so that the inner loop is an axpy, which runs on vectors.
    """
    size = len(H)
    A = H.copy()
    for k in range(size):
        A[k, k] += shift
    for k in range(size):
        pivot = A[k, k]
        if not pivot > 0.0:
            return False, A
        for a in range(k + 1, size):
            share = A[k, a] / pivot
            if share != 0.0:
                for b in range(a, size):
                    A[a, b] -= share * A[k, b]
    return True, A


@compiled
def solved(A: np.ndarray, g: np.ndarray) -> np.ndarray:
    """−(H + shift·I)⁻¹g from the factors A."""
    size = len(g)
    x = -g
    for k in range(size):
        share = x[k] / A[k, k]
        for a in range(k + 1, size):
            x[a] -= share * A[k, a]
    for k in range(size - 1, -1, -1):
        total = x[k]
        for b in range(k + 1, size):
            total -= A[k, b] * x[b]
        x[k] = total / A[k, k]
    return x
