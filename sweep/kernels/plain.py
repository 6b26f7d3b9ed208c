"""The machine that fused programs are written for, in numpy: slow, obvious, the reference twin.

A program (`sweep.training.fused.program`) is written with these names. Memory is rows of `LANES`
numbers, one per member; a tile is `TILE` such rows, one per data point. `sweep.kernels.vectors`
offers the same in registers, `sweep.kernels.thread` as the scalars of one CUDA thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LANES, TILE = 8, 4
Value = Any


def load(array: np.ndarray, index: int) -> Value:
    """Row `index`: one number per member."""
    return array[index].copy()


def store(array: np.ndarray, index: int, value: Value) -> None:
    """Write one number per member, or the same for all."""
    array[index] = value


def load_tile(array: np.ndarray, index: int) -> Value:
    """Tile `index` of an array of tiles."""
    return array[index * TILE : (index + 1) * TILE].copy()


def store_tile(array: np.ndarray, index: int, value: Value) -> None:
    """Write a tile."""
    array[index * TILE : (index + 1) * TILE] = value


def points(array: np.ndarray, index: int) -> Value:
    """TILE numbers from element `index` of a flat array on, the same for every member."""
    return np.repeat(array[index : index + TILE, None], LANES, axis=1)


def lanes(number: Value) -> Value:
    """The same number for every member."""
    return np.full(LANES, float(number))


def tile(value: Value) -> Value:
    """The same for every data point of a tile."""
    return np.broadcast_to(value, (TILE, LANES)).copy()


def total(value: Value) -> Value:
    """The sum over a tile's data points."""
    return value.sum(axis=0)


def dot(a: Value, b: Value, start: Value) -> Value:
    """Start + Σ a·b over a tile's data points."""
    return start + (a * b).sum(axis=0)


def fma(a: Value, b: Value, c: Value) -> Value:
    """a·b + c."""
    return a * b + c


def sqrt(a: Value) -> Value:
    """√a."""
    return np.sqrt(a)


def where(condition: Value, a: Value, b: Value) -> Value:
    """Elementwise a where the condition holds, else b."""
    return np.where(condition, a, b)


def every(condition: Value) -> bool:
    """Whether the condition holds for all members."""
    return bool(np.all(condition))
