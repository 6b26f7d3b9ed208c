"""Ranks of matrices of float64 numbers, counted exactly: in arithmetic modulo a prime.

A singular value of 1e-13 may be rounding, or a column of data that is 1e-13 of another; only the
second is a direction in which F changes. Every float64 number is an integer times a power of two,
so its residue modulo a prime is exact, and so is elimination with residues. The rank of the
residues never exceeds the true one, and is less only where a minor is a multiple of the prime: one
in some 1e9 if the numbers are nothing to the prime. (But for a number that is a multiple itself: it
counts as one, which can only make a rank larger.) Where a rank that is too small would prove
something, `sure_rank` has singular values object.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.numerics.spectra import singular_values
from sweep.kernels.compiled import compiled

# The second largest prime below 2³¹: products of residues fit int64, and unlike modulo 2³¹ − 1 no
# small power of two is 1.
PRIME = 2147483629
# Bits of a float64's mantissa.
MANTISSA = 53
# ldexp(integer, e) of every finite float64 has e within this of zero.
WIDEST_EXPONENT = 1200
# Singular values beyond this share of the largest are more than rounding.
NOT_ROUNDING = 1e-12
_POWERS = np.array(
    [pow(2, e, PRIME) for e in range(-WIDEST_EXPONENT, WIDEST_EXPONENT + 1)], dtype=np.int64
)


def residues(numbers: np.ndarray) -> np.ndarray:
    """Finite float64 numbers modulo the prime, int64 of the same shape.

    A number that the prime divides would count as zero and hide a direction: it counts as one.
    """
    part, exponent = np.frexp(numbers)
    whole = np.ldexp(part, MANTISSA).astype(np.int64) % PRIME
    whole = np.where((whole == 0) & (part != 0), 1, whole)
    return np.asarray(whole * _POWERS[exponent - MANTISSA + WIDEST_EXPONENT] % PRIME)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Residues of the exact products of two arrays of finite float64 numbers, broadcast."""
    return np.asarray(residues(a) * residues(b) % PRIME)


@compiled
def inverse(value: int) -> int:
    """The inverse of a residue ≠ 0: value^(prime − 2)."""
    found, power, left = 1, value, PRIME - 2
    while left > 0:
        if left % 2 == 1:
            found = found * power % PRIME
        power = power * power % PRIME
        left //= 2
    return found


@compiled
def rank_of(matrix: np.ndarray) -> int:
    """The rank of a matrix of residues (m, n) int64, by elimination on a copy."""
    A = matrix.copy()
    m, n = A.shape
    rank = 0
    for column in range(n):
        pivot = rank
        while pivot < m and A[pivot, column] == 0:
            pivot += 1
        if pivot == m:
            continue
        for k in range(column, n):
            kept = A[rank, k]
            A[rank, k] = A[pivot, k]
            A[pivot, k] = kept
        scale = inverse(A[rank, column])
        for i in range(rank + 1, m):
            if A[i, column] != 0:
                factor = A[i, column] * scale % PRIME
                for k in range(column, n):
                    A[i, k] = (A[i, k] - factor * A[rank, k] % PRIME) % PRIME
        rank += 1
        if rank == m:
            break
    return rank


def exact_rank(matrix: np.ndarray) -> int:
    """The rank of a matrix (m, n) of finite float64 numbers."""
    return int(rank_of(np.ascontiguousarray(residues(matrix)))) if matrix.size else 0


def sure_rank(matrix: np.ndarray) -> int | None:
    """The rank of a matrix (m, n); None if singular values tell of more than residues do.

    Then a minor is a multiple of the prime. Columns are scaled by powers of two beforehand.
    """
    rank = exact_rank(matrix)
    if rank == min(matrix.shape):
        return rank
    _, exponents = np.frexp(np.abs(matrix).max(axis=0))
    sizes = singular_values(np.ldexp(matrix, -exponents))
    return None if sizes[rank] > NOT_ROUNDING * sizes[0] else rank


def rank_on_manifold(
    slopes: np.ndarray, held: list[np.ndarray], X: np.ndarray, others: list[np.ndarray]
) -> int:
    """Rank of the outputs' Jacobian over units that may not leave their held kinks, and the bias.

    `slopes` (H, M) is ∂f_i/∂(v_j·x̃_i) at the M points X (M, n); `held` gives per unit the rows x̃
    (·, n) to which its v must stay orthogonal; `others` are further free columns, (M, ·) residues.
    With K the held rows, the rank of J on the kernel of K is rank [J; K] − rank K.
    """
    M, n = X.shape
    J = [product(slope[:, None], X) for slope in slopes]
    top = np.hstack([*J, np.ones((M, 1), dtype=np.int64), *others])
    rows, fixed = [top], 0
    for j, points in enumerate(held):
        block = np.zeros((len(points), top.shape[1]), dtype=np.int64)
        block[:, j * n : (j + 1) * n] = residues(points)
        rows.append(block)
        fixed += exact_rank(points)
    return int(rank_of(np.ascontiguousarray(np.vstack(rows)))) - fixed
