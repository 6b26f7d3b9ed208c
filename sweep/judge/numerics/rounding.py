"""How far rounding can have moved a network's computed outputs.

A computed margin of 1e-16 says nothing when the output is a difference of numbers near 1: scaling
such an output layer up would "separate" data that the network does not separate. So a sign counts
as known only if the margin exceeds a running error bound (Higham, Accuracy and Stability of
Numerical Algorithms, ch. 3): a sum of n products of computed numbers errs by at most
(n+2)·u·Σ|products|, besides the errors that its terms bring along.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
S, N    members, data points
C       outputs
K, H    units of a layer and of the layer before
A       bound of |h|, the layer's outputs                     (K, N, S)
E       bound of the error of h                               (K, N, S)
u       unit roundoff, 2⁻⁵³
======  ====================================================  ==========
"""

from __future__ import annotations

import torch

from sweep.judge.numerics.roundoff import UNIT
from sweep.models.activations import Requ, Square
from sweep.models.augmentations import ExpSkip, ExtraNeuron, Monomial
from sweep.models.lanes import contract
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective

# Elementary functions in torch are accurate to about one unit in the last place, promised to four.
FUNCTION_ULPS = 8
# What a square, or a product of an output layer, loses that is too small for float64.
UNDERFLOW = 1e-300
# Terms of second order in u and the rounding of the bound itself: far below a factor of two.
SAFETY = 2.0


def output_errors(
    objective: DataObjective, theta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Bounds of the rounding errors of f and f̃, (N, S) each, at θ (P, S).

    None when the network's inside is unknown; infinite for f̃ when the augmentation's is.
    """
    network = objective.network
    if not isinstance(network, MlpNetwork):
        return None
    base = network_errors(network, theta[: objective.n_base], objective.x)[0]
    if not objective.extra_pieces:
        return base, base
    if isinstance(objective.augmentation, ExpLayers):
        extra = theta[objective.n_base :]
        full = _layered_error(network, objective.augmentation, theta, extra, objective.x)
        return base, SAFETY * full
    added = SAFETY * _added_error(objective, theta[objective.n_base :])
    size = sum(output.abs() for output in objective.outputs(theta))
    return base, base + added + SAFETY * UNIT * size


def network_errors(network: MlpNetwork, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Bounds of the rounding errors of all outputs, (C, N, S), at θ (P, S)."""
    bound = x.t().abs().unsqueeze(-1)
    error = torch.zeros_like(bound)
    *hidden, last = network.layers(theta)
    for weight, bias in hidden:
        bound, error = _affine(weight, bias, bound, error)
        bound, error = _activated(network.activation, bound, error, FUNCTION_ULPS)
    return SAFETY * _affine(*last, bound, error)[1]


def _affine(
    weight: torch.Tensor, bias: torch.Tensor, bound: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Size and error of Wh + b: weights (K, H, S), bias (K, S) → (K, N, S) each."""
    size = contract(weight.abs(), bound) + bias.abs().unsqueeze(1)
    return size, contract(weight.abs(), error) + (weight.shape[1] + 2) * UNIT * size


def _activated(
    activation: object, bound: torch.Tensor, error: torch.Tensor, ulps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Size and error of σ(z) from those of z, same shapes; σ itself errs by `ulps` units."""
    if isinstance(activation, Requ | Square):
        square = bound.square()
        return square, error * (2 * bound + error) + ulps * UNIT * square + UNDERFLOW
    growth = _growth(activation)
    size = _offset(activation) + growth * bound
    return size, growth * error + ulps * UNIT * size


def _growth(activation: object) -> float:
    """A Lipschitz constant g of σ: the largest slope, at least 1, that of tanh and softplus."""
    pieces = getattr(activation, "pieces", None)
    return 1.0 if pieces is None else max(1.0, float(abs(pieces.slopes).max()))


def _offset(activation: object) -> float:
    """An o with |σ(z)| ≤ o + g|z|, and o + g|z| no less than any number met on the way to σ(z).

    tanh, sigmoid and softplus have |σ(0)| ≤ 1; a piece s·z + t has |t|.
    """
    pieces = getattr(activation, "pieces", None)
    return 1.0 if pieces is None else max(1.0, float(abs(pieces.constants).max()))


def _added_error(objective: DataObjective, extra: torch.Tensor) -> torch.Tensor:
    """Error bound of f̃ − f, (N, S); infinite for an augmentation not known here."""
    if isinstance(objective.augmentation, ExpSkip):
        size, error = _preactivation_error(extra, objective.x)
        value = objective.augmentation.forward(extra, objective.x, None).abs()
        # e^{z+δ} differs from e^z by at most 2|δ|e^z for |δ| ≤ 1.
        relative = torch.where(error < 1, 2 * error, torch.inf) + (FUNCTION_ULPS + 1) * UNIT
        # Without the weight a the neuron adds an exact zero, whatever its exponent.
        return torch.where(extra[0] == 0, torch.zeros_like(size), value * relative)
    if isinstance(objective.augmentation, ExtraNeuron):
        neurons = torch.chunk(extra, objective.augmentation.k)
        total = extra.new_zeros(len(objective.x), extra.shape[-1])
        for neuron in neurons:
            size, error = _preactivation_error(neuron, objective.x)
            ulps = FUNCTION_ULPS + len(neurons) + 2
            size, error = _activated(objective.network.activation, size, error, ulps)
            total = total + neuron[0].abs() * error
        return total
    if isinstance(objective.augmentation, Monomial):
        p = objective.augmentation.p
        size, error = _preactivation_error(extra, objective.x)
        # |t^p − z^p| ≤ p·|t−z|·(|z| + |t−z|)^{p−1}; p products round once each.
        reach = size + error
        return extra[0].abs() * (p * error * reach ** (p - 1) + (p + 1) * UNIT * reach**p)
    return extra.new_full((len(objective.x), extra.shape[-1]), torch.inf)


def _layered_error(
    network: MlpNetwork,
    added: ExpLayers,
    theta: torch.Tensor,
    extra: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    """Error bound of f̃ with exponential neurons inside the layers, (N, S)."""
    bound = x.t().abs().unsqueeze(-1)
    error = torch.zeros_like(bound)
    *hidden, last = network.layers(theta[: network.n_params])
    h = x.t().unsqueeze(-1)
    into, e, e_error = None, x.new_zeros(1), x.new_zeros(1)
    for (weight, bias), neuron in zip(hidden, added.neurons(extra), strict=True):
        rows = torch.cat([weight, neuron.w.unsqueeze(0)])
        shifts = torch.cat([bias, neuron.b.unsqueeze(0)])
        z = contract(rows, h) + shifts.unsqueeze(1)
        size, z_error = _affine(rows, shifts, bound, error)
        if into is not None:
            z = z + into.unsqueeze(1) * e
            size = size + into.abs().unsqueeze(1) * e
            z_error = z_error + _sent(into.unsqueeze(1), e_error) + 3 * UNIT * size
        h = network.activation(z[:-1])
        bound, error = _activated(network.activation, size[:-1], z_error[:-1], FUNCTION_ULPS)
        e = torch.exp(z[-1])
        # e^{z+δ} differs from e^z by at most 2|δ|e^z for |δ| ≤ 1.
        doubt = torch.where(z_error[-1] < 1, 2 * z_error[-1], torch.inf)
        e_error = e * (doubt + (FUNCTION_ULPS + 1) * UNIT)
        into = neuron.outgoing
    size, total = (part[0] for part in _affine(*last, bound, error))
    if into is not None:
        size = size + into[0].abs() * e
        total = total + _sent(into[0], e_error) + 3 * UNIT * size
    return total


def _sent(weight: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """|weight|·error, and nothing through a weight of exactly zero, however large the error."""
    return torch.where(weight == 0, torch.zeros_like(error), weight.abs() * error)


def _preactivation_error(
    neuron: torch.Tensor, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Size and error of w·x+b of one neuron (a, w, b): (D+2, S) → (N, S) each."""
    inputs = x.t().abs().unsqueeze(-1)
    size, error = _affine(neuron[1:-1].unsqueeze(0), neuron[-1:], inputs, torch.zeros_like(inputs))
    return size[0], error[0]
