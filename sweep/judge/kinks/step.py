"""Where the kink polish stands: the point in numbers, its least subgradient, a move along a line.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
θ       V row by row, then c                                       (P,)
g       subgradient of least norm                                  (P,)
others  as in `sweep.judge.kinks.polish` and `sweep.judge.kinks.search`
======  =========================================================  ==========
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sweep.judge.kinks.geometry import bounded_least_squares
from sweep.judge.kinks.search import Line, Task
from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.judge.numerics.spectra import eigen_kernel
from sweep.kernels.compiled import compiled

# Curvatures below this share of the largest are taken as this share: F is flat there, and what
# the gradient says in such a direction is little more than rounding (1e-16 of the largest terms).
FLOOR = 1e-13


class Point(NamedTuple):
    """Where the polish stands."""

    V: np.ndarray
    c: float


class Seen(NamedTuple):
    """What the data see of a point: `scale` is Σ|q_i|‖x̃_i‖, `margin` min y_i f_i."""

    Z: np.ndarray
    F: float
    q: np.ndarray
    r: np.ndarray
    scale: float
    margin: float


@compiled
def look(point: Point, on: np.ndarray, task: Task) -> Seen:
    """The point in numbers, the kinks that it is on at exactly zero."""
    H, N = on.shape
    Z, q, r = np.zeros((H, N)), np.empty(N), np.empty(N)
    F, scale, margin = 0.0, 0.0, np.inf
    for i in range(N):
        f, length = point.c, 0.0
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
    return Seen(Z, F, q, r, scale, margin)


@compiled
def subgradient(seen: Seen, on: np.ndarray, tau: np.ndarray, task: Task) -> np.ndarray:
    """The subgradient of least norm, (P,); the multipliers `tau` are updated in place."""
    H, N = on.shape
    n = task.X.shape[1]
    g = np.zeros(H * n + 1)
    for j in range(H):
        part, count = np.zeros(n), 0
        for i in range(N):
            slope = task.hi if seen.Z[j, i] > 0.0 else task.lo
            for k in range(n):
                part[k] += seen.q[i] * task.s[j] * slope * task.X[i, k]
            count += on[j, i]
        if count > 0:
            reduce_by_kinks(part, seen.q, on[j], tau[j], task.s[j], task)
        for k in range(n):
            g[j * n + k] = part[k]
    for i in range(N):
        g[H * n] += seen.q[i]
    return g


@compiled
def reduce_by_kinks(
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
def line_of(point: Point, seen: Seen, d: np.ndarray, held: np.ndarray, task: Task) -> Line:
    """The direction d (P,) as the data see it."""
    H, N = held.shape
    n = task.X.shape[1]
    dZ = np.zeros((H, N))
    for j in range(H):
        for i in range(N):
            if not held[j, i]:
                for k in range(n):
                    dZ[j, i] += d[j * n + k] * task.X[i, k]
    return Line(seen.Z, dZ, point.c, d[H * n])


@compiled
def moved(point: Point, d: np.ndarray, t: float) -> Point:
    """The point after t·d."""
    H, n = point.V.shape
    V = point.V.copy()
    for j in range(H):
        for k in range(n):
            V[j, k] += t * d[j * n + k]
    return Point(V, point.c + t * d[H * n])


@compiled
def shifted_newton(
    hessian: np.ndarray, B: np.ndarray, g: np.ndarray, delta: float
) -> tuple[np.ndarray, bool]:
    """(−Σ_k u_k (u_k·g)/(|λ_k| + µ) with the least µ ≥ 0 of length ≤ Δ, whether µ = 0)."""
    values, U = eigen_kernel(hessian)
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
