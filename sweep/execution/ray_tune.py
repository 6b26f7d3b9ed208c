"""The executor on Ray Tune: one trial is one job, workers are reused, no logger is attached.

Tune insists on owning the loop, and in the main thread it takes Ctrl-C for itself. So it runs in
a thread, where it leaves signals alone; a callback inside its loop posts every end to a mailbox,
`run` hands them out in the caller's thread, and the same callback breaks the loop when asked to.
"""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import ray
from ray import tune

from sweep.errors import UserError
from sweep.execution.base import JobSource, Probe, Work, reason
from sweep.execution.environment import environment
from sweep.execution.interrupts import uninterrupted
from sweep.execution.preflight import check_resources, job_resources, probe_nodes
from sweep.execution.session import cluster_session, local_session
from sweep.execution.source_search import SUCCEEDED, SourceSearcher, Ticket
from sweep.job import JobFailure, JobReport
from sweep.spec import Compute, Job

STOP_SECONDS = 15.0  # far above the second that stopping takes; then the thread is left behind

_POLL_SECONDS = 0.5  # a signal that another thread caught is noticed no later than this

_TUNE_ENV: dict[str, str | None] = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # four fifths of the cost of a trial
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints tables whatever `verbose` says
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # rows are the only state; nobody restores a Tuner
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a loop that outlives its Ray starts one of its own
    "TUNE_DISABLE_AUTO_INIT": "1",
    "TUNE_RESULT_DIR": None,  # Tune refuses to start with these two
    "RAY_AIR_LOCAL_CACHE_DIR": None,
}

_Ended = JobReport | JobFailure


class RayExecutor:
    """Jobs on Ray: `compute.name` 'local' starts one on this machine, 'cluster' joins one."""

    def __init__(self, compute: Compute, probe: Probe | None = None) -> None:
        self._compute = compute
        self._probe = probe
        self._stack = ExitStack()
        self._tuning: _Tuning | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._connect(stack)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # As a whole: a second Ctrl-C between two steps would leave Ray running over a lost folder.
        with uninterrupted():
            self._stack.close()

    def run(self, jobs: Sequence[Job] | JobSource, work: Work) -> Iterator[JobReport | JobFailure]:
        """One report or failure per job, as they end."""
        self._stop()
        if isinstance(jobs, Sequence) and not jobs:
            return
        self._tuning = _Tuning(jobs, work, self._compute)
        try:
            yield from self._tuning.ends()
        finally:
            self._stop()

    def _connect(self, stack: ExitStack) -> None:
        if self._compute.name == "local":
            if self._probe is not None:
                self._probe()  # this machine is the only node
            stack.enter_context(local_session(self._compute.workers))
            check_resources(self._compute)
        else:
            stack.enter_context(cluster_session(self._compute.address, self._compute.insecure))
            check_resources(self._compute)
            probe_nodes(self._probe)

    def _stop(self) -> None:
        if self._tuning is not None:
            self._tuning.stop()
            self._tuning = None


class _Tuning:
    """A Tuner at work in its own thread."""

    def __init__(self, jobs: Sequence[Job] | JobSource, work: Work, compute: Compute) -> None:
        self._work, self._compute = work, compute
        self._mailbox: SimpleQueue[_Ended | Exception | None] = SimpleQueue()
        self._jobs: Sequence[Job] = ()
        self._searcher: SourceSearcher | None = None
        if isinstance(jobs, Sequence):
            self._jobs = jobs
        else:
            self._searcher = SourceSearcher(jobs, self._mailbox.put)
        self._stopping = Event()
        self._thread = Thread(target=self._fit, name="ray-tune", daemon=True)
        self._thread.start()

    def ends(self) -> Iterator[_Ended]:
        """Reports and failures as they come; raises what ended the run as a whole."""
        ended: set[str] = set()
        while True:
            try:
                message = self._mailbox.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(message, Exception):
                raise message
            if message is None:
                break
            if message.job_id not in ended:
                ended.add(message.job_id)
                yield message
        issued = {job.id for job in self._jobs} | (
            self._searcher.issued if self._searcher else set()
        )
        for job_id in sorted(issued - ended):
            yield JobFailure(job_id, "Ray Tune ended without running it")

    def stop(self) -> None:
        """Drop the trials in flight and end the thread; nothing to do when Tune has ended."""
        self._stopping.set()
        with uninterrupted():  # Ray must not go while Tune still talks to it
            self._thread.join(STOP_SECONDS)

    def _fit(self) -> None:
        logger = logging.getLogger("ray.tune")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)  # what it has to say is in the reports
        try:
            with (
                tempfile.TemporaryDirectory(prefix="sweep-tune-") as folder,
                environment(_TUNE_ENV),
            ):
                self._tuner(folder).fit()
        except Exception as error:
            if not self._stopping.is_set():
                self._mailbox.put(RuntimeError(f"Ray Tune gave up: {reason(error)}"))
        finally:
            logger.setLevel(level)
            self._mailbox.put(None)

    def _tuner(self, folder: str) -> tune.Tuner:
        with_jobs = tune.with_parameters(_JobTrial, jobs=self._jobs, work=self._work)
        shape = tune.PlacementGroupFactory([job_resources(self._compute)])
        listed = {"job": tune.grid_search(list(range(len(self._jobs))))} if self._jobs else {}
        return tune.Tuner(
            tune.with_resources(with_jobs, shape),
            param_space=listed,
            tune_config=tune.TuneConfig(
                search_alg=self._searcher,
                num_samples=-1 if self._searcher else 1,  # −1: until the searcher says so
                reuse_actors=True,
                max_concurrent_trials=self._compute.workers,
            ),
            run_config=tune.RunConfig(
                name="jobs",
                storage_path=folder,
                verbose=0,
                # By default a class is saved at its end; ours cannot be, and the trial would fail
                # after its report and run again.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=self._compute.retries),
                callbacks=[_Postman(self._jobs, self._mailbox, self._stopping)],
            ),
        )


class _JobError(Exception):
    """A job's exception as one line: always picklable, wherever the original came from."""


class _JobTrial(tune.Trainable):
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
            return {"report": self._work(_job(self.config, self._jobs)), "done": True}
        except UserError as error:
            return {"report": error, "done": True}
        except Exception as error:
            raise _JobError(reason(error)) from None


class _Postman(tune.Callback):
    """Posts each trial's end from inside Tune's loop, and breaks the loop when told to stop."""

    def __init__(
        self,
        jobs: Sequence[Job],
        mailbox: SimpleQueue[_Ended | Exception | None],
        stopping: Event,
    ) -> None:
        self._jobs, self._mailbox, self._stopping = jobs, mailbox, stopping

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """An empty callback: Tune pickles its settings for a restore that nobody will ask for."""
        return tune.Callback, ()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill the workers and leave, once asked to: waiting would mean to finish their jobs."""
        if not self._stopping.is_set():
            return
        for trial in trials:
            if trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)
        raise InterruptedError

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Take the report out of the result, so that Tune does not keep it for ever."""
        report = result.pop("report")
        result[SUCCEEDED] = isinstance(report, JobReport)
        self._mailbox.put(report)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Post a failure; Tune calls this when there are no retries left."""
        self._mailbox.put(JobFailure(_job(trial.config, self._jobs).id, _failure(trial)))


def _job(config: Mapping[str, Any], jobs: Sequence[Job]) -> Job:
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
