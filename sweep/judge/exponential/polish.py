"""Polish of the exponential arm's limit problem over kinks and charts, one member at a time.

    G(V, c, α, w) = Σ_i ℓ(−y_i (Σ_j s_j σ(v_j·x̃_i) + c + α e^{w·x_i}))

is what F falls to as b → ∞ with α = a·eᵇ. The method is that of `sweep.judge.kinks.polish`, with a
trust region because the neuron bends F inside the cells, and with charts (`charts.py`).
"""

from __future__ import annotations

import numpy as np

from sweep.judge.exponential.charts import bend, keep_linear, pin, rename, vanish
from sweep.judge.exponential.line import along, line_of, room, walk
from sweep.judge.exponential.neuron import EXP, FLAT, MONO
from sweep.judge.exponential.step import (
    Place,
    Scene,
    Seen,
    at_zero,
    free_part,
    freeze,
    look,
    moved,
    newton_direction,
    reduced,
    subgradient,
)
from sweep.judge.kinks.corner import corner_direction
from sweep.judge.kinks.geometry import basis
from sweep.judge.kinks.polish import BUDGET, SEPARATES, STALLED, STATIONARY, norm, touch
from sweep.judge.kinks.search import Task
from sweep.judge.kinks.step import Point
from sweep.judge.kinks.step import Seen as KinkSeen
from sweep.judge.numerics.kernel_losses import SQUARED
from sweep.judge.numerics.spectra import eigen_kernel
from sweep.kernels.compiled import compiled

# A change of F below this share of it is rounding (N terms, 1e-16 each).
ROUNDING = 1e-14
# Where the residual is below this share of Σ|q_i|‖x̃_i‖ the rest of the way is worth less than its
# square; what then goes on is the slow tail of points that reach margin 1 from below.
TAIL, TAIL_DROP = 1e-6, 1e-9
PATIENCE = 12
# Newton steps of the base network alone that refit it to a moved neuron: it is nearly there.
REFITS = 4
# A least curvature below minus this share of the largest is no rounding (some 1e-13) but a saddle.
CURVED = 1e-9


@compiled
def attempt(
    place: Place,
    seen: Seen,
    d: np.ndarray,
    t_max: float,
    on: np.ndarray,
    held: np.ndarray,
    tau: np.ndarray,
    scene: Scene,
) -> tuple[Place, float, float, float]:
    """(next place, F there, t, the slope at the start); t = 0 if d does not descend or F rises.

    ε stops at 0 and is pinned there: σ does not change.
    """
    line = line_of(place, seen, d, held, scene)
    at = room(on.shape[1])
    slope = along(line, place, seen, 0.0, scene, at)[2]
    if not slope < 0.0:
        return place, seen.F, 0.0, slope
    stop = np.inf
    if line.d_eps * scene.sigma < 0.0:
        stop = -place.eps / line.d_eps
    t, hit = walk(line, place, seen, held, min(t_max, stop), scene, at)
    F = along(line, place, seen, t, scene, at)[0]
    if not F <= seen.F * (1.0 + ROUNDING):
        return place, seen.F, 0.0, slope
    N = on.shape[1]
    for j in range(on.shape[0]):
        for i in range(N):
            on[j, i] = held[j, i]
    if hit >= 0:
        on[hit // N, hit % N] = True
        tau[hit // N, hit % N] = 0.5
    after = moved(place, d, t)
    if t == stop:
        after = at_zero(after, True)
    return after, F, t, slope


@compiled
def refit(
    place: Place, d: np.ndarray, below: float, tau: np.ndarray, scene: Scene
) -> tuple[Place, bool, np.ndarray, np.ndarray]:
    """(place, whether F < `below` there, on, τ): a step d for all, then the base network alone.

    Along the curved valleys that lead to infinity the base network must follow the neuron closely;
    a straight line leaves them at once, a refit does not.
    """
    share = 1.0
    for _ in range(2):
        after = freeze(moved(place, d, share), True)
        on, multipliers = np.zeros(tau.shape, np.bool_), tau.copy()
        if after.chart != FLAT or after.eps * scene.sigma > 0.0:
            seen = look(after, on, scene)
            for _ in range(REFITS):
                touch(Point(after.V, after.c), on, multipliers, seen.q, scene.task)
                seen = look(after, on, scene)
                g = subgradient(after, seen, on, multipliers, scene)
                way, held, _inside = newton_direction(
                    after, seen, g, on, multipliers, np.inf, scene
                )
                after, _F, t, _slope = attempt(after, seen, way, 4.0, on, held, multipliers, scene)
                if not t > 0.0:
                    break
            reached = look(after, on, scene).F
            if reached < below:
                return freeze(after, False), True, on, multipliers
        share *= 0.25
    return place, False, on, multipliers


@compiled
def advance(
    place: Place,
    seen: Seen,
    g: np.ndarray,
    on: np.ndarray,
    tau: np.ndarray,
    delta: float,
    scene: Scene,
) -> tuple[Place, float, bool]:
    """(next place, next Δ, whether there was a step): Newton, else down the subgradient."""
    for k in range(24):
        d, held, inside = newton_direction(place, seen, g, on, tau, delta, scene)
        after, F, t, slope = attempt(place, seen, d, 4.0 if inside else 1.0, on, held, tau, scene)
        if 0.0 < t < 1.0:
            again, lower, there, multipliers = refit(place, d, F, tau, scene)
            if lower:
                on[:, :] = there
                tau[:, :] = multipliers
                return again, 2.0 * delta, True
        if t > 0.0:
            if -0.125 * t * slope < seen.F - F and t >= 1.0:
                delta = min(delta * 3.0, 1e6)
            return after, delta, True
        if k >= 20 or not slope < 0.0:
            break
        delta = 0.25 * min(delta, norm(d))
    held = np.zeros(on.shape, np.bool_)
    for j in range(on.shape[0]):
        for i in range(on.shape[1]):
            held[j, i] = on[j, i] and 0.0 < tau[j, i] < 1.0
    t_max = min(delta, 1e3) / norm(g)
    after, F, t, slope = attempt(place, seen, -g, t_max, on, held, tau, scene)
    return after, delta, t > 0.0


@compiled
def leave_corner(
    place: Place, seen: Seen, on: np.ndarray, tau: np.ndarray, tol: float, scene: Scene
) -> tuple[Place, bool]:
    """(next place, whether there was a step) off a concave kink that some unit lies on."""
    H, N = on.shape
    n = place.V.shape[1]
    d, held, at = np.zeros(H * n + 1 + n), on.copy(), np.zeros(N, np.bool_)
    corner = KinkSeen(seen.Z, seen.F, seen.q, seen.k, seen.scale, seen.margin)
    for j in range(H):
        for i in range(N):
            at[i] = place.live[i] and (on[j, i] or seen.Z[j, i] == 0.0)
        delta, slope = corner_direction(corner, j, at, scene.task)
        if slope < -tol * seen.scale:
            for k in range(n):
                d[j * n + k] = delta[k]
            for i in range(N):
                held[j, i] = False
            after, _F, t, slope = attempt(place, seen, d, 1e3, on, held, tau, scene)
            return after, t > 0.0
    return place, False


@compiled
def leave_saddle(
    place: Place, seen: Seen, on: np.ndarray, tau: np.ndarray, scene: Scene
) -> tuple[Place, bool]:
    """(next place, whether F is lower there) along negative curvature on the held kinks."""
    n, H = place.V.shape[1], place.V.shape[0]
    used = H * n + 1 + free_part(place, n)
    B, first = basis(on, scene.task.X, used - H * n)
    values, U = eigen_kernel(reduced(place, seen, on, on, tau, B, first, scene))
    if values[0] >= -CURVED * values[values.size - 1]:
        return place, False
    d = np.zeros(H * n + 1 + n)
    for a in range(used):
        for b in range(values.size):
            d[a] += B[a, b] * U[b, 0]
    for t in (1.0, -1.0, 0.1, -0.1, 0.01, -0.01):
        after = moved(place, d, t)
        if after.chart == FLAT and after.eps * scene.sigma <= 0.0:
            continue
        if look(after, on, scene).F < seen.F * (1.0 - ROUNDING):
            return after, True
    return place, False


@compiled
def survey(
    place: Place, on: np.ndarray, tau: np.ndarray, jump: bool, scene: Scene
) -> tuple[Place, Seen]:
    """The place in its best chart, and what the data see there; `on` and `tau` in place.

    `jump`: whether it may go to the charts from which there is no way back, GONE and QUAD.
    """
    seen = look(place, on, scene)
    place = keep_linear(rename(place, seen, scene), scene)
    touch(Point(place.V, place.c), on, tau, seen.q, scene.task)
    if place.linear >= 0:
        on[place.linear, :] = False
    seen = look(place, on, scene)
    if not jump or (scene.task.code != SQUARED and seen.margin > 0.0):
        return place, seen
    chart = place.chart
    place = bend(vanish(place, seen, scene), seen, scene)
    if place.chart != chart:
        on[:, :] = False
        seen = look(place, on, scene)
        touch(Point(place.V, place.c), on, tau, seen.q, scene.task)
        seen = look(place, on, scene)
    return place, seen


@compiled
def polish_limit(
    place: Place,
    sigma: float,
    centred: np.ndarray,
    task: Task,
    jumps: bool,
    max_iter: int,
    tol: float,
) -> tuple[Place, Place, np.ndarray, np.ndarray, int, int, float, float, float]:
    """(place, last finite place, on, τ, status, steps, residual, scale, G), polished.

    The given place's arrays stay as they are. STATIONARY means residual ≤ tol·scale, scale =
    Σ|q_i|‖x̃_i‖; SEPARATES that every live point is on its side. G never rises but by its own
    rounding. Without `jumps` it stays in EXP and FLAT, and a monomial neuron in MONO anyway.
    """
    scene = Scene(task, centred, sigma)
    H, N = place.V.shape[0], task.y.size
    finite, chart = place, place.chart
    on, tau = np.zeros((H, N), np.bool_), np.zeros((H, N))
    delta, status, steps, waited = 1.0, BUDGET, 0, 0
    residual, least, lowest = np.inf, np.inf, np.inf
    while True:
        place, seen = survey(place, on, tau, jumps and steps > 0, scene)
        if place.chart != chart:
            chart, delta, least, waited = place.chart, 1.0, np.inf, 0
        if chart in (EXP, MONO) or (chart == FLAT and place.eps != 0.0):
            finite = place
        if task.code != SQUARED and seen.margin > 0.0:
            status, residual = SEPARATES, 0.0
            break
        if seen.F <= N * ROUNDING**2:
            # Squared loss: every output is fitted but for its own rounding.
            status, residual = STATIONARY, 0.0
            break
        g = subgradient(place, seen, on, tau, scene)
        place = pin(place, g, sigma)
        residual = norm(g)
        if not np.isfinite(residual + seen.scale):
            status = STALLED
            break
        waited += 1
        drop = TAIL_DROP if residual < TAIL * seen.scale else ROUNDING
        if residual < 0.5 * least or lowest - seen.F > drop * lowest:
            waited, lowest = 0, min(lowest, seen.F)
        least = min(least, residual)
        if steps >= max_iter or waited > PATIENCE:
            status = BUDGET if steps >= max_iter else STALLED
            break
        still, progress = residual <= tol * seen.scale, False
        if not still:
            place, delta, progress = advance(place, seen, g, on, tau, delta, scene)
        if not progress:
            place, progress = leave_corner(place, seen, on, tau, tol, scene)
        if still and not progress:
            place, progress = leave_saddle(place, seen, on, tau, scene)
        if not progress:
            status = STATIONARY if still else STALLED
            break
        steps += 1
    return place, finite, on, tau, status, steps, residual, seen.scale, seen.F
