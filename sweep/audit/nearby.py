"""Points near a judged point, among which none, or one, must be lower.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S, K    members, points tried around each
v_j     |a_j|(w_j, b_j), the coordinates in which F is piecewise convex
c       output bias
r       radius of a certificate                                (S,)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.audit.first_order import Condition, Units, units_of, with_units
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.measures import values
from sweep.seeds import stream

# Points tried inside a certified ball, at these shares of its radius in turn.
TRIED = 48
SHARES = (1.0, 0.7, 0.3, 0.1, 1e-2, 1e-3)
# Steps tried in the search for a descent, as shares of 1 + ‖θ‖: from where rounding swamps any
# descent to where the point is left altogether.
STEPS = np.logspace(-9, 1, 31)
RANDOM = 32


def directions(dimension: int) -> np.ndarray:
    """TRIED unit vectors, the same for every member; the odd ones change few coordinates."""
    rng = stream("audit", "directions", dimension)
    found = rng.standard_normal((TRIED, dimension))
    found[1::2] *= rng.random((TRIED // 2, dimension)) < 2 / dimension
    empty = ~found.any(axis=1)
    found[empty, rng.integers(dimension, size=int(empty.sum()))] = 1.0
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def deepest(
    formula: DataFormula | LandscapeFormula,
    theta: np.ndarray,
    lam: np.ndarray,
    radius: np.ndarray,
    by_unit: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """How far F falls, at most, at points within the radius, and what rounding explains of it.

    `by_unit`: the ball lies in the coordinates (v, c) of a one-hidden-layer network; otherwise in
    θ. Members (S, P); two arrays (S,).
    """
    shares = np.resize(SHARES, TRIED)
    around = []
    for point, r in zip(theta, radius, strict=True):
        steps = r * shares[:, None]
        if by_unit:
            assert isinstance(formula, MlpFormula)
            units = units_of(formula, point)
            moves = steps * directions(units.W.size + 1)
            around += [with_units(formula, point, _moved(units, move)) for move in moves]
        else:
            around += list(point + steps * directions(len(point)))
    here, here_error = values(formula, theta, lam)
    there, there_error = values(formula, np.array(around), np.repeat(lam, TRIED))
    drop = here[:, None] - there.reshape(-1, TRIED)
    doubt = here_error[:, None] + there_error.reshape(-1, TRIED)
    worst = np.argmax(drop - doubt, axis=1)
    rows = np.arange(len(theta))
    return drop[rows, worst], doubt[rows, worst]


def _moved(units: Units, move: np.ndarray) -> Units:
    """The units after v and c moved; a unit with a = 0 is turned on instead."""
    steps = move[:-1].reshape(units.W.shape)
    size = np.abs(units.a)
    off = size == 0
    W = units.W + np.where(off[:, None], 0.0, steps) / np.where(off, 1.0, size)[:, None]
    # |a|·‖(w, b)‖ is then at most the length of the step.
    on = np.sign(steps[:, 0]) * np.linalg.norm(steps, axis=1)
    on = on / np.maximum(1.0, np.linalg.norm(units.W, axis=1))
    return Units(np.where(off, on, units.a), W, units.c + float(move[-1]))


def descends(
    formula: DataFormula | LandscapeFormula,
    point: np.ndarray,
    lam: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
    condition: Condition | None,
) -> bool:
    """Whether some step lowers F of one member (P,) by more than rounding.

    Tried are the negative gradient, the directions of least curvature, the units' own steepest
    directions, added or hidden neurons that are turned on, and random directions.
    """
    _, vectors = np.linalg.eigh(hessian)
    tries = [-gradient, *vectors.T[:3], *(-vectors.T[:3])]
    rng = stream("audit", "descent", len(point))
    tries += list(rng.standard_normal((RANDOM, len(point))))
    size = 1 + float(np.linalg.norm(point))
    around = [
        point + step * size * move / length
        for move in tries
        if (length := float(np.linalg.norm(move))) > 0
        for step in STEPS
    ]
    if condition is not None and isinstance(formula, MlpFormula):
        units = units_of(formula, point)
        move = np.append(condition.directions.ravel(), condition.bias)
        length = float(np.linalg.norm(move)) or 1.0
        around += [
            with_units(formula, point, _moved(units, step * move / length)) for step in STEPS
        ]
    around += _turned_on(formula, point, rng)
    (here,), (here_error,) = values(formula, point[None], np.array([lam]))
    there, there_error = values(formula, np.array(around), np.full(len(around), lam))
    return bool((there + there_error < here - here_error).any())


def _turned_on(
    formula: DataFormula | LandscapeFormula, point: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Added neurons with a = 0: their (w, b) may be anything, since F does not depend on them."""
    if not isinstance(formula, DataFormula):
        return []
    d = formula.x.shape[1]
    found = []
    for k in range(formula.n_base, len(point), d + 2):
        if point[k] != 0:
            continue
        for inner in rng.standard_normal((RANDOM, d + 1)):
            for step in (*STEPS, *(-STEPS)):
                moved = point.copy()
                moved[k], moved[k + 1 : k + d + 2] = step, inner
                found.append(moved)
    return found
