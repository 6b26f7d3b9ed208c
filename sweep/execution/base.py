"""Executors: how jobs become rows, wherever they run.

An executor is given jobs and the work to do on each. It knows neither training nor storage: the
work trains, judges and commits its rows itself, and comes back with a small report.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sweep.errors import UserError
from sweep.job_report import JobFailure, JobReport
from sweep.spec import Compute, Job

Work = Callable[[Job], JobReport]
Probe = Callable[[], None]

_REASON_LENGTH = 300  # one line in a status table, long enough for a path or a shape


class JobSource(Protocol):
    """Jobs that are not all known beforehand: how some end decides whether there are more.

    An executor asks for a job when it has room for one, so later jobs may start before earlier ones
    end. It calls one method at a time, possibly from a thread of its own.
    """

    def next(self) -> Job | None:
        """The next job; None when there are no more, and never will be."""
        ...

    def ended(self, job: Job, succeeded: bool) -> None:
        """A job of this source has ended, for good; called once for each."""
        ...


class Listed:
    """The source of jobs that are all known."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)

    def next(self) -> Job | None:
        """The next job in the order of the list."""
        return next(self._jobs, None)

    def ended(self, job: Job, succeeded: bool) -> None:
        """Nothing: what comes next does not depend on it."""


class Executor(Protocol):
    """Runs jobs. A context manager: entering connects and checks, leaving cleans up.

    The contract, which `tests/execution` checks for every implementation:

    - `run` yields exactly one `JobReport` or `JobFailure` for every job, as soon as the job has
      ended, in any order; other jobs go on whatever happens to one.
    - Work that raises, or whose process dies, is tried again up to `compute.retries` times; after
      that the job is a `JobFailure` with the reason in one line. So a job may run more than once,
      and part of it may run again after its rows were committed: work must be repeatable.
    - Work that takes longer than `compute.seconds_per_job` is ended with its process and is a
      `JobFailure` at once: it would take as long again. Only the serial executor, which has no
      process to end, lets it go on.
    - A `UserError` raised by work is bad input that no retry mends: it ends the run and comes out
      of `run`. This is how a worker says that nothing of this run can succeed.
    - Work is pickled, so it refers to importable code and carries its settings with it. It must
      not rely on the working directory, on threads or on global random state.
    - Ctrl-C, or leaving `run` or the context early, drops the jobs in flight whole, within
      seconds; reports of jobs that ended before are not taken back.
    - Entering raises `UserError`, before any job starts, when the place to run cannot be reached,
      cannot hold a job of this shape, or fails the probe.
    - A `JobSource` hears of every end in time: before it is asked for the next job. What it raises
      ends the run and comes out of `run`.
    - The number of workers, the order of ends and retries never change what work returns.
    """

    def __enter__(self) -> Self:
        """The executor, connected and checked."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what still runs and remove everything the executor created but rows."""

    def run(self, jobs: Sequence[Job] | JobSource, work: Work) -> Iterator[JobReport | JobFailure]:
        """One report or failure per job, as they end."""


Opener = Callable[[Compute, Probe | None], AbstractContextManager[Executor]]


def reason(error: BaseException) -> str:
    """What went wrong, in one line, with the place where it was raised."""
    text = str(error)
    if not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        if frames:
            text += f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
    line = " ".join(text.split())
    return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 1] + "…"
