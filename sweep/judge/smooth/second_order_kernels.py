"""F, ∇F and ∇²F of a multilayer perceptron, members on lanes: the compiled part.

Every unit m gets an imaginary addition ε_m to its preactivation. With Z_nm = ∂z_n/∂ε_m,
D_m = ∂F/∂ε_m and T_mm′ = ∂²F/∂ε_m∂ε_m′ a parameter p that multiplies the input i_p of unit m has

    ∂F/∂θ_p = D_m·i_p ,   ∂²F/∂θ_p∂θ_r = i_r·(T_mm′·i_p + D_m·∂i_p/∂ε_m′)

for r at a unit m′ below m, or m′ = m (where the last term is zero). So each entry of the Hessian
costs one multiplication and addition per data point, at any depth.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
S, L    members, lanes: members side by side
N       data points, padded to whole tiles of T
U       units: hidden layers in order, added neurons, output
E       parameters in the order of their units                (P,)
i       inputs: the data's columns, the units' outputs, 1     rows of T·L
Z, T    as above                                              (U, U) rows of T·L
======  ====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sweep.formulas.binding import to_be_bound
from sweep.formulas.primitives import Value
from sweep.kernels.memory import empty_rows, load, load_tile, points, store, store_tile
from sweep.kernels.vectors import TILE, dot, fma, lanes, tile


class Graph(NamedTuple):
    """Who sees what: parameters `first[m]` … `first[m+1]−1` of the list E belong to unit m.

    `place` is their index in θ, `row` the input that they multiply: a column of the data, then a
    unit, then the constant 1. `added` is the first added neuron (the output, if there is none).
    """

    n_points: int
    n_inputs: int
    first: np.ndarray
    place: np.ndarray
    row: np.ndarray
    added: int


# Bound by `second_order`: σ, σ′ and σ″ of the network and of the added neurons, ℓ, ℓ′ and ℓ″.
activate: Callable[[Value], Value] = to_be_bound
activate_slope: Callable[[Value, Value], Value] = to_be_bound
activate_bend: Callable[[Value, Value], Value] = to_be_bound
neuron: Callable[[Value], Value] = to_be_bound
neuron_slope: Callable[[Value, Value], Value] = to_be_bound
neuron_bend: Callable[[Value, Value], Value] = to_be_bound
loss: Callable[[Value], Value] = to_be_bound
loss_slope: Callable[[Value], Value] = to_be_bound
loss_curvature: Callable[[Value], Value] = to_be_bound


def forward(
    theta: np.ndarray,
    graph: Graph,
    inputs: np.ndarray,
    slope: np.ndarray,
    bend: np.ndarray,
) -> Value:
    """f̃ at a tile; the units' outputs, σ′ and σ″ are filled in."""
    last = len(graph.first) - 2
    for m in range(last):
        z = tile(lanes(0.0))
        for e in range(graph.first[m], graph.first[m + 1]):
            z = fma(load(theta, graph.place[e]), load_tile(inputs, graph.row[e]), z)
        if m < graph.added:
            h = activate(z)
            store_tile(slope, m, activate_slope(z, h))
            store_tile(bend, m, activate_bend(z, h))
        else:
            h = neuron(z)
            store_tile(slope, m, neuron_slope(z, h))
            store_tile(bend, m, neuron_bend(z, h))
        store_tile(inputs, graph.n_inputs + m, h)
    f = tile(lanes(0.0))
    for e in range(graph.first[last], graph.first[last + 1]):
        f = fma(load(theta, graph.place[e]), load_tile(inputs, graph.row[e]), f)
    return f


def spread(
    theta: np.ndarray, graph: Graph, slope: np.ndarray, reach: np.ndarray, seen: np.ndarray
) -> None:
    """Z_nm into `reach`, and ∂f/∂h_n into `seen`, at a tile; `reach` holds the identity."""
    U = len(graph.first) - 1
    for m in range(U):
        store_tile(seen, m, tile(lanes(0.0)))
    for n in range(U):
        for m in range(n):
            total, some = tile(lanes(0.0)), False
            for e in range(graph.first[n], graph.first[n + 1]):
                k = graph.row[e] - graph.n_inputs
                if m <= k < U - 1:
                    some = True
                    along = load_tile(slope, k) * load_tile(reach, k * U + m)
                    total = fma(load(theta, graph.place[e]), along, total)
            if some:
                store_tile(reach, n * U + m, total)
    for n in range(U):
        through = load_tile(reach, (U - 1) * U + n)
        for e in range(graph.first[n], graph.first[n + 1]):
            k = graph.row[e] - graph.n_inputs
            if 0 <= k < U - 1:
                weight = load(theta, graph.place[e])
                store_tile(seen, k, fma(weight, through, load_tile(seen, k)))


def curve(
    graph: Graph,
    q: Value,
    k: Value,
    bend: np.ndarray,
    reach: np.ndarray,
    seen: np.ndarray,
    turn: np.ndarray,
) -> None:
    """T_mm′ for m′ ≤ m into `turn`, at a tile: Σ_n c_n Z_nm Z_nm′, c = ℓ″ or ∂F/∂h·σ″."""
    U = len(graph.first) - 1
    for m in range(U):
        store_tile(seen, m, q * load_tile(seen, m) * load_tile(bend, m))
    for m in range(U):
        outer = k * load_tile(reach, (U - 1) * U + m)
        for other in range(m + 1):
            found = outer * load_tile(reach, (U - 1) * U + other)
            for n in range(m, U - 1):
                both = load_tile(reach, n * U + m) * load_tile(reach, n * U + other)
                found = fma(load_tile(seen, n), both, found)
            store_tile(turn, m * U + other, found)


def collect(
    graph: Graph,
    q: Value,
    inputs: np.ndarray,
    slope: np.ndarray,
    reach: np.ndarray,
    turn: np.ndarray,
    grad: np.ndarray,
    hess: np.ndarray,
) -> None:
    """Add the tile's part of ∇F and of the lower half of ∇²F (in the order of the list E)."""
    U = len(graph.first) - 1
    for m in range(U):
        down = q * load_tile(reach, (U - 1) * U + m)
        for e in range(graph.first[m], graph.first[m + 1]):
            own = load_tile(inputs, graph.row[e])
            store(grad, e, dot(down, own, load(grad, e)))
            below = graph.row[e] - graph.n_inputs
            at = e * (e + 1) // 2
            for other in range(m + 1):
                u = load_tile(turn, m * U + other) * own
                if other <= below < U - 1:
                    moved = load_tile(slope, below) * load_tile(reach, below * U + other)
                    u = fma(down, moved, u)
                stop = min(graph.first[other + 1], e + 1)
                for r in range(graph.first[other], stop):
                    entry = load(hess, at + r)
                    store(hess, at + r, dot(u, load_tile(inputs, graph.row[r]), entry))


def differentiate(
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    graph: Graph,
    value: np.ndarray,
    grad: np.ndarray,
    hess: np.ndarray,
) -> None:
    """Σᵢ ωᵢ ℓ(−yᵢ f̃ᵢ) with both derivatives for blocks (B, ·, L) of members.

    `grad` (B, P, L) and the lower half `hess` (B, P(P+1)/2, L), row by row, are in the order of E
    and must come as zeros; `value` is (B, 1, L).
    """
    U = len(graph.first) - 1
    inputs = empty_rows((graph.n_inputs + U + 1) * TILE)
    slope, bend, seen = empty_rows(U * TILE), empty_rows(U * TILE), empty_rows(U * TILE)
    reach, turn = empty_rows(U * U * TILE), empty_rows(U * U * TILE)
    for m in range(U):
        store_tile(reach, m * U + m, tile(lanes(1.0)))
    store_tile(inputs, graph.n_inputs + U, tile(lanes(1.0)))
    for block in range(len(theta)):
        here = theta[block]
        for i in range(0, graph.n_points, TILE):
            for column in range(graph.n_inputs):
                store_tile(inputs, column, tile(points(x, column * graph.n_points + i)))
            f = forward(here, graph, inputs, slope, bend)
            label, weight = points(y, i), points(weights, i)
            z = -(label * f)
            store(value[block], 0, dot(loss(z), weight, load(value[block], 0)))
            q, k = -(label * loss_slope(z) * weight), loss_curvature(z) * weight
            spread(here, graph, slope, reach, seen)
            curve(graph, q, k, bend, reach, seen, turn)
            collect(graph, q, inputs, slope, reach, turn, grad[block], hess[block])


PARTS = (forward, spread, curve, collect)
