"""The judge: every verdict carries a certificate, everything else is `unresolved`.

In order: `failed`; `global_minimum` because the network separates the data (`separates`), or
because F is at a proven lower bound that is attained (`lower_bound`), or, with several outputs,
`escaping` because it tells every class; a polish of what is still open, by the kind of network; the
same again; then every certificate in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweep.judge.affine.verdicts import polish_affine, settle_affine
from sweep.judge.attained import settle_attained
from sweep.judge.base import JUDGES, Ended, Judgement
from sweep.judge.bounds import Bound, proven_bound
from sweep.judge.cells.polish import polish_kinks
from sweep.judge.cells.verdicts import settle_cells
from sweep.judge.coercive.dual import settle_dual
from sweep.judge.coercive.polish import polish_coercive
from sweep.judge.coercive.proof import settle_coercive
from sweep.judge.coercive.residuals import add_balance
from sweep.judge.coercive.valley import settle_valley
from sweep.judge.convolution.polish import polish_convolution
from sweep.judge.convolution.verdicts import settle_convolution
from sweep.judge.escapes.scaling import settle_scaling
from sweep.judge.escapes.smooth import settle_saturating
from sweep.judge.exponential.per_layer import settle_per_layer
from sweep.judge.exponential.verdicts import settle_exponential
from sweep.judge.kinks.deep import polish_deep
from sweep.judge.limits import withdraw_unproven_limits
from sweep.judge.monomial.verdicts import settle_monomial
from sweep.judge.outputs.escapes import settle_outputs_escapes
from sweep.judge.outputs.kinks import settle_output_kinks
from sweep.judge.outputs.polish import polish_outputs
from sweep.judge.outputs.proof import settle_outputs
from sweep.judge.pieces import add_pieces
from sweep.judge.population.stages import polish_population, settle_population
from sweep.judge.readings import BLOCK, read
from sweep.judge.residuals import add_residuals
from sweep.judge.saddle import polish_generic, settle_saddles
from sweep.judge.separates import settle_separated
from sweep.judge.smooth.polish import polish_smooth
from sweep.judge.smooth.strict import settle_strict
from sweep.models.landscape import LandscapeObjective
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective
from sweep.registry import require
from sweep.verdicts import Certificate, Stop, Verdict

Stage = Callable[[Judgement, Objective, np.ndarray | None], None]

POLISHES: tuple[Stage, ...] = (
    polish_coercive,
    polish_convolution,
    polish_kinks,
    polish_deep,
    polish_affine,
    polish_outputs,
    polish_smooth,
    polish_population,
    polish_generic,
)
"""Each moves open members of the networks it knows downhill, and no others."""

CERTIFICATES: tuple[Stage, ...] = (
    settle_coercive,
    settle_convolution,
    settle_exponential,
    settle_monomial,
    settle_per_layer,
    settle_scaling,
    settle_cells,
    settle_affine,
    settle_outputs,
    settle_strict,
    settle_population,
    settle_saturating,
    settle_outputs_escapes,
    settle_saddles,
    # Last: it leaves the points of those it has no proof for, and moves what nothing else names.
    settle_output_kinks,
)
"""Each settles open members it has a proof for; the first proof counts."""


@JUDGES.add("standard")
@dataclass(frozen=True)
class StandardJudge:
    """Verdicts with certificates.

    `tolerance` is how far F may lie above a proven bound B and still be looked at as reaching it,
    relative to max(1, B). A sum of a thousand terms near 1 rounds by about 1e-13; 1e-12 clears
    that. Where a bound of zero can be reached exactly (hinge_power), F must be exactly 0.0.
    `pieces`: the evidence of local minima names the cell of the loss surface they lie in.
    """

    tolerance: float = 1e-12
    pieces: bool = False

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
            strengths = None if lam is None else lam[some]
            # Members far out overflow in nearly every formula. No stage claims anything that rests
            # on a number that is not finite, so there is nothing to warn of.
            with np.errstate(all="ignore"):
                found = self._judge_apart(
                    objective, ending.params[some], ending.stop[some], strengths, bound
                )
                # Stages add up their ways; the row says how far apart the two points are.
                found.moved[:] = np.linalg.norm(found.params - ending.params[some], axis=1)
            parts.append(found)
        return Judgement.joined(parts)

    def _judge_apart(
        self,
        objective: Objective,
        params: np.ndarray,
        stop: np.ndarray,
        lam: np.ndarray | None,
        bound: Bound | None,
    ) -> Judgement:
        """Members (S, P) as a block; one on whom a numerical routine gives up is left open alone.

        A member's verdict depends on it alone, so those of the others are the same either way.
        """
        found = Judgement.unresolved(params)
        try:
            self._judge_block(found, objective, stop, lam, bound)
        except (np.linalg.LinAlgError, ArithmeticError) as fault:
            if len(params) == 1:
                found = Judgement.unresolved(params)
                found.evidence[0]["fault"] = f"{type(fault).__name__}: {fault}"
                return found
            ones = [slice(k, k + 1) for k in range(len(params))]
            return Judgement.joined(
                [
                    self._judge_apart(
                        objective, params[k], stop[k], None if lam is None else lam[k], bound
                    )
                    for k in ones
                ]
            )
        return found

    def _judge_block(
        self,
        found: Judgement,
        objective: Objective,
        stop: np.ndarray,
        lam: np.ndarray | None,
        bound: Bound | None,
    ) -> None:
        trained = found.params.copy()
        measured = objective.measure(found.params, lam).objective
        _settle_failed(found, stop, measured)
        self._settle_proven(found, objective, lam, bound)
        for polish in POLISHES:
            if found.open.any():
                polish(found, objective, lam)
        # The polish may have reached a point that separates the data, or the bound.
        self._settle_proven(found, objective, lam, bound)
        for settle in CERTIFICATES:
            if found.open.any():
                settle(found, objective, lam)
        # Last, so that what has a certificate of its own surroundings keeps it.
        settle_dual(found, objective, lam, self.tolerance)
        settle_valley(found, objective, lam)
        if isinstance(objective, DataObjective):
            withdraw_unproven_limits(found, objective, lam)
        add_residuals(found, objective)
        add_balance(found, objective, trained)
        if self.pieces:
            add_pieces(found, objective)

    def _settle_proven(
        self, found: Judgement, objective: Objective, lam: np.ndarray | None, bound: Bound | None
    ) -> None:
        """Global minima: by scaling, or because a proven bound is attained.

        With several outputs: points from which scaling leads to the bound, and never there.
        """
        if not found.open.any():
            return
        if isinstance(objective, DataObjective) and bound is not None:
            start = read(objective, found.params, lam)
            settle_separated(found, objective, lam, start)
            settle_attained(found, objective, lam, bound, self.tolerance)
        elif isinstance(objective, VectorObjective):
            settle_scaling(found, objective, lam)
        elif isinstance(objective, LandscapeObjective) and objective.lower_bound is not None:
            measured = objective.measure(found.params, lam).objective
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
