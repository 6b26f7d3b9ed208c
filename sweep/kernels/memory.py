"""Vectors and tiles of `sweep.kernels.vectors` from memory and back, for numba.

Memory is C-contiguous float64: rows of `LANES` numbers, tiles of `TILE` such rows, and flat arrays
of which every member gets the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from sweep.kernels.vectors import DOUBLE, LANES, LONG, TILE, Vector, intrinsic, joined, of_size


def _address(context: Any, builder: Any, array: Any, kind: Any, offset: Any, size: int) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [offset])
    return builder.bitcast(place, ir.VectorType(DOUBLE, size).as_pointer())


def _memory(size: int) -> tuple[Any, Any]:
    """Load and store intrinsics of vectors of `size`: row `index` of C-contiguous float64."""

    def offset(context: Any, builder: Any, index: Any, kind: Any) -> Any:
        whole = context.cast(builder, index, kind, types.intp)
        return builder.mul(whole, ir.Constant(LONG, size))

    @intrinsic
    def load(context: Any, array: Any, index: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            at = offset(context, builder, values[1], signature.args[1])
            place = _address(context, builder, values[0], signature.args[0], at, size)
            return builder.load(place, align=8)

        return Vector(size)(array, index), code

    @intrinsic
    def store(context: Any, array: Any, index: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            at = offset(context, builder, values[1], signature.args[1])
            place = _address(context, builder, values[0], signature.args[0], at, size)
            vector = of_size(context, builder, values[2], signature.args[2], size)
            builder.store(vector, place, align=8)
            return context.get_dummy_value()

        return types.void(array, index, value), code

    return load, store


load, store = _memory(LANES)
load_tile, store_tile = _memory(LANES * TILE)


@intrinsic
def points(context: Any, array: Any, index: Any) -> Any:
    """TILE numbers from element `index` on, one per data point, the same for every member."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at = context.cast(builder, values[1], signature.args[1], types.intp)
        place = _address(context, builder, values[0], signature.args[0], at, TILE)
        place = builder.bitcast(place, DOUBLE.as_pointer())
        parts = []
        for t in range(TILE):
            number = builder.load(builder.gep(place, [ir.Constant(LONG, t)]))
            parts.append(of_size(context, builder, number, types.float64, LANES))
        while len(parts) > 1:
            parts = [joined(builder, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return Vector(LANES * TILE)(array, index), code


def empty_rows(rows: int) -> np.ndarray:
    """Zeros (rows, LANES): memory for that many vectors."""
    return np.zeros((rows, LANES))
