"""Piecewise-linear networks whose units stay in one piece: the affine map they are.

If every hidden unit is strictly inside one linear piece for all data, f is one affine map of x on
the data, for this θ and for every θ in a ball around it ([C] Lemmas 3-5, any depth).

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
    the pieces (±1) of each hidden layer, the added neurons' last.
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
    """Per hidden layer: inputs h̃'s norms (N,), |z| less its rounding error (N, K), signs (K,)."""

    lengths: list[np.ndarray]
    clear: list[np.ndarray]
    signs: list[np.ndarray]


def affine_map(layers: Layers, x: np.ndarray, slopes: tuple[float, float]) -> AffineMap | None:
    """The map of a network on x (N, D), or None when some unit is not in one piece."""
    forward = _forward(layers, x, slopes)
    if forward is None:
        return None
    tilt = [np.where(sign > 0, slopes[1], slopes[0]) for sign in forward.signs]
    A, error, beta, reach = _collapse(layers, tilt)
    dead = any((part == 0).all() for part in tilt[:-1]) and bool((tilt[-1] == 0).all())
    radius = _radius(layers, forward, max(abs(s) for s in slopes))
    if not np.isfinite(A).all() or radius is None:
        return None
    return AffineMap(A, error, beta, reach, radius, dead, forward.signs)


def _piece(z: np.ndarray, error: np.ndarray) -> np.ndarray | None:
    """The sign of each unit that holds for all data beyond doubt, (K,); None if one does not."""
    above, below = (z > error).all(axis=0), (z < -error).all(axis=0)
    return np.where(above, 1.0, -1.0) if (above | below).all() else None


def _forward(layers: Layers, x: np.ndarray, slopes: tuple[float, float]) -> _Forward | None:
    """All preactivations with running error bounds (see `sweep.judge.rounding`)."""
    found = _Forward([], [], [])
    h, h_error = x, np.zeros_like(x)
    _, W_extra, b_extra = layers.extra
    steps = [(W, b, False) for W, b in layers.hidden] + [(W_extra, b_extra, True)]
    for W, b, added in steps:
        if added:
            h, h_error = x, np.zeros_like(x)
        z = h @ W.T + b
        size = np.abs(h) @ np.abs(W).T + np.abs(b)
        error = SAFETY * (h_error @ np.abs(W).T + (W.shape[1] + 2) * UNIT * size)
        kinked = slopes[0] != slopes[1]
        sign = _piece(z, error) if kinked else np.ones(len(b))
        if sign is None:
            return None
        found.lengths.append(np.sqrt(((np.abs(h) + h_error) ** 2).sum(axis=1) + 1))
        found.clear.append(np.abs(z) - error if kinked else np.full_like(z, np.inf))
        found.signs.append(sign)
        tilt = np.where(sign > 0, slopes[1], slopes[0])
        h, h_error = z * tilt, np.abs(tilt) * error + UNIT * np.abs(z * tilt)
    return found


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


def _radius(layers: Layers, forward: _Forward, steepest: float) -> float | None:
    """R: for ‖Δθ‖ ≤ R every preactivation moves by less than its distance from the kink.

    With Δ the move of a layer's outputs at a point and every part of Δθ at most R,
    |Δz_k| ≤ R·‖h̃‖ + (‖W_k‖ + R)·Δ and Δ' ≤ s·(R·‖h̃‖ + (‖W‖ + R)·Δ), s the steepest slope.
    """
    least = [
        float((clear / length[:, None]).min())
        for clear, length in zip(forward.clear, forward.lengths, strict=True)
        if clear.size
    ]
    radius = min(WHOLE, *least)
    for _ in range(HALVINGS):
        # A hair below, because the bound itself is rounded (sums of at most ~1e3 terms).
        if _holds(layers, forward, steepest, radius):
            return radius * (1 - 1e-12) if radius > 0 else None
        radius /= 2
    return None


def _holds(layers: Layers, forward: _Forward, steepest: float, R: float) -> bool:
    move = np.zeros(len(forward.lengths[0]))
    for (W, _), length, clear in zip(layers.hidden, forward.lengths, forward.clear, strict=False):
        rows = np.linalg.norm(W, axis=1)
        shift = (R * length)[:, None] + (rows + R)[None, :] * move[:, None]
        if not (shift <= clear).all():
            return False
        move = steepest * (R * length + (np.linalg.norm(W) + R) * move)
    return bool(((R * forward.lengths[-1])[:, None] <= forward.clear[-1]).all())
