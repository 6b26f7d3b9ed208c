"""exp, tanh, sigmoid and softplus on vectors: branch-free, accurate to a few ulp.

Written with the arithmetic of `sweep.kernels.vectors`. Reduction z = n·ln 2 + r with ln 2 in two
parts (Cody and Waite 1980), |r| ≤ 0.35, then a Taylor polynomial: at that radius its 14th term is
below 2⁻⁵⁶. 2ⁿ is multiplied in two factors, so that results reach down to the denormals and
overflow to ∞. `tests/kernels/test_elementary.py` states and checks the accuracy.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from sweep.kernels.vectors import absolute, fma, nearest, two_to, where

# ln 2 = HIGH + LOW; the last 21 bits of HIGH are zero, so that n·HIGH is exact for |n| < 2²⁰.
HIGH = 0.6931471803691238
LOW = 1.9082149292705877e-10
PER_LN2 = 1 / math.log(2)
# Beyond ±1100 e^z is 0 or ∞ whatever z.
FAR = 1100.0
# tanh(z) = 1 to the last bit from here on.
SATURATED = 22.0


def _taylor(first: int, last: int) -> tuple[float, ...]:
    return tuple(1 / math.factorial(k) for k in range(last, first - 1, -1))


# (e^r − 1 − r)/r² by Horner's rule, highest power first.
EXP_TAIL = _taylor(2, 14)
# atanh(s)/s in s², for s ≤ 1/3: the next term is below 2⁻⁵⁷.
ATANH = tuple(1 / (2 * k + 1) for k in range(17, -1, -1))


@njit(forceinline=True)
def polynomial(x: Any, coefficients: Any) -> Any:
    """Horner's rule, highest power first."""
    result = x * 0.0 + coefficients[0]
    for c in coefficients[1:]:
        result = fma(result, x, c)
    return result


@njit(forceinline=True)
def _reduced(z: Any) -> Any:
    """(n, e^r − 1) with z = n·ln 2 + r, n whole."""
    n = nearest(z * PER_LN2)
    r = fma(n, -LOW, fma(n, -HIGH, z))
    return n, fma(r * r, polynomial(r, EXP_TAIL), r)


@njit(forceinline=True)
def _times_two_to(value: Any, n: Any) -> Any:
    """Value·2ⁿ for |n| ≤ 2000; n may be anything where the value is NaN."""
    n = where(absolute(n) <= 2000.0, n, 0.0)
    half = nearest(n * 0.5)
    return value * two_to(half) * two_to(n - half)


@njit(forceinline=True)
def exp(z: Any) -> Any:
    """e^z."""
    near = where(z < -FAR, -FAR, where(z > FAR, FAR, z))
    n, rest = _reduced(near)
    return _times_two_to(rest + 1.0, n)


@njit(forceinline=True)
def tanh(z: Any) -> Any:
    """Hyperbolic tangent, by −e/(2+e) with e = e^(−2|z|) − 1."""
    size = absolute(z)
    n, rest = _reduced(where(size > SATURATED, SATURATED, size) * -2.0)
    scale = two_to(where(absolute(n) <= 2000.0, n, 0.0))
    e = fma(scale, rest, scale - 1.0)
    value = e / (e + 2.0)
    return where(z < 0.0, value, -value)


@njit(forceinline=True)
def sigmoid(z: Any) -> Any:
    """1/(1+e^−z)."""
    e = exp(-absolute(z))
    return where(z > 0.0, 1.0, e) / (e + 1.0)


@njit(forceinline=True)
def softplus(z: Any) -> Any:
    """ln(1+e^z); ln(1+u) = 2·atanh(u/(2+u))."""
    u = exp(-absolute(z))
    s = u / (u + 2.0)
    return positive_part(z) + s * 2.0 * polynomial(s * s, ATANH)


@njit(forceinline=True)
def positive_part(z: Any) -> Any:
    """max(z, 0); NaN where z is NaN."""
    return where(z < 0.0, 0.0, z)


@njit(forceinline=True)
def power(u: Any, n: Any) -> Any:
    """uⁿ for whole n ≥ 1, by n − 1 products."""
    result = u
    for _ in range(1, n):
        result = result * u
    return result
