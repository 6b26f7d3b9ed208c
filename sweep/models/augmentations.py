"""What an arm adds beside the base network: f̃ = f + neuron(s).

Axis letters as in `sweep.models.base`. Parameters follow the base's: per neuron its outgoing
weight a, incoming weights w (D,), bias b. Neurons inside the hidden layers have a module of their
own, `sweep.models.layered`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch

from sweep.models.activations import Activation
from sweep.models.base import AUGMENTATIONS, Network, Piece
from sweep.models.lanes import contract
from sweep.registry import require

#: w·x + b near 2 makes 2³² of it: higher degrees say nothing in float64.
HIGHEST_DEGREE = 32


class Beside(Protocol):
    """An augmentation whose neurons see the data and enter the output: f̃ = f + `forward`."""

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """What is added to f: extra parameters (E, S), (N, D) → (N, S)."""
        ...

    def on(self, network: Network) -> Self:
        """The same for every network."""
        return self

    def outputs(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs f and f̃, (N, S) each; the same tensor when nothing is added."""
        f = network.forward(base, x)
        if not len(extra):
            return f, f
        return f, f + self.added(network, base, extra, x)

    def added(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """`forward`, (N, S)."""
        return self.forward(extra, x, network.activation)


def _neuron(n_inputs: int, suffix: str = "") -> tuple[Piece, ...]:
    return (
        Piece(f"a{suffix}", (1,), 1, "outgoing"),
        Piece(f"w{suffix}", (1, n_inputs), n_inputs, "weight"),
        Piece(f"b{suffix}", (1,), n_inputs, "bias"),
    )


def _preactivation(neuron: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """w·x + b of one neuron: (D+2, S), (N, D) → (N, S)."""
    weight = neuron[1:-1].unsqueeze(0)
    return contract(weight, x.t().unsqueeze(-1))[0] + neuron[-1]


@AUGMENTATIONS.add("none")
@dataclass(frozen=True)
class NoAugmentation(Beside):
    """The base network as it is."""

    penalised: ClassVar[bool] = False
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """Nothing."""
        return ()

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """Zeros, (N, S)."""
        return extra.new_zeros(x.shape[0], extra.shape[-1])

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """Zeros, (S,)."""
        return extra.new_zeros(extra.shape[-1])


@AUGMENTATIONS.add("exp_skip")
@dataclass(frozen=True)
class ExpSkip(Beside):
    """One exponential neuron beside the network: f + a·exp(w·x+b), [A] eq. 3."""

    penalised: ClassVar[bool] = True
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """a, w, b."""
        return _neuron(n_inputs)

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """a·exp(w·x+b), (N, S)."""
        return extra[0] * torch.exp(_preactivation(extra, x))

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """a²/2 ([A] eq. 4 without λ), (S,)."""
        return extra[0].square() / 2


@AUGMENTATIONS.add("monomial")
@dataclass(frozen=True)
class Monomial(Beside):
    """One monomial neuron of degree p beside the network: f + a·(w·x+b)^p, [A] eq. 7."""

    p: int = 2
    penalised: ClassVar[bool] = True
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        accepted = f"a whole number ≥ 1 and ≤ {HIGHEST_DEGREE}"
        require(1 <= self.p <= HIGHEST_DEGREE, "augment.p", self.p, accepted)

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """a, w, b."""
        return _neuron(n_inputs)

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """a·(w·x+b)^p, (N, S)."""
        z = _preactivation(extra, x)
        # Products, each rounded once: a power function would promise less.
        power = z
        for _ in range(self.p - 1):
            power = power * z
        return extra[0] * power

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """a²/2 ([A] eq. 4 without λ), (S,)."""
        return extra[0].square() / 2


@AUGMENTATIONS.add("extra_neuron")
@dataclass(frozen=True)
class ExtraNeuron(Beside):
    """k more ordinary neurons, with the base network's own activation: a control."""

    k: int = 1
    penalised: ClassVar[bool] = False
    decayed: ClassVar[bool] = True
    needs_activation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.k >= 1, "augment.k", self.k, "a whole number ≥ 1")

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """Per neuron a, w, b."""
        return tuple(p for i in range(1, self.k + 1) for p in _neuron(n_inputs, str(i)))

    def forward(
        self, extra: torch.Tensor, x: torch.Tensor, activation: Activation | None
    ) -> torch.Tensor:
        """Σ_j a_j·σ(w_j·x+b_j), (N, S)."""
        if activation is None:
            raise ValueError("an extra neuron needs the base network's activation")
        total = extra.new_zeros(x.shape[0], extra.shape[-1])
        for neuron in torch.chunk(extra, self.k):
            total = total + neuron[0] * activation(_preactivation(neuron, x))
        return total

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """Zeros, (S,)."""
        return extra.new_zeros(extra.shape[-1])
