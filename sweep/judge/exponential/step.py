"""One step of the limit problem's polish: kinks as in `sweep.judge.kinks.step`, and the neuron.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
n       D + 1
θ       V row by row, c, and the neuron's n parameters             (P,)
r, ε    what the data see of the neuron, FLAT's 1/α                (N,), scalar
q, k    ∂ℓ_i/∂f_i, ∂²ℓ_i/∂f_i²                                     (N,)
others  as in `sweep.judge.kinks.step`, `sweep.judge.exponential.neuron`
======  =========================================================  ==========
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sweep.judge.exponential.neuron import (
    EXP,
    FLAT,
    GONE,
    MONO,
    QUAD,
    add_bend,
    neuron,
    neuron_row,
    seen_by,
)
from sweep.judge.kinks.geometry import basis
from sweep.judge.kinks.search import Task
from sweep.judge.kinks.step import reduce_by_kinks, shifted_newton
from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.kernels.compiled import compiled


class Place(NamedTuple):
    """Where the polish stands.

    `live` (N,): points that still count; the others are fitted at infinity. `pinned`: ε is held at
    0. `linear`: the unit that is an affine function (QUAD), or −1. `frozen`: the neuron's
    parameters do not move.
    """

    V: np.ndarray
    c: float
    chart: int
    omega: np.ndarray
    eps: float
    pinned: bool
    linear: int
    live: np.ndarray
    frozen: bool


class Scene(NamedTuple):
    """What stays fixed: the data and loss, the data centred for the neuron, σ."""

    task: Task
    centred: np.ndarray
    sigma: float


class Seen(NamedTuple):
    """What the data see: `scale` is Σ|q_i|‖x̃_i‖, `margin` min y_i f_i over the live points."""

    Z: np.ndarray
    r: np.ndarray
    f: np.ndarray
    F: float
    q: np.ndarray
    k: np.ndarray
    scale: float
    margin: float


@compiled
def look(place: Place, on: np.ndarray, scene: Scene) -> Seen:
    """The place in numbers, the kinks that it is on at exactly zero."""
    task = scene.task
    H, N = on.shape
    Z, f, q, k = np.zeros((H, N)), np.zeros(N), np.zeros(N), np.zeros(N)
    r = seen_by(place.chart, place.omega, scene.centred)
    F, scale, margin = 0.0, 0.0, np.inf
    for i in range(N):
        f[i] = place.c + neuron(place.chart, scene.sigma, r[i], place.eps)
        length = 0.0
        for m in range(task.X.shape[1]):
            length += task.X[i, m] ** 2
        for j in range(H):
            if not on[j, i]:
                for m in range(task.X.shape[1]):
                    Z[j, i] += place.V[j, m] * task.X[i, m]
            f[i] += task.s[j] * (task.hi if Z[j, i] > 0.0 else task.lo) * Z[j, i]
        if place.live[i]:
            loss, first, second = loss_terms(task.code, task.p, -task.y[i] * f[i])
            F += loss
            q[i], k[i] = -task.y[i] * first, second
            scale += abs(first) * math.sqrt(length)
            margin = min(margin, task.y[i] * f[i])
    return Seen(Z, r, f, F, q, k, scale, margin)


@compiled
def subgradient(
    place: Place, seen: Seen, on: np.ndarray, tau: np.ndarray, scene: Scene
) -> np.ndarray:
    """The subgradient of least norm, (P,); the multipliers `tau` are updated in place."""
    task = scene.task
    H, N = on.shape
    n = task.X.shape[1]
    g, row = np.zeros(H * n + 1 + n), np.zeros(n)
    for j in range(H):
        part, count = np.zeros(n), 0
        for i in range(N):
            slope = task.hi if seen.Z[j, i] > 0.0 else task.lo
            for m in range(n):
                part[m] += seen.q[i] * task.s[j] * slope * task.X[i, m]
            count += on[j, i]
        if count > 0:
            reduce_by_kinks(part, seen.q, on[j], tau[j], task.s[j], task)
        for m in range(n):
            g[j * n + m] = part[m]
    for i in range(N):
        if seen.q[i] == 0.0:
            continue
        g[H * n] += seen.q[i]
        neuron_row(place.chart, scene.sigma, seen.r[i], place.eps, scene.centred[i], row)
        for m in range(n):
            g[H * n + 1 + m] += seen.q[i] * row[m]
    return g


@compiled
def free_part(place: Place, n: int) -> int:
    """How many of the neuron's parameters are free in this chart."""
    if place.chart == GONE or place.frozen:
        return 0
    whole = place.chart == EXP or place.chart == MONO
    return n if whole or (place.chart == FLAT and not place.pinned) else n - 1


@compiled
def reduced(
    place: Place,
    seen: Seen,
    on: np.ndarray,
    held: np.ndarray,
    tau: np.ndarray,
    B: np.ndarray,
    first: np.ndarray,
    scene: Scene,
) -> np.ndarray:
    """The Hessian on the manifold of the held kinks, (m, m)."""
    task = scene.task
    H, N = on.shape
    n, free = task.X.shape[1], free_part(place, task.X.shape[1])
    m = B.shape[1]
    # The neuron's parameters come last; those that are not free are cut off in the end.
    full = np.zeros((m - free + n, m - free + n))
    row, part = np.zeros(m - free + n), np.zeros(n)
    for i in range(N):
        if seen.q[i] == 0.0 and seen.k[i] == 0.0:
            continue
        for j in range(H):
            up = seen.Z[j, i] > 0.0 or (on[j, i] and tau[j, i] >= 1.0)
            slope = 0.0 if held[j, i] else task.s[j] * (task.hi if up else task.lo)
            for a in range(first[j], first[j + 1]):
                row[a] = 0.0
                for b in range(n):
                    row[a] += slope * task.X[i, b] * B[j * n + b, a]
        row[first[H]] = 1.0
        neuron_row(place.chart, scene.sigma, seen.r[i], place.eps, scene.centred[i], part)
        for a in range(n):
            row[first[H] + 1 + a] = part[a]
        for a in range(row.size):
            t = seen.k[i] * row[a]
            if t != 0.0:
                for b in range(row.size):
                    full[a, b] += t * row[b]
        add_bend(place.chart, scene.sigma, seen.r[i], place.eps, scene.centred[i], seen.q[i], full)
    return full[:m, :m].copy()


@compiled
def newton_direction(
    place: Place,
    seen: Seen,
    g: np.ndarray,
    on: np.ndarray,
    tau: np.ndarray,
    delta: float,
    scene: Scene,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(direction d (P,), the pairs that it stays on, whether it is shorter than Δ).

    Kinks with τ at a bound are let go; those that d would cross to the wrong side are taken back.
    """
    task = scene.task
    H, N = on.shape
    n = task.X.shape[1]
    held = np.zeros((H, N), np.bool_)
    for j in range(H):
        for i in range(N):
            held[j, i] = on[j, i] and 0.0 < tau[j, i] < 1.0
    d, inside = np.zeros(g.size), True
    used = H * n + 1 + free_part(place, n)
    for _ in range(H * n + 1):
        B, first = basis(held, task.X, used - H * n)
        hessian = reduced(place, seen, on, held, tau, B, first, scene)
        step, inside = shifted_newton(hessian, B, g[:used], delta)
        for a in range(used):
            d[a] = step[a]
        again = False
        for j in range(H):
            for i in range(N):
                if on[j, i] and not held[j, i]:
                    z = 0.0
                    for a in range(n):
                        z += d[j * n + a] * task.X[i, a]
                    if (z > 0.0 and tau[j, i] <= 0.0) or (z < 0.0 and tau[j, i] >= 1.0):
                        held[j, i] = True
                        again = True
        if not again:
            break
    return d, held, inside


@compiled
def freeze(place: Place, frozen: bool) -> Place:
    """The same place, its neuron free to move or not."""
    return Place(
        place.V,
        place.c,
        place.chart,
        place.omega,
        place.eps,
        place.pinned,
        place.linear,
        place.live,
        frozen,
    )


@compiled
def at_zero(place: Place, pinned: bool) -> Place:
    """The same place in FLAT with ε = 0, held there or not."""
    return Place(
        place.V,
        place.c,
        FLAT,
        place.omega,
        0.0,
        pinned,
        place.linear,
        place.live,
        place.frozen,
    )


@compiled
def moved(place: Place, d: np.ndarray, t: float) -> Place:
    """The place after t·d."""
    H, n = place.V.shape
    V, omega, eps = place.V.copy(), place.omega.copy(), place.eps
    for j in range(H):
        for a in range(n):
            V[j, a] += t * d[j * n + a]
    used = free_part(place, n)
    if place.frozen:
        used = 0
    elif place.chart == FLAT or place.chart == QUAD:
        used = n - 1
        eps += t * d[H * n + n]
    for a in range(used):
        omega[a] += t * d[H * n + 1 + a]
    return Place(
        V,
        place.c + t * d[H * n],
        place.chart,
        omega,
        eps,
        place.pinned,
        place.linear,
        place.live,
        place.frozen,
    )
