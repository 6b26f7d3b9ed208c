"""Data whose separability is known by construction: linear, polynomial, none at all.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension                           x (N, D), y (N,)
t       least degree of a polynomial P with yᵢP(xᵢ) > 0
n₊, n₋  labels +1 and −1 at one place
======  =====================================================  ==========
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import Raw, numbered, prepare
from sweep.registry import require
from sweep.seeds import stream

#: 2¹² points in the cube of parity: more train for hours.
HIGHEST_DEGREE = 12


@PROBLEMS.add("linearly_separable")
@dataclass(frozen=True)
class LinearlySeparable:
    """Points that a hyperplane separates with a margin ([A] Prop. 3 with p = 1).

    y alternates +1, −1; x = y·(margin + |g|)·u + what a standard normal vector has across u, with u
    a random unit vector and g standard normal: y·(u·x) ≥ margin. Standardising is an affine map, so
    the data stay linearly separable.
    """

    n: int = 40
    d: int = 2
    margin: float = 0.2
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.n >= 2, "problem.n", self.n, "a whole number ≥ 2")
        require(self.d >= 1, "problem.d", self.d, "a whole number ≥ 1")
        require(0 < self.margin < math.inf, "problem.margin", self.margin, "a number > 0")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def raw(self) -> Raw:
        """The points before standardisation; labels +1, −1 in turn."""
        numbers = stream("data", "linearly_separable", self.seed)
        direction = numbers.standard_normal(self.d)
        direction /= math.sqrt(float((direction**2).sum()))
        points = numbers.standard_normal((self.n, self.d))
        labels = np.where(np.arange(self.n) % 2 == 0, 1, -1)
        along = (points * direction).sum(axis=1)
        wanted = labels * (self.margin + np.abs(along))
        points += (wanted - along)[:, None] * direction
        return Raw(points, labels, numbered(self.d))

    def load(self) -> Data:
        """The prepared data: x (n, d), y (n,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("polynomial")
@dataclass(frozen=True)
class Polynomial:
    """Data that a polynomial of degree t separates and none of lower degree ([A] Prop. 1).

    The t sign changes are shared out over d coordinates: coordinate j takes t_j + 1 equally spaced
    values, Σ t_j = t, the points are all combinations, and the label is the product over the
    coordinates of (−1)^(index of the value). d = t is the parity of a cube's corners (t = 2 is
    XOR), d = 1 a line of alternating labels.

    Degree t suffices: Π_j Π_m (x_j − midpoint m of coordinate j) has, but for one sign that all
    points share, the label's sign everywhere. Nothing lower does: let c_j be the coefficients of
    the t_j-th divided difference over coordinate j's values; they alternate in sign, none is zero,
    and Σ c_j(x_j)·q(x_j) = 0 for every polynomial q of degree < t_j. Their product over j has the
    label's sign at every point (but for one common sign), so yᵢP(xᵢ) > 0 everywhere would make
    Σᵢ Π_j c_j·P(xᵢ) ≠ 0. But every monomial of degree < t has a degree < t_j in some coordinate j,
    and the sum over that coordinate alone vanishes: a contradiction.
    """

    degree: int = 3
    d: int = 2
    standardise: bool = True

    def __post_init__(self) -> None:
        accepted = f"a whole number ≥ 1 and ≤ {HIGHEST_DEGREE}"
        require(1 <= self.degree <= HIGHEST_DEGREE, "problem.degree", self.degree, accepted)
        most = f"a whole number ≥ 1 and ≤ problem.degree, {self.degree},"
        require(1 <= self.d <= self.degree, "problem.d", self.d, most)

    def raw(self) -> Raw:
        """The grid around the origin, spacing 2; labels ±1."""
        changes = [self.degree // self.d + (j < self.degree % self.d) for j in range(self.d)]
        indices = np.array(list(itertools.product(*(range(t + 1) for t in changes))))
        points = 2.0 * indices - np.array(changes, dtype=float)
        return Raw(points, 1 - 2 * (indices.sum(axis=1) % 2), numbered(self.d))

    def load(self) -> Data:
        """The prepared data: x (Π(t_j + 1), d), y in ±1."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("conflicting_labels")
@dataclass(frozen=True)
class ConflictingLabels:
    """Places that carry both labels, none in equal numbers ([A] Prop. 2).

    `places` standard normal points, n in all: each place is repeated, and `conflicts` of them carry
    both labels. A function of x errs at least Σ min(n₊, n₋) times, so R* = Σ min(n₊, n₋)/N for any
    network that realises the majority labels. Without ties: a tie would force f = 0 there, which
    counts as an error for both labels.
    """

    places: int = 10
    conflicts: int = 4
    d: int = 2
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.places >= 2, "problem.places", self.places, "a whole number ≥ 2")
        fits = 0 <= self.conflicts <= self.places
        most = f"a whole number ≥ 0 and ≤ problem.places, {self.places},"
        require(fits, "problem.conflicts", self.conflicts, most)
        require(self.d >= 1, "problem.d", self.d, "a whole number ≥ 1")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def raw(self) -> Raw:
        """Each place three times; at the first `conflicts` one of the three has the other label.

        The majority labels alternate, so both are there.
        """
        numbers = stream("data", "conflicting_labels", self.seed)
        points = np.repeat(numbers.standard_normal((self.places, self.d)), 3, axis=0)
        majority = np.repeat(np.where(np.arange(self.places) % 2 == 0, 1, -1), 3)
        other = (np.arange(3 * self.places) % 3 == 2) & (
            np.arange(3 * self.places) < 3 * self.conflicts
        )
        return Raw(points, np.where(other, -majority, majority), numbered(self.d))

    def load(self) -> Data:
        """The prepared data: x (3·places, d), y; equal places stay equal."""
        return prepare(self.raw(), self.standardise)
