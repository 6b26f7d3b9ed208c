"""Polish over kinks: a monotone active-set Newton method for piecewise-linear one-layer networks.

In v_j = |a_j|(w_j, b_j) with the signs s_j = sign a_j fixed, F is smooth but for its kinks
v_j·x̃_i = 0. A kink is convex where κ = q_i s_j (s₊−s₋) > 0; descent runs into such kinks and stays
there. The subgradient of least norm over the kinks that the point lies on,

    g_j = g⁰_j + Σ_i τ_i κ_ji x̃_i ,  τ ∈ [0, 1],

is both the measure of stationarity and a direction of descent. A multiplier at a bound lets its
kink go; Newton runs on the manifold of the others, and the step is an exact search over the kinks
that it crosses.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
q       ∂ℓ_i/∂f_i                                                  (N,)
r       ∂²ℓ_i/∂f_i²                                                (N,)
on      pairs (j, i) on a convex kink: Z_ji is exactly 0           (H, N)
held    those of them that the next step must not leave            (H, N)
τ       multipliers of the pairs in `on`                           (H, N)
others  as in `sweep.judge.kinks.search`, `sweep.judge.kinks.step`
======  =========================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.kinks.corner import corner_direction
from sweep.judge.kinks.geometry import project
from sweep.judge.kinks.newton import newton_direction
from sweep.judge.kinks.search import Task, along, walk
from sweep.judge.kinks.step import (
    Point,
    Seen,
    line_of,
    look,
    moved,
    subgradient,
)
from sweep.judge.numerics.kernel_losses import HINGE, LOGISTIC
from sweep.kernels.compiled import compiled

# Why a polish ended.
BUDGET, SEPARATES, STATIONARY, STALLED, GROWING = 0, 1, 2, 3, 4
# |v·x̃| below this share of ‖v‖‖x̃‖ is rounding: n products of two roundings each, n below 20.
TOUCHING = 4e-15
# Logistic loss: with every margin beyond this all losses together are below 1e-12, and they only
# shrink further along the scaling ray.
ESCAPED = 30.0
# Hinge: data with margins beyond this are separated, not by rounding; scaling does the rest.
APART = 1e-8
# F is a sum of N terms that round by 1e-16 each; a change below this share of F says nothing.
FLAT = 1e-14
# The longest step down a subgradient, in v; the data are of order 1.
FARTHEST = 1e3
# Beyond this the Hessian may overflow, and LAPACK raises; such members stay as they are.
TOO_LARGE = 1e150
# With so many pairs (j, i) every kink on the way is looked at, which keeps to the basin; with more
# that would cost more than Newton's step itself (measured: 0.3 s of 0.4 s at 4,500 pairs).
THOROUGH = 1000
# Units this small beside the largest may be on their way to zero.
SMALL = 1e-3
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
) -> tuple[Point, float]:
    """(next point, t); t = 0 if d does not descend or F rises.

    After a step `on` and `tau` know the pairs that are held still, and the one landed on.
    """
    line = line_of(point, seen, d, held, task)
    if not along(line, 0.0, task, True)[1] < 0.0:
        return point, 0.0
    t, hit = walk(line, task, held, t_max, 4, on.size <= THOROUGH)
    # Near a minimum F says nothing any more; the slopes along the way do, they were negative.
    if not along(line, t, task, True)[0] <= seen.F * (1.0 + FLAT):
        t, hit = walk(line, task, held, t_max, 4, True)
        if not along(line, t, task, True)[0] <= seen.F * (1.0 + FLAT):
            return point, 0.0
    on[:] = held
    if hit >= 0:
        on[hit // on.shape[1], hit % on.shape[1]] = True
        tau[hit // on.shape[1], hit % on.shape[1]] = 0.5
    return moved(point, d, t), t


@compiled
def advance(
    point: Point, seen: Seen, g: np.ndarray, on: np.ndarray, tau: np.ndarray, task: Task
) -> tuple[Point, bool]:
    """(next point, whether there was a step): Newton, else down the subgradient g."""
    d, held = newton_direction(seen, g, on, tau, task)
    after, t = step(point, seen, d, 4.0, on, held, tau, task)
    if t > 0.0:
        return after, True
    held = on & (tau > 0.0) & (tau < 1.0)
    after, t = step(point, seen, -g, FARTHEST / norm(g), on, held, tau, task)
    return after, t > 0.0


@compiled
def norm(g: np.ndarray) -> float:
    """‖g‖."""
    total = 0.0
    for k in range(g.size):
        total += g[k] * g[k]
    return math.sqrt(total)


@compiled
def leave_corner(
    point: Point, seen: Seen, on: np.ndarray, tau: np.ndarray, tol: float, task: Task
) -> tuple[Point, bool]:
    """(next point, whether there was a step) off a concave kink that some unit lies on."""
    H, N = on.shape
    n = task.X.shape[1]
    at, d, held = np.zeros(N, np.bool_), np.zeros(H * n + 1), on.copy()
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
            after, t = step(point, seen, d, FARTHEST, on, held, tau, task)
            return after, t > 0.0
    return point, False


@compiled
def vanish(point: Point, seen: Seen, on: np.ndarray, task: Task) -> bool:
    """Put one unit to v_j = 0, in place, if F is not higher there; whether one was.

    Where F has its minimum at v_j = 0 the kinks around that corner are crossed again and again,
    and the unit shrinks without ever arriving.
    """
    H, n = point.V.shape
    kept, largest = np.zeros(n), 0.0
    for j in range(H):
        largest = max(largest, norm(point.V[j]))
    for j in range(H):
        size = norm(point.V[j])
        if size == 0.0 or size > SMALL * largest:
            continue
        for k in range(n):
            kept[k], point.V[j, k] = point.V[j, k], 0.0
        if look(point, on, task).F <= seen.F * (1.0 + FLAT):
            return True
        for k in range(n):
            point.V[j, k] = kept[k]
    return False


@compiled
def polish_member(
    V: np.ndarray,
    c: float,
    s: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    slopes: tuple[float, float],
    loss_code: int,
    p: float,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, int, int, float, float]:
    """(V, c, on, τ, status, iterations, residual, F) of one member, polished.

    The residual is the norm of the least subgradient; STATIONARY means residual ≤
    tol·Σ|q_i|‖x̃_i‖. F never rises, but by its own rounding near a minimum.
    """
    task = Task(X, y, s, slopes[0], slopes[1], loss_code, p)
    point = Point(V.copy(), c)
    on, tau = np.zeros((V.shape[0], X.shape[0]), np.bool_), np.zeros((V.shape[0], X.shape[0]))
    status, steps, waited = BUDGET, 0, 0
    residual, least, lowest = np.inf, np.inf, np.inf
    seen = look(point, on, task)
    while True:
        touch(point, on, tau, seen.q, task)
        seen = look(point, on, task)
        if loss_code == HINGE and seen.margin > APART:
            status, residual = SEPARATES, 0.0
            break
        if loss_code == LOGISTIC and seen.margin > ESCAPED:
            status = GROWING
            break
        g = subgradient(seen, on, tau, task)
        residual = norm(g)
        waited += 1
        if residual < 0.9 * least or lowest - seen.F > FLAT * lowest:
            waited = 0
        least, lowest = min(least, residual), min(lowest, seen.F)
        if steps >= max_iter:
            break
        if not residual < TOO_LARGE:
            status = STALLED
            break
        still = residual <= tol * seen.scale
        progress = False
        if not still and waited <= PATIENCE:
            point, progress = advance(point, seen, g, on, tau, task)
        if not progress:
            point, progress = leave_corner(point, seen, on, tau, tol, task)
        if not progress and not still:
            progress = vanish(point, seen, on, task)
            waited = 0
        if not progress:
            status = STATIONARY if still else STALLED
            break
        steps += 1
    return point.V, point.c, on, tau, status, steps, residual, seen.F
