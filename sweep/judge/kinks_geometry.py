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

from sweep.judge.compiled import compiled

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
    m = 0
    for i in range(held.size):
        if not held[i] or m == Q.shape[0]:
            continue
        w = X[i].copy()
        length = math.sqrt((w * w).sum())
        left = orthogonalise(w, Q, m)
        if left > DEPENDENT * length:
            Q[m] = w / left
            m += 1
    return m


@compiled
def project(v: np.ndarray, X: np.ndarray, held: np.ndarray) -> None:
    """Put v on all its held kinks, in place: v·x̃_i = 0 up to rounding."""
    Q = np.zeros((v.size, v.size))
    m = span_of(held, X, Q)
    if m == v.size:
        v[:] = 0.0
    elif m > 0:
        orthogonalise(v, Q, m)


@compiled
def basis(held: np.ndarray, X: np.ndarray, extra: int) -> np.ndarray:
    """Orthonormal columns of {V : v_j ⟂ x̃_i for held (j, i)} × ℝ^extra, (H·n + extra, m)."""
    H, n = held.shape[0], X.shape[1]
    size = H * n + extra
    B = np.zeros((size, size))
    m = 0
    for j in range(H):
        Q = np.zeros((n, n))
        r = span_of(held[j], X, Q)
        for e in range(n):
            if r == n:
                break
            w = np.zeros(n)
            w[e] = 1.0
            left = orthogonalise(w, Q, r)
            # The unit vectors' squared remainders sum to n − r ≥ 1; what is passed over here is
            # tiny or comes again in the next round.
            if left > 1e-8:
                for k in range(n):
                    Q[r, k] = w[k] / left
                    B[j * n + k, m] = Q[r, k]
                r += 1
                m += 1
    for e in range(extra):
        B[H * n + e, m] = 1.0
        m += 1
    return B[:, :m].copy()


@compiled
def free_step(A: np.ndarray, r: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The change z of the free variables that minimises ‖r + A z‖; 0 for dependent columns."""
    n, K = A.shape
    Q = np.zeros((n, n))
    R = np.zeros((n, n))
    pick = np.zeros(n, np.int64)
    m = 0
    for j in range(K):
        if not free[j] or m == n:
            continue
        w = A[:, j].copy()
        length = math.sqrt((w * w).sum())
        left = orthogonalise(w, Q, m)
        if left > DEPENDENT * length:
            for a in range(m):
                R[a, m] = (Q[a] * A[:, j]).sum()
            R[m, m] = left
            Q[m] = w / left
            pick[m] = j
            m += 1
    z = np.zeros(K)
    for a in range(m - 1, -1, -1):
        t = -(Q[a] * r).sum()
        for b in range(a + 1, m):
            t -= R[a, b] * z[pick[b]]
        z[pick[a]] = t / R[a, a]
    return z


@compiled
def residual_of(A: np.ndarray, b: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """B + A τ."""
    r = b.copy()
    for j in range(tau.size):
        for k in range(r.size):
            r[k] += A[k, j] * tau[j]
    return r


@compiled
def to_bounds(A: np.ndarray, b: np.ndarray, tau: np.ndarray, free: np.ndarray) -> None:
    """Minimise over the free variables, fixing those that reach a bound; in place."""
    for _ in range(tau.size + 1):
        z = free_step(A, residual_of(A, b, tau), free)
        step, hit = 1.0, -1
        for j in range(tau.size):
            if free[j] and z[j] != 0.0:
                room = (1.0 - tau[j]) / z[j] if z[j] > 0.0 else -tau[j] / z[j]
                if room < step:
                    step, hit = room, j
        for j in range(tau.size):
            if free[j]:
                tau[j] = min(1.0, max(0.0, tau[j] + step * z[j]))
        if hit < 0:
            return
        tau[hit] = 1.0 if z[hit] > 0.0 else 0.0
        free[hit] = False


@compiled
def bounded_least_squares(A: np.ndarray, b: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Minimise ‖b + A τ‖ over 0 ≤ τ ≤ 1, in place from τ; the residual vector (n,).

    The active-set method of Stark and Parker (1995): minimise over the free variables, let the
    bound one with the worst sign go, repeat.
    """
    K = tau.size
    free = (tau > 0.0) & (tau < 1.0)
    tried = np.zeros(K, np.bool_)
    best = np.inf
    r = residual_of(A, b, tau)
    for _ in range(3 * K + 10):
        to_bounds(A, b, tau, free)
        r = residual_of(A, b, tau)
        size = math.sqrt((r * r).sum())
        if size < best * (1.0 - 1e-14):
            best = size
            tried[:] = False
        worst, chosen = 0.0, -1
        for j in range(K):
            if free[j] or tried[j]:
                continue
            w, length = 0.0, 0.0
            for k in range(r.size):
                w += A[k, j] * r[k]
                length += A[k, j] * A[k, j]
            if length == 0.0:
                continue
            gain = -w if tau[j] == 0.0 else w
            # gain/‖A_j‖ is what the residual loses at first order; below rounding it is noise
            gain /= math.sqrt(length)
            if gain > 1e-15 * size and gain > worst:
                worst, chosen = gain, j
        if chosen < 0 or size == 0.0:
            break
        free[chosen] = True
        tried[chosen] = True
    return r
