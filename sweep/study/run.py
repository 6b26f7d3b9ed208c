"""A study, from plan to page: plan, skip what is done, execute, store, summarise, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sweep.errors import CheckError
from sweep.execution import open_executor
from sweep.execution.base import Executor, Opener
from sweep.job_report import JobFailure, JobReport
from sweep.kernels.turns import machine_code_at_hand
from sweep.planning import jobs, plan_blocks, reference_jobs
from sweep.reference import STARTS
from sweep.report.stopping import goal, stopping_sentences
from sweep.report.unfinished import unfinished_sentences
from sweep.spec import Block, Compute, Job, Store, Study, Tracking
from sweep.storage.journal import note_failure
from sweep.storage.layout import Layout
from sweep.storage.preflight import probe, remove_probe
from sweep.storage.provenance import provenance
from sweep.storage.row_files import finished_jobs, row_paths
from sweep.storage.study_file import Header, agree_blocks, read_study, record_precision
from sweep.study.calibration import block_size, measured_block_size
from sweep.study.observer import Ending, Observer
from sweep.study.pursuit import Pursuit
from sweep.study.results import Results, write_summary
from sweep.study.theory import Bounds, theory_bounds, with_bounds
from sweep.study.tracking import Tracker, tracked
from sweep.study.trainers import torch_sentence
from sweep.study.work import CommitRows, SeesResults
from sweep.training.trainer import require_gpu

COMPILING = "The first run of this version here compiles its kernels, once: a minute or two."
SUMMARISING = "Summarising and drawing the report."


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
    size = _size(with_bounds(study, bounds), compute, layout, observer)
    pursuit = None if study.seeds.half_width is None else Pursuit(study, layout, size)
    unfinished = bool(_searches(study, layout)) or not _settled(study, size, layout, pursuit)
    with (
        _ready(compute, layout, unfinished, opener) as executor,
        tracked(study, tracking, layout, resolved, observer.warning) as track,
    ):
        header = _header(study, compute, resolved, bounds)
        agree = partial(agree_blocks, layout, header, made_by=provenance())
        # A pursuit opens its blocks one by one; study.json has to be there before.
        agree(lambda known: [] if pursuit else _planned_blocks(study, size, known))
        study = with_bounds(study, read_study(layout).header.bounds)
        all_jobs = planned_jobs(study, size, layout)
        todo = _missing(all_jobs, layout) if executor is not None else []
        done = len(all_jobs) - len(_missing(all_jobs, layout))
        observer.started(done + len(todo), done, sum(j.members for j in todo), arms_of(study))
        failures: list[JobFailure] = []
        if executor is not None:
            _announce(study, pursuit, observer)
            work = CommitRows(layout, study.cells, compute.device, store.params)
            searches = _searches(study, layout)
            jobs_to_do = todo if pursuit is None else pursuit.opened(study, agree)
            ends = _ends(executor, work, jobs_to_do, searches)
            failures = _heard(ends, searches, layout, track, observer)
        if failures and not row_paths(layout.rows):
            raise CheckError(
                f"all {len(failures)} jobs failed for good; the first: {failures[0].reason}"
            )
        if pursuit is not None and pursuit.prefix is not None:
            record_precision(layout, pursuit.prefix.to_json())
        observer.note(SUMMARISING)
        results = write_summary(layout, failures)
        track.summary(results)
    observer.finished(_ending(study, results, layout, track))
    return results


def arms_of(study: Study) -> list[str]:
    """Arm names over all cells, in the order of the study file."""
    return list(dict.fromkeys(arm.name for cell in study.cells for arm in cell.arms))


def planned_jobs(study: Study, size: int, layout: Layout) -> list[Job]:
    """All jobs a run has at most, in blocks that study.json has or would get; writes nothing.

    `size` is how many seeds a new block gets.
    """
    return jobs(study, _planned_blocks(study, size, _known_blocks(layout)))


def _planned_blocks(study: Study, size: int, known: Sequence[Block]) -> list[Block]:
    return plan_blocks(known, Block(study.seeds.first, study.seeds.most), size)


def _known_blocks(layout: Layout) -> Sequence[Block]:
    return read_study(layout).blocks if layout.study_file.exists() else ()


def _size(study: Study, compute: Compute, layout: Layout, observer: Observer) -> int:
    """Seeds per new block; nothing is measured when there will be none."""
    known, plain = _known_blocks(layout), block_size(study, compute)
    new = set(_planned_blocks(study, plain, known)).difference(known)
    return measured_block_size(study, compute, note=observer.note) if new else plain


def _header(study: Study, compute: Compute, resolved: Mapping[str, Any], bounds: Bounds) -> Header:
    return Header(
        study_id=study.id,
        name=study.name,
        device=compute.device,
        config=resolved,
        cells={cell.id: dict(cell.axes) for cell in study.cells},
        bounds=bounds,
    )


def _settled(study: Study, size: int, layout: Layout, pursuit: Pursuit | None) -> bool:
    """Whether every block that is needed is on disk; witness searches are another matter."""
    if pursuit is not None:
        return pursuit.settled()
    return not _missing(planned_jobs(study, size, layout), layout)


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


def _announce(study: Study, pursuit: Pursuit | None, observer: Observer) -> None:
    """Say what the numbers and the time to come mean."""
    if pursuit is not None:
        observer.note(f"Seeds run until {goal(pursuit.target)}, at most as many as that.")
    if slower := torch_sentence(study):
        observer.note(slower)
    if not machine_code_at_hand():
        observer.note(COMPILING)


def _ends(
    executor: Executor, work: CommitRows, todo: Sequence[Job] | Pursuit, searches: Sequence[Job]
) -> Iterator[JobReport | JobFailure]:
    """Ends of all jobs; searches come before a pursuit, whose decisions rest on what they found."""
    if not isinstance(todo, Pursuit):
        yield from executor.run([*todo, *searches], work)
        return
    if searches:
        yield from executor.run(searches, work)
    yield from executor.run(todo, work)


def _heard(
    ends: Iterable[JobReport | JobFailure],
    searches: Sequence[Job],
    layout: Layout,
    track: Tracker,
    observer: Observer,
) -> list[JobFailure]:
    """Pass on how jobs and witness searches end; the jobs that failed for good. A search may."""
    failures: list[JobFailure] = []
    search_ids = {job.id for job in searches}
    for outcome in ends:
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
            note_failure(layout, outcome.job_id, outcome.reason)
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
        stopping=tuple(stopping_sentences(results.summary)),
        unfinished=tuple(unfinished_sentences(results.summary)),
        failures=results.failures,
    )
