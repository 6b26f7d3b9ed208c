"""Verdicts of exponential arms: with λ > 0 every a ≠ 0 lies on a path to infinity.

Along (a e^{−s}, b + s) the outputs stay and F = F₀ − λa²(1 − e^{−2s})/2 falls for ever ([A], proof
of Theorem 1), so such a point is no minimum and nothing has to be certified about that. What counts
is where descent leads: the limit problem G (`polish.py`) is polished from the point, and
what it ends in decides.

- The base network separates: `global_minimum`, by `sweep.judge.separates`.
- Only f̃ separates: scaling output layer and neuron up while b grows takes F to 0, which is never
  attained: `escaping`, `ray`, limit 0. Without a regularizer it is attained: `global_minimum`.
- G is stationary: `escaping`, `chart`, with G and the errors of f̃ and f at the limit (at a finite
  one f̃ keeps its α). With λ = 0 that holds for limits at infinity alone: a finite one is a minimum
  or a saddle of F itself.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
S, P    members, parameters                                        θ̃ (S, P)
F, G    objective, the limit problem's                             (S,)
======  =========================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.attained import settle_attained
from sweep.judge.base import Judgement
from sweep.judge.bounds import proven_bound
from sweep.judge.exponential.end import End, Proof
from sweep.judge.exponential.frozen import settle_frozen
from sweep.judge.exponential.kinks import end_over_kinks
from sweep.judge.exponential.limit import Setting
from sweep.judge.exponential.ray import settle_scaled
from sweep.judge.exponential.smooth import end_of_smooth
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.readings import read
from sweep.judge.separates import added_is_free, settle_separated
from sweep.judge.shallow import Shallow
from sweep.models.augmentations import ExpSkip
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Verdict

# How far above a proven bound an attained one is looked for; the proof is `settle_attained`'s own.
AT_BOUND = 1e-12
# F at a stored point is known to this share of itself: a and b of some 1e12 that cancel are not
# stored, for what is left of them is rounding. Losses below the second number count as that.
ACCURATE, SMALLEST_F = 1e-9, 1e-6


def settle_exponential(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Settle open members of networks with the exponential neuron.

    Rays to F = 0 for any depth; the limit problem for one hidden layer without weight decay.
    """
    if not isinstance(objective, DataObjective) or not isinstance(objective.augmentation, ExpSkip):
        return
    if not found.open.any():
        return
    free = added_is_free(objective, lam, len(found.params))
    settle_scaled(found, objective, lam, ~free)
    if objective.n_base == 0 and lam is not None:
        # With the base network held, no limit problem is needed: every a ≠ 0 slides.
        settle_frozen(found, objective, lam)
    shallow = Shallow.of(objective)
    if shallow is None or shallow.weight_decay > 0:
        return
    ends = _ends(found, objective, shallow, np.zeros(len(free)) if lam is None else lam[:, 0])
    stored = store(found, objective, lam, ends)
    settle_separated(found, objective, lam, read(objective, found.params, lam))
    bound = proven_bound(objective.loss, shallow.X[:, :-1], shallow.y)
    settle_attained(found, objective, lam, bound, AT_BOUND)
    settle_scaled(found, objective, lam, ~free)
    for member, end in ends.items():
        if not found.open[member] or not end.evidence:
            continue
        if not (free[member] and end.finite):
            # With λ > 0 any a ≠ 0 escapes; without, only the polished point is known to.
            if member in stored or not free[member]:
                settle_end(found, member, end)
        # Without a regularizer a finite limit is no limit but a stationary point of F.
        elif end.minimum is not None and (found.params[member] == end.points[0]).all():
            _settle_minimum(found, member, end.minimum)


def _ends(
    found: Judgement, objective: DataObjective, shallow: Shallow, strength: np.ndarray
) -> dict[int, End]:
    """The solved limit problems of the open members; `strength` (S,) is λ."""
    setting = Setting.of(shallow)
    ends: dict[int, End] = {}
    for member in np.flatnonzero(found.open).tolist():
        params, lam = found.params[member], float(strength[member])
        if setting is not None:
            end = end_over_kinks(shallow, setting, params, lam)
        else:
            end = end_of_smooth(objective, shallow, params, lam)
        if end is not None:
            ends[member] = end
            found.polish_steps[member] += end.steps
    return ends


def settle_end(found: Judgement, member: int, end: End) -> None:
    """Write `escaping` with the limit that the end has found."""
    evidence = end.evidence | {"objective_at_limit": end.objective}
    found.settle(member, Verdict.ESCAPING, end.certificate, evidence)
    found.limit_objective[member] = end.objective
    found.limit_error[member] = end.error
    found.limit_error_base[member] = end.error_base


def _settle_minimum(found: Judgement, member: int, proof: Proof) -> None:
    found.settle(
        member,
        Verdict.LOCAL_MINIMUM,
        proof.certificate,
        proof.evidence,
        margin=proof.margin,
        radius=proof.radius,
    )
    found.flat_dim[member] = proof.flat


def store(
    found: Judgement, objective: DataObjective, lam: np.ndarray | None, ends: dict[int, End]
) -> set[int]:
    """Make the polished points the judged ones, where F is known and no higher but for rounding.

    The members that it was done for.
    """
    highest = read(objective, found.params, lam).objective
    highest = highest * (1 + SAFETY * (objective.n_data + 8) * UNIT)
    waiting = {member: list(end.points) for member, end in ends.items()}
    stored: set[int] = set()
    while waiting:
        trial = found.params.copy()
        for member, points in waiting.items():
            trial[member] = points.pop(0) if points else found.params[member]
        after = read(objective, trial, lam)
        for member in list(waiting):
            lower = np.isfinite(trial[member]).all() and after.objective[member] <= highest[member]
            known = after.doubt[member] <= ACCURATE * max(after.objective[member], SMALLEST_F)
            if lower and (after.sure[member] > 0 if ends[member].separates else known):
                found.moved[member] += np.linalg.norm(trial[member] - found.params[member])
                found.params[member] = trial[member]
                stored.add(member)
                del waiting[member]
            elif not waiting[member]:
                del waiting[member]
    return stored
