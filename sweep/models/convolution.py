"""Convolutions with padding below rectified quadratic units: the networks of [B] Theorem 2.

f = Σⱼ aⱼ max(wⱼ·h + bⱼ, 0)² of h = h_{l−1}, h_k = σ(v_k * h_{k−1}), h_0 = x, σ the leaky ReLU. With
padding (v * h)(j) = Σᵢ v(i)·h̄(i+j−1), h̄ the vector h between s−1 zeros on either side, so that
every convolution lengthens its input by s−1 and is injective ([B] section 2, eq. 1, Claim 1).

Layout of θ: the filters v₁ … v_{l−1}, then W (m × (D + (l−1)(s−1))) row by row, b, a.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members side by side
l, s    layers, of which l−1 are convolutions; filter length
m, D    units of the last layer, input dimension
v       filters                                                (s, S) each
h       what the last layer sees                               (H, N, S)
======  =====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from sweep.errors import UserError
from sweep.models.activations import Activation, LeakyRelu, Requ
from sweep.models.base import MODELS, Augmentation, Network, Piece
from sweep.models.coercive import cubes, require_alone
from sweep.models.filters import filter_strength_bound
from sweep.models.lanes import contract
from sweep.models.losses import Loss
from sweep.models.mlp import WIDEST
from sweep.models.regularizers import REGULARIZERS
from sweep.models.strengths import StrengthBound
from sweep.problems.base import Data
from sweep.registry import require

#: Layers and filter length beyond which a network of this kind is a slip of the finger.
DEEPEST, LONGEST = 64, 1024


@dataclass(frozen=True)
class ConvolutionNetwork:
    """The network of [B] eq. 1 with `filters` convolutions of `length` numbers each."""

    n_inputs: int
    filters: int
    length: int
    width: int
    leaky: LeakyRelu
    fixed_lanes: ClassVar[bool] = False
    activation: ClassVar[Activation | None] = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Lengths after every convolution, then the units of the last layer."""
        grown = (self.n_inputs + (k + 1) * (self.length - 1) for k in range(self.filters))
        return (*grown, self.width)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The filters, then weights, biases and output weights of the last layer."""
        s, m = self.length, self.width
        seen = (self.n_inputs, *self.widths)[-2]
        return (
            *(Piece(f"v{k + 1}", (1, s), s, "weight") for k in range(self.filters)),
            Piece("W", (m, seen), seen, "weight"),
            Piece("b", (m,), seen, "bias"),
            Piece("a", (1, m), m, "weight"),
        )

    @cached_property
    def n_params(self) -> int:
        """P."""
        return sum(piece.size for piece in self.pieces)

    def parts(self, theta: torch.Tensor) -> list[torch.Tensor]:
        """Views of θ (P, S), one per piece: its shape and then S."""
        found = torch.split(theta, [piece.size for piece in self.pieces])
        return [
            part.view(*piece.shape, theta.shape[-1])
            for part, piece in zip(found, self.pieces, strict=True)
        ]

    def features(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """What the last layer sees: (P, S), (N, D) → (H, N, S), or (H, N, 1) without filters."""
        h = x.t().unsqueeze(-1)
        for part in self.parts(theta)[: self.filters]:
            h = self.leaky(convolve(part[0], h))
        return h

    def units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Outputs of the last layer's units, (m, N, S)."""
        weight, bias = self.parts(theta)[self.filters : self.filters + 2]
        return Requ()(contract(weight, self.features(theta, x)) + bias.unsqueeze(1))

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f: (P, S), (N, D) → (N, S)."""
        return contract(self.parts(theta)[-1], self.units(theta, x))[0]

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
        """Units of the last layer whose output is exactly zero on all data, (S,) int64."""
        return (self.units(theta, x) == 0).all(dim=1).sum(dim=0)


def convolve(v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """The product v * h with padding: (s, S), (H, N, S or 1) → (H+s−1, N, S)."""
    zeros = h.new_zeros(len(v) - 1, *h.shape[1:])
    padded, longer = torch.cat([zeros, h, zeros]), len(h) + len(v) - 1
    total = v[0] * padded[:longer]
    for i in range(1, len(v)):
        total = total + v[i] * padded[i : i + longer]
    return total


@MODELS.add("convolution")
@dataclass(frozen=True)
class Convolution:
    """`layers` layers: convolutions with filters of `filter` numbers, and `width` ReQU units."""

    width: int = 8
    layers: int = 2
    filter: int = 2
    negative_slope: float = 0.1

    def __post_init__(self) -> None:
        for name, largest in (("width", WIDEST), ("layers", DEEPEST), ("filter", LONGEST)):
            value = getattr(self, name)
            accepted = f"a whole number ≥ 1 and ≤ {largest}"
            require(1 <= value <= largest, f"model.{name}", value, accepted)
        slope = self.negative_slope
        require(0 < slope < 1, "model.negative_slope", slope, "a number > 0 and < 1")

    def network(self, n_inputs: int) -> ConvolutionNetwork:
        """The network for inputs of that dimension."""
        leaky = LeakyRelu(self.negative_slope)
        return ConvolutionNetwork(n_inputs, self.layers - 1, self.filter, self.width, leaky)


@REGULARIZERS.add("convolution")
@dataclass(frozen=True)
class ConvolutionRegularizer:
    """[B] eq. 6: that of eq. 4 on the last layer, and (λ_c/4)·Σₖ(‖v_k‖² − 1)² on the filters."""

    lambda_c: float = 1.0
    penalises_base: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive = 0 < self.lambda_c < math.inf
        require(positive, "regularizer.lambda_c", self.lambda_c, "a finite number > 0")

    def n_lambda(self, network: Network) -> int:
        """M, the number of units of the last layer."""
        return network.widths[-1]

    def check(self, network: Network, augmentation: Augmentation) -> None:
        """Refuses other networks than `convolution`, and augmentations."""
        if not isinstance(network, ConvolutionNetwork):
            raise UserError(
                "regularizer 'convolution' is given for another network than that of its theorem: "
                "use it with model 'convolution'."
            )
        require_alone("convolution", augmentation)

    def value(
        self,
        lam: torch.Tensor | None,
        base: torch.Tensor,
        extra: torch.Tensor,
        network: Network,
        augmentation: Augmentation,
    ) -> torch.Tensor | None:
        """The regularizer, (S,)."""
        if lam is None or not isinstance(network, ConvolutionNetwork):
            raise ValueError("regularizer 'convolution' needs λ and a network that it knows")
        *filters, weight, bias, out = network.parts(base)
        total = (lam * cubes(weight, bias, out[0])).sum(0) / 3
        for v in filters:
            total = total + (self.lambda_c / 4) * (v[0].square().sum(0) - 1).square()
        return total

    def strength_bound(self, network: Network, data: Data, loss: Loss) -> StrengthBound | None:
        """λ₀ of Thm 2."""
        if not isinstance(network, ConvolutionNetwork):
            raise ValueError("regularizer 'convolution' needs a network that it knows")
        slope = network.leaky.negative_slope
        return filter_strength_bound(network.filters, network.length, slope, data, loss)
