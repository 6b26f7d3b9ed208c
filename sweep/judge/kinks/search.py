"""F along a line, and the exact search for its first minimum there, over all kinks in between.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, H    data points, hidden units
n       D + 1
x̃       data with a last column of ones                            (N, n)
V       v_j = |a_j|(w_j, b_j)                                      (H, n)
s       signs of a; 0 for a unit that is switched off              (H,)
Z       v_j·x̃_i, exactly 0 on held kinks                           (H, N)
s₋, s₊  slopes of the activation left and right of 0 (lo, hi)      scalars
f       Σ_j s_j σ(Z_ji) + c                                        (N,)
======  =========================================================  ==========
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweep.judge.numerics.kernel_losses import loss_terms
from sweep.kernels.compiled import compiled

# z = Z + t·dZ at a breakpoint t = −Z/dZ is three roundings away from zero.
AT_KINK = 1e-15


class Task(NamedTuple):
    """What stays fixed during one member's polish."""

    X: np.ndarray
    y: np.ndarray
    s: np.ndarray
    lo: float
    hi: float
    code: int
    p: float


class Line(NamedTuple):
    """A point and a direction as the data see them; a d in front: the change per unit of t."""

    Z: np.ndarray
    dZ: np.ndarray  # noqa: N815 (the derivative of Z)
    c: float
    dc: float


@compiled
def along(line: Line, t: float, task: Task, right: bool) -> tuple[float, float]:
    """(F, F′) at t: the derivative to the right of t, or to the left."""
    H, N = line.Z.shape
    F, slope = 0.0, 0.0
    for i in range(N):
        f, df = line.c + t * line.dc, line.dc
        for j in range(H):
            d = line.dZ[j, i]
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
def breakpoints(
    line: Line, held: np.ndarray, t_max: float, pieces: int
) -> tuple[np.ndarray, np.ndarray]:
    """The places in (0, t_max] to look at, sorted, each with its pair j·N+i or −1.

    They are the kinks crossed and the ends of `pieces` equal parts of the way.
    """
    H, N = line.Z.shape
    t, pair = np.empty(H * N + pieces), np.empty(H * N + pieces, np.int64)
    count = 0
    for k in range(pieces):
        t[k], pair[k] = t_max * (k + 1) / pieces, -1
        count += 1
    for j in range(H):
        for i in range(N):
            if held[j, i] or line.dZ[j, i] == 0.0 or line.Z[j, i] == 0.0:
                continue
            at = -line.Z[j, i] / line.dZ[j, i]
            if not 0.0 < at <= t_max:
                continue
            # insertion: few kinks are crossed, and np.argsort takes seconds to compile
            k = count
            while k > 0 and t[k - 1] > at:
                t[k], pair[k] = t[k - 1], pair[k - 1]
                k -= 1
            t[k], pair[k] = at, j * N + i
            count += 1
    return t[:count], pair[:count]


@compiled
def turns(line: Line, t: float, pair: int, task: Task) -> bool:
    """Whether F has stopped falling at the place t: before it, or by its kink."""
    if along(line, t, task, False)[1] >= 0.0:
        return True
    return pair >= 0 and along(line, t, task, True)[1] >= 0.0


@compiled
def walk(
    line: Line, task: Task, held: np.ndarray, t_max: float, pieces: int, thorough: bool
) -> tuple[float, int]:
    """Go down from t = 0 to a minimum of F, or to t_max: (t, the pair landed on or −1).

    F′ < 0 at 0 is the caller's promise. A minimum inside a piece is bisected; one at a kink, where
    the slope jumps from negative to positive, is landed on. `thorough` looks at every kink, and
    finds the first minimum; else in strides that double, which may pass a rise of F.
    """
    t, pair = breakpoints(line, held, t_max, pieces)
    below, above, stride = -1, t.size, 1
    while below < t.size - 1:
        k = min(below + stride, t.size - 1)
        if turns(line, t[k], pair[k], task):
            above = k
            break
        below = k
        if not thorough:
            stride *= 2
    if above == t.size:
        return t_max, -1
    # F falls at `below` and has turned at `above`: close in on neighbours
    while above - below > 1:
        k = (below + above) // 2
        if turns(line, t[k], pair[k], task):
            above = k
        else:
            below = k
    a, b = (0.0 if below < 0 else t[below]), t[above]
    if along(line, b, task, False)[1] < 0.0:
        return b, pair[above]
    for _ in range(60):
        mid = 0.5 * (a + b)
        if mid <= a or mid >= b:
            break
        if along(line, mid, task, True)[1] < 0.0:
            a = mid
        else:
            b = mid
    return (a if a > 0.0 else b), -1
