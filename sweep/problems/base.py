"""What a problem is: data (x, y), or an objective of θ without data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from sweep.registry import Registry


@dataclass(frozen=True, eq=False)
class Data:
    """Prepared data: x (N, D) float64, y (N,) in {−1, +1} float64.

    For several outputs y is (N, C): targets, or classes as unit vectors.
    """

    x: np.ndarray
    y: np.ndarray

    @property
    def outputs(self) -> int | None:
        """C; None for labels ±1."""
        return None if self.y.ndim == 1 else int(self.y.shape[1])

    @property
    def digest(self) -> str:
        """SHA-256 over shapes and bytes; equal data, equal digest, wherever they came from."""
        found = hashlib.sha256()
        for array in (self.x, self.y):
            contiguous = np.ascontiguousarray(array, dtype="<f8")
            found.update(repr(contiguous.shape).encode())
            found.update(contiguous.tobytes())
        return found.hexdigest()


class Landscape(Protocol):
    """An objective of θ that needs no data: the model, loss and arms' augmentations are idle."""

    @property
    def n_params(self) -> int:
        """Number of parameters P."""
        ...

    @property
    def lower_bound(self) -> float | None:
        """A proven lower bound of F that is attained; None when none is known."""
        ...

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """F for members along the last axis: (P, S) → (S,)."""
        ...

    @property
    def start_deviation(self) -> float:
        """Standard deviation of the parameters where training starts, unless `init` says one."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of what defines the function."""
        ...


@runtime_checkable
class WithGradient(Protocol):
    """A landscape with a closed form of its gradient, which is cheaper than autograd's."""

    def value_and_gradient(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S) for members along the last axis (P, S)."""
        ...


class Problem(Protocol):
    """A registered problem; `load` is deterministic and touches no global random state."""

    def load(self) -> Data | Landscape:
        """The prepared data or landscape; `UserError` when a file cannot serve."""
        ...


PROBLEMS: Registry[Problem] = Registry("problem")
