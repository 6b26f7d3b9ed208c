"""F, ∇F and one step of training, for a handful of members that stay in registers and cache.

The same text runs as numpy (the reference twin), as explicit SIMD under numba and as one CUDA
thread per member: `sweep.training.fused.build` gives it the machine (`sweep.kernels.plain` names
it) and the formulas of the objective: `activate`, `neuron`, `loss` and their slopes.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
L       members side by side, `LANES`
T       data points at once, `TILE`
N, D    data points (padded to whole tiles), input dimension
P       parameters of one member
θ, g    parameters, gradient                                   P rows of L
x       data, x[k·N + i]                                       (D·N,)
y       labels                                                 (N,)
ω       weights of the points; 0 for padding                   (N,)
h, s    outputs of all units at a tile, and z where σ′ needs it  rows of T·L
δ       ∂F/∂z of two layers' units at a tile                   rows of T·L
f, q    f̃ and ∂F/∂f̃ at a tile                                  T·L
======  =====================================================  ==========

Layout of θ: see `sweep.models.mlp`; after the network `n_added` neurons (a, w, b).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sweep.formulas.primitives import absolute
from sweep.kernels.plain import (
    TILE,
    Value,
    dot,
    fma,
    lanes,
    load,
    load_tile,
    points,
    sqrt,
    store,
    store_tile,
    tile,
    total,
)


class Net(NamedTuple):
    """Shapes and constants of an objective.

    `n_base` parameters of the network, then `n_added` neurons; `n_units` hidden and added units;
    `decayed` parameters, the first ones, under weight decay `decay`; `penalised`: 1 if
    λa²/2 of the first added neuron is part of F, else 0; `output_bias`: 1 if the network has one,
    else 0; `coercive`: 1 if [B] eq. 4 is part of F, with one λ per unit, else 0.
    """

    n_points: int
    n_inputs: int
    n_base: int
    n_added: int
    n_params: int
    n_units: int
    decayed: int
    decay: float
    penalised: int
    output_bias: int
    coercive: int


def activate(z: Value) -> Value:
    """σ(z): bound by `build`."""
    raise NotImplementedError


def activate_slope(z: Value, h: Value) -> Value:
    """σ′(z): bound by `build`."""
    raise NotImplementedError


def neuron(z: Value) -> Value:
    """The added neurons' σ: bound by `build`."""
    raise NotImplementedError


def neuron_slope(z: Value, h: Value) -> Value:
    """Its derivative: bound by `build`."""
    raise NotImplementedError


def keep(s: Any, unit: int, z: Value) -> None:
    """Remember z for the slope: `keep_tile` or, where h is enough, `keep_nothing`."""
    raise NotImplementedError


def recall(s: Any, unit: int, h: Value) -> Value:
    """What `activate_slope` is given for z: `recall_tile` or `recall_output`."""
    raise NotImplementedError


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


def keep_neuron(s: Any, unit: int, z: Value) -> None:
    """As `keep`, for the added neurons."""
    raise NotImplementedError


def recall_neuron(s: Any, unit: int, h: Value) -> Value:
    """As `recall`, for the added neurons."""
    raise NotImplementedError


def loss(z: Value) -> Value:
    """ℓ(z): bound by `build`."""
    raise NotImplementedError


def loss_slope(z: Value) -> Value:
    """ℓ′(z): bound by `build`."""
    raise NotImplementedError


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


def forward(theta: Any, x: Any, i: int, widths: Any, net: Net, h: Any, s: Any) -> Value:
    """f̃ at a tile; h and s are filled."""
    at, unit, fan_in = 0, 0, net.n_inputs
    for layer in range(len(widths)):
        width = widths[layer]
        for j in range(width):
            if layer == 0:
                z = affine_of_data(theta, at + j * fan_in, at + width * fan_in + j, x, i, net)
            else:
                bias = load(theta, at + width * fan_in + j)
                z = affine_of_units(theta, at + j * fan_in, bias, h, unit - fan_in, fan_in)
            out = activate(z)
            store_tile(h, unit + j, out)
            keep(s, unit + j, z)
        at += width * (fan_in + 1)
        unit += width
        fan_in = width
    bias = load(theta, at + fan_in) if net.output_bias > 0 else lanes(0.0)
    f = affine_of_units(theta, at, bias, h, unit - fan_in, fan_in)
    at = net.n_base
    for _ in range(net.n_added):
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
    for k in range(net.n_added):
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
    for layer in range(depth - 1, 0, -1):
        width, fan_in = widths[layer], widths[layer - 1]
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


def coercive(theta: Any, lam: Any, width: int, n_inputs: int, grad: Any) -> Value:
    """(1/3)·Σⱼ λⱼ[|aⱼ|³ + 2‖(wⱼ, bⱼ)‖³], [B] eq. 4, of one layer of `width` units.

    Its gradient, λⱼ|aⱼ|aⱼ and 2λⱼ‖(wⱼ, bⱼ)‖(wⱼ, bⱼ), is added.
    """
    value = lanes(0.0)
    for j in range(width):
        strength, b, a = load(lam, j), width * n_inputs + j, width * (n_inputs + 1) + j
        bias, out = load(theta, b), load(theta, a)
        squares = bias * bias
        for k in range(j * n_inputs, (j + 1) * n_inputs):
            w = load(theta, k)
            squares = fma(w, w, squares)
        norm, size = sqrt(squares), absolute(out)
        value = value + strength * (size * out * out + squares * norm * 2.0)
        store(grad, a, fma(strength * size, out, load(grad, a)))
        pull = strength * norm * 2.0
        store(grad, b, fma(pull, bias, load(grad, b)))
        for k in range(j * n_inputs, (j + 1) * n_inputs):
            store(grad, k, fma(pull, load(theta, k), load(grad, k)))
    return value * (1.0 / 3.0)


def evaluate(
    theta: Any,
    lam: Any,
    x: Any,
    y: Any,
    weights: Any,
    widths: Any,
    net: Net,
    h: Any,
    s: Any,
    delta: Any,
    grad: Any,
) -> Value:
    """F; ∇F is left in `grad`."""
    for p in range(net.n_params):
        store(grad, p, lanes(0.0))
    value = lanes(0.0)
    for i in range(0, net.n_points, TILE):
        f = forward(theta, x, i, widths, net, h, s)
        labels, share = points(y, i), point_weights(weights, i)
        z = -(labels * f)
        value = value + total(loss(z) * share)
        backward(theta, x, i, -(labels * loss_slope(z) * share), widths, net, h, s, delta, grad)
    if net.penalised > 0:
        a = load(theta, net.n_base)
        value = value + load(lam, 0) * a * a * 0.5
        store(grad, net.n_base, load(grad, net.n_base) + load(lam, 0) * a)
    if net.coercive > 0:
        value = value + coercive(theta, lam, widths[0], net.n_inputs, grad)
    if net.decay > 0:
        for p in range(net.decayed):
            w = load(theta, p)
            value = value + w * w * (0.5 * net.decay)
            store(grad, p, fma(w, lanes(net.decay), load(grad, p)))
    return value


def point_weights(weights: Any, i: int) -> Value:
    """ω at the tile from point i on, the same for every member."""
    return points(weights, i)


def member_weights(weights: Any, i: int) -> Value:
    """The same where every member has its own, rows (N,) of L: mini-batches."""
    return load_tile(weights, i // TILE)


def norm(rows: Any, count: int) -> Value:
    """The Euclidean norm of `count` rows."""
    squares = lanes(0.0)
    for p in range(count):
        value = load(rows, p)
        squares = fma(value, value, squares)
    return sqrt(squares)


PARTS = (
    slope_at,
    neuron_slope_at,
    affine_of_data,
    affine_of_units,
    forward,
    gradient_of_data,
    backward,
    coercive,
    evaluate,
    norm,
)
