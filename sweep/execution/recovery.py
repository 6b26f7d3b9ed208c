"""A fault of Ray Tune's mended: a worker that dies while it takes up another job.

Tune 2.60 tries a trial again whose worker dies while it starts or runs. It does not where a reused
worker dies, most often with its node, between being given the trial and beginning it: Tune hears of
that twice, of the worker's death and of the failed reset, and what comes second fails the trial,
which waits for its next worker by then, whatever retries are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial


@contextmanager
def recovered_resets() -> Iterator[None]:
    """A block in which Tune counts the end of a worker during a reset once, as a failed try."""
    usual = TuneController._trial_task_failure

    def failed(self: Any, trial: Any, exception: Exception) -> None:
        resetting = trial in self._resetting_trials
        self._resetting_trials.discard(trial)  # or the trial would never be given a worker again
        if trial.status == Trial.PENDING:
            if not resetting:
                return  # the second time
            # As Tune does where a worker dies while it starts.
            self._set_trial_status(trial, Trial.RUNNING)
            self._unstage_trial_with_resources(trial)
        usual(self, trial, exception)

    TuneController._trial_task_failure = failed  # type: ignore[method-assign]  # no hook for it
    try:
        yield
    finally:
        TuneController._trial_task_failure = usual  # type: ignore[method-assign]  # as it was
