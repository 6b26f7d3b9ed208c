"""Learning-rate schedules: the factor on `optimizer.lr` at every update.

A schedule depends on the number of updates already applied alone, so that a member's course is the
same whenever it starts and however long it may run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sweep.registry import Choice, Registry, require

_WHOLE = "a whole number ≥ 1"


class Schedule(Protocol):
    """A factor per update."""

    def factor(self, t: np.ndarray) -> np.ndarray:
        """The factor, > 0 or = 0 at the end of a decay, after t (any shape, ≥ 0) updates."""
        ...


SCHEDULES: Registry[Schedule] = Registry("schedule")
CONSTANT = Choice("constant")


@SCHEDULES.add("constant")
@dataclass(frozen=True)
class Constant:
    """Always the same step size."""

    def factor(self, t: np.ndarray) -> np.ndarray:
        """1."""
        return np.ones_like(t, dtype=np.float64)


@SCHEDULES.add("cosine")
@dataclass(frozen=True)
class Cosine:
    """From 1 to `final` along half a cosine in `steps` updates (Loshchilov and Hutter 2017)."""

    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        require(self.steps >= 1, "schedule.steps", self.steps, _WHOLE)
        require(0 <= self.final <= 1, "schedule.final", self.final, "a number in [0, 1]")

    def factor(self, t: np.ndarray) -> np.ndarray:
        """From 1 at t = 0: final + (1 − final)·(1 + cos(πt/steps))/2, then `final`."""
        share = np.minimum(np.asarray(t, dtype=np.float64) / self.steps, 1.0)
        factor: np.ndarray = self.final + (1 - self.final) * (1 + np.cos(math.pi * share)) / 2
        return factor


@SCHEDULES.add("step")
@dataclass(frozen=True)
class Step:
    """Times `factor_per_step` after every `every` updates."""

    every: int
    factor_per_step: float = 0.1

    def __post_init__(self) -> None:
        require(self.every >= 1, "schedule.every", self.every, _WHOLE)
        require(
            0 < self.factor_per_step <= 1,
            "schedule.factor_per_step",
            self.factor_per_step,
            "a number in (0, 1]",
        )

    def factor(self, t: np.ndarray) -> np.ndarray:
        """factor_per_step^⌊t/every⌋."""
        times: np.ndarray = np.floor_divide(np.asarray(t, dtype=np.float64), self.every)
        return np.asarray(self.factor_per_step**times)


@SCHEDULES.add("exponential")
@dataclass(frozen=True)
class Exponential:
    """Halved every `half_life` updates, smoothly."""

    half_life: float

    def __post_init__(self) -> None:
        accepted = "a finite number > 0"
        require(0 < self.half_life < math.inf, "schedule.half_life", self.half_life, accepted)

    def factor(self, t: np.ndarray) -> np.ndarray:
        """2^(−t/half_life)."""
        return np.asarray(np.exp2(-np.asarray(t, dtype=np.float64) / self.half_life))
