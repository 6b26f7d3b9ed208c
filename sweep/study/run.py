"""A study, from plan to page: plan, skip what is done, execute, store, summarise, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sweep.execution.base import open_executor
from sweep.job import JobFailure, JobReport
from sweep.planning import jobs, plan_blocks, reference_jobs
from sweep.reference import STARTS
from sweep.spec import Block, Compute, Job, Store, Study, Tracking
from sweep.storage.layout import Layout
from sweep.storage.preflight import probe, remove_probe
from sweep.storage.row_files import finished_jobs
from sweep.storage.study_file import Header, agree_blocks
from sweep.study.observer import Ending, Observer
from sweep.study.results import Results, write_summary
from sweep.study.tracking import Tracker, tracked
from sweep.study.work import CommitRows, SeesResults

#: Members in one job when `compute.block_size` is null: long enough that starting a job costs
#: little, short enough that a lost one does.
MEMBERS_PER_JOB = 2000


def block_size(study: Study, compute: Compute) -> int:
    """Seeds per block for seeds that are in no block yet."""
    if compute.block_size is not None:
        return compute.block_size
    largest = max(cell.members_per_seed for cell in study.cells)
    return max(1, min(study.seeds.count, MEMBERS_PER_JOB // largest))


def run_study(
    study: Study,
    compute: Compute,
    store: Store,
    tracking: Tracking,
    resolved: Mapping[str, Any],
    observer: Observer,
) -> Results:
    """Everything of the study that is not on disk yet, then its summary and report.

    `resolved` is the composed configuration, kept in study.json. Running it again finishes what
    is missing, or does nothing. Raises `UserError` for bad input, before anything is trained.
    """
    layout = Layout.for_study(store.root, study.name, study.id)
    all_jobs = agreed_jobs(study, compute, layout, resolved)
    todo = _missing(all_jobs, layout)
    with tracked(study, tracking, layout, resolved, observer.warning) as track:
        observer.started(
            len(all_jobs), len(all_jobs) - len(todo), sum(j.members for j in todo), arms_of(study)
        )
        failures = _execute(study, compute, store, layout, todo, track, observer)
        results = write_summary(layout, failures)
        track.summary(results)
    observer.finished(
        Ending(
            results=layout.root,
            rows=results.summary.n_rows,
            failed=len(failures),
            frequencies=results.summary.frequencies,
            cells=dict(
                zip(results.summary.cells["cell"], results.summary.cells["setting"], strict=True)
            ),
            report=layout.report,
            tracking_uri=track.uri,
        )
    )
    return results


def arms_of(study: Study) -> list[str]:
    """Arm names over all cells, in the order of the study file."""
    return list(dict.fromkeys(arm.name for cell in study.cells for arm in cell.arms))


def agreed_jobs(
    study: Study, compute: Compute, layout: Layout, resolved: Mapping[str, Any]
) -> list[Job]:
    """All jobs of the run, in blocks that study.json fixes once and for all."""
    wanted = Block(study.seeds.first, study.seeds.count)
    size = block_size(study, compute)
    header = Header(
        study_id=study.id,
        name=study.name,
        device=compute.device,
        config=resolved,
        cells={cell.id: dict(cell.axes) for cell in study.cells},
    )
    blocks = agree_blocks(layout, header, lambda known: plan_blocks(known, wanted, size))
    return jobs(study, blocks)


def _missing(all_jobs: Sequence[Job], layout: Layout) -> list[Job]:
    done = finished_jobs(layout)
    return [job for job in all_jobs if job.id not in done]


def _execute(
    study: Study,
    compute: Compute,
    store: Store,
    layout: Layout,
    todo: Sequence[Job],
    track: Tracker,
    observer: Observer,
) -> list[JobFailure]:
    failures: list[JobFailure] = []
    work = CommitRows(layout, study.cells, compute.device, store.params)
    searches = {job.id: job for job in reference_jobs(study, STARTS)}
    searches = {k: j for k, j in searches.items() if not layout.reference_file(k).exists()}
    if not todo and not searches:
        return failures
    with _probed(layout) as seen, open_executor(compute, seen) as executor:
        for outcome in executor.run([*todo, *searches.values()], work):
            if outcome.job_id in searches:
                if isinstance(outcome, JobFailure):
                    observer.warning(
                        f"the witness search {outcome.job_id} failed ({outcome.reason}); rows serve"
                        " as witnesses without it"
                    )
            elif isinstance(outcome, JobReport):
                track.job_done(outcome)
                observer.job_finished(outcome)
            else:
                failures.append(outcome)
                observer.job_failed(outcome)
    return failures


@contextmanager
def _probed(layout: Layout) -> Iterator[SeesResults]:
    token = probe(layout)
    try:
        yield SeesResults(layout, token)
    finally:
        remove_probe(layout, token)
