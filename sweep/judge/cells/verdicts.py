"""`cell`, `kink`, `valley`: local minima of piecewise-linear one-hidden-layer networks.

`cell`: no kink is at the point; `kink`: some are, with multipliers strictly inside (0, 1);
`valley`: the point sat at the edge of a flat set and was moved inside, F unchanged. The proof is in
`sweep.judge.cells.proof`; without it a member stays open. Radii are distances in
(v_1, …, v_H, c), v_j = |a_j|(w_j, b_j).
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.cells.place import Place, Setting
from sweep.judge.cells.polish import (
    MAX_ITERATIONS,
    TOLERANCE,
    not_higher,
    parameters_of,
    setting_of,
)
from sweep.judge.cells.proof import Proof, prove
from sweep.judge.cells.valley import moved_inside
from sweep.judge.kinks.polish import GROWING, SEPARATES
from sweep.judge.numerics.kernel_losses import HINGE
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Certificate, Verdict

# A hinge point on its way out of the loss converges slowly (Newton halves u where ℓ = u³): these
# are tried in turn as what counts as out.
GREY = (1e-6, 1e-4, 1e-2)
# A multiplier this close to 0 or 1 may belong to a kink that a grey point holds up.
WEAK = 1e-3


def settle_cells(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members that are proven to be one.

    Exponential arms are left alone: there no such point is a minimum. `moved` and `polish_steps`
    grow when a point is moved inside its flat set.
    """
    known = setting_of(objective)
    if known is None or known[0].exponential:
        return
    assert isinstance(objective, DataObjective)
    shallow, setting = known
    members, places, proofs, tries = [], [], [], []
    for member in np.flatnonzero(found.open).tolist():
        units = shallow.split(found.params[[member]])
        place, proof, tried = certified(setting, units.a[0], units.W[0], float(units.c[0]))
        if proof is not None:
            members.append(member)
            places.append(place)
            proofs.append(proof)
            tries.append(tried)
    before = found.params[members]
    points = parameters_of(shallow, shallow.split(before), places)
    strengths = None if lam is None else lam[members]
    lower = not_higher(objective, before, points, strengths, places)
    for k in np.flatnonzero(lower).tolist():
        member, place = members[k], places[k]
        moved = found.moved[member] + np.linalg.norm(points[k] - before[k])
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            _name(place, tries[k]),
            _evidence(place, proofs[k], tries[k]),
            params=points[k],
            margin=proofs[k].margin,
            radius=proofs[k].radius,
        )
        found.moved[member] = moved
        found.polish_steps[member] += place.steps
        found.flat_dim[member] = proofs[k].flat_dim


def certified(
    setting: Setting, a: np.ndarray, W: np.ndarray, c: float
) -> tuple[Place, Proof | None, int]:
    """(place, its proof if there is one, how often it was moved inside its flat set)."""
    place = Place.polished(setting, a, W, c, MAX_ITERATIONS, TOLERANCE)
    if place.status in (SEPARATES, GROWING):
        return place, None, 0
    proof = prove(place)
    if isinstance(proof, Proof):
        return place, proof, 0
    tries = GREY if setting.code == HINGE else GREY[:1]
    for tried, grey in enumerate(tries, start=1):
        inside = moved_inside(place, grey, WEAK)
        if inside is None:
            continue
        V, there_c = inside
        there = Place.polished(setting, a, W, there_c, MAX_ITERATIONS, TOLERANCE, V=V)
        proof = "separates" if there.status == SEPARATES else prove(there)
        if isinstance(proof, Proof):
            return there, proof, tried
    return place, None, 0


def _name(place: Place, tried: int) -> Certificate:
    if tried:
        return Certificate.VALLEY
    return Certificate.KINK if place.at.any() else Certificate.CELL


def _evidence(place: Place, proof: Proof, tried: int) -> dict[str, float | int]:
    """The numbers behind the verdict, JSON-ready."""
    return {
        "objective": place.F,
        "residual": proof.residual,
        "minimum_within": proof.within,
        "tau_min": proof.tau_min,
        "tau_max": proof.tau_max,
        "kinks": proof.kinks,
        "clearance": proof.clearance,
        "moved_inside": tried,
    }
