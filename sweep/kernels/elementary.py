"""exp, tanh, sigmoid and softplus on vectors: branch-free, accurate to a few ulp.

Written with the arithmetic of `sweep.kernels.vectors`. For e^z: reduction z = n·ln 2 + r with ln 2
in two parts (Cody and Waite 1980), |r| ≤ 0.35, then a Taylor polynomial: at that radius its 14th
term is below 2⁻⁵⁶. 2ⁿ is multiplied in two factors, so that results reach down to the denormals and
overflow to ∞. tanh has a reduction of its own, with a polynomial of half the length and one
division. `tests/kernels/test_elementary.py` states and checks the accuracy.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from sweep.kernels.vectors import absolute, fma, nearest, two_to, two_to_shifted, where

# ln 2 = HIGH + LOW; the last 21 bits of HIGH are zero, so that n·HIGH is exact for |n| < 2²⁰.
HIGH = 0.6931471803691238
LOW = 1.9082149292705877e-10
PER_LN2 = 1 / math.log(2)
# Beyond ±1100 e^z is 0 or ∞ whatever z.
FAR = 1100.0
# tanh(z) = 1 to the last bit from here on.
SATURATED = 22.0
HALF_LN2 = math.log(2) / 2
# Added to a number below 2⁵¹ it leaves the nearest whole number in the last bits.
SHIFT = 1.5 * 2.0**52


def _taylor(first: int, last: int) -> tuple[float, ...]:
    return tuple(1 / math.factorial(k) for k in range(last, first - 1, -1))


# (e^r − 1 − r)/r² by Horner's rule, highest power first.
EXP_TAIL = _taylor(2, 14)
# atanh(s)/s in s², for s ≤ 1/3: the next term is below 2⁻⁵⁷.
ATANH = tuple(1 / (2 * k + 1) for k in range(17, -1, -1))
# (tanh(y)/y − 1)/y² in y², for |y| ≤ ln 2/4, highest power first: of this degree the one whose
# largest error, relative to tanh, is least (Remez's exchange), 2⁻⁵⁷·⁶ as rounded here.
TANH_TAIL = (
    0.0034448665288036545,
    -0.008857311101456319,
    0.021869370784484962,
    -0.05396825278295382,
    0.13333333332784295,
    -0.3333333333333249,
)


@njit(forceinline=True)
def polynomial(x: Any, coefficients: Any) -> Any:
    """Horner's rule, highest power first."""
    result = fma(x, coefficients[0], coefficients[1])
    for c in coefficients[2:]:
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
    """Hyperbolic tangent.

    With z = n·ln 2/2 + y and t = tanh y, e^2z is 2ⁿ(1+t)/(1−t), and tanh z = (e^2z − 1)/(e^2z + 1)
    is ((2ⁿ+1)t + (2ⁿ−1))/((2ⁿ−1)t + (2ⁿ+1)). One product reduces: what ln 2 lacks moves the result
    by half a unit at most, since its slope falls like 2⁻ⁿ.
    """
    near = where(z < -SATURATED, -SATURATED, z)
    near = where(near > SATURATED, SATURATED, near)
    shifted = fma(near, 2.0 * PER_LN2, SHIFT)
    y = fma(shifted - SHIFT, -HALF_LN2, near)
    square = y * y
    t = fma(y * square, polynomial(square, TANH_TAIL), y)
    scale = two_to_shifted(shifted)
    above, below = scale + 1.0, scale - 1.0
    return fma(above, t, below) / fma(below, t, above)


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
