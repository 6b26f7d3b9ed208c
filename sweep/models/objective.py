"""The objective F that training minimises, for members side by side.

F = Σᵢ ℓ(−yᵢ f̃(xᵢ)) + regularizer + (weight_decay/2)·‖ordinary parameters‖²

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members side by side
N, D    data points, input dimension                           x (N, D), y (N,)
P       parameters of one member, the augmentation's last
θ       parameters                                             (P, S)
λ       regularizer strengths                                  (M, S)
w       weights of the points in a mini-batch                  (N, S)
F, g    objective, its gradient                                (S,), (P, S)
======  =====================================================  ==========

F is a **sum** over the data ([A] eqs. 2 and 4). Ordinary parameters are the base network's and
those of `extra_neuron`; weight decay never acts on an exponential or monomial neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from sweep.errors import UserError
from sweep.models.base import Augmentation, Augmenting, Model, Network
from sweep.models.initialisers import (
    Constructing,
    Initialiser,
    Scene,
    augment_params,
    start_params,
)
from sweep.models.landscape import LandscapeObjective
from sweep.models.losses import Loss, VectorLoss
from sweep.models.measures import Measures, measure_in_lanes, norm, value_and_grad
from sweep.models.regularizers import Regularizer
from sweep.models.vector import VectorObjective, check_outputs
from sweep.problems.base import Data, Landscape


class Objective(Protocol):
    """F of θ and λ, with or without data. `n_base` of the `n_params` parameters come first."""

    n_params: int
    n_base: int
    n_data: int
    n_lambda: int
    device: torch.device
    dtype: torch.dtype

    @property
    def lower_bound(self) -> float | None:
        """A proven lower bound of F, or None."""
        ...

    @property
    def fixed_lanes(self) -> bool:
        """Whether a member's bits depend on the number of lanes, which then must never change."""
        ...

    @property
    def work(self) -> int:
        """Numbers one member keeps during one evaluation: they decide how many fit a cache."""
        ...

    def value(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, (S,); differentiable. `weights` (N, S) multiply the points' losses."""
        ...

    def value_and_grad(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S), detached."""
        ...

    def measure(self, theta: np.ndarray, lam: np.ndarray | None = None) -> Measures:
        """All measures of members (S, P), with λ (S, M); a member's bits are its own."""
        ...

    def initial(
        self,
        init: Initialiser | Constructing,
        root: int,
        seeds: Sequence[int],
        lam: np.ndarray | None = None,
    ) -> np.ndarray:
        """Where members of these seeds, with λ (S, M), start: (S, P) float64."""
        ...


class DataObjective:
    """The objective of a network on data."""

    def __init__(
        self,
        data: Data,
        network: Network,
        augmentation: Augmentation,
        loss: Loss,
        regularizer: Regularizer,
        weight_decay: float,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self.network = network
        self.augmentation = augmentation
        self.loss = loss
        self.scene = Scene(data, network, loss)
        self.regularizer = regularizer
        self.weight_decay = weight_decay
        self.extra_pieces = augmentation.pieces(data.x.shape[1])
        self.n_base = network.n_params
        self.n_params = self.n_base + sum(piece.size for piece in self.extra_pieces)
        self.n_data = len(data.y)
        self.n_lambda = regularizer.n_lambda(network)
        self.x = torch.as_tensor(data.x).to(self.device, dtype)
        self.y = torch.as_tensor(data.y).to(self.device, dtype)
        self._minus_y = -self.y.unsqueeze(1)

    @property
    def lower_bound(self) -> float | None:
        """N·inf ℓ: regularizers are never negative."""
        return self.n_data * self.loss.lower_bound

    @property
    def fixed_lanes(self) -> bool:
        """On CUDA, where torch splits sums by the tensor's shape; and if the network says so."""
        return self.device.type == "cuda" or self.network.fixed_lanes

    @property
    def work(self) -> int:
        """Activations of one member on all data, plus its parameters."""
        # A network whose inside is unknown may keep one number per parameter and point.
        units = (sum(self.network.widths) or self.n_base) + len(self.extra_pieces) + 3
        return self.n_data * units + 6 * self.n_params

    def outputs(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs f and f̃, (N, S) each; the same tensor when nothing is added."""
        base, extra = theta[: self.n_base], theta[self.n_base :]
        return self.augmentation.outputs(self.network, base, extra, self.x)

    def value(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, (S,); differentiable. `weights` (N, S) multiply the points' losses."""
        losses = self.point_losses(self.outputs(theta)[1])
        if weights is not None:
            losses = losses * weights
        return self._regularized(losses.sum(0), theta, lam)

    def point_losses(self, output: torch.Tensor) -> torch.Tensor:
        """ℓ(−yᵢ f̃(xᵢ)) of outputs (N, S), same shape."""
        losses: torch.Tensor = self.loss(self._minus_y * output)
        return losses

    def value_and_grad(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S), detached."""
        return value_and_grad(lambda point: self.value(point, lam, weights), theta)

    def measure(self, theta: np.ndarray, lam: np.ndarray | None = None) -> Measures:
        """All measures of members (S, P), with λ (S, M); a member's bits are its own."""
        return measure_in_lanes(self._measure, theta, lam, self.x)

    def initial(
        self,
        init: Initialiser | Constructing,
        root: int,
        seeds: Sequence[int],
        lam: np.ndarray | None = None,
    ) -> np.ndarray:
        """Where members start, (S, P): the base shared by all arms of a seed.

        Only a construction that needs λ (S, M) makes it differ between them.
        """
        base = start_params(init, self.scene, root, seeds, lam)
        return np.hstack([base, augment_params(init, self.extra_pieces, root, seeds)])

    def _added(self, theta: torch.Tensor) -> torch.Tensor:
        base, extra = theta[: self.n_base], theta[self.n_base :]
        return self.augmentation.added(self.network, base, extra, self.x)

    def _regularized(
        self, loss: torch.Tensor, theta: torch.Tensor, lam: torch.Tensor | None
    ) -> torch.Tensor:
        base, extra = theta[: self.n_base], theta[self.n_base :]
        total = loss
        penalty = self.regularizer.value(lam, base, extra, self.network, self.augmentation)
        if penalty is not None:
            total = total + penalty
        if self.weight_decay > 0:
            ordinary = theta if self.augmentation.decayed else base
            total = total + (self.weight_decay / 2) * ordinary.square().sum(0)
        return total

    def _measure(self, theta: torch.Tensor, lam: torch.Tensor | None) -> dict[str, torch.Tensor]:
        objective, grad = self.value_and_grad(theta, lam)
        base, full = self.outputs(theta)
        y = self.y.unsqueeze(1)
        found = {
            "loss": self.point_losses(full).sum(0),
            "objective": objective,
            "grad_norm": norm(grad),
            "param_norm": norm(theta),
            "error": (~(y * full > 0)).sum(0).to(torch.float64) / self.n_data,
            "error_base": (~(y * base > 0)).sum(0).to(torch.float64) / self.n_data,
        }
        if self.extra_pieces:
            found["augment_activity"] = self._added(theta).abs().amax(0)
        dead = self.network.dead_units(theta[: self.n_base], self.x)
        if dead is not None:
            found["dead_units"] = dead
        return found


def check_parts(
    problem: Data,
    network: Network,
    loss: Loss | VectorLoss,
    augmentation: Augmentation,
    regularizer: Regularizer,
) -> None:
    """Refuse, in one sentence, parts of an objective that do not fit together."""
    check_outputs(problem, network, loss, augmentation, regularizer)
    regularizer.check(network, augmentation)
    if augmentation.needs_activation and network.activation is None:
        raise UserError(
            "the added neurons take the network's activation, and this model declares none: "
            "an arm without them, or model 'mlp', is accepted."
        )


def build_objective(
    problem: Data | Landscape,
    model: Model,
    augmentation: Augmenting,
    loss: Loss | VectorLoss,
    regularizer: Regularizer,
    weight_decay: float = 0.0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> DataObjective | VectorObjective | LandscapeObjective:
    """The objective of one arm; `UserError` when its parts do not fit together.

    For a landscape model, augmentation, loss and regularizer are idle.
    """
    if not isinstance(problem, Data):
        return LandscapeObjective(problem, device, dtype)
    network = model.network(problem.x.shape[1])
    added = augmentation.on(network)
    check_parts(problem, network, loss, added, regularizer)
    if problem.outputs is not None:
        assert isinstance(loss, VectorLoss), "checked above"
        return VectorObjective(problem, network, loss, weight_decay, device, dtype)
    assert isinstance(loss, Loss), "checked above"
    return DataObjective(problem, network, added, loss, regularizer, weight_decay, device, dtype)
