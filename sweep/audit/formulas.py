"""Networks, augmentations, losses and the objective, written down plainly for one member.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension                           x (N, D), y (N,)
P       parameters of one member, the augmentation's last
θ       parameters                                             (P,)
λ       regularizer strength                                   ()
L       hidden layers
f, f̃    output without and with the augmentation               (N,)
F       Σᵢ ℓ(−yᵢ f̃(xᵢ)) + penalty + (weight decay/2)·‖ordinary parameters‖²; the penalty is
        (λ/2)·Σ|weights that leave added neurons|^{2L}, with L = 1 for neurons beside the network
======  =====================================================  ==========

Everything is a torch function of one member's vector, so that `torch.func` can differentiate it
and map it over members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from sweep.audit.elementwise import (
    Activation,
    Loss,
    NoSecondRouteError,
    activation_of,
    loss_of,
)
from sweep.audit.inside import Inside, output
from sweep.problems import Data, Landscape
from sweep.spec import Arm, Cell

#: Augmentations that are written down here.
KNOWN = ("none", "exp_skip", "exp_per_layer", "monomial", "extra_neuron")


@dataclass(frozen=True, eq=False)
class DataFormula(ABC):
    """The objective of a network on data.

    `penalised`: the penalty of the added neurons is part of F. `extra` ordinary neurons are added,
    or one exponential neuron, or one monomial neuron of this `degree` (else 0), or (`layered`) an
    exponential one in every hidden layer.
    """

    x: torch.Tensor
    y: torch.Tensor
    loss: Loss
    weight_decay: float
    exponential: bool
    degree: int
    layered: bool
    extra: int
    penalised: bool
    n_base: int

    @property
    def n_params(self) -> int:
        """P."""
        neurons = self.extra + int(self.exponential or self.degree > 0)
        return self.n_base + neurons * (self.x.shape[1] + 2)

    @property
    def sheds(self) -> bool:
        """Whether the added neurons have a path on which f̃ stays and their penalty vanishes."""
        return self.exponential or self.degree > 0 or self.layered

    @property
    def outgoing(self) -> list[int]:
        """Where the weights stand that leave the added neurons."""
        return list(range(self.n_base, self.n_params, self.x.shape[1] + 2))

    @property
    def penalty_power(self) -> int:
        """2L: the power of those weights in the penalty."""
        return 2

    @abstractmethod
    def base(self, theta: torch.Tensor) -> torch.Tensor:
        """f, (N,)."""

    def ordinary(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z) of an added ordinary neuron; `NoSecondRouteError` where the network has none."""
        raise NoSecondRouteError("an ordinary neuron beside such a network has no second route.")

    def neurons(self, theta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Outgoing weight a, incoming weights w (D,), bias b of every neuron beside the network."""
        if self.layered:
            return []
        size = self.x.shape[1] + 2
        added = theta[self.n_base :]
        parts = [added[k * size : (k + 1) * size] for k in range(added.shape[0] // size)]
        return [(part[0], part[1:-1], part[-1]) for part in parts]

    def added(self, theta: torch.Tensor) -> torch.Tensor:
        """f̃ − f, (N,)."""
        total = torch.zeros_like(self.y)
        for a, w, b in self.neurons(theta):
            z = self.x @ w + b
            total = total + a * self.response(z)
        return total

    def response(self, z: torch.Tensor) -> torch.Tensor:
        """What a neuron beside the network makes of w·x + b."""
        if self.exponential:
            return torch.exp(z)
        return z**self.degree if self.degree else self.ordinary(z)

    def losses(self, output: torch.Tensor) -> torch.Tensor:
        """ℓ(−yᵢ·output), (N,)."""
        return self.loss.value(-self.y * output)

    def objective(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """F, a scalar."""
        return self.losses(self.base(theta) + self.added(theta)).sum() + self.penalty(theta, lam)

    def penalty(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What F adds to the loss, a scalar."""
        total = torch.zeros_like(theta[0])
        if self.penalised:
            total = total + lam * (theta[self.outgoing] ** self.penalty_power).sum() / 2
        if self.weight_decay:
            decayed = theta[: self.n_base] if self.sheds else theta
            total = total + self.weight_decay * (decayed**2).sum() / 2
        return total

    def penalty_size(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What the penalty's rounding is relative to, a scalar."""
        return self.penalty(theta, lam)


@dataclass(frozen=True, eq=False)
class MlpFormula(DataFormula):
    """A multilayer perceptron with hidden layers of these widths and one output."""

    widths: tuple[int, ...]
    activation: Activation

    def layers(self, theta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Weights (out, in) and bias (out,) of every layer, the output last."""
        found = []
        position, fan_in = 0, self.x.shape[1]
        for width in (*self.widths, 1):
            middle = position + width * fan_in
            weight = theta[position:middle].reshape(width, fan_in)
            found.append((weight, theta[middle : middle + width]))
            position, fan_in = middle + width, width
        return found

    def base(self, theta: torch.Tensor) -> torch.Tensor:
        """f, (N,)."""
        *hidden, (weight, bias) = self.layers(theta)
        h = self.x
        for inner, shift in hidden:
            h = self.activation.value(h @ inner.T + shift)
        return (h @ weight.T + bias)[:, 0]

    def ordinary(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z)."""
        return self.activation.value(z)

    @property
    def inside(self) -> Inside:
        """Where the exponential neurons inside the layers stand, if there are any."""
        return Inside(self.n_base, self.x.shape[1], self.widths)

    @property
    def n_params(self) -> int:
        """P."""
        return self.inside.n_params if self.layered else super().n_params

    @property
    def outgoing(self) -> list[int]:
        """Where the weights stand that leave the added neurons."""
        return self.inside.outgoing if self.layered else super().outgoing

    @property
    def penalty_power(self) -> int:
        """2L for neurons inside the layers ([A] eq. 6)."""
        return 2 * len(self.widths) if self.layered else 2

    def added(self, theta: torch.Tensor) -> torch.Tensor:
        """f̃ − f, (N,)."""
        if not self.layered:
            return super().added(theta)
        neurons, sigma = self.inside.neurons(theta), self.activation.value
        return output(self.layers(theta), neurons, self.x, sigma) - self.base(theta)


@dataclass(frozen=True, eq=False)
class ModuleFormula(DataFormula):
    """A user's own module, called as it is; its inside is unknown."""

    module: torch.nn.Module

    def base(self, theta: torch.Tensor) -> torch.Tensor:
        """f, (N,)."""
        named = {}
        position = 0
        for name, parameter in self.module.named_parameters():
            size = parameter.numel()
            named[name] = theta[position : position + size].reshape(parameter.shape)
            position += size
        output: torch.Tensor = torch.func.functional_call(self.module, named, (self.x,))
        return output.reshape(-1)


@dataclass(frozen=True, eq=False)
class LandscapeFormula:
    """A problem without data: F is the problem's own formula."""

    landscape: Landscape

    @property
    def n_params(self) -> int:
        """P."""
        return self.landscape.n_params

    def objective(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """F, a scalar; λ plays no part."""
        return self.landscape.value(theta.unsqueeze(-1))[0]


def formula_of(cell: Cell, arm: Arm, source: Data | Landscape) -> DataFormula | LandscapeFormula:
    """The objective of one arm of a cell; `NoSecondRouteError` if a part of it is unknown here."""
    if not isinstance(source, Data):
        return LandscapeFormula(source)
    if arm.augment.name not in KNOWN:
        raise NoSecondRouteError(f"the augmentation '{arm.augment.name}' has no second route.")
    if arm.regularizer.name not in ("none", "augment"):
        raise NoSecondRouteError(f"the regularizer '{arm.regularizer.name}' has no second route.")
    shared: dict[str, Any] = {
        "x": torch.as_tensor(source.x, dtype=torch.float64),
        "y": torch.as_tensor(source.y, dtype=torch.float64),
        "loss": loss_of(cell.loss),
        "weight_decay": arm.weight_decay,
        "exponential": arm.augment.name == "exp_skip",
        "degree": int(arm.augment.settings["p"]) if arm.augment.name == "monomial" else 0,
        "layered": arm.augment.name == "exp_per_layer",
        "extra": int(arm.augment.settings["k"]) if arm.augment.name == "extra_neuron" else 0,
        "penalised": arm.regularizer.name == "augment",
    }
    settings = cell.model.settings
    if cell.model.name == "module":
        module = _user_module(str(settings["factory"]), source.x.shape[1])
        size = sum(parameter.numel() for parameter in module.parameters())
        return ModuleFormula(**shared, n_base=size, module=module)
    if cell.model.name != "mlp":
        raise NoSecondRouteError(f"the model '{cell.model.name}' has no second route.")
    given = settings["width"]
    widths = (given,) if isinstance(given, int) else tuple(given)
    size, fan_in = 0, source.x.shape[1]
    for width in (*widths, 1):
        size, fan_in = size + width * (fan_in + 1), width
    activation = activation_of(settings["activation"])
    return MlpFormula(**shared, n_base=size, widths=widths, activation=activation)


def _user_module(factory: str, n_inputs: int) -> torch.nn.Module:
    """The module behind the entry point, in float64 and evaluation mode."""
    (found,) = metadata.entry_points(group="sweep.models", name=factory)
    built: torch.nn.Module = found.load()(n_inputs)
    return built.double().eval()
