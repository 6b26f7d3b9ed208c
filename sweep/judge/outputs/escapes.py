"""`ray` of one hidden layer and several outputs, with what it leads to.

As for one output it is tried only where the polish came to rest: nothing but the slide is left
there, and F at its end is what the slide leads to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.judge.affine.outputs import derivatives
from sweep.judge.base import Judgement
from sweep.judge.escapes.tail import RESTING
from sweep.judge.limits import SHARE, SMALLEST_F
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.outputs.gradient import gradient
from sweep.judge.outputs.ray import SATURATING, Ray, find_ray
from sweep.judge.outputs.task import OutputsTask
from sweep.models.losses import Squared
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict


def settle_outputs_escapes(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `escaping` for open members of which a unit is proved to saturate for ever.

    `limit_error` is null for targets that are no classes.
    """
    task = OutputsTask.of(objective)
    if task is None or task.code not in SATURATING:
        return
    for member in np.flatnonzero(found.open).tolist():
        theta = task.theta(found.params[member])
        if not float(np.linalg.norm(gradient(task, theta).mid)) <= RESTING:
            continue
        ray = find_ray(task, theta)
        if ray is None:
            continue
        value, doubt = _value(task, ray.start.mid, ray.start.known)
        limit, _ = _value(task, ray.limit, ray.error)
        room = min(doubt, SHARE * max(value, SMALLEST_F))
        # As for one output: a limit above F, or an F that is all rounding, is not what was proved.
        known = value > doubt or not isinstance(task.loss, Squared)
        evidence: dict[str, Any] = {"unit": ray.unit, "tied": int(ray.way.tied.sum())}
        if task.loss.classifies:
            evidence["limit_error"] = _error(task, ray)
            known = known and evidence["limit_error"] is not None
        if not (known and limit <= value + room):
            continue
        evidence["limit_objective"] = min(limit, value)
        found.settle(member, Verdict.ESCAPING, Certificate.RAY, evidence)
        found.limit_objective[member] = evidence["limit_objective"]
        if task.loss.classifies:
            found.limit_error[member] = found.limit_error_base[member] = evidence["limit_error"]


def _value(task: OutputsTask, f: np.ndarray, e: np.ndarray) -> tuple[float, float]:
    """F of outputs f (N, C), and how far it can be off when they err by e."""
    found = derivatives(task.loss, task.y, f, e)
    # ℓ is convex, and its slopes at f ± e differ from those at f by at most their errors.
    moved = (np.abs(found.slope) + found.slope_error) * e
    value = float(found.value.sum())
    return value, float(moved.sum()) + (len(f) + 64) * UNIT * value


def _error(task: OutputsTask, ray: Ray) -> float | None:
    """The share of points whose own class is not told at the ray's end; None if it is not known."""
    own = task.y > 0
    ahead = (task.y * ray.limit).sum(axis=1, keepdims=True) - ray.limit
    room = (task.y * ray.error).sum(axis=1, keepdims=True) + ray.error
    ahead = np.where(own, np.inf, ahead)
    least, most = (ahead - room).min(axis=1), (ahead + room).min(axis=1)
    rounds = 4 * UNIT * np.abs(ray.limit).max(axis=1)
    told, missed = least > rounds, most < -rounds
    return float(np.mean(missed)) if (told | missed).all() else None
