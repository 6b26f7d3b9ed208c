"""The machine of one CUDA thread: one member, one data point at a time, plain numbers.

The names of `sweep.kernels.plain` with `LANES` = `TILE` = 1; memory is rows (n, 1) of the thread's
own. Ordinary Python that numba compiles for the device, and that runs as it stands.

Functions are CUDA's own. In double precision the CUDA C++ programming guide (appendix "Mathematical
Functions") gives +, −, ×, ÷, √ and fused multiply-adds as correctly rounded, exp, log1p and tanh as
within 1 ulp. Where a sum of a product is written the compiler fuses the two, the same way for every
member.
"""

from __future__ import annotations

import math
import sys
from typing import Any

LANES, TILE = 1, 1
#: Up to here e^z is finite.
LARGEST = math.log(sys.float_info.max)
Value = Any


def load(array: Any, index: int) -> Value:
    """Row `index`."""
    return array[index, 0]


def store(array: Any, index: int, value: Value) -> None:
    """Write row `index`."""
    array[index, 0] = value


def load_tile(array: Any, index: int) -> Value:
    """Tile `index`: with one lane and one point, a row."""
    return array[index, 0]


def store_tile(array: Any, index: int, value: Value) -> None:
    """Write a tile."""
    array[index, 0] = value


def points(array: Any, index: int) -> Value:
    """Element `index` of a flat array, the same for every thread."""
    return array[index]


def lanes(number: Value) -> Value:
    """The number itself."""
    return float(number)


def tile(value: Value) -> Value:
    """The value itself."""
    return value


def total(value: Value) -> Value:
    """The sum over one data point."""
    return value


def dot(a: Value, b: Value, start: Value) -> Value:
    """Start + a·b."""
    return a * b + start


def fma(a: Value, b: Value, c: Value) -> Value:
    """a·b + c."""
    return a * b + c


def sqrt(a: Value) -> Value:
    """√a; NaN where a is."""
    return math.sqrt(a)


def absolute(a: Value) -> Value:
    """|a|."""
    return math.fabs(a)


def where(condition: Value, a: Value, b: Value) -> Value:
    """A where the condition holds, else b."""
    return a if condition else b


def every(condition: Value) -> bool:
    """The condition itself."""
    return bool(condition)


def exp(z: Value) -> Value:
    """e^z; ∞ where that overflows, which Python's own function refuses to say."""
    return math.exp(z) if z < LARGEST else z * math.inf


def tanh(z: Value) -> Value:
    """Hyperbolic tangent."""
    return math.tanh(z)


def positive_part(z: Value) -> Value:
    """max(z, 0); NaN where z is NaN."""
    return where(z < 0.0, 0.0, z)


def sigmoid(z: Value) -> Value:
    """1/(1+e^−z)."""
    e = exp(-absolute(z))
    return where(z > 0.0, 1.0, e) / (e + 1.0)


def softplus(z: Value) -> Value:
    """ln(1+e^z)."""
    return positive_part(z) + math.log1p(exp(-absolute(z)))


def power(u: Value, n: Any) -> Value:
    """uⁿ for whole n ≥ 1, by n − 1 products."""
    result = u
    for _ in range(1, n):
        result = result * u
    return result


# In an order in which every function comes after those it calls.
FUNCTIONS = (
    load,
    store,
    load_tile,
    store_tile,
    points,
    lanes,
    tile,
    total,
    dot,
    fma,
    sqrt,
    absolute,
    where,
    every,
    exp,
    tanh,
    positive_part,
    sigmoid,
    softplus,
    power,
)
