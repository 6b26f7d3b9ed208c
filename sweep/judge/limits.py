"""What every `escaping` owes: the point is known, and the limit does not lie above it.

F falls on the way to the limit, so a limit above F at the stored point, beyond the rounding of F,
shows that the point or the limit is not what the certificate speaks about. Where F itself is all
rounding (squared loss of outputs that equal the labels to the last digits) no sign of a slope is
known either, and the point may well be a global minimum.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.readings import read
from sweep.models.losses import Squared
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# A limit may exceed F by the rounding of F, but by no more than this share of it: where F is known
# no better, nothing is said. Losses below the second number count as that.
SHARE, SMALLEST_F = 1e-6, 1e-6


def withdraw_unproven_limits(
    found: Judgement, objective: DataObjective, lam: np.ndarray | None
) -> None:
    """Make `escaping` members unresolved again whose limit lies above F, or whose F is rounding."""
    escaping = found.verdict == Verdict.ESCAPING.value
    if not escaping.any():
        return
    here = read(objective, found.params, lam)
    room = np.minimum(here.doubt, SHARE * np.maximum(here.objective, SMALLEST_F))
    wrong = escaping & ~(found.limit_objective <= here.objective + room)
    if isinstance(objective.loss, Squared):
        wrong |= escaping & (here.objective <= here.doubt)
    for member in np.flatnonzero(wrong).tolist():
        evidence = {
            "withdrawn": str(found.certificate[member]),
            "limit": float(found.limit_objective[member]),
            "objective": float(here.objective[member]),
            "rounding": float(here.doubt[member]),
        }
        found.settle(member, Verdict.UNRESOLVED, Certificate.NONE, evidence)
        for column in (found.limit_objective, found.limit_error, found.limit_error_base):
            column[member] = np.nan
