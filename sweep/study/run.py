"""A study, from plan to page: plan, skip what is done, execute, store, summarise, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sweep.errors import CheckError
from sweep.execution.base import Executor, Opener, open_executor
from sweep.job import JobFailure, JobReport
from sweep.kernels.turns import machine_code_at_hand
from sweep.planning import jobs, plan_blocks, reference_jobs
from sweep.reference import STARTS
from sweep.spec import Block, Compute, Job, Store, Study, Tracking
from sweep.storage.layout import Layout
from sweep.storage.preflight import probe, remove_probe
from sweep.storage.row_files import finished_jobs, row_paths
from sweep.storage.study_file import Header, agree_blocks, read_study
from sweep.study.observer import Ending, Observer
from sweep.study.results import Results, write_summary
from sweep.study.theory import Bounds, theory_bounds, with_bounds
from sweep.study.tracking import Tracker, tracked
from sweep.study.work import CommitRows, SeesResults
from sweep.training.trainer import require_gpu

#: Members in one job when `compute.block_size` is null: long enough that starting a job costs
#: little, short enough that a lost one does.
MEMBERS_PER_JOB = 2000
COMPILING = "The first run of this version here compiles its kernels, once: a minute or two."


def run_study(
    study: Study,
    compute: Compute,
    store: Store,
    tracking: Tracking,
    resolved: Mapping[str, Any],
    observer: Observer,
    opener: Opener = open_executor,
) -> Results:
    """Everything of the study that is not on disk yet, then its summary and report.

    `resolved` is the composed configuration, kept in study.json; `opener` gives the executor, when
    there is work. Running it again finishes what is missing, or does nothing. Raises `UserError`
    for bad input, before anything but an empty results folder is written; `CheckError` when not a
    single job succeeded.
    """
    layout = Layout.for_study(store.root, study.name, study.id)
    bounds = theory_bounds(study, layout)
    unfinished = _missing(planned_jobs(study, compute, layout), layout) or _searches(study, layout)
    with (
        _ready(compute, layout, bool(unfinished), opener) as executor,
        tracked(study, tracking, layout, resolved, observer.warning) as track,
    ):
        all_jobs = agreed_jobs(study, compute, layout, resolved, bounds)
        todo = _missing(all_jobs, layout)
        observer.started(
            len(all_jobs), len(all_jobs) - len(todo), sum(j.members for j in todo), arms_of(study)
        )
        failures: list[JobFailure] = []
        if executor is not None:
            if not machine_code_at_hand():
                observer.note(COMPILING)
            work = CommitRows(layout, study.cells, compute.device, store.params)
            failures = _execute(executor, work, todo, _searches(study, layout), track, observer)
        if failures and not row_paths(layout.rows):
            raise CheckError(
                f"all {len(failures)} jobs failed for good; the first: {failures[0].reason}"
            )
        results = write_summary(layout, failures)
        track.summary(results)
    observer.finished(_ending(study, results, layout, track))
    return results


def arms_of(study: Study) -> list[str]:
    """Arm names over all cells, in the order of the study file."""
    return list(dict.fromkeys(arm.name for cell in study.cells for arm in cell.arms))


def block_size(study: Study, compute: Compute) -> int:
    """Seeds per block for seeds that are in no block yet."""
    if compute.block_size is not None:
        return compute.block_size
    largest = max(cell.members_per_seed for cell in study.cells)
    return max(1, min(study.seeds.count, MEMBERS_PER_JOB // largest))


def planned_jobs(study: Study, compute: Compute, layout: Layout) -> list[Job]:
    """All jobs a run would have, in the blocks that study.json has or would get; writes nothing."""
    known = read_study(layout).blocks if layout.study_file.exists() else ()
    wanted = Block(study.seeds.first, study.seeds.count)
    return jobs(study, plan_blocks(known, wanted, block_size(study, compute)))


def agreed_jobs(
    study: Study, compute: Compute, layout: Layout, resolved: Mapping[str, Any], bounds: Bounds
) -> list[Job]:
    """All jobs of the run, in blocks and with bounds of λ that study.json fixes for good."""
    wanted = Block(study.seeds.first, study.seeds.count)
    size = block_size(study, compute)
    header = Header(
        study_id=study.id,
        name=study.name,
        device=compute.device,
        config=resolved,
        cells={cell.id: dict(cell.axes) for cell in study.cells},
        bounds=bounds,
    )
    blocks = agree_blocks(layout, header, lambda known: plan_blocks(known, wanted, size))
    return jobs(with_bounds(study, read_study(layout).header.bounds), blocks)


def _missing(all_jobs: Sequence[Job], layout: Layout) -> list[Job]:
    done = finished_jobs(layout)
    return [job for job in all_jobs if job.id not in done]


def _searches(study: Study, layout: Layout) -> list[Job]:
    """Witness searches that are not on disk."""
    searches = reference_jobs(study, STARTS)
    return [job for job in searches if not layout.reference_file(job.id).exists()]


@contextmanager
def _ready(
    compute: Compute, layout: Layout, needed: bool, opener: Opener
) -> Iterator[Executor | None]:
    """An executor that has reached its place to run and sees the results; None if not needed."""
    if not needed:
        yield None
        return
    if compute.device == "cuda" and compute.name != "cluster":
        require_gpu()
    token = probe(layout)
    try:
        with opener(compute, SeesResults(layout, token)) as executor:
            yield executor
    finally:
        remove_probe(layout, token)


def _execute(
    executor: Executor,
    work: CommitRows,
    todo: Sequence[Job],
    searches: Sequence[Job],
    track: Tracker,
    observer: Observer,
) -> list[JobFailure]:
    """Run jobs and witness searches; the jobs that failed for good. A search may fail."""
    failures: list[JobFailure] = []
    search_ids = {job.id for job in searches}
    for outcome in executor.run([*todo, *searches], work):
        if outcome.job_id in search_ids:
            if isinstance(outcome, JobFailure):
                observer.warning(
                    f"the witness search {outcome.job_id} failed ({outcome.reason}); the rows "
                    "serve as witnesses without it"
                )
        elif isinstance(outcome, JobReport):
            track.job_done(outcome)
            observer.job_finished(outcome)
        else:
            failures.append(outcome)
            observer.job_failed(outcome)
    return failures


def _ending(study: Study, results: Results, layout: Layout, track: Tracker) -> Ending:
    cells = results.summary.cells.set_index("cell")["setting"]
    return Ending(
        results=layout.root,
        rows=results.summary.n_rows,
        failed=len(results.failures),
        frequencies=results.summary.frequencies,
        cells={cell.id: cells[cell.id] for cell in study.cells if cell.id in cells},
        arms=tuple(arms_of(study)),
        report=layout.report,
        tracking_uri=track.uri,
    )
