"""(xyz − 1)²: an objective with a decreasing path to infinity that descent does not follow.

On a path along which xyz rises from below 0 towards 0 while the parameters grow, the objective
falls towards 1 for ever; yet gradient flow conserves x² − y² and y² − z² and ends at F = 0 or at a
saddle (0, y, 0).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import torch

from sweep.problems.base import PROBLEMS, Landscape


@dataclass(frozen=True)
class XyzLandscape:
    """F(x, y, z) = (xyz − 1)²; the bound 0 is attained on the surface xyz = 1."""

    n_params: ClassVar[int] = 3
    lower_bound: ClassVar[float | None] = 0.0
    start_deviation: ClassVar[float] = 1.0

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """F for members along the last axis: (3, S) → (S,)."""
        return (theta[0] * theta[1] * theta[2] - 1.0) ** 2

    @property
    def digest(self) -> str:
        """SHA-256 of the formula."""
        return hashlib.sha256(b"landscape (x*y*z - 1)^2").hexdigest()


@PROBLEMS.add("xyz_product")
@dataclass(frozen=True)
class XyzProduct:
    """The landscape (xyz − 1)² of three parameters, without data."""

    def load(self) -> Landscape:
        """The landscape."""
        return XyzLandscape()
