"""A job as one of Ray Tune's trials: in the worker, and as the driver sees it.

Tune knows no limit of time for a trial that says nothing. So the driver's callback, which Tune
calls many times a second, watches the clock and ends the worker of a job that takes too long.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import ray
from ray import tune

from sweep.errors import UserError
from sweep.execution.base import Work, reason
from sweep.execution.source_search import SUCCEEDED, Ticket
from sweep.job_report import JobFailure, JobReport
from sweep.spec import Job

Post = Callable[[JobReport | JobFailure | Exception], None]


class _JobError(Exception):
    """A job's exception as one line: always picklable, wherever the original came from."""


class JobTrial(tune.Trainable):
    """One trial: the job in its config, or at the index there. The worker holds all listed jobs."""

    def setup(self, config: dict[str, Any], **shared: Any) -> None:
        """Fetch jobs and work, once per worker."""
        self._jobs: Sequence[Job] = shared["jobs"]
        self._work: Work = shared["work"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another job in the same process."""
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Do the whole job and say so."""
        try:
            return {"report": self._work(job_of(self.config, self._jobs)), "done": True}
        except UserError as error:
            return {"report": error, "done": True}
        except Exception as error:
            raise _JobError(reason(error)) from None


class Unhurried(tune.schedulers.FIFOScheduler):
    """Leaves a trial the worker that is starting for it; a free worker takes up a later trial.

    Tune's own order gives the free one to the oldest trial that waits, and drops the one that is
    starting for it: while jobs are shorter than a start, no second worker would ever come.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No trial out of turn; Tune starts those that wait in their order."""


class Postman(tune.Callback):
    """Posts each trial's end from inside Tune's loop, and breaks the loop when told to stop.

    It also ends trials that run for longer than `limit` seconds. They are not tried again: a job
    does the same every time.
    """

    def __init__(self, jobs: Sequence[Job], post: Post, stopping: Event, limit: float) -> None:
        self._jobs, self._post, self._stopping, self._limit = jobs, post, stopping, limit
        self._began: dict[str, float] = {}
        self._overdue: set[str] = set()

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """An empty callback: Tune pickles its settings for a restore that nobody will ask for."""
        return tune.Callback, ()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill the workers and leave, once asked to: waiting would mean to finish their jobs."""
        if not self._stopping.is_set():
            self._end_overdue(trials)
            return
        for trial in trials:
            if trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)
        raise InterruptedError

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Start the trial's clock: its worker is there, and is given the job now."""
        self._began[trial.trial_id] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Stop the clock: the trial waits for another worker."""
        self._began.pop(trial.trial_id, None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Take the report out of the result, so that Tune does not keep it for ever."""
        self._began.pop(trial.trial_id, None)
        report = result.pop("report")
        result[SUCCEEDED] = isinstance(report, JobReport)
        self._post(report)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Post a failure; Tune calls this when there are no retries left."""
        self._began.pop(trial.trial_id, None)
        if trial.trial_id in self._overdue:
            why = f"it ran for longer than compute.seconds_per_job, {self._limit:g} s"
        else:
            why = _failure(trial)
        self._post(JobFailure(job_of(trial.config, self._jobs).id, why))

    def _end_overdue(self, trials: list[Any]) -> None:
        latest = time.monotonic() - self._limit
        late = {name for name, began in self._began.items() if began < latest}
        for trial in trials if late else ():
            if trial.trial_id in late and trial.temporary_state.ray_actor is not None:
                del self._began[trial.trial_id]
                self._overdue.add(trial.trial_id)
                trial.max_failures = 0
                ray.kill(trial.temporary_state.ray_actor)


def job_of(config: Mapping[str, Any], jobs: Sequence[Job]) -> Job:
    """The job of a trial with this config."""
    found = config["job"]
    return found.job if isinstance(found, Ticket) else jobs[found]


def _failure(trial: Any) -> str:
    """Why a trial failed: its job's own line, or that its process died."""
    error = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    cause = getattr(error, "cause", None)
    if isinstance(cause, _JobError):
        return str(cause)
    if isinstance(error, ray.exceptions.RayActorError):
        return f"the worker process died: {reason(error)}"
    return reason(error)
