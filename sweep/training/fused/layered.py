"""A network with an exponential neuron in every hidden layer, [A] eqs. 5 and 6.

What `sweep.training.fused.network` is for neurons beside the network. θ is laid out as
`sweep.models.layered` says: after the network per layer w, b and what leaves the neuron: a weight
to each unit of the next layer, then one to its exponential neuron; from the last layer one weight
to the output. In h, s and δ the exponential neuron's tile follows those of its layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweep.formulas.binding import to_be_bound
from sweep.kernels.plain import (
    Value,
    dot,
    fma,
    lanes,
    load,
    load_tile,
    store,
    store_tile,
    tile,
    total,
)
from sweep.training.fused.network import (
    affine_of_data,
    affine_of_units,
    at_points,
    gradient_of_data,
    neuron_slope_at,
    slope_at,
)
from sweep.training.fused.records import Net

# Bound by `build`, as for `network`:
activate: Callable[[Value], Value] = to_be_bound
neuron: Callable[[Value], Value] = to_be_bound
keep: Callable[[Any, int, Value], None] = to_be_bound
keep_neuron: Callable[[Any, int, Value], None] = to_be_bound


def leaving(widths: Any, layer: int) -> int:
    """How many weights leave a layer's exponential neuron."""
    following = layer + 1
    return widths[following] + 1 if following < len(widths) else 1


def forward(theta: Any, x: Any, i: int, widths: Any, net: Net, h: Any, s: Any) -> Value:
    """f̃ at a tile; h and s are filled."""
    width, inputs = widths[0], net.n_inputs
    for j in range(width):
        z = affine_of_data(theta, j * inputs, width * inputs + j, x, i, net)
        store_tile(h, j, activate(z))
        keep(s, j, z)
    z = affine_of_data(theta, net.n_base, net.n_base + inputs, x, i, net)
    store_tile(h, width, neuron(z))
    keep_neuron(s, width, z)
    # Of the layer below: the first unit's row, the first weight that leaves its exponential neuron.
    below, out, fan_in = 0, net.n_base + inputs + 1, width
    at = width * (inputs + 1)
    for layer in range(1, len(widths)):
        width, unit = widths[layer], below + fan_in + 1
        for j in range(width):
            bias = load(theta, at + width * fan_in + j)
            z = affine_of_units(theta, at + j * fan_in, bias, h, below, fan_in)
            z = fma(load(theta, out + j), load_tile(h, below + fan_in), z)
            store_tile(h, unit + j, activate(z))
            keep(s, unit + j, z)
        own = out + width + 1
        z = affine_of_units(theta, own, load(theta, own + fan_in), h, below, fan_in)
        z = fma(load(theta, out + width), load_tile(h, below + fan_in), z)
        store_tile(h, unit + width, neuron(z))
        keep_neuron(s, unit + width, z)
        at += width * (fan_in + 1)
        below, out, fan_in = unit, own + fan_in + 1, width
    bias = load(theta, at + fan_in) if net.output_bias > 0 else lanes(0.0)
    f = affine_of_units(theta, at, bias, h, below, fan_in)
    return fma(load(theta, out), load_tile(h, below + fan_in), f)


def gradient_of_units(
    grad: Any, weights: int, bias: int, out: int, delta: Value, h: Any, first: int, size: int
) -> None:
    """Add ∂F/∂(w, b) of a unit that sees `size` units and, by the weight `out`, their neuron."""
    store(grad, bias, load(grad, bias) + total(delta))
    for k in range(size):
        row = weights + k
        store(grad, row, dot(delta, load_tile(h, first + k), load(grad, row)))
    store(grad, out, dot(delta, load_tile(h, first + size), load(grad, out)))


def backward(
    theta: Any,
    x: Any,
    i: int,
    q: Value,
    widths: Any,
    net: Net,
    h: Any,
    s: Any,
    delta: Any,
    grad: Any,
) -> None:
    """Add the tile's part of the gradient."""
    depth, unit = len(widths), 0
    for layer in range(depth):
        unit += widths[layer] + 1
    fan_in = widths[depth - 1]
    # As in `forward`, from the end: `at` walks over the network's weights, `out` over those that
    # leave exponential neurons.
    at, out, below = net.n_base - fan_in, net.n_params - 1, unit - fan_in - 1
    if net.output_bias > 0:
        at -= 1
        store(grad, net.n_base - 1, load(grad, net.n_base - 1) + total(q))
    for j in range(fan_in):
        store(grad, at + j, dot(q, load_tile(h, below + j), load(grad, at + j)))
        store_tile(delta, below + j, q * load(theta, at + j) * slope_at(h, s, below + j))
    store(grad, out, dot(q, load_tile(h, below + fan_in), load(grad, out)))
    inner = q * load(theta, out) * neuron_slope_at(h, s, below + fan_in)
    store_tile(delta, below + fan_in, inner)
    for layer in range(depth - 1, 0, -1):
        unit, width, fan_in = below, widths[layer], widths[layer - 1]
        below -= fan_in + 1
        at -= width * (fan_in + 1)
        own = out - fan_in - 1
        out = own - width - 1
        for j in range(width):
            d, bias = load_tile(delta, unit + j), at + width * fan_in + j
            gradient_of_units(grad, at + j * fan_in, bias, out + j, d, h, below, fan_in)
        d = load_tile(delta, unit + width)
        gradient_of_units(grad, own, own + fan_in, out + width, d, h, below, fan_in)
        for k in range(fan_in):
            back = load(theta, own + k) * load_tile(delta, unit + width)
            for j in range(width):
                back = fma(load(theta, at + j * fan_in + k), load_tile(delta, unit + j), back)
            store_tile(delta, below + k, back * slope_at(h, s, below + k))
        back = tile(lanes(0.0))
        for j in range(width + 1):
            back = fma(load(theta, out + j), load_tile(delta, unit + j), back)
        store_tile(delta, below + fan_in, back * neuron_slope_at(h, s, below + fan_in))
    width, inputs = widths[0], net.n_inputs
    for j in range(width):
        d = load_tile(delta, j)
        gradient_of_data(grad, j * inputs, width * inputs + j, d, x, i, net)
    d = load_tile(delta, width)
    gradient_of_data(grad, net.n_base, net.n_base + inputs, d, x, i, net)


def penalty(theta: Any, lam: Any, widths: Any, net: Net, grad: Any) -> Value:
    """(λ/2)·Σ w̃^2L over what leaves exponential neurons ([A] eq. 6); its gradient is added."""
    value, depth, fan_in = lanes(0.0), len(widths), net.n_inputs
    strength, at = load(lam, 0), net.n_base
    # λ comes last: where a power is ∞ so is F, or NaN with λ = 0, as in `sweep.models.layered`.
    for layer in range(depth):
        at += fan_in + 1
        for _ in range(leaving(widths, layer)):
            w = load(theta, at)
            power = w
            for _ in range(depth - 1):
                power = power * w * w
            value = fma(power, w, value)
            store(grad, at, fma(strength * power, lanes(1.0 * depth), load(grad, at)))
            at += 1
        fan_in = widths[layer]
    return strength * (value * 0.5)


PARTS = (
    slope_at,
    neuron_slope_at,
    affine_of_data,
    affine_of_units,
    gradient_of_data,
    gradient_of_units,
    leaving,
    forward,
    backward,
    at_points,
    penalty,
)
