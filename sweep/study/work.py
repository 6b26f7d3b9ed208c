"""What a worker does with a job: train, judge, commit, and say so. Picklable, repeatable."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sweep.job import REPORTED, JobResult, report_of, run_job
from sweep.job_report import JobReport
from sweep.reference import run_reference
from sweep.spec import Cell, Job
from sweep.storage.arrow_schema import to_table
from sweep.storage.journal import attempt
from sweep.storage.layout import Layout
from sweep.storage.preflight import check_probe
from sweep.storage.row_files import commit, read_job
from sweep.storage.study_file import require_study


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
        """Run the job and commit its rows; repeating it changes nothing on disk.

        Rows that are there already (an attempt died after its commit, or another sweep was faster)
        are reported as they are. Raises `UserError` when the results folder was moved away: rows
        would go to a folder that nobody looks into.
        """
        found = self._on_disk(job)
        if found is not None:
            return report_of(JobResult(job, found, {}), {})
        require_study(self.layout)
        with attempt(self.layout, job.id):
            if job.reference:
                result = run_reference(job, self.device)
            else:
                result = run_job(job, self.device, self.params)
            started = time.perf_counter()
            table = to_table(result.columns, self.cells)
            require_study(self.layout)
            commit(self.layout, job.id, table, reference=job.reference)
            return report_of(result, {"commit": time.perf_counter() - started})

    def _on_disk(self, job: Job) -> dict[str, list[Any]] | None:
        """The columns that a report counts, or None: the job has no rows yet."""
        table = read_job(self.layout, job.id, [*REPORTED, "job"], reference=job.reference)
        return None if table is None else dict(table.to_pydict())


@dataclass(frozen=True)
class SeesResults:
    """`Probe` of an executor: this place sees and may write the results folder."""

    layout: Layout
    token: str

    def __call__(self) -> None:
        """Nothing, or `UserError`."""
        check_probe(self.layout, self.token)
