"""What a network and an augmentation are, for members side by side.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members trained side by side
N, D    data points, input dimension
P       parameters of one member
E       parameters an augmentation adds
θ       parameters, members along the **last** axis            (P, S)
x       data, shared by all members                            (N, D)
f       output of the base network                             (N, S)
f̃       output with the augmentation                           (N, S)
λ       regularizer strengths, M = 1 or one per neuron         (M, S)
======  =====================================================  ==========

Members lie along the last axis so that every operation is elementwise over members or reduces an
earlier axis: a member's bits then never depend on its neighbours (batched matrix products do not
give that guarantee, measured; see `sweep.models.lanes`). Outside this room and the trainer,
parameters are (S, P).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch

from sweep.models.activations import Activation
from sweep.registry import Registry

Role = Literal["weight", "bias", "gain", "outgoing"]


@dataclass(frozen=True)
class Piece:
    """One named run of the flat parameter vector: `shape` row by row, and its fan-in.

    `role` says how it starts: a "weight" or "bias" as the initialiser has it, a "gain" (the scale
    of a normalisation layer) at one, "outgoing" for the weight that leaves an added neuron.
    Initialisers need nothing else.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    role: Role

    @property
    def size(self) -> int:
        """Number of parameters in the piece."""
        return math.prod(self.shape)

    @property
    def fan_out(self) -> int:
        """Units the piece leads into: its first axis, times a convolution's receptive field."""
        return self.shape[0] * math.prod(self.shape[2:]) if self.shape else 1


class Network(Protocol):
    """A base network f(x; θ) with a flat parameter vector.

    `widths` are the hidden layers' widths and `activation` what stands between them; a network
    whose inside is unknown has widths () and activation None.
    """

    @property
    def n_params(self) -> int:
        """P, the sum of the pieces' sizes."""
        ...

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The flat vector's parts, in order."""
        ...

    @property
    def activation(self) -> Activation | None:
        """The hidden layers' activation, or None."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, or ()."""
        ...

    @property
    def fixed_lanes(self) -> bool:
        """Whether a member's bits depend on the number of lanes (a multiple of 64) on the CPU."""
        ...

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """f: (P, S), (N, D) → (N, S)."""
        ...

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
        """Hidden units with zero output on all data, (S,) int64; None where not defined."""
        ...


class Model(Protocol):
    """A registered model: settings that become a network once the input dimension is known."""

    def network(self, n_inputs: int) -> Network:
        """The network for data of that dimension."""
        ...


MODELS: Registry[Model] = Registry("model")


class Augmentation(Protocol):
    """What an arm adds to one base network: f̃ = f + neuron(s), parameters after the base's.

    `penalised`: the augmentation has a regularizer of its own (`penalty`). `decayed`: its
    parameters are ordinary weights, so that weight decay acts on them. `needs_activation`: it uses
    the base network's activation.
    """

    penalised: ClassVar[bool]
    decayed: ClassVar[bool]
    needs_activation: ClassVar[bool]

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """The added parameters, in order; empty for `none`."""
        ...

    def outputs(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs f and f̃, (N, S) each: base parameters (P, S), extra ones (E, S), data (N, D)."""
        ...

    def added(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """What is added, f̃ − f: (N, S)."""
        ...

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """Its own regularizer without the factor λ: (E, S) → (S,); zero unless `penalised`."""
        ...


class Augmenting(Protocol):
    """A registered augmentation: settings that become one once the network is known."""

    penalised: ClassVar[bool]
    decayed: ClassVar[bool]
    needs_activation: ClassVar[bool]

    def on(self, network: Network) -> Augmentation:
        """The augmentation of that network; `UserError` for a network that it cannot serve."""
        ...


AUGMENTATIONS: Registry[Augmenting] = Registry("augmentation")
