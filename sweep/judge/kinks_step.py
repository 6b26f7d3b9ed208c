"""One step of the kink polish: the point in numbers, its subgradient, Newton between the kinks.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
θ       V row by row, c, and α, w with the neuron                  (P,)
g       subgradient of least norm                                  (P,)
B       orthonormal basis of the manifold of the held kinks        (P, m)
Δ       radius of the trust region                                 scalar
others  as in `sweep.judge.kinks` and `sweep.judge.kinks_search`
======  =========================================================  ==========
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sweep.judge.compiled import compiled
from sweep.judge.kernel_losses import loss_terms
from sweep.judge.kinks_geometry import basis, bounded_least_squares
from sweep.judge.kinks_search import Line, Task

# Curvatures below this share of the largest are taken as this share: F is flat there, and what
# the gradient says in such a direction is little more than rounding (1e-16 of the largest terms).
FLOOR = 1e-13


class Point(NamedTuple):
    """Where the polish stands; `alpha` belongs to exp(w·x − max_i w·x_i)."""

    V: np.ndarray
    c: float
    alpha: float
    w: np.ndarray


class Seen(NamedTuple):
    """What the data see of a point: `scale` is Σ|q_i|‖x̃_i‖, `margin` min y_i f_i."""

    Z: np.ndarray
    m: np.ndarray
    F: float
    q: np.ndarray
    r: np.ndarray
    scale: float
    margin: float


@compiled
def exponents(w: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, float]:
    """(w·x_i − max_i w·x_i (N,), that maximum)."""
    m, top = np.zeros(X.shape[0]), -np.inf
    for i in range(m.size):
        for k in range(w.size):
            m[i] += w[k] * X[i, k]
        top = max(top, m[i])
    for i in range(m.size):
        m[i] -= top
    return m, top


@compiled
def look(point: Point, on: np.ndarray, task: Task) -> Seen:
    """The point in numbers, the kinks that it is on at exactly zero."""
    H, N = on.shape
    Z, q, r = np.zeros((H, N)), np.empty(N), np.empty(N)
    m = exponents(point.w, task.X)[0]
    F, scale, margin = 0.0, 0.0, np.inf
    for i in range(N):
        f, length = point.c, 0.0
        if point.alpha != 0.0:
            f += point.alpha * math.exp(m[i])
        for j in range(H):
            if not on[j, i]:
                for k in range(task.X.shape[1]):
                    Z[j, i] += point.V[j, k] * task.X[i, k]
            f += task.s[j] * (task.hi if Z[j, i] > 0.0 else task.lo) * Z[j, i]
        for k in range(task.X.shape[1]):
            length += task.X[i, k] ** 2
        loss, first, second = loss_terms(task.code, task.p, -task.y[i] * f)
        F += loss
        q[i], r[i] = -task.y[i] * first, second
        scale += abs(first) * math.sqrt(length)
        margin = min(margin, task.y[i] * f)
    return Seen(Z, m, F, q, r, scale, margin)


@compiled
def subgradient(
    point: Point, seen: Seen, on: np.ndarray, tau: np.ndarray, task: Task, exponential: bool
) -> np.ndarray:
    """The subgradient of least norm, (P,); the multipliers `tau` are updated in place."""
    H, N = on.shape
    n = task.X.shape[1]
    g = np.zeros(H * n + 1 + (n if exponential else 0))
    for j in range(H):
        part, count = np.zeros(n), 0
        for i in range(N):
            slope = task.hi if seen.Z[j, i] > 0.0 else task.lo
            for k in range(n):
                part[k] += seen.q[i] * task.s[j] * slope * task.X[i, k]
            count += on[j, i]
        if count > 0:
            _least(part, seen.q, on[j], tau[j], task.s[j], task)
        for k in range(n):
            g[j * n + k] = part[k]
    for i in range(N):
        g[H * n] += seen.q[i]
        if exponential:
            e = seen.q[i] * math.exp(seen.m[i])
            g[H * n + 1] += e
            for k in range(n - 1):
                g[H * n + 2 + k] += e * point.alpha * task.X[i, k]
    return g


@compiled
def _least(
    part: np.ndarray, q: np.ndarray, on: np.ndarray, tau: np.ndarray, s: float, task: Task
) -> None:
    """Reduce one unit's gradient (n,) by its kinks as far as τ in [0, 1] allows; in place."""
    count = 0
    for i in range(on.size):
        count += on[i]
    A, start, r = np.zeros((part.size, count)), np.empty(count), np.empty(part.size)
    a = 0
    for i in range(on.size):
        if on[i]:
            convexity = max(q[i] * s * (task.hi - task.lo), 0.0)
            for k in range(part.size):
                A[k, a] = convexity * task.X[i, k]
            start[a] = tau[i]
            a += 1
    bounded_least_squares(A, part, start, r)
    a = 0
    for i in range(on.size):
        if on[i]:
            tau[i] = start[a]
            a += 1
    for k in range(part.size):
        part[k] = r[k]


@compiled
def newton_direction(
    point: Point,
    seen: Seen,
    g: np.ndarray,
    on: np.ndarray,
    tau: np.ndarray,
    delta: float,
    task: Task,
    exponential: bool,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(direction d (P,), the pairs that it stays on, whether it is shorter than Δ).

    Kinks with τ at a bound are let go; those that d would cross to the wrong side are taken back.
    """
    H, N = on.shape
    n = task.X.shape[1]
    held = np.zeros((H, N), np.bool_)
    for j in range(H):
        for i in range(N):
            held[j, i] = on[j, i] and 0.0 < tau[j, i] < 1.0
    d, inside = g, True
    for _ in range(H * n + 1):
        B, first = basis(held, task.X, g.size - H * n)
        hessian = _reduced(point, seen, on, held, tau, B, first, task, exponential)
        d, inside = _shifted_newton(hessian, B, g, delta)
        again = False
        for j in range(H):
            for i in range(N):
                if on[j, i] and not held[j, i]:
                    z = 0.0
                    for k in range(n):
                        z += d[j * n + k] * task.X[i, k]
                    if (z > 0.0 and tau[j, i] <= 0.0) or (z < 0.0 and tau[j, i] >= 1.0):
                        held[j, i] = True
                        again = True
        if not again:
            break
    return d, held, inside


@compiled
def _reduced(
    point: Point,
    seen: Seen,
    on: np.ndarray,
    held: np.ndarray,
    tau: np.ndarray,
    B: np.ndarray,
    first: np.ndarray,
    task: Task,
    exponential: bool,
) -> np.ndarray:
    """The Hessian on the manifold of the held kinks, (m, m)."""
    H, N = on.shape
    n, m = task.X.shape[1], B.shape[1]
    hessian, row, curved = np.zeros((m, m)), np.zeros(m), np.zeros((n, n))
    for i in range(N):
        e = math.exp(seen.m[i])
        if exponential:
            _bend(curved, seen.q[i] * e, point.alpha, task.X[i])
        if seen.r[i] == 0.0:
            continue
        for j in range(H):
            up = seen.Z[j, i] > 0.0 or (on[j, i] and tau[j, i] >= 1.0)
            slope = 0.0 if held[j, i] else task.s[j] * (task.hi if up else task.lo)
            for a in range(first[j], first[j + 1]):
                row[a] = 0.0
                for k in range(n):
                    row[a] += slope * task.X[i, k] * B[j * n + k, a]
        row[first[H]] = 1.0
        if exponential:
            row[first[H] + 1] = e
            for k in range(n - 1):
                row[first[H] + 2 + k] = point.alpha * e * task.X[i, k]
        for a in range(m):
            t = seen.r[i] * row[a]
            if t != 0.0:
                for b in range(m):
                    hessian[a, b] += t * row[b]
    if exponential:
        for a in range(n):
            for b in range(n):
                hessian[m - n + a, m - n + b] += curved[a, b]
    return hessian


@compiled
def _bend(curved: np.ndarray, qe: float, alpha: float, x: np.ndarray) -> None:
    """Add q·∇²(α e^m) of one point in (α, w)."""
    for k in range(x.size - 1):
        curved[0, 1 + k] += qe * x[k]
        curved[1 + k, 0] += qe * x[k]
        for b in range(x.size - 1):
            curved[1 + k, 1 + b] += qe * alpha * x[k] * x[b]


@compiled
def _shifted_newton(
    hessian: np.ndarray, B: np.ndarray, g: np.ndarray, delta: float
) -> tuple[np.ndarray, bool]:
    """(−Σ_k u_k (u_k·g)/(|λ_k| + µ) with the least µ ≥ 0 of length ≤ Δ, whether µ = 0)."""
    values, U = np.linalg.eigh(hessian)
    m, top = values.size, 0.0
    part, along_u = np.zeros(m), np.zeros(m)
    for a in range(m):
        top = max(top, abs(values[a]))
        for k in range(g.size):
            part[a] += B[k, a] * g[k]
    for a in range(m):
        for b in range(m):
            along_u[b] += U[a, b] * part[a]
    for a in range(m):
        values[a] = max(abs(values[a]), FLOOR * top + 1e-300)
    mu, inside = 0.0, _length(along_u, values, 0.0) <= delta
    if not inside:
        low, mu = 0.0, _length(along_u, np.ones(m), 0.0) / delta
        for _ in range(50):
            mid = 0.5 * (low + mu)
            if _length(along_u, values, mid) > delta:
                low = mid
            else:
                mu = mid
    d = np.zeros(g.size)
    for a in range(m):
        part[a] = 0.0
        for b in range(m):
            part[a] -= U[a, b] * along_u[b] / (values[b] + mu)
        for k in range(g.size):
            d[k] += B[k, a] * part[a]
    return d, inside


@compiled
def _length(part: np.ndarray, values: np.ndarray, mu: float) -> float:
    """‖part/(values + µ)‖."""
    total = 0.0
    for a in range(part.size):
        total += (part[a] / (values[a] + mu)) ** 2
    return math.sqrt(total)


@compiled
def line_of(point: Point, seen: Seen, d: np.ndarray, held: np.ndarray, task: Task) -> Line:
    """The direction d (P,) as the data see it."""
    H, N = held.shape
    n = task.X.shape[1]
    dZ, dm, dalpha = np.zeros((H, N)), np.zeros(N), 0.0
    neuron = d.size > H * n + 1
    for i in range(N):
        for j in range(H):
            if not held[j, i]:
                for k in range(n):
                    dZ[j, i] += d[j * n + k] * task.X[i, k]
        if neuron:
            for k in range(n - 1):
                dm[i] += d[H * n + 2 + k] * task.X[i, k]
    if neuron:
        dalpha = d[H * n + 1]
    return Line(seen.Z, dZ, point.c, d[H * n], point.alpha, dalpha, seen.m, dm)


@compiled
def moved(point: Point, d: np.ndarray, t: float, task: Task) -> Point:
    """The point after t·d, the neuron centred again."""
    H, n = point.V.shape
    V, w, alpha = point.V.copy(), point.w.copy(), point.alpha
    for j in range(H):
        for k in range(n):
            V[j, k] += t * d[j * n + k]
    if d.size > H * n + 1:
        before = exponents(point.w, task.X)[1]
        alpha += t * d[H * n + 1]
        for k in range(n - 1):
            w[k] += t * d[H * n + 2 + k]
        alpha *= math.exp(exponents(w, task.X)[1] - before)
    return Point(V, point.c + t * d[H * n], alpha, w)
