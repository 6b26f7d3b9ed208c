"""What a run would do, and roughly how long it would take. Writes nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sweep.constructions import INITIALISERS
from sweep.job import arm_lambdas, arm_objective
from sweep.problems import PROBLEMS, Data, Landscape
from sweep.registry import Choice
from sweep.spec import Arm, Cell, Compute, Job, Store, Study
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs
from sweep.study.run import planned_jobs
from sweep.study.theory import theory_bounds, with_bounds
from sweep.training.base import OPTIMIZERS, STOPPING
from sweep.training.batches import BatchOrder
from sweep.training.trainer import prepare, train, trainer_of

#: Members and steps of the calibration run: enough to time a step, too few to be noticed.
CALIBRATION_MEMBERS = 64
CALIBRATION_STEPS = 200


@dataclass(frozen=True)
class Plan:
    """A study as it would be run: jobs, those on disk already, and where results go.

    `trainers` are those that some arm of some cell needs. `seconds` estimates the work still to do
    on this machine, all workers together, when every member uses all its steps; members that stop
    early make it less. None if not calibrated. `bytes_per_job` is the memory that a job's
    parameters need at most.
    """

    study: Study
    jobs: tuple[Job, ...]
    done: frozenset[str]
    results: Path
    trainers: tuple[str, ...]
    workers: int
    seconds: float | None
    bytes_per_job: int

    @property
    def todo(self) -> list[Job]:
        """Jobs whose rows are not on disk."""
        return [job for job in self.jobs if job.id not in self.done]

    @property
    def rows(self) -> int:
        """Rows of the whole study."""
        return sum(job.members for job in self.jobs)


def plan_study(study: Study, compute: Compute, store: Store, calibrated: bool = True) -> Plan:
    """The plan of a study; `calibrated` False skips timing."""
    layout = Layout.for_study(store.root, study.name, study.id)
    study = with_bounds(study, theory_bounds(study, layout))
    planned = tuple(planned_jobs(study, compute, layout))
    done = frozenset(finished_jobs(layout))
    workers = compute.workers or (1 if compute.name == "serial" else os.cpu_count() or 1)
    seconds = None
    if calibrated and len(done.intersection(job.id for job in planned)) < len(planned):
        rates = calibrate(study)
        todo = [job for job in planned if job.id not in done]
        seconds = sum(rates[job.cell.id] * job.block.count for job in todo) / workers
    return Plan(
        study=study,
        jobs=planned,
        done=done,
        results=layout.root,
        trainers=_trainers(study),
        workers=workers,
        seconds=seconds,
        bytes_per_job=max(map(_job_bytes, _largest(planned)), default=0),
    )


def _trainers(study: Study) -> tuple[str, ...]:
    """The names of the trainers, sorted."""
    found = set()
    for cell in study.cells:
        source, optimizer = PROBLEMS.build(cell.problem).load(), OPTIMIZERS.build(cell.optimizer)
        for arm in cell.arms:
            found.add(trainer_of(arm_objective(cell, arm, source), optimizer))
    return tuple(sorted(found))


def calibrate(study: Study) -> dict[str, float]:
    """Seconds per seed (all arms and draws) of each cell, from a few steps on full lanes."""
    found: dict[str, float] = {}
    for cell in study.cells:
        source = PROBLEMS.build(cell.problem).load()
        found[cell.id] = sum(_seconds_per_seed(study, cell, arm, source) for arm in cell.arms)
    return found


def _seconds_per_seed(study: Study, cell: Cell, arm: Arm, source: Data | Landscape) -> float:
    objective = arm_objective(cell, arm, source)
    seeds = np.arange(CALIBRATION_MEMBERS)
    lambdas = arm_lambdas(arm, study.seeds.root, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas[:1], len(seeds), axis=0)
    init = INITIALISERS.build(cell.init)
    start = objective.initial(init, study.seeds.root, seeds.tolist(), lam)
    steps = int(cell.stopping.settings["max_steps"])
    short = min(CALIBRATION_STEPS, steps)
    limited = Choice(cell.stopping.name, {**cell.stopping.settings, "max_steps": short})
    optimizer, order = (
        OPTIMIZERS.build(cell.optimizer),
        BatchOrder(study.seeds.root, seeds.tolist()),
    )
    prepare(objective, optimizer)
    started = time.perf_counter()
    train(objective, start, lam, optimizer, STOPPING.build(limited), order)
    elapsed = time.perf_counter() - started
    return elapsed / len(seeds) * steps / max(short, 1) * arm.draws


def _largest(planned: tuple[Job, ...]) -> list[Job]:
    """The job with most seeds of each cell."""
    found: dict[str, Job] = {}
    for job in planned:
        if job.cell.id not in found or job.block.count > found[job.cell.id].block.count:
            found[job.cell.id] = job
    return list(found.values())


def _job_bytes(job: Job) -> int:
    """Start, end and judged point of every member, and as much again for temporaries."""
    source = PROBLEMS.build(job.cell.problem).load()
    return max(
        6 * 8 * job.block.count * arm.draws * arm_objective(job.cell, arm, source).n_params
        for arm in job.cell.arms
    )
