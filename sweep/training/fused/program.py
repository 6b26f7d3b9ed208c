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
y       labels; of C outputs targets y[c·N + i]                  (N,), (C·N,)
ω       weights of the points; 0 for padding                   (N,)
h, s    outputs of all units at a tile, and z where σ′ needs it  rows of T·L
δ       ∂F/∂z of all units at a tile                           rows of T·L
f, q    f̃ and ∂F/∂f̃ at a tile                                  T·L
======  =====================================================  ==========

Layout of θ: see `sweep.models.mlp`; after the network `n_added` neurons (a, w, b), or what
`sweep.training.fused.layered` says. Parts that the two share read and write as `network` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweep.formulas.binding import to_be_bound
from sweep.formulas.primitives import absolute
from sweep.kernels.plain import (
    TILE,
    Value,
    fma,
    lanes,
    load,
    load_tile,
    points,
    sqrt,
    store,
    total,
)
from sweep.training.fused.records import Net

# Bound by `build`, of `network`, `layered` or `outputs`:
at_points: Callable[..., Value] = to_be_bound
penalty: Callable[..., Value] = to_be_bound


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
        losses = at_points(theta, x, y, weights, i, widths, net, h, s, delta, grad)
        value = value + total(losses)
    if net.penalised > 0:
        value = value + penalty(theta, lam, widths, net, grad)
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


PARTS = (coercive, evaluate, norm)
