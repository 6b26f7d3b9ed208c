"""Exponential neurons inside the hidden layers of one member ([A] eq. 5), written down plainly.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N       data points
K       ordinary units of a layer                              h (N, K)
w, b    what enters a layer's exponential neuron               (K_before,), ()
w̃       what leaves it: to the next layer's ordinary units,    (K_next + 1,)
        then to its exponential neuron; or to the output       (1,)
e       its output                                             (N,)
======  =====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

Affine = tuple[torch.Tensor, torch.Tensor]


class Neuron(NamedTuple):
    """One layer's exponential neuron."""

    w: torch.Tensor
    b: torch.Tensor
    leaving: torch.Tensor


@dataclass(frozen=True)
class Inside:
    """Where in θ (P,) they stand: behind the base network's `n_base`, layer by layer w, b, w̃."""

    n_base: int
    n_inputs: int
    widths: tuple[int, ...]

    @property
    def places(self) -> list[tuple[int, int, int, int]]:
        """Per layer where w, b, w̃ begin and where w̃ ends."""
        found, at, fan_in = [], self.n_base, self.n_inputs
        for width, after in zip(self.widths, (*self.widths[1:], 0), strict=True):
            end = at + fan_in + 1 + after + 1
            found.append((at, at + fan_in, at + fan_in + 1, end))
            at, fan_in = end, width
        return found

    @property
    def n_params(self) -> int:
        """P."""
        return self.places[-1][-1]

    @property
    def outgoing(self) -> list[int]:
        """All of w̃."""
        return [k for _, _, first, end in self.places for k in range(first, end)]

    @property
    def biases(self) -> list[int]:
        """All b, first layer first."""
        return [b for _, b, _, _ in self.places]

    def neurons(self, theta: torch.Tensor) -> list[Neuron]:
        """The neurons of one member."""
        return [Neuron(theta[w:b], theta[b], theta[out:end]) for w, b, out, end in self.places]


def output(
    layers: Sequence[Affine],
    neurons: Sequence[Neuron],
    x: torch.Tensor,
    sigma: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """f̃ (N,) of layers (weights (out, in), bias (out,)), the output last, and neurons."""
    *hidden, (v, c) = layers
    h, sent = x, None
    for (weight, bias), neuron in zip(hidden, neurons, strict=True):
        z, t = h @ weight.T + bias, h @ neuron.w + neuron.b
        if sent is not None:
            z, t = z + sent[:, :-1], t + sent[:, -1]
        h, sent = sigma(z), torch.exp(t)[:, None] * neuron.leaving
    total = h @ v.T + c
    return (total if sent is None else total + sent)[:, 0]
