"""The networks of [B] with one hidden layer, and the regularizer that makes them coercive.

f = Σⱼ aⱼ σ(wⱼ·x + bⱼ) without output bias, σ the rectified or the plain square. F grows to infinity
in every direction: F ≥ λ_min/(3√(2m))·‖θ‖³, because the cubes of 2m norms r, |aⱼ| and ‖(wⱼ, bⱼ)‖,
add up to at least (Σ r²)^{3/2}/√(2m).

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members side by side
m, D    neurons, input dimension
W, b    weights and biases of the neurons                      (m, D, S), (m, S)
a       output weights                                         (m, S)
λ       strengths, one per neuron or (M = 1) one for all       (M, S)
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from sweep.errors import UserError
from sweep.models.activations import Requ, Square
from sweep.models.base import MODELS, Augmentation, Network
from sweep.models.losses import Loss
from sweep.models.margins import Kind
from sweep.models.mlp import WIDEST, MlpNetwork
from sweep.models.regularizers import REGULARIZERS
from sweep.models.strengths import StrengthBound, strength_bound
from sweep.problems.base import Data
from sweep.registry import require


def _check_width(width: int) -> None:
    require(1 <= width <= WIDEST, "model.width", width, f"a whole number ≥ 1 and ≤ {WIDEST}")


@MODELS.add("requ")
@dataclass(frozen=True)
class RequModel:
    """`width` rectified quadratic units: f = Σⱼ aⱼ max(wⱼ·x + bⱼ, 0)² ([B] section 2)."""

    width: int = 8

    def __post_init__(self) -> None:
        _check_width(self.width)

    def network(self, n_inputs: int) -> MlpNetwork:
        """The network for inputs of that dimension."""
        return MlpNetwork(n_inputs, (self.width,), Requ(), output_bias=False)


@MODELS.add("quadratic")
@dataclass(frozen=True)
class QuadraticModel:
    """`width` quadratic units: f = Σⱼ aⱼ (wⱼ·x + bⱼ)² ([B] section 4.2)."""

    width: int = 8

    def __post_init__(self) -> None:
        _check_width(self.width)

    def network(self, n_inputs: int) -> MlpNetwork:
        """The network for inputs of that dimension."""
        return MlpNetwork(n_inputs, (self.width,), Square(), output_bias=False)


def is_coercive_network(network: Network) -> bool:
    """Whether the network is one of [B]'s with one hidden layer and no output bias."""
    return (
        isinstance(network, MlpNetwork)
        and len(network.widths) == 1
        and not network.output_bias
        and isinstance(network.activation, Requ | Square)
    )


def cubes(weight: torch.Tensor, bias: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """|aⱼ|³ + 2(‖wⱼ‖² + bⱼ²)^{3/2}, (m, S); twice differentiable, with second derivative 0 at 0."""
    squares = weight.square().sum(1) + bias.square()
    # √s has no derivative at 0, but s√s has two on either side of the switch.
    live = squares > 0
    safe = torch.where(live, squares, torch.ones_like(squares))
    norms = torch.where(live, squares * safe.sqrt(), torch.zeros_like(squares))
    return a.abs() * a.square() + 2 * norms


@REGULARIZERS.add("coercive")
@dataclass(frozen=True)
class Coercive:
    """(1/3)·Σⱼ λⱼ[|aⱼ|³ + 2(‖wⱼ‖² + bⱼ²)^{3/2}], [B] eq. 4: one λ per neuron, or one for all."""

    penalises_base: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def n_lambda(self, network: Network) -> int:
        """M, the number of neurons."""
        return network.widths[0]

    def check(self, network: Network, augmentation: Augmentation) -> None:
        """Refuses other networks than `requ` and `quadratic`, and augmentations."""
        if not is_coercive_network(network):
            raise UserError(
                "regularizer 'coercive' is given for another network than those of its theorem: "
                "use it with model 'requ' or 'quadratic'."
            )
        require_alone("coercive", augmentation)

    def value(
        self,
        lam: torch.Tensor | None,
        base: torch.Tensor,
        extra: torch.Tensor,
        network: Network,
        augmentation: Augmentation,
    ) -> torch.Tensor | None:
        """The regularizer, (S,)."""
        if lam is None or not isinstance(network, MlpNetwork):
            raise ValueError("regularizer 'coercive' needs λ and a network that it knows")
        (weight, bias), (out, _) = network.layers(base)
        return (lam * cubes(weight, bias, out[0])).sum(0) / 3

    def strength_bound(self, network: Network, data: Data, loss: Loss) -> StrengthBound | None:
        """λ₀ of Thm 1 or, for a quadratic network, Prop. 2."""
        kind: Kind = "square" if isinstance(network.activation, Square) else "requ"
        return strength_bound(kind, data, loss)


def require_alone(name: str, augmentation: Augmentation) -> None:
    """Refuse an augmentation, whose parameters the regularizer would leave free."""
    if augmentation.pieces(1):
        raise UserError(
            f"regularizer '{name}' is given for an augmented network, whose added parameters it "
            "would not bound: use it with augment 'none'."
        )
