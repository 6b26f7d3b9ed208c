"""A network with several outputs, at one tile of data points: a part of `program`.

What `sweep.training.fused.network` is for one output. The outputs' tiles follow those of the hidden
units in h, what F changes by with them in δ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweep.formulas.binding import to_be_bound
from sweep.kernels.plain import Value, lanes, load, load_tile, points, store_tile, tile
from sweep.training.fused import network
from sweep.training.fused.network import (
    affine_of_units,
    backward_hidden,
    hidden,
)
from sweep.training.fused.records import Net

# Bound by `build`: a loss of several outputs (`sweep.formulas.losses.OutputsFormula`), and the
# points' weights at a tile.
loss: Callable[[Value, Value, Value], Value] = to_be_bound
loss_slope: Callable[[Value, Value, Value], Value] = to_be_bound
joined: Callable[[Value, Value], Value] = to_be_bound
point_weights: Callable[[Any, int], Value] = to_be_bound


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
    unit = hidden(theta, x, i, widths, net, h, s)
    fan_in = widths[len(widths) - 1]
    at = net.n_base - net.n_outputs * (fan_in + 1)
    normal = tile(lanes(0.0))
    for c in range(net.n_outputs):
        bias = load(theta, at + net.n_outputs * fan_in + c)
        f = affine_of_units(theta, at + c * fan_in, bias, h, unit - fan_in, fan_in)
        store_tile(h, unit + c, f)
        normal = joined(normal, f) if c > 0 else f
    value, share = tile(lanes(0.0)), point_weights(weights, i)
    for c in range(net.n_outputs):
        f, target = load_tile(h, unit + c), points(y, c * net.n_points + i)
        value = value + loss(f, target, normal) * share
        store_tile(delta, unit + c, loss_slope(f, target, normal) * share)
    top, end = len(widths), net.n_base
    backward_hidden(theta, x, i, end, unit, top, widths, net, h, s, delta, grad)
    return value


def penalty(theta: Any, lam: Any, widths: Any, net: Net, grad: Any) -> Value:
    """0: nothing is added to the network."""
    return lanes(0.0)


PARTS = (
    network.slope_at,
    network.affine_of_data,
    network.affine_of_units,
    network.hidden,
    network.gradient_of_data,
    network.backward_hidden,
    at_points,
    penalty,
)
