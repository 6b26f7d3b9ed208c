"""Univariate losses ℓ(z) of z = −y·f, y in {−1, +1}: elementwise, any shape.

Every loss here is convex with infimum 0, which proves a lower bound of the objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from sweep.models.activations import SOFTPLUS_THRESHOLD
from sweep.registry import Registry, require

#: Far beyond any power of use; 2^p and its derivatives stay far within float64.
LARGEST_POWER = 100


class Loss(Protocol):
    """An elementwise loss with a proven lower bound."""

    lower_bound: ClassVar[float]
    convex: ClassVar[bool]

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """ℓ(z), same shape."""
        ...


LOSSES: Registry[Loss] = Registry("loss")


@LOSSES.add("hinge_power")
@dataclass(frozen=True)
class HingePower:
    """max(z+1, 0)^p, 3 ≤ p ≤ 100 ([A] Assumption 1): twice differentiable; zero means separated."""

    p: int | float = 3
    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        accepted = f"a number ≥ 3 and ≤ {LARGEST_POWER}"
        require(3 <= self.p <= LARGEST_POWER, "loss.p", self.p, accepted)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """max(z+1, 0)^p."""
        return torch.relu(z + 1).pow(self.p)


@LOSSES.add("logistic")
@dataclass(frozen=True)
class Logistic:
    """log₂(1+e^z) ([B] Assumption 1)."""

    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """log₂(1+e^z), without overflow for any finite z."""
        return torch.nn.functional.softplus(z, threshold=SOFTPLUS_THRESHOLD) / math.log(2)


@LOSSES.add("squared")
@dataclass(frozen=True)
class Squared:
    """(1+z)², which is (y−f)² because y = ±1."""

    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """(1+z)²."""
        return (z + 1).square()
