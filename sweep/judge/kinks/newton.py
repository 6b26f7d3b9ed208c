"""Newton on the manifold of the held kinks.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
g       subgradient of least norm                                  (P,)
B       orthonormal basis of the manifold of the held kinks        (P, m)
others  as in `sweep.judge.kinks.polish` and `sweep.judge.kinks.step`
======  =========================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.kinks.geometry import basis
from sweep.judge.kinks.search import Task
from sweep.judge.kinks.step import Seen, shifted_newton
from sweep.kernels.compiled import compiled


@compiled
def newton_direction(
    seen: Seen, g: np.ndarray, on: np.ndarray, tau: np.ndarray, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """(direction d (P,), the pairs that it stays on).

    Kinks with τ at a bound are let go; those that d would cross to the wrong side are taken back.
    """
    H, N = on.shape
    n = task.X.shape[1]
    held = np.zeros((H, N), np.bool_)
    for j in range(H):
        for i in range(N):
            held[j, i] = on[j, i] and 0.0 < tau[j, i] < 1.0
    d = g
    for _ in range(H * n + 1):
        B, first = basis(held, task.X, 1)
        hessian = reduced(seen, on, held, tau, B, first, task)
        # Between kinks F is convex and the search is exact: no trust region is needed.
        d = shifted_newton(hessian, B, g, np.inf)[0]
        again = False
        for j in range(H):
            for i in range(N):
                if on[j, i] and not held[j, i]:
                    z = 0.0
                    for k in range(n):
                        z += d[j * n + k] * task.X[i, k]
                    if (z > 0.0 and tau[j, i] <= 0.0) or (z < 0.0 and tau[j, i] >= 1.0):
                        held[j, i] = True
                        again = True
        if not again:
            break
    return d, held


@compiled
def reduced(
    seen: Seen,
    on: np.ndarray,
    held: np.ndarray,
    tau: np.ndarray,
    B: np.ndarray,
    first: np.ndarray,
    task: Task,
) -> np.ndarray:
    """The Hessian on the manifold of the held kinks, (m, m)."""
    H, N = on.shape
    n, m = task.X.shape[1], B.shape[1]
    hessian, row = np.zeros((m, m)), np.zeros(m)
    for i in range(N):
        if seen.r[i] == 0.0:
            continue
        for j in range(H):
            up = seen.Z[j, i] > 0.0 or (on[j, i] and tau[j, i] >= 1.0)
            slope = 0.0 if held[j, i] else task.s[j] * (task.hi if up else task.lo)
            for a in range(first[j], first[j + 1]):
                row[a] = 0.0
                for k in range(n):
                    row[a] += slope * task.X[i, k] * B[j * n + k, a]
        row[first[H]] = 1.0
        for a in range(m):
            t = seen.r[i] * row[a]
            if t != 0.0:
                for b in range(m):
                    hessian[a, b] += t * row[b]
    return hessian
