"""Polish over kinks: a monotone active-set Newton method for piecewise-linear one-layer networks.

In v_j = |a_j|(w_j, b_j) with the signs s_j = sign a_j fixed, F is smooth but for its kinks
v_j·x̃_i = 0. A kink is convex where q_i s_j (s₊−s₋) > 0; descent runs into such kinks and stays
there. Those that are held are kept at exactly zero, and the subgradient of least norm over them,

    g_j = g⁰_j + Σ_{i held} τ_i q_i s_j (s₊−s₋) x̃_i ,  τ ∈ [0, 1],

is both the measure of stationarity and a direction of descent; τ at a bound lets a kink go. Newton
runs on the manifold of the held kinks, the step is an exact search over the kinks that it crosses.
With `exponential` the neuron α·exp(w·x − max_i w·x_i) is polished along, without a regularizer.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
q       ∂ℓ_i/∂f_i                                                  (N,)
r       ∂²ℓ_i/∂f_i²                                                (N,)
θ       (V row by row, c, and α, w with the neuron)                (P,)
J       ∂f/∂θ at one side of every kink, 0 for held pairs          (N, P)
B       orthonormal basis of the manifold of the held kinks        (P, m)
others  as in `sweep.judge.kinks_search`
======  =========================================================  ==========
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sweep.judge.compiled import compiled
from sweep.judge.kernel_losses import HINGE, LOGISTIC, loss_terms
from sweep.judge.kinks_geometry import basis, bounded_least_squares, project
from sweep.judge.kinks_search import Line, Task, along, walk

# Why a polish ended.
BUDGET, SEPARATES, STATIONARY, STALLED, GROWING = 0, 1, 2, 3, 4


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
    m = np.zeros(X.shape[0])
    for i in range(m.size):
        for k in range(w.size):
            m[i] += w[k] * X[i, k]
    top = m.max()
    return m - top, top


@compiled
def look(point: Point, held: np.ndarray, task: Task) -> Seen:
    """The point in numbers, held kinks at exactly zero."""
    H, N = held.shape
    Z, q, r = np.zeros((H, N)), np.empty(N), np.empty(N)
    m = exponents(point.w, task.X)[0]
    F, scale, margin = 0.0, 0.0, np.inf
    for i in range(N):
        f, length = point.c, 0.0
        if point.alpha != 0.0:
            f += point.alpha * math.exp(m[i])
        for j in range(H):
            if not held[j, i]:
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
    point: Point, seen: Seen, held: np.ndarray, tau: np.ndarray, task: Task, exponential: bool
) -> np.ndarray:
    """The subgradient of least norm over the held kinks (P,); `tau` is updated in place."""
    H, N = held.shape
    n = task.X.shape[1]
    g = np.zeros(H * n + 1 + (n if exponential else 0))
    for j in range(H):
        part = g[j * n : (j + 1) * n]
        for i in range(N):
            slope = task.hi if seen.Z[j, i] > 0.0 else task.lo
            for k in range(n):
                part[k] += seen.q[i] * task.s[j] * slope * task.X[i, k]
        on = np.where(held[j])[0]
        if on.size == 0:
            continue
        A, start = np.zeros((n, on.size)), np.empty(on.size)
        for a in range(on.size):
            convexity = seen.q[on[a]] * task.s[j] * (task.hi - task.lo)
            A[:, a] = max(convexity, 0.0) * task.X[on[a]]
            start[a] = tau[j, on[a]]
        part[:] = bounded_least_squares(A, part.copy(), start)
        for a in range(on.size):
            tau[j, on[a]] = start[a]
    for i in range(N):
        g[H * n] += seen.q[i]
        if exponential:
            e = seen.q[i] * math.exp(seen.m[i])
            g[H * n + 1] += e
            for k in range(n - 1):
                g[H * n + 2 + k] += e * point.alpha * task.X[i, k]
    return g


@compiled
def release(seen: Seen, held: np.ndarray, tau: np.ndarray, side: np.ndarray, task: Task) -> None:
    """Let kinks go whose multiplier is at a bound; `side` (H, N) receives the slopes in force."""
    H, N = held.shape
    for j in range(H):
        for i in range(N):
            side[j, i] = task.hi if seen.Z[j, i] > 0.0 else task.lo
            if not held[j, i]:
                continue
            if seen.q[i] * task.s[j] * (task.hi - task.lo) <= 0.0 or tau[j, i] <= 0.0:
                held[j, i] = False
            elif tau[j, i] >= 1.0:
                held[j, i] = False
                side[j, i] = task.hi


@compiled
def reduced(
    point: Point,
    seen: Seen,
    held: np.ndarray,
    side: np.ndarray,
    B: np.ndarray,
    task: Task,
    exponential: bool,
) -> np.ndarray:
    """The Hessian on the manifold of the held kinks, (m, m)."""
    H, N = held.shape
    n = task.X.shape[1]
    P, m = B.shape
    hessian, row, onto = np.zeros((m, m)), np.zeros(P), np.zeros(m)
    curved = np.zeros((n, n))
    for i in range(N):
        e = math.exp(seen.m[i])
        if exponential:
            _bend(curved, seen.q[i] * e, point.alpha, task.X[i])
        if seen.r[i] == 0.0:
            continue
        for j in range(H):
            slope = 0.0 if held[j, i] else task.s[j] * side[j, i]
            for k in range(n):
                row[j * n + k] = slope * task.X[i, k]
        row[H * n] = 1.0
        if exponential:
            row[H * n + 1] = e
            for k in range(n - 1):
                row[H * n + 2 + k] = point.alpha * e * task.X[i, k]
        for a in range(m):
            onto[a] = 0.0
            for b in range(P):
                onto[a] += row[b] * B[b, a]
        for a in range(m):
            for b in range(m):
                hessian[a, b] += seen.r[i] * onto[a] * onto[b]
    if exponential:
        # B is the identity on the neuron's parameters, which come last.
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
def newton_step(values: np.ndarray, g: np.ndarray, delta: float) -> np.ndarray:
    """−g/max(|values|, µ) in the eigenbasis, with µ ≥ 0 such that the step is at most delta."""
    floor = 1e-14 * np.abs(values).max() + 1e-300
    step = -g / np.maximum(np.abs(values), floor)
    if math.sqrt((step * step).sum()) <= delta:
        return step
    low, high = 0.0, math.sqrt((g * g).sum()) / delta
    for _ in range(50):
        mu = 0.5 * (low + high)
        step = -g / (np.abs(values) + mu + 1e-300)
        if math.sqrt((step * step).sum()) > delta:
            low = mu
        else:
            high = mu
    return -g / (np.abs(values) + high + 1e-300)


@compiled
def line_of(point: Point, seen: Seen, d: np.ndarray, held: np.ndarray, task: Task) -> Line:
    """The direction d (P,) as the data see it."""
    H, N = held.shape
    n = task.X.shape[1]
    dZ, dm, dalpha = np.zeros((H, N)), np.zeros(N), 0.0
    for i in range(N):
        for j in range(H):
            if not held[j, i]:
                for k in range(n):
                    dZ[j, i] += d[j * n + k] * task.X[i, k]
        if d.size > H * n + 1:
            for k in range(n - 1):
                dm[i] += d[H * n + 2 + k] * task.X[i, k]
    if d.size > H * n + 1:
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


@compiled
def polish_member(
    V: np.ndarray,
    c: float,
    s: np.ndarray,
    alpha: float,
    w: np.ndarray,
    exponential: bool,
    X: np.ndarray,
    y: np.ndarray,
    slopes: tuple[float, float],
    loss_code: int,
    p: float,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, float, float, np.ndarray, np.ndarray, np.ndarray, int, int, float, float]:
    """(V, c, α, w, held, τ, status, iterations, residual, F) of one member, polished.

    α belongs to exp(w·x − max_i w·x_i), on the way in and out: centre it with α·e^{max w·x}. The
    residual is the norm of the least subgradient; STATIONARY means residual ≤ tol·Σ|q_i|‖x̃_i‖.
    F never rises, but by its own rounding near a minimum.
    """
    task = Task(X, y, s, slopes[0], slopes[1], loss_code, p)
    point = Point(V.copy(), c, alpha, w.copy())
    H, N = V.shape[0], X.shape[0]
    held, tau = np.zeros((H, N), np.bool_), np.zeros((H, N))
    delta, status, iteration = 1.0, BUDGET, 0
    extra = 1 + (X.shape[1] if exponential else 0)
    seen = look(point, held, task)
    residual = np.inf
    for iteration in range(max_iter):
        for j in range(H):
            if held[j].any():
                project(point.V[j], X, held[j])
        seen = look(point, held, task)
        if loss_code == HINGE and seen.margin > 0.0:
            status, residual = SEPARATES, 0.0
            break
        if loss_code == LOGISTIC and seen.margin > 30.0:
            status = GROWING
            break
        g = subgradient(point, seen, held, tau, task, exponential)
        residual = math.sqrt((g * g).sum())
        if residual <= tol * seen.scale:
            status = STATIONARY
            break
        side = np.zeros((H, N))
        release(seen, held, tau, side, task)
        B = basis(held, X, extra)
        values, U = np.linalg.eigh(reduced(point, seen, held, side, B, task, exponential))
        gz = np.zeros(values.size)
        for a in range(gz.size):
            for b in range(gz.size):
                t = 0.0
                for k in range(g.size):
                    t += B[k, b] * g[k]
                gz[a] += U[b, a] * t
        progress = False
        for attempt in range(25):
            d, t_max, length = -g, 1e3 / residual, residual
            if attempt < 24:
                step = newton_step(values, gz, delta)
                length = math.sqrt((step * step).sum())
                t_max = 4.0 if length < delta else 1.0
                d = np.zeros(g.size)
                for a in range(step.size):
                    for b in range(step.size):
                        t = U[b, a] * step[a]
                        for k in range(g.size):
                            d[k] += B[k, b] * t
            line = line_of(point, seen, d, held, task)
            first = along(line, 0.0, task, True)[1]
            if not first < 0.0 and attempt < 24:
                # Newton enters a kink on its wrong side: once down the subgradient instead
                d, length = -g, residual
                t_max = (delta if exponential else 1e3) / residual
                line = line_of(point, seen, d, held, task)
                first = along(line, 0.0, task, True)[1]
            if not first < 0.0:
                break
            t, hit = walk(line, task, held, t_max, 4)
            F = along(line, t, task, True)[0]
            if F < seen.F or (F <= seen.F * (1.0 + 2e-15) and residual < 1e-5 * seen.scale):
                point = moved(point, d, t, task)
                if hit >= 0:
                    held[hit // N, hit % N] = True
                    tau[hit // N, hit % N] = 0.5
                if seen.F - F > -0.125 * t * first and t >= 1.0:
                    delta = min(delta * 3.0, 1e6)
                elif t < 0.2:
                    delta = max(delta * 0.5, 1e-12)
                progress = True
                break
            delta = 0.25 * min(delta, length)
            if delta < 1e-14:
                break
        if not progress:
            status = STALLED
            break
    return (
        point.V,
        point.c,
        point.alpha,
        point.w,
        held,
        tau,
        status,
        iteration,
        residual,
        seen.F,
    )
