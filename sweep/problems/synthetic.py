"""Small data sets by formula: two moons, XOR, random labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import Raw, numbered, prepare
from sweep.registry import require
from sweep.seeds import stream

# Sines and cosines differ in their last bit between machines; rounded to a picometre of a moon,
# the data, and with them a study's id, do not.
MOON_DECIMALS = 12


@PROBLEMS.add("two_moons")
@dataclass(frozen=True)
class TwoMoons:
    """Two interleaved half circles with Gaussian noise, D = 2: upper moon −1, lower moon +1.

    Point k of a moon with m points lies at the angle πk/(m−1): (cos t, sin t) on the upper moon,
    (1 − cos t, ½ − sin t) on the lower one, plus noise of standard deviation `noise` in both
    coordinates. With an odd `n` the lower moon has the extra point.
    """

    n: int = 40
    noise: float = 0.15
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.n >= 4, "problem.n", self.n, "a whole number ≥ 4")
        require(0 <= self.noise < math.inf, "problem.noise", self.noise, "a number ≥ 0")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def raw(self) -> Raw:
        """The points before standardisation, upper moon first; labels −1, +1."""
        upper = self.n // 2
        first = [(math.cos(t), math.sin(t)) for t in _angles(upper)]
        second = [(1.0 - math.cos(t), 0.5 - math.sin(t)) for t in _angles(self.n - upper)]
        noise = stream("data", "two_moons", self.seed).standard_normal((self.n, 2))
        points = np.array(first + second) + self.noise * noise
        labels = np.repeat([-1, 1], [upper, self.n - upper])
        return Raw(np.round(points, MOON_DECIMALS), labels, numbered(2))

    def load(self) -> Data:
        """The prepared data: x (n, 2), y (n,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("xor")
@dataclass(frozen=True)
class Xor:
    """The four corners (±1, ±1): +1 where the two coordinates differ.

    The corners have mean 0 and deviation 1 as they are, so standardising changes nothing.
    """

    standardise: bool = True

    def raw(self) -> Raw:
        """The corners, labels −1, +1."""
        corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        return Raw(corners, np.array([-1, 1, 1, -1]), numbered(2))

    def load(self) -> Data:
        """The prepared data: x (4, 2), y (4,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("random_labels")
@dataclass(frozen=True)
class RandomLabels:
    """Standard normal points with labels that mean nothing; ⌊n/2⌋ of them +1, in random order."""

    n: int = 40
    d: int = 2
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.n >= 2, "problem.n", self.n, "a whole number ≥ 2")
        require(self.d >= 1, "problem.d", self.d, "a whole number ≥ 1")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def raw(self) -> Raw:
        """The points before standardisation; labels −1, +1."""
        numbers = stream("data", "random_labels", self.seed)
        points = numbers.standard_normal((self.n, self.d))
        labels = np.repeat([-1, 1], [self.n - self.n // 2, self.n // 2])
        return Raw(points, numbers.permutation(labels), numbered(self.d))

    def load(self) -> Data:
        """The prepared data: x (n, d), y (n,)."""
        return prepare(self.raw(), self.standardise)


def _angles(count: int) -> list[float]:
    return [math.pi * k / (count - 1) for k in range(count)]
