"""Data with several outputs: three species, overlapping clouds, a map of the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import numbered, prepared
from sweep.registry import require
from sweep.seeds import stream


@PROBLEMS.add("iris_species")
@dataclass(frozen=True)
class IrisSpecies:
    """All three species of Fisher's iris, N = 150, D = 4; y (150, 3) holds unit vectors.

    A line separates setosa from the others, so a cross-entropy has no best affine fit here; the
    squared loss has one.
    """

    standardise: bool = True

    def load(self) -> Data:
        """Sepal and petal lengths and widths, standardised: x (150, 4), y (150, 3)."""
        from sklearn.datasets import load_iris

        bunch = load_iris()
        names = tuple(str(name) for name in bunch.feature_names)
        return Data(prepared(bunch.data, names, self.standardise), np.eye(3)[bunch.target])


@PROBLEMS.add("clouds")
@dataclass(frozen=True)
class Clouds:
    """Standard normal clouds about the corners of a regular polygon, so wide that they overlap.

    Point k is of class k mod `classes`; `radius` is the corners' distance from the centre. D = 2.
    """

    n: int = 45
    classes: int = 3
    radius: float = 1.0
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.classes >= 2, "problem.classes", self.classes, "a whole number ≥ 2")
        least = 2 * self.classes
        require(self.n >= least, "problem.n", self.n, f"a whole number ≥ {least}")
        require(0 <= self.radius < math.inf, "problem.radius", self.radius, "a number ≥ 0")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def load(self) -> Data:
        """The prepared data: x (n, 2), y (n, classes)."""
        label = np.arange(self.n) % self.classes
        angles = [2 * math.pi * k / self.classes for k in range(self.classes)]
        corners = np.array([(math.cos(t), math.sin(t)) for t in angles])
        noise = stream("data", "clouds", self.seed).standard_normal((self.n, 2))
        points = np.round(self.radius * corners, 12)[label] + noise
        x = prepared(points, numbered(2), self.standardise)
        return Data(x, np.eye(self.classes)[label])


@PROBLEMS.add("planar_map")
@dataclass(frozen=True)
class PlanarMap:
    """The square of a complex number, (x₁² − x₂², 2x₁x₂), at normal points: D = 2, two targets."""

    n: int = 40
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.n >= 2, "problem.n", self.n, "a whole number ≥ 2")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def load(self) -> Data:
        """The points, standardised, and the square of what they were: x (n, 2), y (n, 2)."""
        x = stream("data", "planar_map", self.seed).standard_normal((self.n, 2))
        targets = np.column_stack([x[:, 0] ** 2 - x[:, 1] ** 2, 2 * x[:, 0] * x[:, 1]])
        return Data(prepared(x, numbered(2), self.standardise), targets)
