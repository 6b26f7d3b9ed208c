"""Compiled: gradient and Hessian with proven bounds of their rounding, and a bound of ∇³F.

Every computed number carries a bound of its distance from the exact one (running error analysis,
Higham, Accuracy and Stability of Numerical Algorithms, ch. 3): θ, the data and the shifts are
exact as stored, a sum or product of m numbers loses at most a factor 1 ± m·u, and exp, tanh and
log1p are taken to be within 4 ulps, which the math libraries beneath promise.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
u       unit roundoff, 2⁻⁵³
h0..h3  a unit's output over its weight, and its derivatives in z
e_…     bound of the error of the number that follows
row     ∂fᵢ/∂θ                                                     (P,)
q, k    ∂ℓᵢ/∂fᵢ, ∂²ℓᵢ/∂fᵢ²                                         (N,)
G, B, T bounds of the norms of ∇fᵢ, ∇²fᵢ, ∇³fᵢ on a ball           (N,)
r       radius of that ball in θ
======  =========================================================  ==========

A chart unit (`TAIL`, `BARE`) is taken at η = 0, where it is an exponential neuron; η itself is no
coordinate here: its row, gradient and Hessian are left zero.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.numerics.kernel_losses import HINGE, SQUARED, loss_terms
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.smooth.kernels import (
    PLAIN,
    SIGMOID,
    TANH,
    Task,
    activate,
    preactivation,
)
from sweep.kernels.compiled import compiled

# Error of a smooth activation and its derivatives, in units u of their size: exp (8), two sums and
# a square (18), products and quotients stay below this.
ACTIVATION_UNITS = 64.0
EXP_UNITS = 8.0
# The bounds are themselves rounded: sums of at most some ten thousand positive terms.
ROOM = 1.0 + 1e-6


@compiled
def supremum(code: int, order: int) -> float:
    """sup|σ⁽ᵏ⁾| over the reals, k = 1..4, rounded up."""
    # tanh: 1, 4/(3√3), 2, and |t(1−t²)(16−24t²)| < 4.0860. σ(z) = (1+tanh(z/2))/2 divides the k-th
    # by 2^{k+1}; softplus′ = σ.
    if code == TANH:
        return (1.0, 0.7699, 2.0, 4.0861)[order - 1]
    if code == SIGMOID:
        return (0.25, 0.0963, 0.125, 0.1277)[order - 1]
    return (1.0, 0.25, 0.0963, 0.125)[order - 1]


@compiled
def with_doubt(
    kind: int, code: int, z: float, e_z: float
) -> tuple[float, float, float, float, float, float]:
    """(h0, h1, h2) at z, and bounds of their errors when z errs by e_z."""
    if kind != PLAIN:
        e = math.exp(z)
        doubt = e * (EXP_UNITS * UNIT + 2.0 * e_z) if e_z < 0.5 else np.inf
        return e, e, e, doubt, doubt, doubt
    h0, h1, h2, _ = activate(code, z)
    small = ACTIVATION_UNITS * UNIT
    e_0 = supremum(code, 1) * e_z + small * abs(h0)
    e_1 = supremum(code, 2) * e_z + small * h1
    # In h2 a factor like 1 − e may cancel: its error is relative to h1.
    return h0, h1, h2, e_0, e_1, supremum(code, 3) * e_z + small * (h1 + abs(h2))


@compiled
def loss_with_doubt(loss: int, p: float, z: float, e_z: float) -> tuple[float, float, float, float]:
    """ℓ′, ℓ″ at z and bounds of their errors when z errs by e_z."""
    _, l1, l2 = loss_terms(loss, p, z)
    if loss == HINGE:
        _, _, steep = loss_terms(loss, p, z + e_z)
        small = (2.0 * p + 32.0) * UNIT
        third = third_bound(loss, p, z + e_z)
        return l1, l2, (steep * e_z + small * l1) * ROOM, (third * e_z + small * l2) * ROOM
    if loss == SQUARED:
        return l1, l2, 2.0 * e_z + 4.0 * UNIT * abs(l1), 0.0
    small = ACTIVATION_UNITS * UNIT
    return l1, l2, 0.3607 * e_z + small * l1, third_bound(loss, p, z) * e_z + small * l2


@compiled
def third_bound(loss: int, p: float, z: float) -> float:
    """sup|ℓ‴| over (−∞, z]."""
    if loss == SQUARED:
        return 0.0
    if loss != HINGE:
        return 0.1389  # 1/(6√3 ln 2), rounded up
    u = z + 1.0
    if u <= 0.0:
        return 0.0
    return p * (p - 1.0) * (p - 2.0) * (1.0 if p == 3.0 else u ** (p - 3.0)) * ROOM


@compiled
def size_of(theta: np.ndarray, at: int, x: np.ndarray, kind: int, shift: float) -> float:
    """Σ|w||x| + |b|, against which z rounds."""
    n = len(x)
    size = abs(theta[at + n]) if kind == PLAIN else abs(shift)
    for k in range(n - 1):
        size += abs(theta[at + 1 + k] * x[k])
    return size


@compiled
def forward_doubt(
    theta: np.ndarray, shifts: np.ndarray, task: Task
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outputs f (N,), units' (h0, h1, h2) (N, H, 3): f, its error bound, h, its error bounds."""
    N, n = task.X.shape
    H = len(task.kinds)
    f, e_f = np.full(N, theta[-1]), np.zeros(N)
    h, e_h = np.zeros((N, H, 3)), np.zeros((N, H, 3))
    for i in range(N):
        size = abs(theta[-1])
        for j in range(H):
            at, kind = j * (n + 1), task.kinds[j]
            z = preactivation(theta, at, task.X[i], kind, shifts[j])
            e_z = (n + 2) * UNIT * ROOM * size_of(theta, at, task.X[i], kind, shifts[j])
            h0, h1, h2, e_0, e_1, e_2 = with_doubt(kind, task.code, z, e_z)
            h[i, j, 0], h[i, j, 1], h[i, j, 2] = h0, h1, h2
            e_h[i, j, 0], e_h[i, j, 1], e_h[i, j, 2] = e_0, e_1, e_2
            f[i] += theta[at] * h0
            size += abs(theta[at] * h0)
            e_f[i] += abs(theta[at]) * e_0
        e_f[i] = ROOM * (e_f[i] + (H + 2) * UNIT * size)
    return f, e_f, h, e_h


@compiled
def rows_doubt(
    theta: np.ndarray,
    x: np.ndarray,
    kinds: np.ndarray,
    h: np.ndarray,
    e_h: np.ndarray,
    row: np.ndarray,
    e_row: np.ndarray,
) -> None:
    """∂fᵢ/∂θ and its error bound, in place; h, e_h (H, 3) of this point."""
    n = len(x)
    for j in range(len(kinds)):
        at, a = j * (n + 1), theta[j * (n + 1)]
        row[at], e_row[at] = h[j, 0], e_h[j, 0]
        for k in range(n if kinds[j] == PLAIN else n - 1):
            row[at + 1 + k] = a * h[j, 1] * x[k]
            e_row[at + 1 + k] = abs(a * x[k]) * (e_h[j, 1] + 3.0 * UNIT * h[j, 1]) * ROOM


@compiled
def bend_doubt(
    theta: np.ndarray,
    x: np.ndarray,
    kinds: np.ndarray,
    h: np.ndarray,
    e_h: np.ndarray,
    q: float,
    e_q: float,
    hess: np.ndarray,
    doubt: np.ndarray,
    rounds: float,
) -> None:
    """Add q·∇²fᵢ to the lower half of `hess`, its error to `doubt`; `rounds` is m·u of the sums."""
    n = len(x)
    for j in range(len(kinds)):
        at, a = j * (n + 1), theta[j * (n + 1)]
        for k in range(n if kinds[j] == PLAIN else n - 1):
            term = h[j, 1] * x[k]
            hess[at + 1 + k, at] += q * term
            e_term = abs(x[k]) * e_h[j, 1]
            doubt[at + 1 + k, at] += (abs(q) + e_q) * e_term + (e_q + rounds * abs(q)) * abs(term)
            for m in range(k + 1):
                term = a * h[j, 2] * x[k] * x[m]
                hess[at + 1 + k, at + 1 + m] += q * term
                e_term = abs(a * x[k] * x[m]) * e_h[j, 2]
                add = (abs(q) + e_q) * e_term + (e_q + rounds * abs(q)) * abs(term)
                doubt[at + 1 + k, at + 1 + m] += add


@compiled
def second_order(
    theta: np.ndarray, shifts: np.ndarray, task: Task
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """∇F, its error bound (P,), ∇²F, its error bound (P, P), f and its error bound (N,)."""
    N, _ = task.X.shape
    P = len(theta)
    f, e_f, h, e_h = forward_doubt(theta, shifts, task)
    g, e_g, hess, doubt = np.zeros(P), np.zeros(P), np.zeros((P, P)), np.zeros((P, P))
    row, e_row = np.zeros(P), np.zeros(P)
    row[P - 1] = 1.0
    # Additions per entry (two a point, one for the decay), and the products within a term.
    rounds = (2 * N + 12) * UNIT
    for i in range(N):
        z = -task.y[i] * f[i]
        l1, k, e_q, e_k = loss_with_doubt(
            task.loss, task.p, z, e_f[i] + 2.0 * UNIT * (1.0 + abs(z))
        )
        q = -task.y[i] * l1
        rows_doubt(theta, task.X[i], task.kinds, h[i], e_h[i], row, e_row)
        bend_doubt(theta, task.X[i], task.kinds, h[i], e_h[i], q, e_q, hess, doubt, rounds)
        for s in range(P):
            g[s] += q * row[s]
            e_g[s] += (abs(q) + e_q) * e_row[s] + (e_q + rounds * abs(q)) * abs(row[s])
            wide = abs(row[s]) + e_row[s]
            for t in range(s + 1):
                hess[s, t] += k * row[s] * row[t]
                doubt[s, t] += (e_k + rounds * k) * wide * (abs(row[t]) + e_row[t])
                doubt[s, t] += k * (e_row[s] * (abs(row[t]) + e_row[t]) + abs(row[s]) * e_row[t])
    for s in range(P):
        g[s] += task.decays[s] * theta[s]
        e_g[s] = ROOM * (e_g[s] + rounds * task.decays[s] * abs(theta[s]))
        hess[s, s] += task.decays[s]
        doubt[s, s] += rounds * task.decays[s]
        for t in range(s + 1):
            hess[t, s] = hess[s, t]
            doubt[s, t] *= ROOM
            doubt[t, s] = doubt[s, t]
    return g, e_g, hess, doubt, f, e_f


@compiled
def reach(
    theta: np.ndarray, shifts: np.ndarray, task: Task, i: int, r: float
) -> tuple[float, float, float]:
    """G, B, T of point i on the ball of radius r about θ.

    ∇²f has one block a unit, [[0, h1·x̃ᵀ], [h1·x̃, a·h2·x̃x̃ᵀ]], whose norm is that of the 2 × 2
    matrix [[0, h1·ξ], [h1·ξ, a·h2·ξ²]], ξ = ‖x̃‖. Its third derivative in a unit direction is at
    most 3·h2·ξ²·max(sin φ cos²φ) + |a|·h3·ξ³, and max(sin φ cos²φ) = 2/(3√3).
    """
    n = task.X.shape[1]
    x = task.X[i]
    squares, B, T = 1.0, 0.0, 0.0
    for j in range(len(task.kinds)):
        at, kind = j * (n + 1), task.kinds[j]
        length = 0.0
        for k in range(n if kind == PLAIN else n - 1):
            length += x[k] * x[k]
        length = math.sqrt(length)
        z = preactivation(theta, at, x, kind, shifts[j])
        move = r * length + (n + 2) * UNIT * ROOM * size_of(theta, at, x, kind, shifts[j])
        if kind == PLAIN:
            h0, h1, h2, h3 = activate(task.code, z)
            code = task.code
            h0 = abs(h0) + supremum(code, 1) * move
            h2 = min(abs(h2) + h1 * 1e-12 + supremum(code, 3) * move, supremum(code, 2))
            h1 = min(h1 + supremum(code, 2) * move, supremum(code, 1))
            h3 = min(abs(h3) + 1e-12 + supremum(code, 4) * move, supremum(code, 3))
        else:
            h0 = h1 = h2 = h3 = math.exp(z + move)
        a = abs(theta[at]) + r
        squares += h0 * h0 + (a * h1 * length) ** 2
        turn, slope = 0.5 * a * h2 * length * length, h1 * length
        B = max(B, turn + math.sqrt(turn * turn + slope * slope))
        T = max(T, 1.1548 * h2 * length * length + a * h3 * length**3)
    return ROOM * math.sqrt(squares), ROOM * B, ROOM * T


@compiled
def third_order(
    theta: np.ndarray, shifts: np.ndarray, task: Task, f: np.ndarray, e_f: np.ndarray, r: float
) -> tuple[float, float]:
    """A Lipschitz constant of ∇²F on the ball of radius r, and the largest G·r + e_f over |f|.

    ‖∇³F‖ ≤ Σᵢ [|ℓ‴|G³ + 3ℓ″GB + |ℓ′|T], each at its largest on the ball. The second number is
    below 1 when no output changes its sign there.
    """
    L, worst = 0.0, 0.0
    for i in range(len(f)):
        G, B, T = reach(theta, shifts, task, i, r)
        z = -task.y[i] * f[i]
        move = G * r + e_f[i] + 2.0 * UNIT * (1.0 + abs(z))
        _, l1, l2 = loss_terms(task.loss, task.p, z + move)
        if task.loss == SQUARED:
            l1 = abs(2.0 * (z + 1.0)) + 2.0 * move
        elif task.loss != HINGE:
            l2 = min(l2 + 0.1389 * 2.0 * move, 0.3607)
        third = third_bound(task.loss, task.p, z + move)
        L += third * G**3 + 3.0 * l2 * G * B + l1 * T
        worst = max(worst, move / abs(f[i])) if f[i] != 0.0 else np.inf
    return ROOM * L, worst
