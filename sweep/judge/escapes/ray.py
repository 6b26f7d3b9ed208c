"""`ray`: one unit saturates for ever, and F falls all the way.

Along the ray (w_j, b_j) + t·d the unit's preactivation moves by t·dᵢ at point i, away from zero
at every point but the *tied* ones, where d·x̃ᵢ = 0 exactly. (At most D points are tied, so such a d
exists: the unit's own direction with them projected out, or one from a linear program.) Then

F′(t) = a Σᵢ qᵢ(t)·σ′(zᵢ + t·dᵢ)·dᵢ,

and every factor is monotone in t: fᵢ(t) because one unit moves one way, qᵢ because ℓ is convex, σ′
because |zᵢ| grows. So the values at both ends of an interval enclose F′ between them, and F′ < 0
for all t ≥ 0 is *proved* on a chain of intervals whose last one is [T, ∞), where the slowest point
decides. All is divided by the largest σ′. What a loss with a tail leaves of a point that it tells
may underflow all the same: whatever may pull uphill counts `TINY` more.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
z, d    preactivations and their change per unit t                 (N,)
f       outputs at t = 0 and, in the proof, their rounding errors  (N,), (2, N)
q       ∂ℓᵢ/∂fᵢ                                                    (N,)
ς       rate of the tail of σ: σ′(z) ≈ const·e^{−ς|z|}
======  =========================================================  ==========

For an exponential neuron (a chart unit at η = 0) the same with σ = exp, zᵢ ≤ 0 and dᵢ ≤ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.judge.escapes.directions import Way, grown
from sweep.judge.numerics.kernel_losses import HINGE, SQUARED, loss_terms
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.smooth.kernels import (
    PLAIN,
    SOFTPLUS,
    TANH,
    Task,
    activate,
    outputs,
    preactivation,
)
from sweep.judge.smooth.strict_kernels import forward_doubt
from sweep.kernels.compiled import compiled

# F′ must be negative by this share of its terms' sizes: but for f's rounding they err by 1e-12.
CLEAR = 1e-9
# Moves that differ by less, relatively, may be equal or in the other order.
RIVAL = 1e-9
# More than what underflows, and less than what is seen beside it.
TINY = 1e-300
# Intervals shorter than this (the slowest point moves by 1 per unit t) mean: F′ ≥ 0 somewhere.
SHORTEST = 1e-4
MOST_INTERVALS = 2000


@compiled
def level(kind: int, code: int, z: float) -> float:
    """σ(z); e^z for a chart unit."""
    return activate(code, z)[0] if kind == PLAIN else math.exp(z)


@compiled
def rate(kind: int, code: int, z: float, top: float) -> float:
    """σ′(z)·e^{ς·top}; `top` is the least |z| among the points that move."""
    if kind != PLAIN:
        return math.exp(top - abs(z))
    if code == TANH:
        e = math.exp(-2.0 * abs(z))
        return 4.0 * math.exp(2.0 * (top - abs(z))) / ((1.0 + e) * (1.0 + e))
    e = math.exp(-abs(z))
    return math.exp(top - abs(z)) / ((1.0 + e) * (1.0 + e))


@compiled
def pull(task: Task, i: int, f: float) -> float:
    """∂ℓᵢ/∂fᵢ at output f."""
    return float(-task.y[i] * loss_terms(task.loss, task.p, -task.y[i] * f)[1])


@compiled
def end_of(kind: int, code: int, d: float) -> float:
    """σ where a point that moves by d per unit t ends up."""
    if kind == PLAIN and d > 0.0:
        return 1.0
    return -1.0 if kind == PLAIN and code == TANH else 0.0


@compiled
def tail_excess(kind: int, code: int, z: float) -> float:
    """How far e^{ς|z|}·σ′(z) can still grow: (1 + e^{−ς|z|})²."""
    if kind != PLAIN:
        return 1.0
    e = math.exp(-(2.0 if code == TANH else 1.0) * abs(z))
    return (1.0 + e) * (1.0 + e)


@compiled
def span(
    task: Task, kind: int, a: float, f: np.ndarray, z: np.ndarray, d: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The largest q·a·dᵢ and |z| at both ends, (N, 2) each; the last end may be infinite.

    A weight of zero is one, or is that of a point that pulls downhill.
    """
    weight, far = np.zeros((len(z), 2)), np.zeros((len(z), 2))
    for i in range(len(z)):
        if d[i] == 0.0:
            continue
        start = level(kind, task.code, z[i])
        for k in range(2):
            if ends[k] == np.inf:
                there = end_of(kind, task.code, d[i])
                far[i, k] = np.inf
            else:
                there = level(kind, task.code, z[i] + ends[k] * d[i])
                far[i, k] = abs(z[i] + ends[k] * d[i])
            rises = (a > 0.0) == (d[i] > 0.0)
            ahead = f[0, i] + a * (there - start) + (f[1, i] if rises else -f[1, i])
            weight[i, k] = pull(task, i, ahead) * a * d[i]
            uphill = task.loss == SQUARED or (task.y[i] > 0.0) != rises
            if uphill and not (task.loss == HINGE and task.y[i] * ahead >= 1.0):
                weight[i, k] += TINY
    return weight, far


@compiled
def falls_between(
    task: Task, kind: int, a: float, f: np.ndarray, z: np.ndarray, d: np.ndarray, ends: np.ndarray
) -> int:
    """−1 if F′ < 0 is sure between the ends, else the point that pulls uphill most (or N).

    On [t, ∞) all is relative to e^{−ς·d·(t′−t)} with d the slowest |d| that counts: that point
    keeps at least its present share of F′, any other between nothing and its present share, and
    (1+e)² separates σ′ from its tail. A rival that is as slow but for rounding must pull downhill.
    """
    N = len(z)
    weight, far = span(task, kind, a, f, z, d, ends)
    for_ever = ends[1] == np.inf
    top, slowest = np.inf, np.inf
    for i in range(N):
        # q is monotone: zero at both ends means zero in between, or no more than that downhill.
        if weight[i, 0] != 0.0 or weight[i, 1] != 0.0:
            top, slowest = min(top, far[i, 0]), min(slowest, abs(d[i]))
    upper, size, worst, uphill = 0.0, 0.0, N, 0.0
    for i in range(N):
        most = max(weight[i, 0], weight[i, 1])
        if weight[i, 0] == 0.0 and weight[i, 1] == 0.0:
            continue
        slow = rate(kind, task.code, far[i, 0], top)
        if for_ever:
            fast = slow if abs(d[i]) == slowest else 0.0
            slow *= tail_excess(kind, task.code, far[i, 0])
            if most > 0.0 and slowest < abs(d[i]) < slowest * (1.0 + RIVAL):
                return i
        else:
            fast = rate(kind, task.code, far[i, 1], top)
        share = most * (slow if most > 0.0 else fast)
        upper += share
        size += max(abs(weight[i, 0]), abs(weight[i, 1])) * slow
        if share > uphill:
            worst, uphill = i, share
    return -1 if size > 0.0 and upper < -CLEAR * size - TINY else worst


@compiled
def falls_for_ever(
    task: Task, kind: int, a: float, f: np.ndarray, z: np.ndarray, d: np.ndarray
) -> int:
    """−1 if F′(t) < 0 is proved for all t ≥ 0, else a point that stands in the way (or N)."""
    t, width = 0.0, 1.0
    for _ in range(MOST_INTERVALS):
        if falls_between(task, kind, a, f, z, d, np.array([t, np.inf])) < 0:
            return -1
        worst = falls_between(task, kind, a, f, z, d, np.array([t, t + width]))
        while worst >= 0:
            width *= 0.5
            if width < SHORTEST:
                return worst
            worst = falls_between(task, kind, a, f, z, d, np.array([t, t + width]))
        t += width
        width = min(2.0 * width, 4.0)
    return len(z)


@dataclass(frozen=True, eq=False)
class Ray:
    """A proved ray: unit j saturates, with so many tied points; f (N,) is where the outputs go."""

    unit: int
    tied: int
    limit: np.ndarray


def find_ray(task: Task, theta: np.ndarray, shifts: np.ndarray | None = None) -> Ray | None:
    """A ray from θ (P,) on which F falls for ever, or None."""
    if shifts is None:
        shifts = np.zeros(len(task.kinds))
    if task.decays.any():
        return None
    n = task.X.shape[1]
    f = outputs(theta, shifts, task)
    # 1 − y·f rounds once more, changes of f by a few units of a.
    doubt = forward_doubt(theta, shifts, task)[1] + 2 * UNIT * (1 + np.abs(f))
    for j, kind in enumerate(task.kinds):
        if kind == PLAIN and task.code == SOFTPLUS:
            continue
        at = j * (n + 1)
        z = np.array([preactivation(theta, at, x, kind, shifts[j]) for x in task.X])
        own = theta[at + 1 : at + 1 + n].copy()
        if kind != PLAIN:
            own[-1] = -shifts[j]
        known = np.stack([f, doubt + 8 * UNIT * abs(theta[at])])
        way = _falling(task, kind, theta[at], known, z, own)
        if way is not None:
            tied = int(way.tied.sum())
            return Ray(j, tied, limit_of(task, kind, theta[at], f, z, way.moves))
    return None


def _falling(
    task: Task, kind: int, a: float, f: np.ndarray, z: np.ndarray, own: np.ndarray
) -> Way | None:
    return grown(task.X, z, own, lambda way: falls_for_ever(task, kind, a, f, z, way.moves))


@compiled
def limit_of(
    task: Task, kind: int, a: float, f: np.ndarray, z: np.ndarray, d: np.ndarray
) -> np.ndarray:
    """Where the outputs go, (N,)."""
    end = f.copy()
    for i in range(len(z)):
        if d[i] != 0.0:
            end[i] += a * (end_of(kind, task.code, d[i]) - level(kind, task.code, z[i]))
    return end
