"""A `JobSource` as one of Ray Tune's searchers: what is suggested depends on what has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.tune.search import Searcher

from sweep.execution.base import JobSource
from sweep.spec import Job

SUCCEEDED = "succeeded"
"""Key of a trial's last result: whether its job came back with a report."""


@dataclass(frozen=True, repr=False)
class Ticket:
    """A job as a value in a trial's config; Tune names trials after what it prints as."""

    job: Job

    def __repr__(self) -> str:
        """The job's id."""
        return self.job.id


class SourceSearcher(Searcher):
    """Suggests the source's jobs one by one, and tells it how their trials ended.

    What the source raises goes to `give_up`, and nothing more is suggested. `issued` holds the ids
    of the jobs suggested so far.
    """

    def __init__(self, source: JobSource, give_up: Callable[[Exception], None]) -> None:
        super().__init__()
        self._source, self._give_up = source, give_up
        self._open: dict[str, Job] = {}
        self.issued: set[str] = set()

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        """An empty searcher: Tune pickles its settings for a restore that nobody will ask for."""
        return Searcher, ()

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial, or `FINISHED`: there will be no more."""
        try:
            job = self._source.next()
        except Exception as error:
            self._give_up(error)
            job = None
        if job is None:
            return Searcher.FINISHED
        self._open[trial_id] = job
        self.issued.add(job.id)
        return {"job": Ticket(job)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the source; Tune calls this when there are no retries left."""
        job = self._open.pop(trial_id, None)
        if job is None:
            return
        try:
            self._source.ended(job, not error and bool((result or {}).get(SUCCEEDED)))
        except Exception as problem:
            self._give_up(problem)
