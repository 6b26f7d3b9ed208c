"""Any smooth network: the limit problem of arms that shed their penalty, polished through autograd.

A block of members goes down together, as far as each needs, and every leg ends with the questions
whether the base network separates the data (global), whether f̃ does (`ray`: F → 0), and whether the
limit problem is stationary (`chart`). What slides on within it is left open.

Symbols as in `sweep.judge.exponential.limit_problem`.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.attained import settle_attained
from sweep.judge.base import Judgement
from sweep.judge.bounds import proven_bound
from sweep.judge.exponential.end import End
from sweep.judge.exponential.limit_problem import Bare
from sweep.judge.exponential.ray import settle_scaled
from sweep.judge.exponential.verdicts import AT_BOUND, settle_end, store
from sweep.judge.readings import read
from sweep.judge.separates import added_is_free, settle_separated
from sweep.judge.smooth.autograd import polish_block
from sweep.judge.smooth.trust_region import STATIONARY
from sweep.models.lanes import LANE
from sweep.models.objective import DataObjective

# Newton steps of each leg: most members separate the data within the first.
LEGS = (25, 50, 100, 200)
# Neurons that move no output by more than this are as good as off: whether F falls towards the
# limit is then not known.
QUIET = 1e-6


def settle_by_descent(
    found: Judgement, objective: DataObjective, lam: np.ndarray | None, bare: Bare, some: np.ndarray
) -> None:
    """Polish open members among `some` (indices) in the limit problem and settle what they end in.

    With λ = 0 only global minima are settled: a stationary point of the limit problem is one of F.
    """
    points = bare.into(found.params[some])
    legal = np.isfinite(points).all(axis=1)
    some, points = some[legal], points[legal]
    free = added_is_free(objective, lam, len(found.params))
    strength = np.zeros(len(found.params)) if lam is None else lam[:, 0]
    for leg in LEGS:
        left = found.open[some]
        some, points = some[left], points[left]
        for first in range(0, len(some), LANE):
            part = slice(first, first + LANE)
            _down(found, objective, lam, bare, some[part], points[part], strength, leg)
        settle_separated(found, objective, lam, read(objective, found.params, lam))
        settle_scaled(found, objective, lam, ~free)
        if not found.open[some].any():
            return
    bound = proven_bound(objective.loss, objective.x.cpu().numpy(), objective.y.cpu().numpy())
    settle_attained(found, objective, lam, bound, AT_BOUND)


def _down(
    found: Judgement,
    objective: DataObjective,
    lam: np.ndarray | None,
    bare: Bare,
    members: np.ndarray,
    points: np.ndarray,
    strength: np.ndarray,
    leg: int,
) -> None:
    """One leg of S ≤ LANE members at ϑ (S, Q), which is overwritten by where they come to."""
    end = polish_block(bare.objective, points, None, leg)
    points[:] = end.theta
    measured = bare.objective.measure(end.theta)
    assert measured.error is not None and measured.error_base is not None
    assert measured.augment_activity is not None
    there = bare.back(end.theta, found.params[members], end.objective, strength[members])
    ends = {}
    for k, member in enumerate(members.tolist()):
        loud = measured.augment_activity[k] > QUIET
        known = end.status[k] == STATIONARY and loud and strength[member] > 0
        ends[member] = End(
            [there[k]],
            False,
            int(end.steps[k]),
            True,
            {"limit": "finite", "gradient": float(end.slope[k])} if known else {},
            float(end.objective[k]),
            float(measured.error[k]),
            float(measured.error_base[k]),
        )
        found.polish_steps[member] += int(end.steps[k])
    stored = store(found, objective, lam, ends)
    # A network that separates is no finite limit: scaling it up lowers F further.
    separating = read(bare.objective, end.theta, None).margin > 0
    for k, member in enumerate(members.tolist()):
        if member in stored and ends[member].evidence and not separating[k]:
            settle_end(found, member, ends[member])
