"""A point at the edge of its flat set, moved inside: by least squares, else a linear program.

Descent stops where it first reaches the flat set, so a hinge point sits at a margin of just 1, or a
kink is held with a multiplier at 0 or 1. Within the cell f is linear: keep the outputs that matter,
demand y f ≥ 1 + t of the others and a distance of t from the kinks, and make t as large as can be.
Least squares takes a fixed t and is tried first, because it is fifty times faster.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
δ       move of (V, c), split in δ⁺ − δ⁻ for the program      (H·n + 1,)
t       the margin gained, relative                           scalar
others  as in `sweep.judge.cells.place`
======  ====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from sweep.judge.base import CLEAR
from sweep.judge.cells.place import Place
from sweep.judge.numerics.kernel_losses import HINGE
from sweep.judge.numerics.spectra import least_squares

# A larger margin proves nothing more, it only moves the point further.
ENOUGH = 1e-2
# HiGHS keeps constraints to 1e-7 of its own scaling; the proof asks for more than that.
LEAST_GAIN = CLEAR
# The move costs this much of t per unit of its 1-norm: t comes first.
COST = 1e-6
# Margins that least squares tries, and how far (see `Place.size`) it must stay from kinks.
PUSHES = (1e-3, 1e-5)
OFF_KINK = 1e-4
# Equations solved by least squares hold to about 1e-15; beyond this they contradict each other.
CONSISTENT = 1e-12


@dataclass(frozen=True, eq=False)
class _Rows:
    """Linear conditions on δ: `outputs` δ changes f; `sides` δ + `distance` must stay positive.

    `felt` marks the points whose outputs are kept; `kept` δ = 0 keeps strict kinks held; `size` is
    the scale of each distance, 0 where touching is harmless because the point is not felt.
    """

    outputs: np.ndarray
    felt: np.ndarray
    kept: np.ndarray
    sides: np.ndarray
    distance: np.ndarray
    size: np.ndarray


def moved_inside(place: Place, grey: float, strict: float) -> tuple[np.ndarray, float] | None:
    """(V, c) further inside the flat set; None where there is no room.

    Points with 0 < u ≤ `grey` are pushed out of the loss; kinks with τ within `strict` of 0 or 1
    are left to the side that τ names. The outputs of all other points stay.
    """
    rows = _rows(place, grey, strict)
    missing = 1 - (place.setting.y * place.f)[~rows.felt]
    if not all(np.isfinite(some).all() for some in (missing, rows.distance, rows.size)):
        return None
    found = _pushed(place, rows, missing)
    if found is None:
        found = _programmed(place, rows, missing)
    if found is None:
        return None
    return place.V + found[:-1].reshape(place.V.shape), place.c + float(found[-1])


def _rows(place: Place, grey: float, strict: float) -> _Rows:
    H, n = place.V.shape
    setting = place.setting
    lo, hi = setting.slopes
    felt = np.ones(len(setting.y), dtype=bool)
    if setting.code == HINGE:
        felt = 1 - setting.y * place.f > grey
    weak = place.on & ((place.tau <= strict) | (place.tau >= 1 - strict))
    up = np.where(weak, place.tau >= 0.5, place.Z > 0)
    slope = place.s[:, None] * np.where(up, hi, lo)
    outputs = [slope[j][:, None] * setting.X for j in range(H)] + [np.ones((len(felt), 1))]
    kept, sides, distance, size = [np.zeros((0, H * n + 1))], [np.zeros((0, H * n + 1))], [], []
    for j in np.flatnonzero((place.s != 0) & (lo != hi)).tolist():
        rows = np.zeros((len(felt), H * n + 1))
        rows[:, j * n : (j + 1) * n] = setting.X
        stay, side = place.at[j] & ~weak[j], np.where(up[j], 1.0, -1.0)
        kept.append(rows[stay])
        sides.append((side[:, None] * rows)[~stay])
        distance.append((side * place.Z[j])[~stay])
        size.append(np.where(felt, place.size[j], 0.0)[~stay])
    flat = [np.concatenate([np.zeros(0), *some]) for some in (distance, size)]
    return _Rows(np.hstack(outputs), felt, np.vstack(kept), np.vstack(sides), flat[0], flat[1])


def _pushed(place: Place, rows: _Rows, missing: np.ndarray) -> np.ndarray | None:
    """The shortest δ that lifts exactly the points short of a margin by a fixed t."""
    short = missing > -min(PUSHES)
    if not short.any():
        return None
    y = place.setting.y[~rows.felt][short]
    lift = y[:, None] * rows.outputs[~rows.felt][short]
    fixed = np.vstack([rows.outputs[rows.felt], rows.kept])
    A = np.vstack([fixed, lift])
    for push in PUSHES:
        wanted = np.append(np.zeros(len(fixed)), missing[short] + push)
        delta = least_squares(A, wanted, rcond=1e-10)
        if np.abs(A @ delta - wanted).max() > CONSISTENT:
            return None
        others = place.setting.y[~rows.felt] * (rows.outputs[~rows.felt] @ delta) - missing
        clear = rows.sides @ delta + rows.distance
        if (others >= 0).all() and (clear >= OFF_KINK * rows.size).all():
            return np.asarray(delta)
    return None


def _programmed(place: Place, rows: _Rows, missing: np.ndarray) -> np.ndarray | None:
    """The shortest δ with the largest t ≤ ENOUGH; None without gain."""
    y = place.setting.y[~rows.felt]
    below = np.vstack(
        [
            np.c_[-y[:, None] * rows.outputs[~rows.felt], np.ones(len(y))],
            np.c_[-rows.sides, rows.size],
        ]
    )
    room = np.append(-missing, rows.distance)
    equal = np.vstack([rows.outputs[rows.felt], rows.kept])
    P = equal.shape[1]
    found = linprog(
        np.append(np.full(2 * P, COST), -1.0),
        A_ub=np.hstack([below[:, :P], -below[:, :P], below[:, P:]]),
        b_ub=room,
        A_eq=np.hstack([equal, -equal, np.zeros((len(equal), 1))]),
        b_eq=np.zeros(len(equal)),
        bounds=[(0, None)] * (2 * P) + [(0, ENOUGH)],
        method="highs-ds",
    )
    if found.status != 0 or not found.x[-1] > LEAST_GAIN:
        return None
    return np.asarray(found.x[:P] - found.x[P : 2 * P])
