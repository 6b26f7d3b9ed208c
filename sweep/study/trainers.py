"""Which trainer trains each arm of a study, and what a person is told about it."""

from __future__ import annotations

from collections import Counter

from sweep.job import arm_objective
from sweep.problems import PROBLEMS
from sweep.spec import Study
from sweep.training.base import OPTIMIZERS
from sweep.training.trainer import Trainer, trainer_of


def trainers_of(study: Study) -> dict[str, Counter[Trainer]]:
    """Per arm, in the order of the study file, the trainers with the number of their cells."""
    found: dict[str, Counter[Trainer]] = {}
    for cell in study.cells:
        source, optimizer = PROBLEMS.build(cell.problem).load(), OPTIMIZERS.build(cell.optimizer)
        for arm in cell.arms:
            trainer = trainer_of(arm_objective(cell, arm, source), optimizer)
            found.setdefault(arm.name, Counter())[trainer] += 1
    return found


def torch_sentence(study: Study) -> str | None:
    """Which arms torch trains, of how many cells where it is not all; None where it trains none."""
    arms = []
    for arm, cells in trainers_of(study).items():
        if cells["torch"]:
            some = f" (in {cells['torch']} of {cells.total()} cells)" if cells["fused"] else ""
            arms.append(f"{arm}{some}")
    if not arms:
        return None
    subject = f"Arm {arms[0]} is" if len(arms) == 1 else f"Arms {', '.join(arms)} are"
    return f"{subject} trained by torch, which is slower."
