"""The executor on Ray Tune: one trial is one job, workers are reused, no logger is attached.

Tune insists on owning the loop, and in the main thread it takes Ctrl-C for itself. So it runs in
a thread, where it leaves signals alone; a callback inside its loop posts every end to a mailbox,
`run` hands them out in the caller's thread, and the same callback breaks the loop when asked to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from ray import tune

from sweep.environment import environment
from sweep.execution.base import JobSource, Probe, Work, reason
from sweep.execution.interrupts import uninterrupted
from sweep.execution.preflight import check_resources, job_resources, places, probe_nodes
from sweep.execution.recovery import recovered_resets
from sweep.execution.session import cluster_session, local_session
from sweep.execution.session_folder import session_folder
from sweep.execution.source_search import SourceSearcher
from sweep.execution.trials import JobTrial, Postman, Unhurried
from sweep.job_report import JobFailure, JobReport
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

# Jobs of a source that may wait for a place in a cluster: Tune's own 1 would start its workers one
# after the other; many would be asked for long before they run, some in vain.
_MOST_WAITING = 8

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
            check_resources(self._compute)  # a node may be lost meanwhile

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
        self._postman = Postman(
            self._jobs, self._mailbox.put, self._stopping, compute.seconds_per_job
        )
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
                session_folder() as folder,
                environment(_TUNE_ENV | self._waiting()),
                recovered_resets(),
            ):
                self._tuner(str(folder)).fit()
        except Exception as error:
            if not self._stopping.is_set():
                self._mailbox.put(RuntimeError(f"Ray Tune gave up: {reason(error)}"))
        finally:
            logger.setLevel(level)
            self._mailbox.put(None)

    def _waiting(self) -> dict[str, str]:
        """How many jobs wait for a place, where Tune's own answer is wrong."""
        if self._searcher is None or self._compute.workers or self._compute.name != "cluster":
            return {}
        return {"TUNE_MAX_PENDING_TRIALS_PG": str(min(_MOST_WAITING, places(self._compute)))}

    def _tuner(self, folder: str) -> tune.Tuner:
        with_jobs = tune.with_parameters(JobTrial, jobs=self._jobs, work=self._work)
        shape = tune.PlacementGroupFactory([job_resources(self._compute)])
        listed = {"job": tune.grid_search(list(range(len(self._jobs))))} if self._jobs else {}
        scheduler: Any = Unhurried  # Ray's constructor has no annotations
        return tune.Tuner(
            tune.with_resources(with_jobs, shape),
            param_space=listed,
            tune_config=tune.TuneConfig(
                search_alg=self._searcher,
                scheduler=scheduler(),
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
                callbacks=[self._postman],
            ),
        )
