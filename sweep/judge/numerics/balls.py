"""Arrays of numbers that are known within a radius: midpoints and radii, rounding included.

A ball stands for every array x with |x − mid| ≤ rad, entry by entry. The result of an operation
holds every result of the exact operation on what its operands stand for: a sum of m products errs
by at most (m+2)u times the sum of their sizes, in any order. Without a radius (`rad` None) the same
formulas are plain floating point, for whoever wants numbers and no proof.

======  =====================================================
symbol  meaning
======  =====================================================
u       unit roundoff, 2⁻⁵³
======  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.numerics.roundoff import UNIT

# The radii are themselves rounded: sums of at most some hundred thousand terms.
GROWN = 1.0 + 1e-10
# What underflow can hide.
LEAST = 1e-290


@dataclass(frozen=True, eq=False)
class Ball:
    """The arrays within `rad` of `mid`; plain numbers where `rad` is None."""

    mid: np.ndarray
    rad: np.ndarray | None = None
    # Of array·ball the ball decides.
    __array_ufunc__ = None

    @classmethod
    def exact(cls, mid: np.ndarray) -> Ball:
        """Numbers that are known."""
        mid = np.asarray(mid, dtype=np.float64)
        return cls(mid, np.zeros_like(mid))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the midpoints."""
        return self.mid.shape

    @property
    def known(self) -> np.ndarray:
        """The radius, zero for plain numbers."""
        return np.zeros_like(self.mid) if self.rad is None else self.rad

    @property
    def size(self) -> np.ndarray:
        """The largest absolute value of every entry."""
        return np.asarray(GROWN * (np.abs(self.mid) + self.known))

    @property
    def low(self) -> np.ndarray:
        """A lower bound of every entry."""
        return np.asarray(self.mid - GROWN * self.known - 2 * UNIT * np.abs(self.mid))

    def on(self, change: Callable[[np.ndarray], np.ndarray]) -> Ball:
        """Entries moved about, repeated or left out, the same for midpoints and radii."""
        return Ball(change(self.mid), None if self.rad is None else change(self.rad))

    def __getitem__(self, key: Any) -> Ball:
        return self.on(lambda array: array[key])

    def __neg__(self) -> Ball:
        return Ball(-self.mid, self.rad)

    def __add__(self, other: Ball | np.ndarray | float) -> Ball:
        other = _ball(other, self)
        mid = self.mid + other.mid
        if self.rad is None or other.rad is None:
            return Ball(mid)
        return Ball(mid, GROWN * (self.rad + other.rad + UNIT * np.abs(mid)))

    def __sub__(self, other: Ball | np.ndarray | float) -> Ball:
        return self + (-_ball(other, self))

    def __mul__(self, other: Ball | np.ndarray | float) -> Ball:
        other = _ball(other, self)
        mid = self.mid * other.mid
        if self.rad is None or other.rad is None:
            return Ball(mid)
        spread = np.abs(self.mid) * other.rad + self.rad * (np.abs(other.mid) + other.rad)
        return Ball(mid, GROWN * (spread + UNIT * np.abs(mid)) + LEAST)

    __radd__ = __add__
    __rmul__ = __mul__

    def widened(self, more: np.ndarray) -> Ball:
        """The same with `more` added to the radius; plain numbers stay plain."""
        return self if self.rad is None else Ball(self.mid, GROWN * (self.rad + more))

    def positive(self) -> Ball:
        """max(x, 0), which changes by no more than x."""
        return Ball(np.maximum(self.mid, 0.0), self.rad)


def _ball(other: Ball | np.ndarray | float, like: Ball) -> Ball:
    if isinstance(other, Ball):
        return other
    return Ball(np.asarray(other)) if like.rad is None else Ball.exact(np.asarray(other))


def contract(spec: str, a: Ball | np.ndarray, b: Ball | np.ndarray) -> Ball:
    """np.einsum of two arrays, at least one of them a ball."""
    if not isinstance(a, Ball):
        a = _ball(a, b) if isinstance(b, Ball) else Ball(a)
    b = _ball(b, a)
    mid = np.einsum(spec, a.mid, b.mid)
    if a.rad is None or b.rad is None:
        return Ball(np.asarray(mid))
    size_a, size_b = np.abs(a.mid), np.abs(b.mid)
    terms = _terms(spec, a.mid.shape, b.mid.shape)
    rad = np.einsum(spec, size_a, b.rad + (terms + 2) * UNIT * size_b)
    rad = rad + np.einsum(spec, a.rad, size_b + b.rad)
    return Ball(np.asarray(mid), np.asarray(GROWN * rad) + terms * LEAST)


def _terms(spec: str, *shapes: Sequence[int]) -> int:
    """How many products an entry of the result is the sum of."""
    inputs, _, output = spec.partition("->")
    sizes: dict[str, int] = {}
    for letters, shape in zip(inputs.split(","), shapes, strict=True):
        sizes |= dict(zip(letters, shape, strict=True))
    return int(np.prod([size for letter, size in sizes.items() if letter not in output]))


def stacked(parts: Sequence[Ball], axis: int = 0) -> Ball:
    """Balls one after the other along an axis."""
    mid = np.concatenate([part.mid for part in parts], axis=axis)
    if any(part.rad is None for part in parts):
        return Ball(mid)
    return Ball(mid, np.concatenate([part.known for part in parts], axis=axis))


def placed(shape: tuple[int, ...], parts: Sequence[tuple[Any, Ball]]) -> Ball:
    """An array of zeros with balls added at the places of their keys, one after the other."""
    total = Ball(np.zeros(shape), None if parts[0][1].rad is None else np.zeros(shape))
    for key, part in parts:
        there = total[key] + part
        total.mid[key] = there.mid
        if total.rad is not None:
            total.rad[key] = there.known
    return total
