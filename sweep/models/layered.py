"""One exponential neuron in every hidden layer, [A] eqs. 5 and 6.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
L       hidden layers, l = 1 … L
K_l     ordinary units of layer l, K_0 = D
h_l     outputs of layer l's ordinary units                    (K_l, N, S)
e_l     output of layer l's exponential neuron                 (N, S)
w_l     what it takes from the layer before                    (K_{l−1},)
b_l     its bias                                               ()
w̃_{l+1} what leaves it: to layer l+1's ordinary units, then    (K_{l+1} + 1,)
        to its exponential neuron; for l = L to the output     (1,)
======  =====================================================  ==========

    h_l = σ(W_l h_{l−1} + b + w̃_l e_{l−1}) ,   e_l = exp(w_l·h_{l−1} + b_l + w̃_l e_{l−1})

Parameters follow the base's: per layer w_l, b_l, then w̃_{l+1}. What one exponential neuron sends to
the next belongs to the former's w̃, so no weight is counted twice. Other letters as in
`sweep.models.base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch

from sweep.errors import UserError
from sweep.models.base import AUGMENTATIONS, Network, Piece
from sweep.models.lanes import contract
from sweep.models.mlp import MlpNetwork


class ExpNeuron(NamedTuple):
    """One layer's exponential neuron: w (K_{l−1}, S), b (S,), outgoing (K_{l+1} + 1 or 1, S)."""

    w: torch.Tensor
    b: torch.Tensor
    outgoing: torch.Tensor


@dataclass(frozen=True)
class ExpLayers:
    """The exponential neurons of an MLP with these inputs and hidden widths.

    `biased`: with the biases b_l. Without them (only the judge asks for that) b_l = 0, and w̃_{l+1}
    stands for w̃_{l+1}·e^{b_l}: the same functions, each once.
    """

    n_inputs: int
    widths: tuple[int, ...]
    biased: bool = True
    penalised: ClassVar[bool] = True
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    @cached_property
    def _pieces(self) -> tuple[Piece, ...]:
        found: list[Piece] = []
        fan_in = self.n_inputs
        for i, width in enumerate(self.widths, start=1):
            found.append(Piece(f"w{i}", (1, fan_in), fan_in, "weight"))
            if self.biased:
                found.append(Piece(f"b{i}", (1,), fan_in, "bias"))
            leaving = self.widths[i] + 1 if i < len(self.widths) else 1
            found.append(Piece(f"a{i}", (leaving,), 1, "outgoing"))
            fan_in = width
        return tuple(found)

    def pieces(self, n_inputs: int) -> tuple[Piece, ...]:
        """Per layer w, b, what leaves."""
        return self._pieces

    def neurons(self, extra: torch.Tensor) -> list[ExpNeuron]:
        """Views of the extra parameters (E, S), first layer first."""
        parts = torch.split(extra, [piece.size for piece in self._pieces])
        if not self.biased:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            return [ExpNeuron(w, torch.zeros_like(w[0]), out) for w, out in pairs]
        triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        return [ExpNeuron(w, b[0], out) for w, b, out in triples]

    def outputs(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs f and f̃, (N, S) each."""
        if not isinstance(network, MlpNetwork):
            raise TypeError("exponential neurons inside the layers need an MLP")
        *hidden, (v, c) = network.layers(base)
        h, into, e = x.t().unsqueeze(-1), None, None
        for (weight, bias), neuron in zip(hidden, self.neurons(extra), strict=True):
            z = contract(weight, h) + bias.unsqueeze(1)
            z_exp = contract(neuron.w.unsqueeze(0), h)[0] + neuron.b
            if into is not None and e is not None:
                z = z + into[:-1].unsqueeze(1) * e
                z_exp = z_exp + into[-1] * e
            h, e, into = network.activation(z), torch.exp(z_exp), neuron.outgoing
        full = (contract(v, h) + c.unsqueeze(1))[0]
        if into is not None and e is not None:
            full = full + into[0] * e
        return network.forward(base, x), full

    def added(
        self, network: Network, base: torch.Tensor, extra: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """What is added, f̃ − f: (N, S)."""
        f, full = self.outputs(network, base, extra, x)
        return full - f

    def penalty(self, extra: torch.Tensor) -> torch.Tensor:
        """½·Σ_l ‖w̃_l‖_{2L}^{2L} ([A] eq. 6 without λ), (S,)."""
        outgoing = torch.cat([neuron.outgoing for neuron in self.neurons(extra)])
        square = outgoing.square()
        power = square
        for _ in range(len(self.widths) - 1):
            power = power * square
        return power.sum(0) / 2


@AUGMENTATIONS.add("exp_per_layer")
@dataclass(frozen=True)
class ExpPerLayer:
    """One exponential neuron in every hidden layer of an MLP, [A] eq. 5 (Theorem 2)."""

    penalised: ClassVar[bool] = True
    decayed: ClassVar[bool] = False
    needs_activation: ClassVar[bool] = False

    def on(self, network: Network) -> ExpLayers:
        """The neurons of that network; `UserError` unless it is an MLP."""
        if not isinstance(network, MlpNetwork):
            raise UserError(
                "augmentation 'exp_per_layer' adds a neuron to every hidden layer, and this model's"
                " layers are unknown: use it with model 'mlp', or take augment 'exp_skip'."
            )
        return ExpLayers(network.n_inputs, network.widths)
