"""The objective of a network with several outputs: targets or classes (N, C) instead of labels ±1.

F = Σᵢ ℓ(f(xᵢ), yᵢ) + (weight_decay/2)·‖θ‖²

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members side by side
N, D    data points, input dimension                           x (N, D)
C       outputs                                                y (N, C)
P       parameters of one member
θ       parameters                                             (P, S)
f       outputs                                                (C, N, S)
w       weights of the points in a mini-batch                  (N, S)
F, g    objective, its gradient                                (S,), (P, S)
======  =====================================================  ==========

For [C]'s networks: no augmentation and no λ. The error of a loss that classifies is the share of
points whose own class has not the largest output alone (a tie is an error); with targets that are
no classes there is no error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sweep.errors import UserError
from sweep.models.augmentations import NoAugmentation
from sweep.models.base import Augmentation, Network
from sweep.models.initialisers import Constructing, Initialiser, Scene, start_params
from sweep.models.losses import Loss, VectorLoss
from sweep.models.measures import Measures, measure_in_lanes, norm, value_and_grad
from sweep.models.mlp import MlpNetwork
from sweep.models.regularizers import NoRegularizer, Regularizer
from sweep.problems.base import Data


class VectorObjective:
    """The objective of a network with C outputs on data."""

    def __init__(
        self,
        data: Data,
        network: Network,
        loss: VectorLoss,
        weight_decay: float,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        assert isinstance(network, MlpNetwork), "checked by `check_outputs`"
        self.device = torch.device(device)
        self.dtype = dtype
        self.network = network
        self.loss = loss
        self.augmentation, self.regularizer = NoAugmentation(), NoRegularizer()
        self.weight_decay = weight_decay
        self.scene = Scene(data, network, loss)
        self.n_params = self.n_base = network.n_params
        self.n_data = len(data.y)
        self.n_lambda = 0
        self.x = torch.as_tensor(data.x).to(self.device, dtype)
        self.targets = torch.as_tensor(data.y).to(self.device, dtype).t().unsqueeze(-1)

    @property
    def lower_bound(self) -> float | None:
        """N·inf ℓ."""
        return self.n_data * self.loss.lower_bound

    @property
    def fixed_lanes(self) -> bool:
        """On CUDA, where torch splits sums by the tensor's shape."""
        return self.device.type == "cuda"

    @property
    def work(self) -> int:
        """Activations of one member on all data, plus its parameters."""
        units = sum(self.network.widths) + 3 * self.network.outputs
        return self.n_data * units + 6 * self.n_params

    def outputs(self, theta: torch.Tensor) -> torch.Tensor:
        """f, (C, N, S)."""
        return self.network.forward_all(theta, self.x)

    def value(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """F, (S,); differentiable. `weights` (N, S) multiply the points' losses; λ is idle."""
        losses = self.loss.of_outputs(self.outputs(theta), self.targets)
        if weights is not None:
            losses = losses * weights
        total = losses.sum(0)
        if self.weight_decay > 0:
            total = total + (self.weight_decay / 2) * theta.square().sum(0)
        return total

    def value_and_grad(
        self,
        theta: torch.Tensor,
        lam: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """F (S,) and ∇F (P, S), detached."""
        return value_and_grad(lambda point: self.value(point, lam, weights), theta)

    def measure(self, theta: np.ndarray, lam: np.ndarray | None = None) -> Measures:
        """All measures of members (S, P); errors are None for targets that are no classes."""
        return measure_in_lanes(self._measure, theta, None, self.x)

    def initial(
        self,
        init: Initialiser | Constructing,
        root: int,
        seeds: Sequence[int],
        lam: np.ndarray | None = None,
    ) -> np.ndarray:
        """Where members of these seeds start, (S, P) float64."""
        return start_params(init, self.scene, root, seeds, lam)

    def _measure(self, theta: torch.Tensor, lam: torch.Tensor | None) -> dict[str, torch.Tensor]:
        objective, grad = self.value_and_grad(theta)
        outputs = self.outputs(theta)
        found = {
            "loss": self.loss.of_outputs(outputs, self.targets).sum(0),
            "objective": objective,
            "grad_norm": norm(grad),
            "param_norm": norm(theta),
        }
        dead = self.network.dead_units(theta, self.x)
        if dead is not None:
            found["dead_units"] = dead
        if self.loss.classifies:
            wrong = ~self._told(outputs)
            found["error"] = wrong.sum(0).to(torch.float64) / self.n_data
            found["error_base"] = found["error"]
        return found

    def _told(self, outputs: torch.Tensor) -> torch.Tensor:
        """Whether a point's own class has the largest output alone, (N, S)."""
        own = (outputs * self.targets).sum(0)
        others = torch.where(self.targets > 0, -torch.inf, outputs).amax(0)
        return own > others


def check_outputs(
    data: Data,
    network: Network,
    loss: Loss | VectorLoss,
    augmentation: Augmentation,
    regularizer: Regularizer,
) -> None:
    """Refuse parts that do not fit the data's outputs, in one sentence."""
    given = network.outputs if isinstance(network, MlpNetwork) else 1
    if data.outputs is None:
        if given != 1:
            raise UserError(
                f"model.outputs is {given} and the problem's labels are −1 and +1: 1 is accepted."
            )
        if not isinstance(loss, Loss):
            raise UserError(
                "the loss is for several classes and the problem's labels are −1 and +1: "
                "hinge_power, logistic or squared is accepted."
            )
        return
    if not isinstance(network, MlpNetwork) or given != data.outputs:
        raise UserError(
            f"model.outputs is {given} and the problem has {data.outputs} targets or classes: "
            f"model 'mlp' with outputs {data.outputs} is accepted."
        )
    if not isinstance(loss, VectorLoss):
        raise UserError(
            "the loss is for labels −1 and +1 and the problem has several targets or classes: "
            "squared or cross_entropy is accepted."
        )
    if loss.classifies and not (np.isin(data.y, (0.0, 1.0)) & (data.y.sum(1) == 1)[:, None]).all():
        raise UserError(
            "the loss is 'cross_entropy' and the problem's targets are no classes: 'squared' is "
            "accepted."
        )
    plain = isinstance(augmentation, NoAugmentation) and isinstance(regularizer, NoRegularizer)
    if not plain:
        raise UserError(
            f"the problem has {data.outputs} targets or classes, and added neurons and "
            "regularizers are for one output: an arm without either is accepted."
        )
