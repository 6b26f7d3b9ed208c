"""The course of one member's training, measured at a few steps.

Training has no hook to look through, and needs none: a member's first t steps do not depend on how
many follow, so the point after t steps is where training ends with max_steps = t. At steps spaced
evenly in log t that costs about three trainings in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweep.constructions import INITIALISERS
from sweep.job import arm_lambdas, arm_objective, one_core, planned_data
from sweep.spec import Job
from sweep.training.base import OPTIMIZERS, STOPPING
from sweep.training.batches import BatchOrder
from sweep.training.trainer import train

#: Points of a trajectory: a screen full, and a curve whose shape is seen.
POINTS = 20
MEASURES = (
    *("loss", "objective", "error", "error_base"),
    *("grad_norm", "augment_activity", "param_norm"),
)


@dataclass(frozen=True)
class _Until:
    """A stopping rule that ends sooner."""

    max_steps: int
    gradient: float
    loss: float


def trajectory(job: Job, device: str, steps: int) -> pd.DataFrame:
    """One row per point of a one-member job: `step`, then `MEASURES`, undefined ones NaN.

    The last row is where training stopped, `steps` updates from the start.
    """
    (arm,), cell, seeds = job.cell.arms, job.cell, [job.block.first]
    objective = arm_objective(cell, arm, planned_data(cell), device)
    lambdas = arm_lambdas(arm, job.root, objective.n_lambda)
    lam = None if lambdas is None else lambdas[list(job.draws(arm))]
    start = objective.initial(INITIALISERS.build(cell.init), job.root, seeds, lam)
    optimizer, rule = OPTIMIZERS.build(cell.optimizer), STOPPING.build(cell.stopping)
    order = BatchOrder(job.root, seeds)
    taken = steps_shown(steps)
    with one_core():
        endings = [
            train(objective, start, lam, optimizer, _Until(t, rule.gradient, rule.loss), order)
            for t in taken
        ]
        points = np.concatenate([ending.params for ending in endings])
        strengths = None if lam is None else np.repeat(lam, len(points), axis=0)
        measures = objective.measure(points, strengths)
    columns = {name: getattr(measures, name) for name in MEASURES}
    undefined = np.full(len(taken), np.nan)
    known = {name: undefined if v is None else v for name, v in columns.items()}
    return pd.DataFrame({"step": taken, **known})


def steps_shown(last: int) -> list[int]:
    """At most `POINTS` steps from 0 to `last`, evenly spaced in log t as far as steps are whole."""
    if last == 0:
        return [0]
    spaced = np.rint(np.geomspace(1, last, POINTS - 1)).astype(np.int64)
    return [0, *np.unique(spaced).tolist()]
