"""What a network and an augmentation are, for members side by side.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members trained side by side
N, D    data points, input dimension
P       parameters of one member
θ       parameters, members along the **last** axis            (P, S)
x       data, shared by all members                            (N, D)
f       output of the base network                             (N, S)
f̃       output with the augmentation                           (N, S)
λ       regularizer strengths, M = 1 or one per neuron         (M, S)
======  =====================================================  ==========

Members lie along the last axis so that every operation is elementwise over members or reduces an
earlier axis: a member's bits then never depend on its neighbours (batched matrix products do not
give that guarantee, measured). Outside this room and the trainer, parameters are (S, P).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from sweep.registry import Registry


@dataclass(frozen=True)
class Piece:
    """One named run of the flat parameter vector: `shape` row by row, and its fan-in.

    `role` is "weight" or "bias"; initialisers need nothing else.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    role: str

    @property
    def size(self) -> int:
        """Number of parameters in the piece."""
        size = 1
        for length in self.shape:
            size *= length
        return size


class Network(Protocol):
    """A base network f(x; θ) with a flat parameter vector."""

    n_params: int
    pieces: tuple[Piece, ...]

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
    """What an arm adds to the base network: f̃ = f + neuron(s), parameters after the base's."""

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """The added parameters, in order; empty for `none`."""
        ...

    def forward(self, extra: torch.Tensor, x: torch.Tensor, activation: object) -> torch.Tensor:
        """What is added to f: extra parameters (E, S), (N, D) → (N, S)."""
        ...


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")
