"""Piecewise-linear networks whose units stay in one piece: the affine map they are.

If every hidden unit is strictly inside one linear piece for all data, f is one affine map of x on
the data, for this θ and for every θ in a ball around it ([C] Lemmas 3-5, any depth). If a whole
layer is flat (dead ReLUs), f is one constant on the data, whatever the other layers do.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
C       outputs
K, H    units of a layer and of the layer before
W, b    weights and biases of a layer                         (K, H), (K,)
v, c    output weights and biases                             (C, K), (C,)
z, h    preactivations, outputs of a layer                    (N, K)
s, t    slope and constant of each unit's piece: h = sz + t   (K,)
β       ∂f/∂z of the first layer's units                      (C, K)
A       the affine map (w, constant)                          (C, D+1)
R       radius of a ball in θ without a change of piece
======  ====================================================  ==========

Units that an arm adds beside the network count as further first-layer units, with β = a·s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import CLEAR
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.activations import Pieces
from sweep.models.augmentations import ExtraNeuron
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.models.vector import VectorObjective

# An activation without a kink has one piece: any ball will do, and this radius is reported.
WHOLE = 1e6
# R is found by halving from its value at depth one; a ball smaller by 2⁻²⁰⁰ is no ball.
HALVINGS = 200
# Backward error of singular values, in units of the roundoff, the rows and ‖β‖.
SINGULAR_ULPS = 16


@dataclass(frozen=True, eq=False)
class Layers:
    """One member's parameters by layer; `extra` are the added neurons (a, W, b), if any."""

    hidden: list[tuple[np.ndarray, np.ndarray]]
    v: np.ndarray
    c: np.ndarray
    extra: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, objective: DataObjective | VectorObjective, theta: np.ndarray) -> Layers:
        """The parts of θ (P,), copied."""
        network = objective.network
        assert isinstance(network, MlpNetwork)
        parts, position = [], 0
        for piece in network.pieces:
            parts.append(theta[position : position + piece.size].reshape(piece.shape).copy())
            position += piece.size
        *hidden, v, c = parts
        added = objective.augmentation if isinstance(objective, DataObjective) else None
        k = added.k if isinstance(added, ExtraNeuron) else 0
        extra = theta[position:].reshape(k, network.n_inputs + 2).copy()
        return cls(
            list(zip(hidden[::2], hidden[1::2], strict=True)),
            v,
            c,
            (extra[:, 0], extra[:, 1:-1], extra[:, -1]),
        )

    def join(self) -> np.ndarray:
        """θ (P,) again."""
        parts = [part.ravel() for pair in self.hidden for part in pair]
        extra = np.column_stack([self.extra[0], self.extra[1], self.extra[2]]).ravel()
        return np.concatenate([*parts, self.v.ravel(), self.c, extra])


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A network in one piece: its map and what is known about its neighbourhood.

    `A` errs by at most `error` in norm; `reach` is a lower bound of β's least singular value;
    `radius` is R; `constant` says that a whole layer is flat, so that on the ball only the constant
    can change; `pieces` are the pieces (−1: more than one) of each hidden layer's units, the added
    neurons' last.
    """

    A: np.ndarray
    error: float
    beta: np.ndarray
    reach: float
    radius: float
    constant: bool
    pieces: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class _Forward:
    """Per hidden layer, added neurons last: ‖h̃‖ (N,), room to the kinks (N, K), pieces (K,).

    `output` and `doubt` are f (C,) at the first data point and its rounding error. Rooms are less
    the rounding error of z.
    """

    lengths: list[np.ndarray]
    clear: list[np.ndarray]
    pieces: list[np.ndarray]
    output: np.ndarray
    doubt: np.ndarray


def affine_map(layers: Layers, x: np.ndarray, sigma: Pieces) -> AffineMap | None:
    """The map of a network with activation σ on x (N, D), or None when it has none on a ball."""
    forward = _forward(layers, x, sigma)
    flat = _flat_layer(forward.pieces, sigma)
    radius = _radius(layers, forward, float(np.abs(sigma.slopes).max()), flat)
    if radius is None:
        return None
    if flat is not None:
        A = np.column_stack([np.zeros((len(layers.c), x.shape[1])), forward.output])
        error, beta, reach = float(np.linalg.norm(forward.doubt)), np.zeros((0, 0)), 0.0
    else:
        A, error, beta, reach = _collapse(layers, forward.pieces, sigma)
    if not np.isfinite(A).all():
        return None
    return AffineMap(A, error, beta, reach, radius, flat is not None, forward.pieces)


def _flat_layer(pieces: list[np.ndarray], sigma: Pieces) -> int | None:
    """A hidden layer all of whose units are in a flat piece, as are the added neurons."""
    flat = [bool((k >= 0).all() and (sigma.slopes[k] == 0).all()) for k in pieces]
    return flat[:-1].index(True) if flat[-1] and any(flat[:-1]) else None


def _room(z: np.ndarray, sigma: Pieces) -> np.ndarray:
    """Distance of every z (N, K) from the nearest kink."""
    room = np.full_like(z, np.inf)
    for t in sigma.breakpoints:
        room = np.minimum(room, np.abs(z - t))
    return room


def _pieces(z: np.ndarray, clear: np.ndarray, sigma: Pieces) -> np.ndarray:
    """The piece that each unit is in for all data beyond doubt, (K,); −1 where there is none."""
    k = sigma.of(z)
    room = CLEAR * np.maximum(1.0, np.abs(z).max(axis=0))
    return np.where((clear > room).all(axis=0) & (k == k[0]).all(axis=0), k[0], -1)


def _forward(layers: Layers, x: np.ndarray, sigma: Pieces) -> _Forward:
    """All preactivations with running error bounds (see `sweep.judge.numerics.rounding`)."""
    lengths, clear, pieces = [], [], []
    steepest = float(np.abs(sigma.slopes).max())
    output, doubt, size = layers.c, np.zeros(len(layers.c)), np.abs(layers.c)
    h, h_error = x, np.zeros_like(x)
    a, W_extra, b_extra = layers.extra
    for W, b, out in [*((W, b, None) for W, b in layers.hidden), (W_extra, b_extra, a[None])]:
        if out is not None:
            h, h_error = x, np.zeros_like(x)
        z = h @ W.T + b
        scale = np.abs(h) @ np.abs(W).T + np.abs(b)
        error = SAFETY * (h_error @ np.abs(W).T + (W.shape[1] + 2) * UNIT * scale)
        clear.append(_room(z, sigma) - error)
        pieces.append(_pieces(z, clear[-1], sigma))
        lengths.append(np.sqrt(((np.abs(h) + h_error) ** 2).sum(axis=1) + 1))
        k = sigma.of(z)
        constants = sigma.constants[k]
        h = z * sigma.slopes[k] + constants
        # A constant is added with a rounding of its own, on top of that of the product.
        more = np.where(constants == 0, 0.0, np.abs(h) + 2 * np.abs(constants))
        h_error = steepest * error + UNIT * np.abs(h) + UNIT * more
        if out is not None or len(pieces) == len(layers.hidden):
            weights = layers.v if out is None else out
            output = output + _dots(weights, h[0])
            size = size + _dots(np.abs(weights), np.abs(h[0]))
            doubt = doubt + _dots(np.abs(weights), h_error[0])
    terms = layers.v.shape[1] + len(a) + 3
    doubt = SAFETY * (doubt + terms * UNIT * size)
    return _Forward(lengths, clear, pieces, output, doubt)


def _dots(rows: np.ndarray, with_: np.ndarray) -> np.ndarray:
    """Rows @ with_, row by row: a row's bits do not depend on how many there are."""
    return np.array([row @ with_ for row in rows]).reshape(len(rows), *with_.shape[1:])


def _collapse(
    layers: Layers, pieces: list[np.ndarray], sigma: Pieces
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """A, its error bound, β of all first-layer units and a lower bound of its singular values."""
    tilt = [sigma.slopes[k] for k in pieces]
    shift = [sigma.constants[k] for k in pieces]
    beta, error = layers.v * tilt[-2], UNIT * np.abs(layers.v * tilt[-2])
    constant = layers.c + _dots(layers.v, shift[-2])
    size = np.abs(layers.c) + _dots(np.abs(layers.v), np.abs(shift[-2]))
    const_error = np.zeros(len(layers.c))
    for level in range(len(layers.hidden) - 1, 0, -1):
        W, b = layers.hidden[level]
        constant, size = constant + _dots(beta, b), size + _dots(np.abs(beta), np.abs(b))
        const_error = const_error + _dots(error, np.abs(b))
        error = _dots(error, np.abs(W)) + (len(W) + 3) * UNIT * _dots(np.abs(beta), np.abs(W))
        beta, moved = _dots(beta, W), np.abs(shift[level - 1])
        constant = constant + _dots(beta, shift[level - 1])
        size, const_error = size + _dots(np.abs(beta), moved), const_error + _dots(error, moved)
        error, beta = np.abs(tilt[level - 1]) * error, beta * tilt[level - 1]
    a, W_extra, b_extra = layers.extra
    own = a[None] * tilt[-1] if len(a) else np.zeros((len(layers.c), 0))
    constant = constant + (_dots(a[None], shift[-1]) if len(a) else 0.0)
    size = size + (_dots(np.abs(a[None]), np.abs(shift[-1])) if len(a) else 0.0)
    beta = np.hstack([beta, own])
    error = SAFETY * np.hstack([error, UNIT * np.abs(own)])
    W = np.vstack([layers.hidden[0][0], W_extra])
    b = np.concatenate([layers.hidden[0][1], b_extra])
    w = _dots(beta, W)
    w_error = _dots(error, np.abs(W)) + (len(W) + 2) * UNIT * _dots(np.abs(beta), np.abs(W))
    constant, size = constant + _dots(beta, b), size + _dots(np.abs(beta), np.abs(b))
    terms = sum(len(bias) for _, bias in layers.hidden) + len(a) + 3
    if any(t.any() for t in shift):
        terms *= 2
    const_error = const_error + (_dots(error, np.abs(b)) + terms * UNIT * size)
    A_error = SAFETY * float(np.hypot(np.linalg.norm(w_error), np.linalg.norm(const_error)))
    reach = _least_singular(beta) - float(np.linalg.norm(error))
    return np.column_stack([w, constant]), A_error, beta, reach


def _least_singular(beta: np.ndarray) -> float:
    """A lower bound of the least of β's C singular values; of its length, for one output."""
    count, width = beta.shape
    if count == 1:
        return float(np.linalg.norm(beta) * (1 - SAFETY * width * UNIT))
    if width < count or not np.isfinite(beta).all():
        return 0.0
    singular = np.linalg.svd(beta, compute_uv=False)
    return float(singular[-1] - SINGULAR_ULPS * SAFETY * width * UNIT * singular[0])


def _radius(layers: Layers, forward: _Forward, steepest: float, flat: int | None) -> float | None:
    """R: for ‖Δθ‖ ≤ R every preactivation moves by less than its distance from the kink.

    With Δ the move of a layer's outputs at a point and every part of Δθ at most R,
    |Δz_k| ≤ R·‖h̃‖ + (‖W_k‖ + R)·Δ and Δ' ≤ s·(R·‖h̃‖ + (‖W‖ + R)·Δ), s the steepest slope; that
    holds across kinks too. Below a flat layer only this layer's own units must not move.
    """
    held = [flat is None or k in (flat, len(layers.hidden)) for k in range(len(forward.pieces))]
    if any((k < 0).any() for k, h in zip(forward.pieces, held, strict=True) if h):
        return None
    clear = [c if h else np.full_like(c, np.inf) for c, h in zip(forward.clear, held, strict=True)]
    radius = WHOLE
    for part, length in zip(clear, forward.lengths, strict=True):
        if part.size:
            radius = min(radius, float((part / length[:, None]).min()))
    for _ in range(HALVINGS):
        if _holds(layers, forward.lengths, clear, steepest, radius):
            # A hair below, because the bound itself is rounded (sums of at most ~1e3 terms).
            return radius * (1 - 1e-12) if radius > 0 else None
        radius /= 2
    return None


def _holds(
    layers: Layers, lengths: list[np.ndarray], clear: list[np.ndarray], steepest: float, R: float
) -> bool:
    move = np.zeros(len(lengths[0]))
    for (W, _), length, room in zip(layers.hidden, lengths, clear, strict=False):
        rows = np.linalg.norm(W, axis=1)
        shift = (R * length)[:, None] + (rows + R)[None, :] * move[:, None]
        if not (shift <= room).all():
            return False
        move = steepest * (R * length + (np.linalg.norm(W) + R) * move)
    return bool(((R * lengths[-1])[:, None] <= clear[-1]).all())
