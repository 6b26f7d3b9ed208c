"""The study `requ_coercive` along its trajectories, which its rows show at two points only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sweep.cli.compose import compose
from sweep.constructions import INITIALISERS
from sweep.job import arm_lambdas, arm_objective, planned_data
from sweep.spec import Cell
from sweep.study.resolve import resolve
from sweep.study.trajectory import steps_shown
from sweep.training.base import OPTIMIZERS, STOPPING, Standard
from sweep.training.batches import BatchOrder
from sweep.training.trainer import train

STUDY = "study=requ_coercive"


def least_ratio(cell: Cell, root: int, seeds: range) -> float:
    """The least F/bound over every draw, seed and stage of a cell's trainings.

    The bound is λ_min/(3√(2m))·‖θ‖³ ([B] Theorem 1, part 1).
    """
    (arm,) = cell.arms
    objective = arm_objective(cell, arm, planned_data(cell))
    lambdas = arm_lambdas(arm, root, objective.n_lambda)
    assert lambdas is not None
    start = objective.initial(INITIALISERS.build(cell.init), root, seeds)
    start, lam = np.tile(start, (len(lambdas), 1)), np.repeat(lambdas, len(seeds), axis=0)
    order = BatchOrder(root, [*seeds] * len(lambdas))
    rule, m = STOPPING.build(cell.stopping), cell.model.settings["width"]
    assert isinstance(rule, Standard)
    ratios = []
    for steps in steps_shown(rule.max_steps):
        until = replace(rule, max_steps=steps)
        ending = train(objective, start, lam, OPTIMIZERS.build(cell.optimizer), until, order)
        found = objective.measure(ending.params, lam)
        bound = lam.min(axis=1) / (3 * np.sqrt(2 * m)) * found.param_norm**3
        ratios.append(float(np.min(found.objective / bound)))
    return min(ratios)


@pytest.mark.parametrize(
    "count", [10, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_along_every_trajectory_f_is_above_its_bound(count: int) -> None:
    """Every cell, draw of λ and seed, at twenty steps from the start to the end."""
    study, *_ = resolve(compose([STUDY, f"seeds.count={count}"]))
    assert len(study.cells) == 12
    least = min(least_ratio(cell, study.seeds.root, range(count)) for cell in study.cells)
    print(f"least F/bound: {least:.3f}")  # with -s
    assert least >= 1
