"""What a running study tells the person who waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pandas as pd

from sweep.job_report import JobFailure, JobReport


@dataclass(frozen=True)
class Ending:
    """Where a study's results are once it has run.

    `frequencies` is the summary table of that name; `report` and `tracking_uri` are None when
    there is no page or no MLflow mirror. `rows` counts the rows on disk, `failed` the jobs that
    failed for good, which `failures` lists. `cells` maps cell ids to words for people, such as
    "xor, model.width 2"; cells and `arms` are in the study's own order. `stopping` says in
    sentences why the seeds ended where they did, when that followed from a precision, `unfinished`
    that many networks are open because their steps ran out.
    """

    results: Path
    rows: int
    failed: int
    frequencies: pd.DataFrame
    report: Path | None = None
    tracking_uri: str | None = None
    cells: Mapping[str, str] = field(default_factory=dict)
    arms: Sequence[str] = ()
    stopping: Sequence[str] = ()
    unfinished: Sequence[str] = ()
    failures: Sequence[JobFailure] = ()


class Observer(Protocol):
    """Hears of everything worth showing; must not raise, and decides nothing."""

    def started(self, n_jobs: int, n_done: int, n_members: int, arms: Sequence[str]) -> None:
        """The plan: all jobs, those on disk already, and the members still to train."""
        ...

    def job_finished(self, report: JobReport) -> None:
        """A job's rows are on disk."""
        ...

    def job_failed(self, failure: JobFailure) -> None:
        """A job failed for good, after its retries."""
        ...

    def warning(self, sentence: str) -> None:
        """Something a person should know, which does not stop the study."""
        ...

    def note(self, sentence: str) -> None:
        """Something that explains what a person sees."""
        ...

    def finished(self, ending: Ending) -> None:
        """All jobs have ended and the summary is written."""
        ...


class Silent:
    """An observer that shows nothing, for notebooks and tests."""

    def started(self, n_jobs: int, n_done: int, n_members: int, arms: Sequence[str]) -> None:
        """Nothing."""

    def job_finished(self, report: JobReport) -> None:
        """Nothing."""

    def job_failed(self, failure: JobFailure) -> None:
        """Nothing."""

    def warning(self, sentence: str) -> None:
        """Nothing."""

    def note(self, sentence: str) -> None:
        """Nothing."""

    def finished(self, ending: Ending) -> None:
        """Nothing."""
