"""Where smooth one-hidden-layer networks slide to infinity: rays, then charts, then more steps.

A ray is tried only at a point where the polish came to rest: at the end of training it would take
some true minima for slides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.escapes.ray import find_ray
from sweep.judge.escapes.tail import Chart, at_rest, follow, from_chart, prove
from sweep.judge.numerics.kernel_losses import HINGE
from sweep.judge.readings import read
from sweep.judge.separates import settle_separated
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.kernels import TAIL, Task, outputs, total
from sweep.judge.smooth.polish import BUDGET, move, pack, plain_task, polish_member, unpack
from sweep.judge.smooth.trust_region import SEPARATED
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Certificate, Verdict

# A network that separates at η = 0 separates for small η too; these are tried.
NEAR_INFINITY = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)


def settle_saturating(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `escaping` for open members whose units saturate for ever, with what it leads to.

    A member that a chart leads to separation is moved there and settled as a global minimum; one
    that it leads to another resting point is moved there and stays open.
    """
    task, shallow = plain_task(objective), Shallow.of(objective)
    if task is None or shallow is None or task.decays.any():
        return
    assert isinstance(objective, DataObjective)
    for member in np.flatnonzero(found.open).tolist():
        theta, _ = pack(task, shallow.split(found.params[member : member + 1]))
        point, end = _escape(task, theta[0])
        if point is not None:
            moved = shallow.join(unpack(task, point[None], np.zeros((1, len(task.kinds)))))[0]
            move(found, member, moved)
        if end is not None:
            _write(found, member, task, *end)
    if task.loss == HINGE and found.open.any():
        settle_separated(found, objective, lam, read(objective, found.params, lam))


Ending = tuple[Certificate, np.ndarray, dict[str, Any]]


def _escape(task: Task, theta: np.ndarray) -> tuple[np.ndarray | None, Ending | None]:
    """Where the point moves (None: it stays), and its escape: certificate, outputs, evidence."""
    end = polish_member(task, theta, budget=0)
    if at_rest(end):
        ending = _ray(task, theta)
        if ending is not None:
            return None, ending
    chart = follow(task, theta)
    if chart is not None:
        point, ending = _judge_chart(chart)
        if point is not None or ending is not None:
            return point, ending
    end = polish_member(task, theta, budget=BUDGET)
    if end.status == SEPARATED:
        return end.theta, None
    ending = _ray(task, end.theta) if at_rest(end) else None
    if ending is None:
        chart = follow(task, end.theta)
        if chart is not None:
            point, ending = _judge_chart(chart)
            return (point if point is not None else end.theta), ending
    return end.theta, ending


def _ray(task: Task, theta: np.ndarray) -> Ending | None:
    ray = find_ray(task, theta)
    if ray is None:
        return None
    return Certificate.RAY, ray.limit, {"unit": ray.unit, "tied": ray.tied}


def _judge_chart(chart: Chart) -> tuple[np.ndarray | None, Ending | None]:
    """A plain point to move to, or the escape that the chart proves."""
    task, end = chart.task, chart.end
    charted = (task.kinds == TAIL).any()
    if end.status == SEPARATED:
        return (_inside(chart) if charted else end.theta), None
    if not charted:
        ending = _ray(task, end.theta) if at_rest(end) else None
        return (end.theta if ending is not None else None), ending
    proof = prove(chart)
    return None, None if proof is None else (Certificate.TAIL, *proof)


def _inside(chart: Chart) -> np.ndarray | None:
    """A plain point whose outputs separate the data as the chart's limit does."""
    task, n = chart.task, chart.task.X.shape[1]
    for eta in NEAR_INFINITY:
        theta = chart.end.theta.copy()
        for j in np.flatnonzero(task.kinds == TAIL).tolist():
            theta[j * (n + 1) + n] = max(theta[j * (n + 1) + n], eta)
        plain, theta, shifts = from_chart(task, theta, chart.end.shifts)
        if (task.y * outputs(theta, shifts, plain) > 0).all():
            return theta
    return None


def _write(
    found: Judgement,
    member: int,
    task: Task,
    certificate: Certificate,
    limit: np.ndarray,
    evidence: dict[str, Any],
) -> None:
    """The escape's row: F, R and the base network's R where it leads."""
    flat = np.zeros(len(task.decays))
    objective = float(total(flat, limit, task))
    error = float(np.mean(~(task.y * limit > 0)))
    found.settle(
        member,
        Verdict.ESCAPING,
        certificate,
        evidence | {"limit_objective": objective, "limit_error": error},
    )
    found.limit_objective[member] = objective
    found.limit_error[member] = error
    found.limit_error_base[member] = error
