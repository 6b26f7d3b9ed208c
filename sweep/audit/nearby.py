"""Points near a judged point, among which none must be lower.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S, K    members, points tried around each
v_j     |a_j|(w_j, b_j), the coordinates in which F is piecewise convex
c       output bias
r       radius of a certificate                                (S,)
m       moves in the coordinates of the ball, at most 1 long   (K, Q)
M       what such a move does to θ: θ + r·M m                  (S, P, Q)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.first_order import units_of
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.measures import Columns, over_members, values
from sweep.seeds import stream

# Points tried inside a certified ball, at these shares of its radius.
TRIED = 48
SHARES = (1.0, 0.7, 0.3, 0.1, 1e-2, 1e-3)
# Of these points so many go downhill, in steps that halve from half the radius on.
DOWNHILL = 8
HALVINGS = 12


def deepest(
    formula: DataFormula | LandscapeFormula,
    theta: np.ndarray,
    lam: np.ndarray,
    radius: np.ndarray,
    by_unit: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """How far F falls, at most, at points within the radius, and what rounding explains of it.

    Not finite where F is not finite at one of the points.

    `by_unit`: the ball lies in the coordinates of `unit_frame`; otherwise in θ. Members (S, P); two
    arrays (S,).
    """
    run = 1
    frames = np.broadcast_to(np.eye(theta.shape[1]), (len(theta), *2 * theta.shape[1:]))
    if by_unit:
        assert isinstance(formula, MlpFormula)
        run = formula.x.shape[1] + 1
        frames = np.array([unit_frame(formula, point) for point in theta])
    frames = frames * radius[:, None, None]
    moves = _directions(frames.shape[2], run) * np.repeat(SHARES, TRIED // len(SHARES))[:, None]
    moves = np.broadcast_to(moves, (len(theta), *moves.shape))
    lower = _downhill(formula, theta, lam, frames, moves[:, :: TRIED // DOWNHILL])
    moves = np.concatenate([moves, lower], axis=1)
    around = theta[:, None] + np.einsum("spq,skq->skp", frames, moves)
    count = moves.shape[1]
    here, here_error = values(formula, theta, lam)
    there, there_error = values(
        formula, around.reshape(-1, theta.shape[1]), np.repeat(lam, count, axis=0)
    )
    drop = here[:, None] - there.reshape(-1, count)
    doubt = here_error[:, None] + there_error.reshape(-1, count)
    # Where F is infinite or no number, the drop is reported as no number.
    worst = np.argmax(np.where(np.isfinite(drop), drop - doubt, np.inf), axis=1)
    rows = np.arange(len(theta))
    return drop[rows, worst], doubt[rows, worst]


def _directions(dimension: int, run: int) -> np.ndarray:
    """TRIED unit vectors (TRIED, Q), the same for every member.

    A third of them change few coordinates, a third only one run of so many coordinates.
    """
    rng = stream("audit", "directions", dimension, run)
    found = rng.standard_normal((TRIED, dimension))
    found[1::3] *= rng.random((TRIED // 3, dimension)) < 2 / dimension
    runs = rng.integers(dimension // run, size=TRIED // 3)
    found[2::3] *= np.arange(dimension) // run == runs[:, None]
    empty = ~found.any(axis=1)
    found[empty, rng.integers(dimension, size=int(empty.sum()))] = 1.0
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _downhill(
    formula: DataFormula | LandscapeFormula,
    theta: np.ndarray,
    lam: np.ndarray,
    frames: np.ndarray,
    moves: np.ndarray,
) -> np.ndarray:
    """Where projected gradient steps of halving length lead from the moves (S, K, Q)."""

    def gradient(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        return {"gradient": torch.func.grad(formula.objective)(point, strength)}

    count = moves.shape[1]
    for halving in range(1, HALVINGS + 1):
        around = theta[:, None] + np.einsum("spq,skq->skp", frames, moves)
        found = over_members(
            formula, gradient, around.reshape(-1, theta.shape[1]), np.repeat(lam, count, axis=0)
        )
        slope = found["gradient"].reshape(around.shape)
        along = np.einsum("spq,skp->skq", frames, slope)
        length = np.linalg.norm(along, axis=2, keepdims=True)
        step = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
        moves = moves - 0.5**halving * step
        moves = moves / np.maximum(1.0, np.linalg.norm(moves, axis=2, keepdims=True))
    return moves


def unit_frame(formula: MlpFormula, theta: np.ndarray) -> np.ndarray:
    """M (P, Q): what moves of v (unit by unit), c and an exponential neuron's (w, b) do to θ.

    A unit with a = 0 is turned on by its first coordinate, so slowly that |a|·‖(w, b)‖ stays
    within the move. The exponential neuron's a stays, since a·eᵇ is one parameter, and its b is
    taken at the centre of the data.
    """
    units = units_of(formula, theta)
    h, d = formula.widths[0], formula.x.shape[1]
    own = d + 1 if formula.exponential else 0
    found = np.zeros((len(theta), units.W.size + 1 + own))
    for j, a in enumerate(units.a.tolist()):
        first = formula.n_base + (j - h) * (d + 2)
        out = h * d + h + j if j < h else first
        inner = [*range(j * d, (j + 1) * d), h * d + j]
        if j >= h:
            inner = list(range(first + 1, first + d + 2))
        if a == 0:
            found[out, j * (d + 1)] = 1 / max(1.0, float(np.linalg.norm(units.W[j])))
        else:
            for k, position in enumerate(inner):
                found[position, j * (d + 1) + k] = 1 / abs(a)
    found[h * d + 2 * h, units.W.size] = 1.0
    for k in range(own):
        found[formula.n_base + 1 + k, units.W.size + 1 + k] = 1.0
    if own:
        found[-1, -own:-1] = -formula.x.mean(0).numpy()
    return found
