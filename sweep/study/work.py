"""What a worker does with a job: train, judge, commit, and say so. Picklable, repeatable."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sweep.job import JobReport, JobResult, report_of, run_job
from sweep.reference import run_reference
from sweep.spec import Cell, Job
from sweep.storage.arrow_schema import to_table
from sweep.storage.layout import Layout
from sweep.storage.preflight import check_probe
from sweep.storage.row_files import commit, read_job


@dataclass(frozen=True)
class CommitRows:
    """`Work` of an executor: a job's rows are on disk when it returns.

    `cells` are all cells of the study: they fix the columns' types.
    """

    layout: Layout
    cells: tuple[Cell, ...]
    device: str
    params: str

    def __call__(self, job: Job) -> JobReport:
        """Run the job and commit its rows, unless they are there; repeating it changes nothing."""
        stored = read_job(self.layout, job.id, reference=job.reference)
        if stored is not None:  # an earlier attempt got as far as that
            return report_of(JobResult(job, stored.to_pydict(), {}), {})
        if job.reference:
            result = run_reference(job, self.device)
        else:
            result = run_job(job, self.device, self.params)
        started = time.perf_counter()
        table = to_table(result.columns, self.cells)
        commit(self.layout, job.id, table, reference=job.reference)
        return report_of(result, {"commit": time.perf_counter() - started})


@dataclass(frozen=True)
class SeesResults:
    """`Probe` of an executor: this place sees and may write the results folder."""

    layout: Layout
    token: str

    def __call__(self) -> None:
        """Nothing, or `UserError`."""
        check_probe(self.layout, self.token)
