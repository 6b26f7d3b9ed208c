"""Escape with θ held fixed: only (a, w, b) may move.

A control of the judge. At a bad minimum θ of the base network, (a, w, b) alone can never rest at
a ≠ 0: along (a e^{−s}, b + s) the outputs stay and F falls by λa²(1 − e^{−2s})/2, an exact identity
that needs no polish ([A], proof of Theorem 1). Nothing is said about where descent in (a, w, b)
would lead beyond that path's own limit, F − λa²/2.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.readings import BLOCK, read
from sweep.models.augmentations import ExpSkip
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# Where the path is evaluated; e^{w·x+b} is computed as one number, so b + s must not overflow it.
STATIONS = (1.0, 4.0, 16.0)
# Outputs along the path differ by the rounding of w·x + b + s in the exponent.
ROUNDING = 1e-12


def settle_frozen(found: Judgement, objective: DataObjective, lam: np.ndarray) -> None:
    """Write `escaping` for open members whose (a, w, b) slide while θ is held; λ is (S, 1)."""
    if not isinstance(objective.augmentation, ExpSkip):
        return
    a, strength = found.params[:, objective.n_base], lam[:, 0]
    saved = strength * a**2 / 2
    sure = found.open & (saved > 0)
    values = [_value(objective, found.params, lam)]
    for s in STATIONS:
        points = found.params.copy()
        points[:, objective.n_base] *= np.exp(-s)
        points[:, -1] += s
        values.append(_value(objective, points, lam))
        expected = values[0] + saved * np.expm1(-2 * s)
        room = ROUNDING * (1 + np.abs(found.params[:, -1]) + s) * values[0]
        sure &= np.abs(values[-1] - expected) <= room + SAFETY * objective.n_data * UNIT * values[0]
    error = objective.measure(found.params, lam)
    assert error.error is not None and error.error_base is not None
    for member in np.flatnonzero(sure).tolist():
        evidence = {"limit": "b grows", "saved": float(saved[member])}
        found.settle(member, Verdict.ESCAPING, Certificate.CHART, evidence)
        found.limit_objective[member] = values[0][member] - saved[member]
        found.limit_error[member] = error.error[member]
        found.limit_error_base[member] = error.error_base[member]


def _value(objective: DataObjective, params: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """F (S,) of any number of members."""
    parts = [
        read(objective, params[k : k + BLOCK], lam[k : k + BLOCK]).objective
        for k in range(0, len(params), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)
