"""Compiled: damped Newton on the reduced objective E, never uphill; symbols: `kernels.py`.

A neuron is taken out when E does not fall as it grows from zero in its own direction: along
w ↦ √w·zⱼ, w ∈ [0, 1], E is convex, so a slope λⱼ‖zⱼ‖² + sⱼ Σᵢ qᵢhⱼᵢ² ≥ 0 at w = 0 (with q of the
network without it) means that E falls all the way from the neuron to zero.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.coercive.kernels import (
    Task,
    activations,
    dot,
    energy,
    factorised,
    gradient,
    hessian,
    loss_rows,
    loss_sum,
    outputs,
    penalty,
    solved,
    switched_on,
)
from sweep.judge.numerics.spectra import eigen_kernel
from sweep.kernels.compiled import compiled

EPS = 2.0**-52
# ‖∇E‖ at this share of the sum of its terms' sizes is its own rounding.
FLOOR = 4.0 * EPS
# Below this share of E a difference of two computed E says nothing.
NOISE = 16.0 * EPS
# A step is at most this share of ‖z‖ (or of 1, if that is less): a longer one changes the basin.
LONGEST = 0.5
# The damping starts at this share of the largest curvature, so that the first steps are modest.
FIRST_DAMPING = 0.1
# Damping below and above these shares of the largest curvature: none at all, and a dead end.
LEAST_DAMPING, MOST_DAMPING = 1e-13, 1e13
# Curvature below minus this share of the largest is negative beyond rounding.
CONCAVE = 1e-10


@compiled
def without(Z: np.ndarray, s: np.ndarray, lam: np.ndarray, task: Task) -> np.ndarray:
    """Neurons (k,) that stay when those are taken out, one after the other, that E falls without.

    The weakest is looked at first, since others change what is left for it to do.
    """
    kept = np.ones(len(s), dtype=np.bool_)
    h = activations(Z, task)
    f = outputs(h, s)
    sizes = np.empty(len(s))
    for j in range(len(s)):
        sizes[j] = dot(Z[j], Z[j])
    for j in np.argsort(sizes):
        rest = f - s[j] * h[j] * h[j]
        slope = lam[j] * sizes[j]
        q = loss_rows(rest, task)[1]
        for i in range(len(q)):
            slope += s[j] * q[i] * h[j, i] * h[j, i]
        if slope >= 0.0:
            kept[j] = False
            f = rest
    return kept


@compiled
def gradient_floor(
    Z: np.ndarray, lam: np.ndarray, h: np.ndarray, q: np.ndarray, X: np.ndarray
) -> float:
    """What ‖∇E‖ may be from rounding alone."""
    total = 0.0
    for j in range(len(Z)):
        size = 2.0 * lam[j] * math.sqrt(dot(Z[j], Z[j]))
        for i in range(len(X)):
            size += 2.0 * abs(q[i] * h[j, i]) * math.sqrt(dot(X[i], X[i]))
        total += size * size
    return FLOOR * math.sqrt(total)


@compiled
def descend(
    Z: np.ndarray, s: np.ndarray, lam: np.ndarray, task: Task, budget: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(z, still active (k,), steps) where the way down from z (k, n) ends; dead neurons become 0.

    It ends where ∇E is rounding and no curvature negative, or after `budget` steps.
    """
    ids = np.arange(len(s))
    final, active = np.zeros_like(Z), np.zeros(len(s), dtype=np.bool_)
    Z, s, lam = Z.copy(), s.copy(), lam.copy()
    damping, steps, moved = -1.0, 0, True
    while moved and steps < budget:
        kept = np.flatnonzero(without(Z, s, lam, task))
        if len(kept) < len(s):
            Z, s, lam, ids = Z[kept], s[kept], lam[kept], ids[kept]
        if len(s) == 0:
            break
        h = activations(Z, task)
        rows = loss_rows(outputs(h, s), task)
        E = rows[0].sum() + penalty(Z, lam)
        g = gradient(Z, s, lam, h, rows[1], task)
        H = hessian(s, lam, h, rows[1], rows[2], switched_on(h, task), task)
        if damping < 0.0:
            damping = FIRST_DAMPING * np.abs(np.diag(H)).max()
        moved = math.sqrt(dot(g, g)) > gradient_floor(Z, lam, h, rows[1], task.X)
        if moved:
            moved, Z, damping = step(Z, s, lam, H, g, E, damping, task)
        if not moved:
            # At rest, or as near as rounding lets E tell.
            moved, Z = leave(Z, s, lam, H, E, task)
        steps += 1
    for k in range(len(ids)):
        final[ids[k]] = Z[k]
        active[ids[k]] = True
    return final, active, steps


@compiled
def slope_at(Z: np.ndarray, s: np.ndarray, lam: np.ndarray, task: Task) -> tuple[float, np.ndarray]:
    """E and ∇E."""
    h = activations(Z, task)
    rows = loss_rows(outputs(h, s), task)
    return rows[0].sum() + penalty(Z, lam), gradient(Z, s, lam, h, rows[1], task)


@compiled
def step(
    Z: np.ndarray,
    s: np.ndarray,
    lam: np.ndarray,
    H: np.ndarray,
    g: np.ndarray,
    E: float,
    damping: float,
    task: Task,
) -> tuple[bool, np.ndarray, float]:
    """One Newton step with as much damping as it takes to lower E: (whether, z, damping).

    Each is corrected by a second one with the same factors, which leads back into the curved
    valleys that a straight step leaves. Where E is all rounding, a step counts that halves ‖∇E‖.
    """
    stiffest = np.abs(np.diag(H)).max()
    longest = LONGEST * min(1.0, math.sqrt((Z * Z).sum()))
    slope = math.sqrt(dot(g, g))
    raised = False
    while damping <= MOST_DAMPING * stiffest:
        definite, A = factorised(H, damping)
        if definite:
            d = solved(A, g)
            if math.sqrt(dot(d, d)) <= longest:
                best, lowest, flattest = Z, E - NOISE * E, 0.5 * slope
                trial = Z
                for _ in range(2):
                    trial = trial + d.reshape(Z.shape)
                    there, reached = slope_at(trial, s, lam, task)
                    steepness = math.sqrt(dot(reached, reached))
                    level = there <= E + NOISE * E and lowest >= E - NOISE * E
                    if there < lowest or (level and steepness < flattest):
                        best, lowest, flattest = trial, min(lowest, there), steepness
                    d = solved(A, reached)
                    if not math.sqrt(dot(d, d)) <= longest:
                        break
                if best is not Z:
                    damping = damping if raised else damping / 8.0
                    return True, best, damping if damping > LEAST_DAMPING * stiffest else 0.0
        damping = max(4.0 * damping, LEAST_DAMPING * stiffest)
        raised = True
    return False, Z, FIRST_DAMPING * stiffest


@compiled
def leave(
    Z: np.ndarray, s: np.ndarray, lam: np.ndarray, H: np.ndarray, E: float, task: Task
) -> tuple[bool, np.ndarray]:
    """(Whether, where) E falls along the direction of most negative curvature, if there is one."""
    values, basis = eigen_kernel(H)
    if not values[0] < -CONCAVE * np.abs(values).max():
        return False, Z
    way = basis[:, 0].copy().reshape(Z.shape)
    length = LONGEST * min(1.0, math.sqrt((Z * Z).sum()))
    for _ in range(30):
        for sign in (1.0, -1.0):
            trial = Z + sign * length * way
            if energy(trial, s, lam, task) < E - NOISE * E:
                return True, trial
        length /= 4.0
    return False, Z


@compiled
def grown(f: np.ndarray, u: np.ndarray, sign: float, lam: float, task: Task) -> tuple[float, float]:
    """The best weight w ≥ 0 of a new neuron √w·u beside outputs f, and E's change there.

    The change is convex in w: bisection of its slope.
    """
    share = activations(u.reshape(1, -1), task)[0]
    share = sign * share * share
    here = loss_sum(f, task)
    up = 1.0
    for _ in range(60):
        slope = lam
        q = loss_rows(f + up * share, task)[1]
        slope += (q * share).sum()
        if slope >= 0.0:
            break
        up *= 2.0
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + up)
        q = loss_rows(f + middle * share, task)[1]
        if lam + (q * share).sum() < 0.0:
            low = middle
        else:
            up = middle
    return low, loss_sum(f + low * share, task) - here + lam * low
