"""The MLflow view while a study runs: a thread makes one child run per job, behind a queue.

A view of the rows, never the record: once training has started, no failure here stops or slows it.
What a lost, locked or slow server missed is added later by `sweep.storage.mlflow_sync`.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import shlex
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sweep.environment import environment
from sweep.job_report import JobReport
from sweep.storage import tracking_server
from sweep.storage.layout import Layout
from sweep.storage.mlflow_names import JOB_TAG, Identity
from sweep.storage.mlflow_view import Status, View

PATIENCE = 20.0
"""Seconds that the end of a run waits for MLflow at most."""
_QUEUE = 10_000  # waiting jobs, about 2 kB each


@dataclass(frozen=True)
class _Summary:
    metrics: Mapping[str, float]
    status: Status


class Mirror:
    """An open view of one study: `open`, then `job_done` for each job, then `finish`."""

    def __init__(self, view: View, resume: str, warn: Callable[[str], None]) -> None:
        self._view = view
        self._resume = resume
        self._warn = warn
        self._parent = ""
        self._queue: queue.PriorityQueue[tuple[int, int, JobReport | _Summary | None]]
        self._queue = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._missed: list[JobReport] = []
        self._children: dict[str, tuple[str, bool]] | None = {}  # None: the server knows
        self._on_finish = contextlib.ExitStack()
        self._closing = self._abandoned = self._warned = self._failing = False
        self._offered = self._mirrored = 0
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    @property
    def left_out(self) -> int:
        """Jobs handed over that are not in the view: waiting, refused or failed."""
        return self._offered - self._mirrored

    @classmethod
    def open(
        cls,
        uri: str | None,
        layout: Layout,
        identity: Identity,
        *,
        warn: Callable[[str], None],
    ) -> Mirror:
        """A mirror of a server that has answered; its thread makes the parent run.

        `uri` None means the sqlite file of the store. `warn` is called at most once, perhaps from
        the mirror's thread. Raises `UserError` within about ten seconds when the address cannot be
        used.
        """
        view = View(uri, layout, identity)
        view.check()
        words = ["sweep", "sync-mlflow", str(layout.root)]
        words += [f"tracking.uri={uri}"] if uri else []
        mirror = cls(view, shlex.join(words), warn)
        mirror._on_finish.enter_context(environment(tracking_server.WHILE_RUNNING))
        mirror._thread.start()
        return mirror

    def job_done(self, report: JobReport) -> None:
        """Nothing, at once: the job's child run is made by the mirror's thread."""
        self._offered += 1
        if self._queue.qsize() >= _QUEUE:
            self._fail("it is slower than the sweep")
        else:
            self._put(1, report)

    def finish(
        self, metrics: Mapping[str, float], status: Status = "FINISHED", patience: float = PATIENCE
    ) -> int:
        """The number of jobs left out, when all is sent or `patience` seconds are over.

        The parent gets `metrics` and its artifacts before any job that still waits.
        """
        if not self._closing:
            self._put(0, _Summary(dict(metrics), status))
            self._put(2, None)
            self._closing = True
            self._thread.join(patience)
            if self._thread.is_alive():
                self._abandoned = True
                self._fail(f"not all of it was taken within {patience:.0f} s of the end")
            self._on_finish.close()
        return self.left_out

    def _put(self, priority: int, item: JobReport | _Summary | None) -> None:
        self._queue.put((priority, next(self._numbers), item))

    def _work(self) -> None:
        self._try(self._ensure_parent)
        while not self._abandoned and (item := self._queue.get()[2]) is not None:
            if isinstance(item, _Summary):
                self._try(partial(self._summarise, item))
            elif not self._mirror_job(item):
                self._missed.append(item)
        self._children = None  # a call that failed here may have been heard there
        for report in self._missed:  # a short outage is over by now, or it is not
            if self._abandoned or not self._mirror_job(report):
                return

    def _mirror_job(self, report: JobReport) -> bool:
        """Whether the job has its child."""
        if self._closing and self._failing:
            return False  # the server is gone and everybody waits for us
        return self._try(partial(self._complete, report))

    def _complete(self, report: JobReport) -> None:
        """Make the job's child, or what it lacks: three calls, after a search for earlier ones."""
        parent = self._ensure_parent()
        if self._children is None:
            self._children = {
                run.data.tags.get(JOB_TAG, ""): (run.info.run_id, run.info.status == "FINISHED")
                for run in self._view.runs("job")
            }
        run_id, complete = self._children.get(report.job_id, ("", False))
        if not complete:
            run_id = run_id or self._view.add_child(report, parent)
            self._children[report.job_id] = (run_id, False)
            self._view.complete_child(run_id, report)
            self._children[report.job_id] = (run_id, True)
        self._mirrored += 1

    def _try(self, act: Callable[[], object]) -> bool:
        """Whether it went well; a failure is told, once."""
        try:
            act()
        except Exception as error:  # a view must never stop a sweep, whatever broke
            self._failing = True
            if not self._abandoned:
                self._fail(tracking_server.reason(error))
            return False
        self._failing = False
        return True

    def _fail(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                f"the MLflow view is incomplete ({why}); the rows are whole, and"
                f" '{self._resume}' brings the view up to date."
            )

    def _ensure_parent(self) -> str:
        if not self._parent:
            if next(self._view.runs("parent"), None) is not None:
                self._children = None  # of earlier runs of the study
            parent = self._view.add_parent()
            self._view.describe_parent(parent, {})
            self._parent = parent
        return self._parent

    def _summarise(self, summary: _Summary) -> None:
        parent = self._ensure_parent()
        self._view.log(parent, summary.metrics)
        self._view.close(parent, summary.status)  # before the artifacts: these may take long
        self._view.send_artifacts(parent, lambda: not self._abandoned)
