"""Polish over kinks: a monotone active-set Newton method for piecewise-linear one-layer networks.

In v_j = |a_j|(w_j, b_j) with the signs s_j = sign a_j fixed, F is smooth but for its kinks
v_j·x̃_i = 0. A kink is convex where κ = q_i s_j (s₊−s₋) > 0; descent runs into such kinks and stays
there. The subgradient of least norm over the kinks that the point lies on,

    g_j = g⁰_j + Σ_i τ_i κ_ji x̃_i ,  τ ∈ [0, 1],

is both the measure of stationarity and a direction of descent. A multiplier at a bound lets its
kink go; Newton runs on the manifold of the others, and the step is an exact search over the kinks
that it crosses. With `exponential` the neuron α·exp(w·x − max_i w·x_i) is polished along, without
a regularizer; then F is not convex between kinks, and a trust region of radius Δ is needed.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
q       ∂ℓ_i/∂f_i                                                  (N,)
r       ∂²ℓ_i/∂f_i²                                                (N,)
on      pairs (j, i) on a convex kink: Z_ji is exactly 0           (H, N)
held    those of them that the next step must not leave            (H, N)
side    slope of the activation in force at each pair              (H, N)
τ       multipliers of the pairs in `on`                           (H, N)
others  as in `sweep.judge.kinks_search`, `sweep.judge.kinks_step`
======  =========================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.compiled import compiled
from sweep.judge.kernel_losses import HINGE, LOGISTIC
from sweep.judge.kinks_corner import corner_direction
from sweep.judge.kinks_geometry import project
from sweep.judge.kinks_search import Task, along, walk
from sweep.judge.kinks_step import (
    Point,
    Seen,
    line_of,
    look,
    moved,
    newton_direction,
    subgradient,
)

# Why a polish ended.
BUDGET, SEPARATES, STATIONARY, STALLED, GROWING = 0, 1, 2, 3, 4
# |v·x̃| below this share of ‖v‖‖x̃‖ is rounding: n products of two roundings each, n below 20.
TOUCHING = 4e-15
# Logistic loss: with every margin beyond this all losses together are below 1e-12, and they only
# shrink further along the scaling ray.
ESCAPED = 30.0
# F is a sum of N terms that round by 1e-16 each; a change below this share of F says nothing.
FLAT = 1e-14
# So many steps in a row without progress in F or in the residual end a polish.
PATIENCE = 12


@compiled
def touch(point: Point, on: np.ndarray, tau: np.ndarray, q: np.ndarray, task: Task) -> None:
    """Take up the convex kinks that the point lies on up to rounding, drop the others, project."""
    H, N = on.shape
    for j in range(H):
        some = False
        for i in range(N):
            if q[i] * task.s[j] * (task.hi - task.lo) <= 0.0:
                on[j, i] = False
            elif not on[j, i] and near(point.V[j], task.X[i]):
                on[j, i] = True
                tau[j, i] = 0.5
            some = some or on[j, i]
        if some:
            project(point.V[j], task.X, on[j])


@compiled
def near(v: np.ndarray, x: np.ndarray) -> bool:
    """Whether v·x̃ = 0 up to rounding."""
    z, length, size = 0.0, 0.0, 0.0
    for k in range(v.size):
        z += v[k] * x[k]
        length += v[k] * v[k]
        size += x[k] * x[k]
    return abs(z) <= TOUCHING * math.sqrt(length * size)


@compiled
def step(
    point: Point,
    seen: Seen,
    d: np.ndarray,
    t_max: float,
    on: np.ndarray,
    held: np.ndarray,
    tau: np.ndarray,
    task: Task,
) -> tuple[Point, float, float, float]:
    """(next point, F there, t, the slope F′ at the start); t = 0 if d does not descend or F rises.

    After a step `on` and `tau` know the pairs that are held still, and the one landed on.
    """
    line = line_of(point, seen, d, held, task)
    slope = along(line, 0.0, task, True)[1]
    if not slope < 0.0:
        return point, seen.F, 0.0, slope
    t, hit = walk(line, task, held, t_max, 4)
    F = along(line, t, task, True)[0]
    # Near a minimum F says nothing any more; the slopes along the way do, they were negative.
    if not F <= seen.F * (1.0 + FLAT):
        return point, seen.F, 0.0, slope
    on[:] = held
    if hit >= 0:
        on[hit // on.shape[1], hit % on.shape[1]] = True
        tau[hit // on.shape[1], hit % on.shape[1]] = 0.5
    return moved(point, d, t, task), F, t, slope


@compiled
def advance(
    point: Point,
    seen: Seen,
    g: np.ndarray,
    on: np.ndarray,
    tau: np.ndarray,
    delta: float,
    task: Task,
    exponential: bool,
) -> tuple[Point, float, bool]:
    """(next point, next Δ, whether there was a step): Newton, else down the subgradient g."""
    for attempt in range(24):
        d, held, inside = newton_direction(point, seen, g, on, tau, delta, task, exponential)
        t_max = 4.0 if inside else 1.0
        after, F, t, slope = step(point, seen, d, t_max, on, held, tau, task)
        if t > 0.0:
            if -0.125 * t * slope < seen.F - F and t >= 1.0:
                delta = min(delta * 3.0, 1e6)
            return after, delta, True
        if not exponential or attempt >= 20 or not slope < 0.0:
            break
        delta = 0.25 * min(delta, norm(d))
    held = on & (tau > 0.0) & (tau < 1.0)
    t_max = (delta if exponential else 1e3) / norm(g)
    after, F, t, slope = step(point, seen, -g, t_max, on, held, tau, task)
    return after, delta, t > 0.0


@compiled
def norm(g: np.ndarray) -> float:
    """‖g‖."""
    total = 0.0
    for k in range(g.size):
        total += g[k] * g[k]
    return math.sqrt(total)


@compiled
def leave_corner(
    point: Point, seen: Seen, on: np.ndarray, tau: np.ndarray, tol: float, task: Task, size: int
) -> tuple[Point, bool]:
    """(next point, whether there was a step) off a concave kink that some unit lies on."""
    H, N = on.shape
    n = task.X.shape[1]
    at, d, held = np.zeros(N, np.bool_), np.zeros(size), on.copy()
    for j in range(H):
        for i in range(N):
            at[i] = on[j, i] or near(point.V[j], task.X[i])
        delta, slope = corner_direction(seen, j, at, task)
        if slope < -tol * seen.scale:
            for k in range(n):
                d[j * n + k] = delta[k]
            for i in range(N):
                held[j, i] = False
                if at[i]:
                    seen.Z[j, i] = 0.0
            after, _, t, slope = step(point, seen, d, 1e3, on, held, tau, task)
            return after, t > 0.0
    return point, False


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
    on, tau = np.zeros((V.shape[0], X.shape[0]), np.bool_), np.zeros((V.shape[0], X.shape[0]))
    delta = 1.0 if exponential else np.inf
    status, steps, waited = BUDGET, 0, 0
    residual, least, lowest = np.inf, np.inf, np.inf
    seen = look(point, on, task)
    while True:
        touch(point, on, tau, seen.q, task)
        seen = look(point, on, task)
        if loss_code == HINGE and seen.margin > 0.0:
            status, residual = SEPARATES, 0.0
            break
        if loss_code == LOGISTIC and seen.margin > ESCAPED:
            status = GROWING
            break
        g = subgradient(point, seen, on, tau, task, exponential)
        residual = norm(g)
        waited += 1
        if residual < 0.9 * least or lowest - seen.F > FLAT * lowest:
            waited = 0
        least, lowest = min(least, residual), min(lowest, seen.F)
        if steps >= max_iter or waited > PATIENCE:
            status = BUDGET if steps >= max_iter else STALLED
            break
        still = residual <= tol * seen.scale
        progress = False
        if not still:
            point, delta, progress = advance(point, seen, g, on, tau, delta, task, exponential)
        if not progress:
            point, progress = leave_corner(point, seen, on, tau, tol, task, g.size)
        if not progress:
            status = STATIONARY if still else STALLED
            break
        steps += 1
    return point.V, point.c, point.alpha, point.w, on, tau, status, steps, residual, seen.F
