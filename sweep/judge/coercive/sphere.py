"""Compiled: a proven upper bound of max |Σᵢ qᵢ ReQU(u·x̃ᵢ)| over the unit sphere.

The sphere is covered by simplicial cones {u = Vᵀα, α ≥ 0}, at first the orthants, that are halved
until each is settled. There u·x̃ᵢ = α·c with c = V x̃ᵢ = c⁺ − c⁻, and t² − (t⁻)² ≤ ReQU(t) ≤ (t⁺)²
with t⁺ ≤ α·c⁺ and t⁻ ≤ α·c⁻ gives

    (α·c)² − (α·c⁻)² ≤ ReQU(u·x̃ᵢ) ≤ (α·c⁺)².

With the right-hand side for q > 0 and the left-hand side, or 0, for q < 0,

    level·‖u‖² − Σᵢ qᵢ ReQU(u·x̃ᵢ) ≥ αᵀBα,
    B = level·VVᵀ − Σ_{q>0} q c⁺c⁺ᵀ + Σ_{q<0} |q| (ccᵀ − c⁻c⁻ᵀ),

and the cone is settled if B is copositive: B, or B without its positive entries off the diagonal,
is positive definite. Near any u below the level small cones satisfy the second, so that the search
ends unless the level is reached.

Where it is reached by right, at a u whose own neuron is active, the caller knows a set K of points
with Σ_{i∈K} qᵢ(u·x̃ᵢ)² ≤ level·‖u‖² for all u. A cone is settled as well if every point with q > 0
that it sees is in K, and every point of K with q < 0 is seen from all of the cone.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, n    data points, D + 1
x̃       data with a last column of ones                            (N, n)
q       ∂ℓᵢ/∂fᵢ, or minus that                                     (N,)
V       unit vectors that span a cone                              (n, n)
C       V x̃ᵢ for all points                                        (n, N)
known   sets K, as masks                                           (K, N)
======  =========================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.coercive.kernels import dot
from sweep.kernels.compiled import compiled

# How the search ends.
BELOW, ABOVE, GAVE_UP = 0, 1, 2
# A term with q < 0 is counted unless its c⁻ is that many times its c⁺, and cones are halved along
# the edge of the least entry of B and the longest by turns: of what was tried, this needs the
# fewest cones (some 200 for n = 3 and 3,000 for n = 5, a tenth of the plain choices).
MOSTLY_OFF, LONGEST_EVERY = 4.0, 2
# Cones that wait: the search goes deep first, and each halving leaves one behind.
DEEPEST = 400


@compiled
def on_direction(u: np.ndarray, q: np.ndarray, X: np.ndarray, rectified: bool) -> float:
    """Σᵢ qᵢ ReQU(u·x̃ᵢ), or Σᵢ qᵢ(u·x̃ᵢ)²."""
    total = 0.0
    for i in range(len(q)):
        t = dot(u, X[i])
        if t > 0.0 or not rectified:
            total += q[i] * t * t
    return total


@compiled
def positive_pivots(B: np.ndarray, drop: bool) -> bool:
    """Whether B is positive definite; `drop`: without its positive entries off the diagonal."""
    n = len(B)
    A = B.copy()
    if drop:
        for k in range(n):
            for m in range(n):
                if k != m and A[k, m] > 0.0:
                    A[k, m] = 0.0
    for k in range(n):
        if not A[k, k] > 0.0:
            return False
        for a in range(k + 1, n):
            share = A[k, a] / A[k, k]
            for b in range(a, n):
                A[a, b] -= share * A[k, b]
    return True


@compiled
def cone_form(V: np.ndarray, C: np.ndarray, q: np.ndarray, level: float) -> np.ndarray:
    """B of one cone, (n, n)."""
    n = len(V)
    B = np.empty((n, n))
    for k in range(n):
        for m in range(k, n):
            B[k, m] = level * dot(V[k], V[m])
    for i in range(len(q)):
        above, below = 0.0, 0.0
        for k in range(n):
            above += max(C[k, i], 0.0)
            below -= min(C[k, i], 0.0)
        if q[i] < 0.0 and below > MOSTLY_OFF * above:
            continue
        for k in range(n):
            for m in range(k, n):
                # ccᵀ − c⁻c⁻ᵀ vanishes where both are negative, c⁺c⁺ᵀ where either is.
                both = C[k, i] > 0.0 and C[m, i] > 0.0
                either = C[k, i] > 0.0 or C[m, i] > 0.0
                if both or (either and q[i] < 0.0):
                    B[k, m] -= q[i] * C[k, i] * C[m, i]
    for k in range(n):
        for m in range(k):
            B[k, m] = B[m, k]
    return B


@compiled
def is_known(C: np.ndarray, q: np.ndarray, known: np.ndarray) -> bool:
    """Whether one of the known sets settles the cone."""
    for one in known:
        settled = True
        for i in range(len(q)):
            above, below = False, False
            for k in range(len(C)):
                above = above or C[k, i] > 0.0
                below = below or C[k, i] < 0.0
            if (q[i] > 0.0 and above and not one[i]) or (q[i] < 0.0 and below and one[i]):
                settled = False
                break
        if settled:
            return True
    return False


@compiled
def edge_to_halve(V: np.ndarray, B: np.ndarray, level: int) -> tuple[int, int]:
    """Two vertices: those of the least entry of B, scaled, or those that are farthest apart."""
    n = len(V)
    first, second, least = 0, 1, np.inf
    for k in range(n):
        for m in range(k + 1, n):
            if level % LONGEST_EVERY == LONGEST_EVERY - 1:
                size = dot(V[k], V[m])
            else:
                size = B[k, m] / math.sqrt(max(B[k, k] * B[m, m], 1e-300))
            if size < least:
                first, second, least = k, m, size
    return first, second


@compiled
def orthant(index: int, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V and C of one of the 2ⁿ orthants."""
    n = X.shape[1]
    V = np.zeros((n, n))
    C = np.empty((n, len(X)))
    for k in range(n):
        V[k, k] = 1.0 if (index >> k) & 1 else -1.0
        C[k] = V[k, k] * X[:, k]
    return V, C


@compiled
def search(
    q: np.ndarray, X: np.ndarray, level: float, budget: int, known: np.ndarray, ceiling: float
) -> tuple[int, np.ndarray, int]:
    """Whether Σᵢ qᵢ ReQU(u·x̃ᵢ) stays below the level on the sphere: (how it ended, u, cones).

    `ABOVE`: u (n,) is a direction where it reaches the ceiling, which is the level itself unless
    something is known. `GAVE_UP`: more than `budget` cones.
    """
    N, n = X.shape
    most = DEEPEST + (1 << n)
    Vs, Cs, halved = np.empty((most, n, n)), np.empty((most, n, N)), np.zeros(most, dtype=np.int64)
    for depth in range(1 << n):
        Vs[depth], Cs[depth] = orthant(depth, X)
        for k in range(n):
            if on_direction(Vs[depth, k], q, X, True) >= ceiling:
                return ABOVE, Vs[depth, k].copy(), 0
    depth, cones = 1 << n, 0
    while depth > 0:
        depth -= 1
        V, C, age = Vs[depth].copy(), Cs[depth].copy(), halved[depth]
        cones += 1
        if cones > budget or depth + 2 > most:
            return GAVE_UP, V[0].copy(), cones
        if is_known(C, q, known):
            continue
        B = cone_form(V, C, q, level)
        if positive_pivots(B, True) or positive_pivots(B, False):
            continue
        first, second = edge_to_halve(V, B, age)
        middle = V[first] + V[second]
        middle /= math.sqrt(dot(middle, middle))
        if on_direction(middle, q, X, True) >= ceiling:
            return ABOVE, middle, cones
        through = np.empty(N)
        for i in range(N):
            through[i] = dot(middle, X[i])
        for replaced in (first, second):
            Vs[depth], Cs[depth], halved[depth] = V, C, age + 1
            Vs[depth, replaced] = middle
            Cs[depth, replaced] = through
            depth += 1
    return BELOW, np.zeros(n), cones


@compiled
def climb(u: np.ndarray, q: np.ndarray, X: np.ndarray, steps: int) -> np.ndarray:
    """A unit vector uphill of u (n,) for Σᵢ qᵢ ReQU(u·x̃ᵢ): power iterations, never downhill.

    The terms with q > 0 are convex in u; adding ‖u‖² times the trace of the others makes all so.
    """
    shift = 0.0
    for i in range(len(q)):
        shift -= min(q[i], 0.0) * dot(X[i], X[i])
    for _ in range(steps):
        towards = shift * u
        for i in range(len(q)):
            t = dot(u, X[i])
            if t > 0.0:
                towards += q[i] * t * X[i]
        length = math.sqrt(dot(towards, towards))
        if not length > 0.0:
            break
        u = towards / length
    return u
