"""Small linear algebra of the kink polish: projections, bases, a bounded least squares.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
n       D + 1, length of a unit's v
K       points held on a unit's kink
x̃       data with a last column of ones                       (N, n)
Q       orthonormal rows
τ       multipliers of the held kinks, in [0, 1]              (K,)
======  ====================================================  ==========

Everything is written as loops over scalars: at these sizes (n below 20, K below 10) that beats
LAPACK, and the order of every sum is fixed.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.kernels.compiled import compiled

# A row that keeps less than this share of its length after projection is taken as dependent on the
# rows before: twice-repeated Gram-Schmidt is accurate to some 1e-15, data are not that parallel.
DEPENDENT = 1e-10


@compiled
def orthogonalise(w: np.ndarray, Q: np.ndarray, m: int) -> float:
    """Remove the first m rows of Q from w, in place and twice ("twice is enough"); ‖w‖ left."""
    for _ in range(2):
        for a in range(m):
            t = 0.0
            for k in range(w.size):
                t += Q[a, k] * w[k]
            for k in range(w.size):
                w[k] -= t * Q[a, k]
    total = 0.0
    for k in range(w.size):
        total += w[k] * w[k]
    return math.sqrt(total)


@compiled
def span_of(held: np.ndarray, X: np.ndarray, Q: np.ndarray) -> int:
    """Fill Q (n, n) with an orthonormal basis of span{x̃_i : held_i}; its dimension."""
    m, w = 0, np.zeros(Q.shape[0])
    for i in range(held.size):
        if not held[i] or m == Q.shape[0]:
            continue
        length = 0.0
        for k in range(w.size):
            w[k] = X[i, k]
            length += w[k] * w[k]
        left = orthogonalise(w, Q, m)
        if left > DEPENDENT * math.sqrt(length):
            for k in range(w.size):
                Q[m, k] = w[k] / left
            m += 1
    return m


@compiled
def project(v: np.ndarray, X: np.ndarray, held: np.ndarray) -> None:
    """Put v on all its held kinks, in place: v·x̃_i = 0 up to rounding."""
    Q = np.zeros((v.size, v.size))
    m = span_of(held, X, Q)
    orthogonalise(v, Q, m)
    if m == v.size:
        for k in range(v.size):
            v[k] = 0.0


@compiled
def basis(held: np.ndarray, X: np.ndarray, extra: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns of {V : v_j ⟂ x̃_i for held (j, i)} × ℝ^extra, (H·n + extra, m).

    Second the first column of each unit, and last of the extra parameters, (H + 1,).
    """
    H, n = held.shape[0], X.shape[1]
    size = H * n + extra
    B, first = np.zeros((size, size)), np.zeros(H + 1, np.int64)
    m = 0
    for j in range(H):
        first[j] = m
        Q, w = np.zeros((n, n)), np.zeros(n)
        r = span_of(held[j], X, Q)
        for e in range(n):
            if r == n:
                break
            for k in range(n):
                w[k] = 1.0 if k == e else 0.0
            left = orthogonalise(w, Q, r)
            # The squares of what is left of all unit vectors sum to n − r ≥ 1, so passing over
            # the tiny ones never leaves a gap.
            if left > 1e-8:
                for k in range(n):
                    Q[r, k] = w[k] / left
                    B[j * n + k, m] = Q[r, k]
                r += 1
                m += 1
    first[H] = m
    for e in range(extra):
        B[H * n + e, m] = 1.0
        m += 1
    return B[:, :m].copy(), first


@compiled
def free_step(A: np.ndarray, r: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The change z of the free variables that minimises ‖r + A z‖; 0 for dependent columns."""
    n, K = A.shape
    Q, R, w = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    pick = np.zeros(n, np.int64)
    m = 0
    for j in range(K):
        if not free[j] or m == n:
            continue
        length = 0.0
        for k in range(n):
            w[k] = A[k, j]
            length += w[k] * w[k]
        left = orthogonalise(w, Q, m)
        if left > DEPENDENT * math.sqrt(length):
            for a in range(m):
                for k in range(n):
                    R[a, m] += Q[a, k] * A[k, j]
            for k in range(n):
                Q[m, k] = w[k] / left
            R[m, m], pick[m] = left, j
            m += 1
    z = np.zeros(K)
    for a in range(m - 1, -1, -1):
        t = 0.0
        for k in range(n):
            t -= Q[a, k] * r[k]
        for b in range(a + 1, m):
            t -= R[a, b] * z[pick[b]]
        z[pick[a]] = t / R[a, a]
    return z


@compiled
def left_over(A: np.ndarray, b: np.ndarray, tau: np.ndarray, r: np.ndarray) -> float:
    """Write b + A τ into r; its norm."""
    total = 0.0
    for k in range(r.size):
        r[k] = b[k]
        for j in range(tau.size):
            r[k] += A[k, j] * tau[j]
        total += r[k] * r[k]
    return math.sqrt(total)


@compiled
def to_bounds(
    A: np.ndarray, b: np.ndarray, tau: np.ndarray, free: np.ndarray, r: np.ndarray
) -> float:
    """Minimise over the free variables, fixing those that reach a bound; in place, ‖r‖."""
    for _ in range(tau.size + 1):
        left_over(A, b, tau, r)
        z = free_step(A, r, free)
        length, hit = 1.0, -1
        for j in range(tau.size):
            if free[j] and z[j] != 0.0:
                room = (1.0 - tau[j]) / z[j] if z[j] > 0.0 else -tau[j] / z[j]
                if room < length:
                    length, hit = room, j
        for j in range(tau.size):
            if free[j]:
                tau[j] = min(1.0, max(0.0, tau[j] + length * z[j]))
        if hit < 0:
            break
        tau[hit] = 1.0 if z[hit] > 0.0 else 0.0
        free[hit] = False
    return left_over(A, b, tau, r)


@compiled
def bounded_least_squares(A: np.ndarray, b: np.ndarray, tau: np.ndarray, r: np.ndarray) -> float:
    """Minimise ‖b + A τ‖ over 0 ≤ τ ≤ 1, in place from τ; r receives the residual, its norm.

    The active-set method of Stark and Parker (1995): minimise over the free variables, let the
    bound one with the worst sign go, repeat.
    """
    K = tau.size
    free, tried = np.zeros(K, np.bool_), np.zeros(K, np.bool_)
    for j in range(K):
        free[j] = 0.0 < tau[j] < 1.0
    best = np.inf
    for _ in range(3 * K + 10):
        size = to_bounds(A, b, tau, free, r)
        if size < best * (1.0 - 1e-14):
            best = size
            for j in range(K):
                tried[j] = False
        # What the residual loses at first order, gain = ‖r‖·cos; below 1e-15‖r‖ it is noise.
        worst, chosen = 1e-15 * size, -1
        for j in range(K):
            if free[j] or tried[j]:
                continue
            w, length = 0.0, 0.0
            for k in range(r.size):
                w += A[k, j] * r[k]
                length += A[k, j] * A[k, j]
            gain = (w if tau[j] >= 1.0 else -w) / math.sqrt(length + 1e-300)
            if gain > worst:
                worst, chosen = gain, j
        if chosen < 0:
            break
        free[chosen] = True
        tried[chosen] = True
    return left_over(A, b, tau, r)
