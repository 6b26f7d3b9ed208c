"""Explicit SIMD for numba: one number per member in a vector register.

numba leaves vectorising to LLVM, which gives up on kernels with many arrays (it cannot prove that
they do not overlap); written with vectors the reference training is five times as fast. Two sizes
exist: `LANES` members (one AVX-512 register, two of AVX2), and a tile of `TILE` data points for
each of them. Arithmetic is IEEE per lane, with contraction to fused multiply-adds where written
as `fma` and nowhere else: a lane's bits do not depend on what is in the others.

Operators +, −, ×, /, comparisons and & work on vectors, on tiles, and between a vector and a tile
or number, which are repeated.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, overload, register_model

#: Members per vector and data points per tile (measured: 8 × 4 is the fastest of 8 to 32 × 4).
LANES, TILE = 8, 4

DOUBLE, LONG, BIT = ir.DoubleType(), ir.IntType(64), ir.IntType(1)


def intrinsic(typing: Callable[..., Any]) -> Any:
    """An instruction, from a function of types that gives a signature and a code generator."""
    return numba_intrinsic(typing)


class Vector(types.Type):
    """`size` float64 numbers in registers."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(name=f"Vector({size})")


class Mask(types.Type):
    """`size` truth values."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(name=f"Mask({size})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(DOUBLE, kind.size))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, ir.VectorType(BIT, kind.size))


def _shuffled(builder: Any, value: Any, index: Sequence[int]) -> Any:
    """The lanes of a vector in that order."""
    places = ir.Constant(ir.VectorType(ir.IntType(32), len(index)), list(index))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), places)


def joined(builder: Any, a: Any, b: Any) -> Any:
    """One vector after the other."""
    count = a.type.count + b.type.count
    places = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
    return builder.shuffle_vector(a, b, places)


def of_size(context: Any, builder: Any, value: Any, kind: Any, size: int) -> Any:
    """A vector or number as a vector of `size`: repeated where it is shorter."""
    if isinstance(kind, Vector | Mask):
        if kind.size == size:
            return value
        return _shuffled(builder, value, list(range(kind.size)) * (size // kind.size))
    number = context.cast(builder, value, kind, types.float64)
    one = ir.Constant(ir.VectorType(DOUBLE, 1), ir.Undefined)
    single = builder.insert_element(one, number, ir.Constant(ir.IntType(32), 0))
    return _shuffled(builder, single, [0] * size)


def _size(*kinds: Any) -> int:
    return max((kind.size for kind in kinds if isinstance(kind, Vector | Mask)), default=0)


def _elementwise(result: type[Vector] | type[Mask], emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic that applies `emit(builder, *vectors)` after making all arguments one size."""

    def typed(kinds: Sequence[Any]) -> Any:
        size = _size(*kinds)
        if not size:
            return None

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            same = [
                of_size(context, builder, value, kind, size)
                for value, kind in zip(values, signature.args, strict=True)
            ]
            return emit(builder, *same)

        return result(size)(*kinds), code

    return typed


def _call(name: str) -> Callable[..., Any]:
    """The LLVM intrinsic of that name on vectors of one type."""

    def emit(builder: Any, *values: Any) -> Any:
        kind = values[0].type
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(kind, [kind] * len(values)),
            f"llvm.{name}.v{kind.count}f64",
        )
        return builder.call(function, values)

    return emit


def _operator(op: Any, result: type[Vector] | type[Mask], emit: Callable[..., Any]) -> None:
    typed = _elementwise(result, emit)

    @intrinsic
    def apply(context: Any, a: Any, b: Any) -> Any:
        return typed((a, b))

    # numba compares the two signatures, annotations included.
    overload(op)(lambda a, b: (lambda a, b: apply(a, b)) if _size(a, b) else None)


def _compared(sign: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(sign, a, b)


_operator(operator.add, Vector, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, Vector, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, Vector, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, Vector, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.gt, Mask, _compared(">"))
_operator(operator.ge, Mask, _compared(">="))
_operator(operator.lt, Mask, _compared("<"))
_operator(operator.le, Mask, _compared("<="))
_operator(operator.and_, Mask, lambda builder, a, b: builder.and_(a, b))

_negated = _elementwise(Vector, lambda builder, a: builder.fneg(a))
_rooted = _elementwise(Vector, _call("sqrt"))
_absolute = _elementwise(Vector, _call("fabs"))
_rounded = _elementwise(Vector, _call("rint"))
_fused = _elementwise(Vector, _call("fma"))


@intrinsic
def _negate(context: Any, a: Any) -> Any:
    return _negated((a,))


overload(operator.neg)(lambda a: (lambda a: _negate(a)) if _size(a) else None)


@intrinsic
def sqrt(context: Any, a: Any) -> Any:
    """√a per lane."""
    return _rooted((a,))


@intrinsic
def absolute(context: Any, a: Any) -> Any:
    """|a| per lane."""
    return _absolute((a,))


@intrinsic
def nearest(context: Any, a: Any) -> Any:
    """The nearest whole number, ties to even."""
    return _rounded((a,))


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once."""
    return _fused((a, b, c))


@intrinsic
def where(context: Any, condition: Any, a: Any, b: Any) -> Any:
    """A in lanes where the condition holds, b elsewhere."""
    size = _size(condition, a, b)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        same = [
            of_size(context, builder, value, kind, size)
            for value, kind in zip(values, signature.args, strict=True)
        ]
        return builder.select(*same)

    return Vector(size)(condition, a, b), code


@intrinsic
def two_to(context: Any, n: Any) -> Any:
    """2ⁿ for whole n in [−1022, 1023], by writing the exponent field."""
    whole = ir.VectorType(LONG, n.size)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        exponent = builder.fptosi(values[0], whole)
        biased = builder.add(exponent, ir.Constant(whole, [1023] * n.size))
        bits = builder.shl(biased, ir.Constant(whole, [52] * n.size))
        return builder.bitcast(bits, ir.VectorType(DOUBLE, n.size))

    return n(n), code


@intrinsic
def two_to_shifted(context: Any, n: Any) -> Any:
    """2ⁿ from 1.5·2⁵² + n, in whose last bits n stands; whole n in [−1022, 1023]."""
    whole = ir.VectorType(LONG, n.size)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], whole)
        exponent = builder.shl(bits, ir.Constant(whole, [52] * n.size))
        biased = builder.add(exponent, ir.Constant(whole, [1023 << 52] * n.size))
        return builder.bitcast(biased, ir.VectorType(DOUBLE, n.size))

    return n(n), code


@intrinsic
def every(context: Any, condition: Any) -> Any:
    """Whether the condition holds in all lanes."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], ir.IntType(condition.size))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, -1))

    return types.boolean(condition), code


@intrinsic
def lanes(context: Any, number: Any) -> Any:
    """The same number for every member."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return of_size(context, builder, values[0], signature.args[0], LANES)

    return Vector(LANES)(number), code


@intrinsic
def tile(context: Any, value: Any) -> Any:
    """The same for every data point of a tile: from a vector or a number."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return of_size(context, builder, values[0], signature.args[0], LANES * TILE)

    return Vector(LANES * TILE)(value), code


@intrinsic
def total(context: Any, value: Any) -> Any:
    """The sum over a tile's data points, first to last: a vector."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [_point(builder, values[0], t) for t in range(TILE)]
        result = parts[0]
        for part in parts[1:]:
            result = builder.fadd(result, part)
        return result

    return Vector(LANES)(value), code


@intrinsic
def dot(context: Any, a: Any, b: Any, start: Any) -> Any:
    """Start + Σ a·b over a tile's data points, first to last, each step fused."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = values[2]
        for t in range(TILE):
            result = _call("fma")(
                builder, _point(builder, values[0], t), _point(builder, values[1], t), result
            )
        return result

    return Vector(LANES)(a, b, start), code


def _point(builder: Any, value: Any, t: int) -> Any:
    return _shuffled(builder, value, range(t * LANES, (t + 1) * LANES))
