"""What a run would do, and roughly how long it would take. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.job import arm_objective
from sweep.problems import PROBLEMS
from sweep.spec import Compute, Job, Store, Study
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs
from sweep.study.calibration import (
    block_size,
    cell_costs,
    measured_block_size,
    silent,
    worker_count,
)
from sweep.study.run import planned_jobs
from sweep.study.theory import theory_bounds, with_bounds
from sweep.study.trainers import trainers_of


@dataclass(frozen=True)
class Plan:
    """A study as it would be run: jobs, those on disk already, and where results go.

    `trainers` are those that some arm of some cell needs. `seconds` estimates the work still to do
    on this machine, all workers together, from a few members trained and judged; None if there is
    none. `bytes_per_job` is the memory that a job's parameters need at most.
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


def plan_study(
    study: Study, compute: Compute, store: Store, note: Callable[[str], None] = silent
) -> Plan:
    """The plan of a study, whose work still to do is timed on a few members.

    `note` is told how far that is, where it takes long.
    """
    layout = Layout.for_study(store.root, study.name, study.id)
    study = with_bounds(study, theory_bounds(study, layout))
    workers, done = worker_count(compute), frozenset(finished_jobs(layout))
    planned = tuple(planned_jobs(study, block_size(study, compute), layout))
    seconds = None
    if any(job.id not in done for job in planned):
        costs = cell_costs(study, note)
        planned = tuple(planned_jobs(study, measured_block_size(study, compute, costs), layout))
        todo = [(costs[job.cell.id], job.block.count) for job in planned if job.id not in done]
        seconds = sum(cost.job + cost.seed * count for cost, count in todo) / workers
    return Plan(
        study=study,
        jobs=planned,
        done=done,
        results=layout.root,
        trainers=tuple(sorted({t for cells in trainers_of(study).values() for t in cells})),
        workers=workers,
        seconds=seconds,
        bytes_per_job=max(map(_job_bytes, _largest(planned)), default=0),
    )


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
