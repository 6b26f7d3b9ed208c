"""Vectors in registers against numpy, lane by lane: bit for bit, since both are IEEE."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from sweep.formulas.binding import bind
from sweep.kernels import memory, plain, vectors
from sweep.kernels.plain import (
    LANES,
    TILE,
    every,
    fma,
    lanes,
    load,
    load_tile,
    points,
    sqrt,
    store,
    store_tile,
    tile,
    total,
    where,
)
from sweep.kernels.vectors import absolute, dot, nearest, two_to

SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        -1.5,
        1e16,
        5e-324,
        -2.3e-308,
        1.8e308,
        np.inf,
        -np.inf,
        np.nan,
    ]
)
RNG = np.random.default_rng(2)
RANDOM = np.ldexp(RNG.uniform(-2, 2, 400), RNG.integers(-1074, 1023, 400))
#: All pairs of special values, then pairs far apart and near.
A = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), RANDOM, RNG.normal(size=404)])
B = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), RANDOM[::-1], RNG.normal(size=404)])
A, B = A[: len(A) // 32 * 32].reshape(-1, LANES), B[: len(B) // 32 * 32].reshape(-1, LANES)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, −0 not taken for 0; any NaN for any other."""
    both = np.isnan(a) & np.isnan(b)
    return bool((both | (a.view(np.int64) == b.view(np.int64))).all())


def operators(a: Any, b: Any, out: Any) -> None:
    """Every operator, one after the other; `out` (20, rows, LANES)."""
    for i in range(out.shape[1]):
        u, v = load(a, i), load(b, i)
        store(out[0], i, u + v)
        store(out[1], i, u - v)
        store(out[2], i, u * v)
        store(out[3], i, u / v)
        store(out[4], i, -u)
        store(out[5], i, sqrt(u))
        store(out[6], i, where(u > v, u, v))
        store(out[7], i, where(u >= v, 1.0, 0.0))
        store(out[8], i, where(u < v, u, -1.0))
        store(out[9], i, where(u <= v, 1.0, v))
        store(out[10], i, where((u > 0.0) & (v > 0.0), 1.0, 0.0))
        store(out[11], i, 2.0 * u)
        store(out[12], i, u - 1)
        store(out[13], i, 1.0 / u)
        store(out[14], i, lanes(0.25))
        store(out[15], i, 3)
        store(out[16], i, 1.0 if every(u <= v) else 0.0)


def tiles(a: Any, b: Any, numbers: Any, wide: Any, narrow: Any) -> None:
    """What tiles add; `wide` (4, rows, LANES), `narrow` (rows // TILE, LANES)."""
    for i in range(len(narrow)):
        u, v, row = load_tile(a, i), load_tile(b, i), load(b, i)
        store_tile(wide[0], i, u * row + v)
        store_tile(wide[1], i, points(numbers, i) - u)
        store_tile(wide[2], i, tile(row))
        store_tile(wide[3], i, where(u > row, tile(0.5), u))
        store(narrow, i, total(u))


def more(a: Any, b: Any, c: Any, out: Any) -> None:
    """What numpy has under other names or not at all; `out` (5, rows, LANES)."""
    for i in range(out.shape[1]):
        u = load(a, i)
        store(out[0], i, absolute(u))
        store(out[1], i, nearest(u))
        store(out[2], i, fma(u, load(b, i), load(c, i)))
        store(out[3], i, two_to(nearest(load(c, i))))
    for i in range(out.shape[1] // TILE):
        store(out[4], i, dot(load_tile(a, i), load_tile(b, i), load(c, i)))


#: All names that a compiled program may use.
SIMD = SimpleNamespace(**{**vars(vectors), **vars(memory)})


def on(machine: Any, function: Any) -> Any:
    names = {name: value for name, value in vars(machine).items() if name in globals()}
    return bind(function, {name: f for name, f in names.items() if callable(f)})


def test_operators_are_numpys() -> None:
    found, expected = np.zeros((2, 17, *A.shape))
    njit(error_model="numpy")(on(SIMD, operators))(A, B, found)
    with np.errstate(all="ignore"):
        on(plain, operators)(A, B, expected)
        direct = [A + B, A - B, A * B, A / B, -A, np.sqrt(A), np.where(A > B, A, B)]
    for k in range(17):
        assert same_bits(found[k], expected[k]), k
    assert all(same_bits(found[k], direct[k]) for k in range(7))


def test_tiles_are_numpys() -> None:
    numbers = RNG.normal(size=len(A) // TILE + TILE)
    found, expected = np.zeros((2, 4, *A.shape))
    sums = np.zeros((2, len(A) // TILE, LANES))
    njit(error_model="numpy")(on(SIMD, tiles))(A, B, numbers, found, sums[0])
    with np.errstate(all="ignore"):
        on(plain, tiles)(A, B, numbers, expected, sums[1])
    assert all(same_bits(found[k], expected[k]) for k in range(4))
    assert same_bits(sums[0], sums[1])


def fused(a: float, b: float, c: float) -> float:
    """a·b + c, rounded once."""
    if not np.isfinite([a, b, c]).all():
        # A finite product is not ∞ before it meets c.
        product = 1.0 if np.isfinite([a, b]).all() else a * b
        return product + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact)
    except OverflowError:
        return np.inf if exact > 0 else -np.inf


def test_fused_products_round_once_and_rounding_is_to_even() -> None:
    C = np.resize(np.array([0.0, 1.0, -2.0, 0.3, 700.2, -1022.0, 1023.0]), A.shape)
    found = np.zeros((5, *A.shape))
    njit(error_model="numpy")(on(SIMD, more))(A, B, C, found)
    assert same_bits(found[0], np.abs(A))
    assert same_bits(found[1], np.rint(A))
    fuse = np.vectorize(fused)
    with np.errstate(all="ignore"):
        one_by_one = fuse(A, B, C)
    # Exact sums of 0 have the sign of neither here and there.
    assert same_bits(found[2] + 0.0, one_by_one + 0.0)
    assert same_bits(found[3], 2.0 ** np.rint(C))
    for i in range(len(A) // TILE):
        start = C[i]
        for t in range(TILE):
            with np.errstate(all="ignore"):
                start = fuse(A[i * TILE + t], B[i * TILE + t], start)
        assert same_bits(found[4, i] + 0.0, start + 0.0)
