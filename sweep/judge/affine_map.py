"""Piecewise-linear networks whose units stay in one piece: the affine map they are.

If every hidden unit is strictly inside one linear piece for all data, f is one affine map of x on
the data, for this θ and for every θ in a ball around it ([C] Lemmas 3-5, any depth). If a whole
layer is flat (dead ReLUs), f is one constant on the data, whatever the other layers do.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
K, H    units of a layer and of the layer before
W, b    weights and biases of a layer                         (K, H), (K,)
z, h    preactivations, outputs of a layer                    (N, K)
s       slope of each unit's piece                            (K,)
β       ∂f/∂z of the first layer's units                      (K,)
A       the affine map (w, constant)                          (D+1,)
R       radius of a ball in θ without a change of piece
======  ====================================================  ==========

Units that an arm adds beside the network count as further first-layer units, with β = a·s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.rounding import SAFETY, UNIT
from sweep.models.augmentations import ExtraNeuron
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective

# An activation without a kink has one piece: any ball will do, and this radius is reported.
WHOLE = 1e6
# R is found by halving from its value at depth one; a ball smaller by 2⁻²⁰⁰ is no ball.
HALVINGS = 200


@dataclass(frozen=True, eq=False)
class Layers:
    """One member's parameters by layer; `extra` are the added neurons (a, W, b), if any."""

    hidden: list[tuple[np.ndarray, np.ndarray]]
    v: np.ndarray
    c: float
    extra: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, objective: DataObjective, theta: np.ndarray) -> Layers:
        """The parts of θ (P,), copied."""
        network = objective.network
        assert isinstance(network, MlpNetwork)
        parts, position = [], 0
        for piece in network.pieces:
            parts.append(theta[position : position + piece.size].reshape(piece.shape).copy())
            position += piece.size
        *hidden, v, c = parts
        k = objective.augmentation.k if isinstance(objective.augmentation, ExtraNeuron) else 0
        extra = theta[position:].reshape(k, network.n_inputs + 2).copy()
        return cls(
            list(zip(hidden[::2], hidden[1::2], strict=True)),
            v[0],
            float(c[0]),
            (extra[:, 0], extra[:, 1:-1], extra[:, -1]),
        )

    def join(self) -> np.ndarray:
        """θ (P,) again."""
        parts = [part.ravel() for pair in self.hidden for part in pair]
        extra = np.column_stack([self.extra[0], self.extra[1], self.extra[2]]).ravel()
        return np.concatenate([*parts, self.v, [self.c], extra])


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A network in one piece: its map and what is known about its neighbourhood.

    `A` errs by at most `error` in norm; `reach` is a lower bound of ‖β‖; `radius` is R; `constant`
    says that a whole layer is flat, so that on the ball only the constant can change; `signs` are
    the pieces (±1, 0: more than one) of each hidden layer's units, the added neurons' last.
    """

    A: np.ndarray
    error: float
    beta: np.ndarray
    reach: float
    radius: float
    constant: bool
    signs: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class _Forward:
    """Per hidden layer, added neurons last: ‖h̃‖ (N,), |z| less its rounding error (N, K), signs.

    `output` and `doubt` are f at the first data point and its rounding error.
    """

    lengths: list[np.ndarray]
    clear: list[np.ndarray]
    signs: list[np.ndarray]
    output: float
    doubt: float


def affine_map(layers: Layers, x: np.ndarray, slopes: tuple[float, float]) -> AffineMap | None:
    """The map of a network on x (N, D), or None when it has none that holds on a ball."""
    forward = _forward(layers, x, slopes)
    tilt = [np.where(sign > 0, slopes[1], slopes[0]) for sign in forward.signs]
    flat = _flat_layer(forward.signs, tilt)
    steepest = max(abs(s) for s in slopes)
    radius = _radius(layers, forward, steepest, flat)
    if radius is None:
        return None
    if flat is not None:
        A, error = np.append(np.zeros(x.shape[1]), forward.output), forward.doubt
        beta, reach = np.zeros(0), 0.0
    else:
        A, error, beta, reach = _collapse(layers, tilt)
    if not np.isfinite(A).all():
        return None
    return AffineMap(A, error, beta, reach, radius, flat is not None, forward.signs)


def _flat_layer(signs: list[np.ndarray], tilt: list[np.ndarray]) -> int | None:
    """A hidden layer all of whose units are in a flat piece, as are the added neurons."""
    flat = [bool((s != 0).all() and (t == 0).all()) for s, t in zip(signs, tilt, strict=True)]
    return flat[:-1].index(True) if flat[-1] and any(flat[:-1]) else None


def _pieces(z: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The sign that each unit has for all data beyond doubt, (K,); 0 where it has none."""
    above, below = (z > error).all(axis=0), (z < -error).all(axis=0)
    return np.where(above, 1.0, np.where(below, -1.0, 0.0))


def _forward(layers: Layers, x: np.ndarray, slopes: tuple[float, float]) -> _Forward:
    """All preactivations with running error bounds (see `sweep.judge.rounding`)."""
    lengths, clear, signs = [], [], []
    kinked, steepest = slopes[0] != slopes[1], max(abs(s) for s in slopes)
    output, doubt, size = layers.c, 0.0, abs(layers.c)
    h, h_error = x, np.zeros_like(x)
    a, W_extra, b_extra = layers.extra
    for W, b, out in [*((W, b, None) for W, b in layers.hidden), (W_extra, b_extra, a)]:
        if out is not None:
            h, h_error = x, np.zeros_like(x)
        z = h @ W.T + b
        scale = np.abs(h) @ np.abs(W).T + np.abs(b)
        error = SAFETY * (h_error @ np.abs(W).T + (W.shape[1] + 2) * UNIT * scale)
        signs.append(_pieces(z, error) if kinked else np.ones(len(b)))
        lengths.append(np.sqrt(((np.abs(h) + h_error) ** 2).sum(axis=1) + 1))
        clear.append(np.abs(z) - error if kinked else np.full_like(z, np.inf))
        h = z * np.where(z > 0, slopes[1], slopes[0])
        h_error = steepest * error + UNIT * np.abs(h)
        if out is not None or len(signs) == len(layers.hidden):
            weights = layers.v if out is None else out
            output, size = output + h[0] @ weights, size + np.abs(h[0]) @ np.abs(weights)
            doubt += h_error[0] @ np.abs(weights)
    doubt = SAFETY * (doubt + (len(layers.v) + len(a) + 3) * UNIT * size)
    return _Forward(lengths, clear, signs, float(output), float(doubt))


def _collapse(
    layers: Layers, tilt: list[np.ndarray]
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """A, its error bound, β of all first-layer units and a lower bound of ‖β‖."""
    beta, error = layers.v * tilt[-2], UNIT * np.abs(layers.v * tilt[-2])
    constant, const_error, size = layers.c, 0.0, abs(layers.c)
    for level in range(len(layers.hidden) - 1, 0, -1):
        W, b = layers.hidden[level]
        constant, size = constant + beta @ b, size + np.abs(beta) @ np.abs(b)
        const_error += error @ np.abs(b)
        tilted = np.abs(tilt[level - 1])
        error = tilted * (error @ np.abs(W) + (len(W) + 3) * UNIT * (np.abs(beta) @ np.abs(W)))
        beta = (beta @ W) * tilt[level - 1]
    a, W_extra, b_extra = layers.extra
    beta = np.concatenate([beta, a * tilt[-1]])
    error = SAFETY * np.concatenate([error, UNIT * np.abs(a * tilt[-1])])
    W = np.vstack([layers.hidden[0][0], W_extra])
    b = np.concatenate([layers.hidden[0][1], b_extra])
    w = beta @ W
    w_error = error @ np.abs(W) + (len(W) + 2) * UNIT * (np.abs(beta) @ np.abs(W))
    constant, size = constant + beta @ b, size + np.abs(beta) @ np.abs(b)
    terms = sum(len(bias) for _, bias in layers.hidden) + len(a) + 3
    const_error += error @ np.abs(b) + terms * UNIT * size
    A_error = SAFETY * float(np.hypot(np.linalg.norm(w_error), const_error))
    reach = float(np.linalg.norm(beta)) * (1 - SAFETY * len(beta) * UNIT)
    return np.append(w, constant), A_error, beta, reach - float(np.linalg.norm(error))


def _radius(layers: Layers, forward: _Forward, steepest: float, flat: int | None) -> float | None:
    """R: for ‖Δθ‖ ≤ R every preactivation moves by less than its distance from the kink.

    With Δ the move of a layer's outputs at a point and every part of Δθ at most R,
    |Δz_k| ≤ R·‖h̃‖ + (‖W_k‖ + R)·Δ and Δ' ≤ s·(R·‖h̃‖ + (‖W‖ + R)·Δ), s the steepest slope; that
    holds across kinks too. Below a flat layer only this layer's own units must not move.
    """
    held = [flat is None or k in (flat, len(layers.hidden)) for k in range(len(forward.signs))]
    if any((sign == 0).any() for sign, h in zip(forward.signs, held, strict=True) if h):
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
