"""The judge: every verdict carries a certificate, everything else is `unresolved`.

In order: `failed`; `global_minimum` because the network separates the data (`separates`), or
because F is at a proven lower bound that is attained (`lower_bound`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sweep.judge.attained import settle_attained
from sweep.judge.base import JUDGES, Ended, Judgement
from sweep.judge.bounds import Bound, proven_bound
from sweep.judge.readings import BLOCK, read
from sweep.judge.separates import settle_separated
from sweep.models.objective import DataObjective, Objective
from sweep.registry import require
from sweep.verdicts import Certificate, Stop, Verdict


@JUDGES.add("standard")
@dataclass(frozen=True)
class StandardJudge:
    """Verdicts with certificates.

    `tolerance` is how far F may lie above a proven bound B and still be looked at as reaching it,
    relative to max(1, B). A sum of a thousand terms near 1 rounds by about 1e-13; 1e-12 clears
    that. Where a bound of zero can be reached exactly (hinge_power), F must be exactly 0.0.
    """

    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        require(0 <= self.tolerance < math.inf, "judge.tolerance", self.tolerance, "a number ≥ 0")

    def judge(self, objective: Objective, ending: Ended, lam: np.ndarray | None) -> Judgement:
        """Verdicts of all members, with λ (S, M); a member's verdict depends on it alone."""
        if objective.dtype != torch.float64:
            raise ValueError("the judge's rounding bounds hold for a float64 objective only")
        bound = None
        if isinstance(objective, DataObjective):
            bound = proven_bound(
                objective.loss, objective.x.cpu().numpy(), objective.y.cpu().numpy()
            )
        parts = []
        # An empty batch is judged once, for the types of the columns.
        for first in range(0, max(1, len(ending.params)), BLOCK):
            some = slice(first, first + BLOCK)
            found = Judgement.unresolved(ending.params[some])
            strengths = None if lam is None else lam[some]
            self._judge_block(found, objective, ending.stop[some], strengths, bound)
            parts.append(found)
        return Judgement.joined(parts)

    def _judge_block(
        self,
        found: Judgement,
        objective: Objective,
        stop: np.ndarray,
        lam: np.ndarray | None,
        bound: Bound | None,
    ) -> None:
        measured = objective.measure(found.params, lam).objective
        _settle_failed(found, stop, measured)
        if not found.open.any():
            return
        if isinstance(objective, DataObjective) and bound is not None:
            start = read(objective, found.params, lam)
            settle_separated(found, objective, lam, start)
            settle_attained(found, objective, lam, bound, self.tolerance)
        elif objective.lower_bound is not None:
            self._settle_landscape(found, measured, objective.lower_bound)

    def _settle_landscape(self, found: Judgement, measured: np.ndarray, bound: float) -> None:
        """A landscape's own bound is attained by definition, so F near it is enough."""
        allowed = bound + self.tolerance * max(1.0, abs(bound))
        for member in np.flatnonzero(found.open & (measured <= allowed)).tolist():
            found.settle(
                member,
                Verdict.GLOBAL_MINIMUM,
                Certificate.LOWER_BOUND,
                {"bound": bound, "objective": float(measured[member])},
                margin=float(allowed - measured[member]),
            )


def _settle_failed(found: Judgement, stop: np.ndarray, measured: np.ndarray) -> None:
    finite = np.isfinite(found.params).all(axis=1) & np.isfinite(measured)
    for member in np.flatnonzero((np.asarray(stop) == Stop.OVERFLOW.value) | ~finite).tolist():
        found.settle(
            member,
            Verdict.FAILED,
            Certificate.NONE,
            {"stop": str(stop[member]), "finite": bool(finite[member])},
        )
