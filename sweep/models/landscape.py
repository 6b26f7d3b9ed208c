"""The objective of a problem without data; axis letters as in `sweep.models.objective`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sweep.models.initialisers import Constructing, Initialiser, landscape_params
from sweep.models.measures import Measures, measure_in_lanes, norm, value_and_grad
from sweep.problems.base import Landscape, WithGradient


class LandscapeObjective:
    """An objective of θ without data: no errors; λ and weights are ignored."""

    def __init__(self, landscape: Landscape, device: str, dtype: torch.dtype) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self.like = torch.empty(0, device=self.device, dtype=dtype)
        self.landscape = landscape
        self.n_params = self.n_base = landscape.n_params
        self.n_data = 0
        self.n_lambda = 1

    @property
    def lower_bound(self) -> float | None:
        """The landscape's own."""
        return self.landscape.lower_bound

    @property
    def fixed_lanes(self) -> bool:
        """On CUDA, where torch splits sums by the tensor's shape."""
        return self.device.type == "cuda"

    @property
    def work(self) -> int:
        """The parameters, their gradient and moments."""
        return 6 * self.n_params

    def value(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, (S,); differentiable."""
        return self.landscape.value(theta)

    def value_and_grad(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S), detached."""
        if isinstance(self.landscape, WithGradient):
            with torch.no_grad():
                return self.landscape.value_and_gradient(theta)
        return value_and_grad(lambda point: self.value(point, lam, weights), theta)

    def measure(self, theta: np.ndarray, lam: np.ndarray | None = None) -> Measures:
        """Objective, gradient and norm of members (S, P); errors are None."""
        return measure_in_lanes(self._measure, theta, None, self.like)

    def initial(
        self,
        init: Initialiser | Constructing,
        root: int,
        seeds: Sequence[int],
        lam: np.ndarray | None = None,
    ) -> np.ndarray:
        """Where members of these seeds start, (S, P) float64."""
        deviation = self.landscape.start_deviation
        return landscape_params(init, self.n_params, root, seeds, deviation)

    def _measure(self, theta: torch.Tensor, lam: torch.Tensor | None) -> dict[str, torch.Tensor]:
        objective, grad = self.value_and_grad(theta)
        return {
            "loss": objective,
            "objective": objective,
            "grad_norm": norm(grad),
            "param_norm": norm(theta),
        }
