"""A network with neurons beside it, at one tile of data points: a part of `program`.

The same text runs on any machine (`sweep.kernels.plain` names it); axis letters and layout are
those of `sweep.training.fused.program`.
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
    points,
    store,
    store_tile,
    tile,
    total,
)
from sweep.training.fused.records import Net

# What `build` binds. σ of the network and of the added neurons, and their slopes of (z, h):
activate: Callable[[Value], Value] = to_be_bound
activate_slope: Callable[[Value, Value], Value] = to_be_bound
neuron: Callable[[Value], Value] = to_be_bound
neuron_slope: Callable[[Value, Value], Value] = to_be_bound
# `keep_tile` and `recall_tile` where a slope needs z, `keep_nothing` and `recall_output` elsewhere:
keep: Callable[[Any, int, Value], None] = to_be_bound
recall: Callable[[Any, int, Value], Value] = to_be_bound
keep_neuron: Callable[[Any, int, Value], None] = to_be_bound
recall_neuron: Callable[[Any, int, Value], Value] = to_be_bound
# ℓ(z), ℓ′(z), and the points' weights at a tile:
loss: Callable[[Value], Value] = to_be_bound
loss_slope: Callable[[Value], Value] = to_be_bound
point_weights: Callable[[Any, int], Value] = to_be_bound
# How many neurons are added. Where the compiler knows, it is a fifth faster:
added: Callable[[Net], int] = to_be_bound


def none_added(net: Net) -> int:
    """No neuron."""
    return 0


def one_added(net: Net) -> int:
    """A single neuron."""
    return 1


def many_added(net: Net) -> int:
    """As many as the objective says."""
    return net.n_added


def keep_tile(s: Any, unit: int, z: Value) -> None:
    """Store z."""
    store_tile(s, unit, z)


def recall_tile(s: Any, unit: int, h: Value) -> Value:
    """Load z."""
    return load_tile(s, unit)


def keep_nothing(s: Any, unit: int, z: Value) -> None:
    """The output, which is kept anyway, is enough."""


def recall_output(s: Any, unit: int, h: Value) -> Value:
    """H itself."""
    return h


def slope_at(h: Any, s: Any, unit: int) -> Value:
    """σ′ of a hidden unit at the tile."""
    out = load_tile(h, unit)
    return activate_slope(recall(s, unit, out), out)


def neuron_slope_at(h: Any, s: Any, unit: int) -> Value:
    """σ′ of an added neuron at the tile."""
    out = load_tile(h, unit)
    return neuron_slope(recall_neuron(s, unit, out), out)


def affine_of_data(theta: Any, weights: int, bias: int, x: Any, i: int, net: Net) -> Value:
    """w·x + b at the tile from point i on; w and b begin at those rows of θ."""
    z = tile(load(theta, bias))
    for k in range(net.n_inputs):
        z = fma(load(theta, weights + k), points(x, k * net.n_points + i), z)
    return z


def affine_of_units(theta: Any, weights: int, bias: Value, h: Any, first: int, size: int) -> Value:
    """w·h + b over `size` units whose tiles begin at row `first` of h."""
    z = tile(bias)
    for k in range(size):
        z = fma(load(theta, weights + k), load_tile(h, first + k), z)
    return z


def hidden(theta: Any, x: Any, i: int, widths: Any, net: Net, h: Any, s: Any) -> int:
    """Fill h and s for the hidden layers; the number of the first unit after them."""
    width, inputs = widths[0], net.n_inputs
    for j in range(width):
        z = affine_of_data(theta, j * inputs, width * inputs + j, x, i, net)
        store_tile(h, j, activate(z))
        keep(s, j, z)
    at, unit, fan_in = width * (inputs + 1), width, width
    for layer in range(1, len(widths)):
        width = widths[layer]
        for j in range(width):
            bias = load(theta, at + width * fan_in + j)
            z = affine_of_units(theta, at + j * fan_in, bias, h, unit - fan_in, fan_in)
            store_tile(h, unit + j, activate(z))
            keep(s, unit + j, z)
        at += width * (fan_in + 1)
        unit += width
        fan_in = width
    after: int = unit
    return after


def forward(theta: Any, x: Any, i: int, widths: Any, net: Net, h: Any, s: Any) -> Value:
    """f̃ at a tile; h and s are filled."""
    unit = hidden(theta, x, i, widths, net, h, s)
    fan_in = widths[len(widths) - 1]
    at = net.n_base - fan_in - net.output_bias
    bias = load(theta, at + fan_in) if net.output_bias > 0 else lanes(0.0)
    f = affine_of_units(theta, at, bias, h, unit - fan_in, fan_in)
    at = net.n_base
    for _ in range(added(net)):
        z = affine_of_data(theta, at + 1, at + 1 + net.n_inputs, x, i, net)
        out = neuron(z)
        store_tile(h, unit, out)
        keep_neuron(s, unit, z)
        f = fma(load(theta, at), out, f)
        at += net.n_inputs + 2
        unit += 1
    return f


def gradient_of_data(
    grad: Any, weights: int, bias: int, delta: Value, x: Any, i: int, net: Net
) -> None:
    """Add ∂F/∂(w, b) of a unit that sees the data."""
    store(grad, bias, load(grad, bias) + total(delta))
    for k in range(net.n_inputs):
        row = weights + k
        store(grad, row, dot(delta, points(x, k * net.n_points + i), load(grad, row)))


def backward_hidden(
    theta: Any,
    x: Any,
    i: int,
    at: int,
    unit: int,
    top: int,
    widths: Any,
    net: Net,
    h: Any,
    s: Any,
    delta: Any,
    grad: Any,
) -> None:
    """Add the part of the layers up to `top`: its units begin at `unit`, its weights end at `at`.

    The layer after the hidden ones is that of several outputs.
    """
    # With the loop's body in a function of its own ReLU networks train half as fast.
    for layer in range(top, 0, -1):
        width = widths[layer] if layer < len(widths) else net.n_outputs
        fan_in = widths[layer - 1]
        at -= width * (fan_in + 1)
        below = unit - fan_in
        for j in range(width):
            d = load_tile(delta, unit + j)
            bias = at + width * fan_in + j
            store(grad, bias, load(grad, bias) + total(d))
            for k in range(fan_in):
                row = at + j * fan_in + k
                store(grad, row, dot(d, load_tile(h, below + k), load(grad, row)))
        for k in range(fan_in):
            back = tile(lanes(0.0))
            for j in range(width):
                back = fma(load(theta, at + j * fan_in + k), load_tile(delta, unit + j), back)
            store_tile(delta, below + k, back * slope_at(h, s, below + k))
        unit = below
    width = widths[0]
    for j in range(width):
        d = load_tile(delta, j)
        gradient_of_data(grad, j * net.n_inputs, width * net.n_inputs + j, d, x, i, net)


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
    unit = 0
    for layer in range(len(widths)):
        unit += widths[layer]
    at = net.n_base
    for k in range(added(net)):
        store(grad, at, dot(q, load_tile(h, unit + k), load(grad, at)))
        inner = q * load(theta, at) * neuron_slope_at(h, s, unit + k)
        gradient_of_data(grad, at + 1, at + 1 + net.n_inputs, inner, x, i, net)
        at += net.n_inputs + 2
    depth = len(widths)
    fan_in = widths[depth - 1]
    at = net.n_base
    if net.output_bias > 0:
        at -= 1
        store(grad, at, load(grad, at) + total(q))
    at -= fan_in
    unit -= fan_in
    for j in range(fan_in):
        store(grad, at + j, dot(q, load_tile(h, unit + j), load(grad, at + j)))
        store_tile(delta, unit + j, q * load(theta, at + j) * slope_at(h, s, unit + j))
    backward_hidden(theta, x, i, at, unit, depth - 1, widths, net, h, s, delta, grad)


def at_points(
    theta: Any,
    x: Any,
    y: Any,
    weights: Any,
    i: int,
    widths: Any,
    net: Net,
    h: Any,
    s: Any,
    delta: Any,
    grad: Any,
) -> Value:
    """The losses at a tile, weighted; the tile's part of the gradient is added."""
    f = forward(theta, x, i, widths, net, h, s)
    labels, share = points(y, i), point_weights(weights, i)
    z = -(labels * f)
    value = loss(z) * share
    backward(theta, x, i, -(labels * loss_slope(z) * share), widths, net, h, s, delta, grad)
    return value


def penalty(theta: Any, lam: Any, widths: Any, net: Net, grad: Any) -> Value:
    """λa²/2 of the first added neuron ([A] eq. 4); its gradient is added."""
    a, strength = load(theta, net.n_base), load(lam, 0)
    store(grad, net.n_base, load(grad, net.n_base) + strength * a)
    return strength * (a * a * 0.5)


PARTS = (
    slope_at,
    neuron_slope_at,
    affine_of_data,
    affine_of_units,
    hidden,
    forward,
    gradient_of_data,
    backward_hidden,
    backward,
    at_points,
    penalty,
)
