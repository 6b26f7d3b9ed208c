"""G along a line, and the exact search over kinks: `sweep.judge.kinks.search` with the neuron.

Symbols as in `sweep.judge.exponential.step`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.judge.exponential.neuron import FLAT, GONE, neuron_along, seen_by
from sweep.judge.exponential.step import Place, Scene, Seen
from sweep.judge.kinks.search import AT_KINK, Task, breakpoints
from sweep.judge.kinks.search import Line as KinkLine
from sweep.judge.numerics.kernel_losses import add_losses
from sweep.kernels.compiled import compiled

# Secants enclose the zero to a millionth in some eight steps; beyond this plain halves are safer.
MOST_SECANTS = 12


class Line(NamedTuple):
    """A place and a direction as seen from the data; `d_…` is per unit t."""

    Z: np.ndarray
    d_z: np.ndarray
    d_c: float
    d_r: np.ndarray
    d_eps: float


@compiled
def line_of(place: Place, seen: Seen, d: np.ndarray, held: np.ndarray, scene: Scene) -> Line:
    """The direction d (P,) as the data see it; points that do not count see nothing."""
    task = scene.task
    H, N = held.shape
    n = task.X.shape[1]
    dZ = np.zeros((H, N))
    for j in range(H):
        for i in range(N):
            if not held[j, i] and place.live[i]:
                for a in range(n):
                    dZ[j, i] += d[j * n + a] * task.X[i, a]
    dr = seen_by(GONE if place.frozen else place.chart, d[H * n + 1 :], scene.centred)
    deps = d[H * n + n] if place.chart == FLAT and not place.frozen else 0.0
    return Line(seen.Z, dZ, d[H * n], dr, deps)


class Slopes(NamedTuple):
    """Room for what the data see at one t, (N,) each; the slopes of f to the left and right."""

    z: np.ndarray
    f: np.ndarray
    left: np.ndarray
    right: np.ndarray
    loss: np.ndarray
    pull: np.ndarray


@compiled
def room(N: int) -> Slopes:
    """Memory for `along`."""
    kept = np.empty((6, N))
    return Slopes(kept[0], kept[1], kept[2], kept[3], kept[4], kept[5])


@compiled
def see_neuron(line: Line, place: Place, seen: Seen, t: float, scene: Scene, at: Slopes) -> None:
    """Write what c and the neuron add to f and to its slopes."""
    eps = place.eps + t * line.d_eps
    for i in range(at.f.size):
        value, slope = 0.0, 0.0
        if place.live[i]:
            r = seen.r[i] + t * line.d_r[i]
            value, slope = neuron_along(place.chart, scene.sigma, r, line.d_r[i], eps, line.d_eps)
        at.f[i] = place.c + t * line.d_c + value
        at.left[i] = at.right[i] = line.d_c + slope


@compiled
def see_unit(line: Line, j: int, t: float, task: Task, at: Slopes) -> None:
    """Add what unit j adds. Free of branches: this loop runs on vectors."""
    Z, dZ, s, lo, hi = line.Z[j], line.d_z[j], task.s[j], task.lo, task.hi
    for i in range(at.f.size):
        d = dZ[i]
        step = t * d
        z = Z[i] + step
        on = abs(z) <= AT_KINK * (abs(Z[i]) + abs(step))
        ahead, up = d > 0.0, z > 0.0
        part = s * (hi if (ahead if on else up) else lo)
        back = s * (hi if (not ahead if on else up) else lo)
        at.f[i] += part * (0.0 if on else z)
        at.right[i] += part * d
        at.left[i] += back * d


@compiled
def along(
    line: Line, place: Place, seen: Seen, t: float, scene: Scene, at: Slopes
) -> tuple[float, float, float]:
    """(F, F′ to the left, F′ to the right) at t."""
    task = scene.task
    see_neuron(line, place, seen, t, scene, at)
    for j in range(line.Z.shape[0]):
        see_unit(line, j, t, task, at)
    for i in range(at.f.size):
        at.z[i] = -task.y[i] * at.f[i]
    add_losses(task.code, task.p, at.z, at.loss, at.pull)
    F, left, right = 0.0, 0.0, 0.0
    for i in range(at.f.size):
        if place.live[i]:
            pull = task.y[i] * at.pull[i]
            F += at.loss[i]
            left -= pull * at.left[i]
            right -= pull * at.right[i]
    return F, left, right


@compiled
def halve(
    line: Line,
    place: Place,
    seen: Seen,
    a: float,
    b: float,
    down: float,
    up: float,
    scene: Scene,
    at: Slopes,
) -> float:
    """Where bisection of [a, b] to six digits ends, with slopes `down` < 0 at a, `up` ≥ 0 at b.

    Most of its questions are not asked: the zero is first enclosed in (low, high) by the Illinois
    rule, a few evaluations, and a middle outside that interval has a known sign.
    """
    low, high, asked, side = a, b, 0, 0
    while b - a > 1e-6 * b:
        middle = 0.5 * (a + b)
        if middle <= low:
            a = middle
            continue
        if middle >= high:
            b = middle
            continue
        t = (low * up - high * down) / (up - down)
        if asked >= MOST_SECANTS or not low < t < high:
            t = middle
        asked += 1
        slope = along(line, place, seen, t, scene, at)[2]
        if slope < 0.0:
            low, down = t, slope
            up = 0.5 * up if side < 0 else up
            side = -1
        else:
            high, up = t, slope
            down = 0.5 * down if side > 0 else down
            side = 1
    return a if a > 0.0 else b


@compiled
def walk(
    line: Line,
    place: Place,
    seen: Seen,
    held: np.ndarray,
    t_max: float,
    scene: Scene,
    at: Slopes,
) -> tuple[float, int]:
    """Go down from t = 0 to the first minimum, or to t_max: (t, the pair landed on or −1).

    A minimum inside a piece is bisected to six digits (Newton does the rest), one at a kink, where
    the slope jumps from negative to positive, is landed on.
    """
    kinks = KinkLine(line.Z, line.d_z, place.c, line.d_c)
    t, pair = breakpoints(kinks, held, t_max, 4)
    before, falling = 0.0, along(line, place, seen, 0.0, scene, at)[2]
    for k in range(t.size):
        _, left, right = along(line, place, seen, t[k], scene, at)
        if left >= 0.0:
            return halve(line, place, seen, before, t[k], falling, left, scene, at), -1
        if pair[k] >= 0 and right >= 0.0:
            return t[k], pair[k]
        before, falling = t[k], right
    return t_max, -1
