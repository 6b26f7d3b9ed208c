"""Multilayer perceptrons of any depth and width, with one output or several.

Layout of θ: hidden layers in order, each its weight matrix (out × in) row by row, then its bias;
the output weights (C × in) row by row; the output biases, unless the network has none. Axis letters
as in `sweep.models.base`; K units of a layer, H units of the layer before, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from sweep.models.activations import ACTIVATIONS, Activation
from sweep.models.base import MODELS, Piece
from sweep.models.lanes import contract
from sweep.registry import Choice, require

RELU = Choice("relu")
#: One layer's weights between two such layers are 128 MB per network already.
WIDEST = 4096


@dataclass(frozen=True)
class MlpNetwork:
    """f(x; θ) = v·h_L + c, h_l = σ(W_l h_{l−1} + b_l), h_0 = x; c = 0 without `output_bias`."""

    n_inputs: int
    widths: tuple[int, ...]
    activation: Activation
    outputs: int = 1
    output_bias: bool = True
    fixed_lanes: ClassVar[bool] = False

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Weights and bias of each hidden layer, then of the output."""
        found: list[Piece] = []
        fan_in = self.n_inputs
        for i, width in enumerate(self.widths, start=1):
            found.append(Piece(f"W{i}", (width, fan_in), fan_in, "weight"))
            found.append(Piece(f"b{i}", (width,), fan_in, "bias"))
            fan_in = width
        found.append(Piece("v", (self.outputs, fan_in), fan_in, "weight"))
        if self.output_bias:
            found.append(Piece("c", (self.outputs,), fan_in, "bias"))
        return tuple(found)

    @cached_property
    def n_params(self) -> int:
        """P."""
        return sum(piece.size for piece in self.pieces)

    def layers(self, theta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Views of θ: per layer, output last, weights (K, H, S) and bias (K, S).

        A network without output bias has a zero there.
        """
        parts = torch.split(theta, [piece.size for piece in self.pieces])
        shaped = [
            part.view(*piece.shape, theta.shape[-1])
            for part, piece in zip(parts, self.pieces, strict=True)
        ]
        if not self.output_bias:
            shaped.append(theta.new_zeros(self.outputs, theta.shape[-1]))
        return list(zip(shaped[::2], shaped[1::2], strict=True))

    def hidden(self, theta: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of the hidden layers: (P, S), (N, D) → one (K, N, S) per layer."""
        h = x.t().unsqueeze(-1)
        found: list[torch.Tensor] = []
        for weight, bias in self.layers(theta)[:-1]:
            h = self.activation(contract(weight, h) + bias.unsqueeze(1))
            found.append(h)
        return found

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f: (P, S), (N, D) → (N, S); the first output if there are several."""
        return self.forward_all(theta, x)[0]

    def forward_all(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """All outputs: (P, S), (N, D) → (C, N, S)."""
        weight, bias = self.layers(theta)[-1]
        return contract(weight, self.hidden(theta, x)[-1]) + bias.unsqueeze(1)

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
        """Hidden units whose output is exactly zero on all data, (S,) int64."""
        dead = [(h == 0).all(dim=1).sum(dim=0) for h in self.hidden(theta, x)]
        return torch.stack(dead).sum(dim=0)


@MODELS.add("mlp")
@dataclass(frozen=True)
class Mlp:
    """An MLP: `width` is one hidden layer's width, or a list with one entry per hidden layer.

    `outputs` is as many as the problem's targets or classes; 1 for labels ±1.
    """

    width: int | tuple[int, ...] = 2
    activation: Choice = RELU
    outputs: int = 1

    def __post_init__(self) -> None:
        whole = f"a whole number ≥ 1 and ≤ {WIDEST}"
        accepted = f"{whole}, or a list of such with one entry per hidden layer,"
        widths = self._widths()
        given = list(widths) if isinstance(self.width, tuple) else self.width
        fits = bool(widths) and min(widths) >= 1 and max(widths) <= WIDEST
        require(fits, "model.width", given, accepted)
        require(1 <= self.outputs <= WIDEST, "model.outputs", self.outputs, whole)
        # Defaults are left out, so that equal activations are equal however they were written.
        named = Choice.parse(self.activation, "model.activation")
        identity = ACTIVATIONS.identity(named, "model.activation")
        object.__setattr__(self, "activation", Choice.parse(identity, "model.activation"))

    def _widths(self) -> tuple[int, ...]:
        return self.width if isinstance(self.width, tuple) else (self.width,)

    def network(self, n_inputs: int) -> MlpNetwork:
        """The network for inputs of that dimension."""
        activation = ACTIVATIONS.build(self.activation)
        return MlpNetwork(n_inputs, self._widths(), activation, self.outputs)
