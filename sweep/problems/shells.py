"""A ball inside a shell: data that a quadratic separates ([B] Definition 1) and nothing linear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import Raw, numbered, prepare
from sweep.registry import require
from sweep.seeds import stream

# Logarithms differ in their last bit between machines; rounded, the data do not.
DECIMALS = 12


@PROBLEMS.add("shells")
@dataclass(frozen=True)
class Shells:
    """⌊n/2⌋ points with ‖x‖ < 1, label −1, and the others with 1 + gap < ‖x‖ < 2 + gap, label +1.

    Directions are uniform on the sphere, distances uniform. q(x) = ‖x‖² − (1 + gap/2)² separates;
    standardising is an affine map, so that a quadratic still does.
    """

    n: int = 40
    d: int = 2
    gap: float = 0.5
    seed: int = 0
    standardise: bool = True

    def __post_init__(self) -> None:
        require(self.n >= 4, "problem.n", self.n, "a whole number ≥ 4")
        require(self.d >= 1, "problem.d", self.d, "a whole number ≥ 1")
        require(0 < self.gap < math.inf, "problem.gap", self.gap, "a number > 0")
        require(self.seed >= 0, "problem.seed", self.seed, "a whole number ≥ 0")

    def raw(self) -> Raw:
        """The points before standardisation, the ball first; labels −1, +1."""
        numbers = stream("data", "shells", self.seed)
        directions = numbers.standard_normal((self.n, self.d))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        inner = self.n // 2
        distance = numbers.random(self.n) + np.repeat(
            [0.0, 1.0 + self.gap], [inner, self.n - inner]
        )
        labels = np.repeat([-1, 1], [inner, self.n - inner])
        return Raw(np.round(directions * distance[:, None], DECIMALS), labels, numbered(self.d))

    def load(self) -> Data:
        """The prepared data: x (n, d), y (n,)."""
        return prepare(self.raw(), self.standardise)
