"""The executor without workers: jobs one after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from sweep.errors import UserError
from sweep.execution.base import JobSource, Listed, Probe, Work, reason
from sweep.job_report import JobFailure, JobReport
from sweep.spec import Job


class SerialExecutor:
    """Jobs in order, here and now: for debugging, small studies and as the others' yardstick."""

    def __init__(self, retries: int, probe: Probe | None = None) -> None:
        self._retries = retries
        self._probe = probe

    def __enter__(self) -> Self:
        if self._probe is not None:
            self._probe()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def run(self, jobs: Sequence[Job] | JobSource, work: Work) -> Iterator[JobReport | JobFailure]:
        """One report or failure per job, in the order given."""
        source = Listed(jobs) if isinstance(jobs, Sequence) else jobs
        while (job := source.next()) is not None:
            end = self._attempt(job, work)
            source.ended(job, isinstance(end, JobReport))
            yield end

    def _attempt(self, job: Job, work: Work) -> JobReport | JobFailure:
        failed = ""
        for _ in range(1 + self._retries):
            try:
                return work(job)
            except UserError:
                raise
            except Exception as error:
                failed = reason(error)
        return JobFailure(job.id, failed)
