"""G along a line, and the exact search over kinks: `sweep.judge.kinks_search` with the neuron.

Symbols as in `sweep.judge.exponential_step`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.judge.exponential_neuron import FLAT, GONE, neuron, neuron_slope, seen_by
from sweep.judge.exponential_step import Place, Scene, Seen
from sweep.judge.kernel_losses import loss_terms
from sweep.judge.kinks_search import AT_KINK, breakpoints
from sweep.judge.kinks_search import Line as KinkLine
from sweep.kernels.compiled import compiled


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


@compiled
def along(
    line: Line, place: Place, seen: Seen, t: float, scene: Scene, right: bool
) -> tuple[float, float]:
    """(F, F′) at t: the derivative to the right of t, or to the left."""
    task = scene.task
    H, N = line.Z.shape
    F, slope = 0.0, 0.0
    eps = place.eps + t * line.d_eps
    for i in range(N):
        if not place.live[i]:
            continue
        r = seen.r[i] + t * line.d_r[i]
        f = place.c + t * line.d_c + neuron(place.chart, scene.sigma, r, eps)
        df = line.d_c + neuron_slope(place.chart, scene.sigma, r, line.d_r[i], eps, line.d_eps)
        for j in range(H):
            d = line.d_z[j, i]
            z = line.Z[j, i] + t * d
            if abs(z) <= AT_KINK * (abs(line.Z[j, i]) + abs(t * d)):
                z = 0.0
                up = (d > 0.0) == right
            else:
                up = z > 0.0
            part = task.s[j] * (task.hi if up else task.lo)
            f += part * z
            df += part * d
        loss, first, _ = loss_terms(task.code, task.p, -task.y[i] * f)
        F += loss
        slope -= task.y[i] * first * df
    return F, slope


@compiled
def walk(
    line: Line, place: Place, seen: Seen, held: np.ndarray, t_max: float, scene: Scene
) -> tuple[float, int]:
    """Go down from t = 0 to the first minimum, or to t_max: (t, the pair landed on or −1).

    A minimum inside a piece is bisected to six digits (Newton does the rest), one at a kink, where
    the slope jumps from negative to positive, is landed on.
    """
    kinks = KinkLine(line.Z, line.d_z, place.c, line.d_c)
    t, pair = breakpoints(kinks, held, t_max, 4)
    before = 0.0
    for k in range(t.size):
        if along(line, place, seen, t[k], scene, False)[1] >= 0.0:
            a, b = before, t[k]
            while b - a > 1e-6 * b:
                middle = 0.5 * (a + b)
                if along(line, place, seen, middle, scene, True)[1] < 0.0:
                    a = middle
                else:
                    b = middle
            return (a if a > 0.0 else b), -1
        if pair[k] >= 0 and along(line, place, seen, t[k], scene, True)[1] >= 0.0:
            return t[k], pair[k]
        before = t[k]
    return t_max, -1
