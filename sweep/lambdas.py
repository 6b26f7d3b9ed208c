"""Laws from which the regularizer's strength λ is drawn.

A draw is a treatment: its value depends on (root, draw) alone and is the same for every seed, arm
and cell. A law with one λ per neuron takes the first m values of the draw's stream.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from sweep.errors import UserError
from sweep.registry import Registry, require
from sweep.seeds import stream

#: Each draw is a network per seed and arm: more is a slip of the finger.
MOST_DRAWS = 10_000


class Law(Protocol):
    """How λ is chosen: `draws` treatments, each a number or one number per neuron."""

    per_neuron: ClassVar[bool]

    @property
    def draws(self) -> int:
        """Number of treatments."""
        ...

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """λ of this draw, shape (size,): all entries equal unless the law is per neuron."""
        ...


LAWS: Registry[Law] = Registry("lambda law")


def _uniform(root: int, draw: int, size: int) -> np.ndarray:
    return stream("lambda", root, draw).random(size)


@LAWS.add("fixed")
@dataclass(frozen=True)
class Fixed:
    """One given value, one draw."""

    value: float
    per_neuron: ClassVar[bool] = False
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(0 <= self.value < math.inf, "lambda.value", self.value, "a number ≥ 0")

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """The value, whatever the draw."""
        return np.full(size, self.value)


@LAWS.add("values")
@dataclass(frozen=True)
class Values:
    """A list of given values, one draw each."""

    values: tuple[float, ...]
    per_neuron: ClassVar[bool] = False

    def __post_init__(self) -> None:
        count = len(self.values)
        require(count > 0, "lambda.values", list(self.values), "a list of numbers ≥ 0")
        require(
            count <= MOST_DRAWS, "lambda.values", f"{count} values", f"a list of ≤ {MOST_DRAWS}"
        )
        for value in self.values:
            require(0 <= value < math.inf, "lambda.values", value, "a number ≥ 0")

    @property
    def draws(self) -> int:
        """As many as values."""
        return len(self.values)

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """The draw-th value."""
        return np.full(size, self.values[draw])


@LAWS.add("log_uniform")
@dataclass(frozen=True)
class LogUniform:
    """λ between low and high, uniform in log λ."""

    low: float
    high: float
    draws: int = 1
    per_neuron: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(0 < self.low < math.inf, "lambda.low", self.low, "a number > 0")
        require(self.low <= self.high < math.inf, "lambda.high", self.high, "a number ≥ lambda.low")
        _check_draws(self.draws)

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """The value low · (high/low)^u, u uniform on [0, 1)."""
        u = _uniform(root, draw, 1)[0]
        return np.full(size, self.low * (self.high / self.low) ** u)


@LAWS.add("uniform_shared")
@dataclass(frozen=True)
class UniformShared:
    """One λ for all neurons, uniform on (0, high): the control that [B] Thm 1 excludes."""

    high: float | Literal["theory"]
    draws: int = 1
    per_neuron: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_high(self.high)
        _check_draws(self.draws)

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """The stream's first value, repeated."""
        return np.full(size, _number(self.high) * _uniform(root, draw, 1)[0])


@LAWS.add("uniform_per_neuron")
@dataclass(frozen=True)
class UniformPerNeuron:
    """λ in (low, high)^m, independent per neuron ([B] Thm 1, where low is 0)."""

    high: float | Literal["theory"]
    draws: int = 1
    low: float = 0.0
    per_neuron: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_high(self.high)
        _check_draws(self.draws)
        highest = 0.0 if isinstance(self.high, str) else self.high
        below = self.low == 0 or 0 < self.low < highest
        require(below, "lambda.low", self.low, "0, or a number > 0 and < lambda.high,")

    def sample(self, root: int, draw: int, size: int) -> np.ndarray:
        """The stream's first `size` values."""
        found: np.ndarray = self.low + (_number(self.high) - self.low) * _uniform(root, draw, size)
        return found


def _check_draws(draws: int) -> None:
    accepted = f"a whole number ≥ 1 and ≤ {MOST_DRAWS}"
    require(1 <= draws <= MOST_DRAWS, "lambda.draws", draws, accepted)


def _check_high(high: float | str) -> None:
    if not isinstance(high, str):
        require(0 < high < math.inf, "lambda.high", high, "a number > 0 or 'theory'")


def _number(high: float | str) -> float:
    if isinstance(high, str):
        raise UserError("lambda.high is 'theory': the planner must replace it by its value first.")
    return high
