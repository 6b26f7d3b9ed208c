"""The polish of coercive networks: Newton on E, and new neurons where E falls along them.

Where the active neurons are at rest and some direction u exceeds λⱼ of an inactive one, F falls in
third order only, which is where gradient descent is slowest; the neuron is grown to its best size
at once and the polish goes on. Where an active neuron has the same λ as the inactive one, its own
direction is at λⱼ too, and there F does not fall; then directions towards every data point are
tried. F never rises. Symbols as in `sweep.judge.coercive.plain`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.inactive import CLIMBS, against
from sweep.judge.coercive.kernels import Task, activations, loss_rows, loss_sum, outputs
from sweep.judge.coercive.newton import NOISE, descend, grown
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.sphere import climb
from sweep.models.objective import Objective

# Newton steps between two new neurons, and new neurons; 200 and 20 are the most that were seen.
BUDGET, NEURONS = 1500, 60
# F may rise by this share of itself, its own rounding.
RISE = 1e-13


@dataclass(frozen=True, eq=False)
class Polished:
    """Where one member's polish ended: z (m, n), s (m,), steps taken."""

    Z: np.ndarray
    s: np.ndarray
    steps: int


def polish_member(task: Task, Z: np.ndarray, s: np.ndarray, lam: np.ndarray) -> Polished:
    """One member downhill from z (m, n), s (m,), with λ (m,)."""
    s, steps = s.copy(), 0
    for _ in range(NEURONS):
        Z, active, taken = descend(Z, s, lam, task, BUDGET)
        steps += int(taken)
        idle = np.flatnonzero(~active)
        if not len(idle):
            break
        # The one that costs least: if it may rest, all others may.
        j = idle[np.argmin(lam[idle])]
        f = outputs(activations(Z, task), s)
        seen = against(loss_rows(f, task)[1], task, float(lam[j]))
        if seen.u is None:
            break
        # q·σ(u·x̃) > 0 is lowered by a neuron of the other sign.
        u, sign = seen.u, -seen.sign
        weight, change = grown(f, u, sign, float(lam[j]), task)
        if not change < 0:
            weight, u, sign = _elsewhere(f, float(lam[j]), task)
            if not weight > 0:
                break
        Z[j], s[j] = np.sqrt(weight) * u, sign
    return Polished(Z, s, steps)


def _elsewhere(f: np.ndarray, lam: float, task: Task) -> tuple[float, np.ndarray, float]:
    """(weight, u (n,), sign) of the new neuron that lowers E most; weight 0 if none does.

    Those are tried that are uphill of a data point, for either sign.
    """
    q = loss_rows(f, task)[1]
    best = (-NOISE * loss_sum(f, task), 0.0, task.X[0], 1.0)
    for start in task.X / np.linalg.norm(task.X, axis=1, keepdims=True):
        for sign in (1.0, -1.0):
            u = climb(start, -sign * q, task.X, CLIMBS) if task.rectified else start
            weight, change = grown(f, u, sign, lam, task)
            if change < best[0]:
                best = (change, weight, u, sign)
    return best[1:]


def polish_coercive(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move open members of coercive networks downhill, in place, and balance them.

    Nothing is done to members with some λ ≤ 0, where F need not be coercive.
    """
    plain = coordinates_of(objective)
    members = np.flatnonzero(found.open & all_positive(lam, len(found.params)))
    if plain is None or lam is None or not len(members):
        return
    ends = [_polished(plain, found.params[k], per_neuron(lam[k], plain)) for k in members.tolist()]
    points = np.array([plain.balanced(end.Z, end.s) for end in ends])
    before = objective.measure(found.params[members], lam[members]).objective
    after = objective.measure(points, lam[members]).objective
    for k in np.flatnonzero(after <= before * (1 + RISE)).tolist():
        found.params[members[k]] = points[k]
        found.polish_steps[members[k]] += ends[k].steps


def _polished(plain: Coordinates, theta: np.ndarray, lam: np.ndarray) -> Polished:
    return polish_member(plain.task, *plain.reduced(theta), lam)


def per_neuron(lam: np.ndarray, plain: Coordinates) -> np.ndarray:
    """λ of every neuron, (m,), from one λ per neuron or one for all."""
    return np.ascontiguousarray(np.broadcast_to(lam, plain.m), dtype=np.float64)


def all_positive(lam: np.ndarray | None, count: int) -> np.ndarray:
    """Members (S,) all of whose λ are positive and finite."""
    if lam is None:
        return np.zeros(count, dtype=bool)
    return np.asarray((np.isfinite(lam) & (lam > 0)).all(axis=1))
