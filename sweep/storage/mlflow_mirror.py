"""The MLflow view: one experiment per study name, one parent per `sweep run`, one child per job.

A view of the rows, never the record: once training has started, no failure here stops or slows it.
Jobs are handed to a thread through a bounded queue; what a lost server missed is added later by
`Mirror.sync`, which finds children by their tag and never makes a second one. The only module that
imports mlflow, and only when a mirror is opened, because the import takes seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sweep.errors import UserError
from sweep.storage import tracking_server
from sweep.storage.layout import Layout
from sweep.storage.mlflow_names import JOB_TAG, KIND_TAG, Identity, job_metrics

if TYPE_CHECKING:  # at run time it would bring torch into readers that need none
    from sweep.job_report import JobReport

Status = Literal["FINISHED", "FAILED", "KILLED"]

_QUEUE = 10_000  # waiting jobs, about 2 kB each
_PARAMS, _METRICS = 100, 1000  # MLflow's limits for one batch
_PARAM_LENGTH = 6000  # MLflow cuts a longer value without a word


@dataclass(frozen=True)
class _Summary:
    metrics: Mapping[str, float]
    status: Status


class Mirror:
    """An open view of one study: `open`, then `job_done` for each job, then `finish`."""

    def __init__(
        self, client: Any, layout: Layout, identity: Identity, warn: Callable[[str], None]
    ) -> None:
        self._client = client
        self._layout = layout
        self._identity = identity
        self._warn = warn
        self._experiment = ""
        self._children: dict[str, tuple[str, bool]] | None = None
        self._queue: queue.PriorityQueue[tuple[int, int, JobReport | _Summary | None]]
        self._queue = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._on_finish = contextlib.ExitStack()
        self._closing = self._warned = self._failing = False
        self._offered = self._mirrored = 0
        self.parent_id = ""

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
        reuse_parent: bool = False,
    ) -> Mirror:
        """A mirror with its parent run, once the server has answered.

        `uri` None means the sqlite file of the store. `reuse_parent` continues the study's latest
        parent, if there is one. `warn` is called at most once, perhaps from the mirror's thread.
        Raises `UserError` within about ten seconds when the address cannot be used.
        """
        address = tracking_server.address_of(uri, layout)
        tracking_server.be_quiet()
        tracking_server.require_database(address)
        from mlflow.tracking import MlflowClient

        def connect() -> Mirror:
            mirror = cls(MlflowClient(address, registry_uri=address), layout, identity, warn)
            mirror._choose_experiment(tracking_server.is_server(address))
            return mirror

        with tracking_server.environment(tracking_server.WHILE_CHECKING):
            mirror = tracking_server.answer(address, connect, first=True)
            tracking_server.answer(
                address, lambda: mirror._choose_parent(reuse_parent), first=False
            )
        mirror._on_finish.enter_context(tracking_server.environment(tracking_server.WHILE_RUNNING))
        return mirror

    def job_done(self, report: JobReport) -> None:
        """Nothing, at once: the job's child run is made by the mirror's thread."""
        self._offered += 1
        if self._queue.qsize() >= _QUEUE:
            self._fail("it is slower than the sweep")
        else:
            self._put(1, report)

    def finish(
        self, metrics: Mapping[str, float], status: Status = "FINISHED", patience: float = 60.0
    ) -> int:
        """The number of jobs left out, when all is sent or `patience` seconds are over.

        The parent gets `metrics` and, as artifacts, study.json (with the resolved configuration),
        the page, the figures and the summary tables, as far as they exist, before any job that
        still waits.
        """
        if not self._closing:
            self._put(0, _Summary(dict(metrics), status))
            self._put(2, None)
            self._closing = True
            assert self._thread is not None
            self._thread.join(patience)
            if self._thread.is_alive():
                self._fail(f"no end within {patience:.0f} s")
            self._on_finish.close()
        return self.left_out

    def sync(self, reports: Iterable[JobReport]) -> int:
        """The number of jobs that had no complete child and now have; a second call adds none.

        Works in the calling thread. Raises `UserError` when the server stops answering.
        """
        try:
            return sum([self._mirror_job(report) for report in reports])
        except Exception as error:  # any driver's or server's error, for a person to read
            raise UserError(
                f"MLflow stopped answering ({tracking_server.reason(error)}): run this again."
            ) from error

    def _choose_experiment(self, server: bool) -> None:
        name = self._identity.name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A server knows where artifacts go; a bare database would say ./mlruns.
            place = None if server else (self._layout.tracking_artifacts / name).as_uri()
            self._experiment = self._client.create_experiment(name, artifact_location=place)
        else:
            self._experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(self._experiment)

    def _choose_parent(self, reuse_parent: bool) -> None:
        parent = next(self._runs("parent"), None) if reuse_parent else None
        if parent is None:
            tags = {**self._identity.tags, KIND_TAG: "parent"}
            parent = self._client.create_run(
                self._experiment, run_name=self._layout.root.name, tags=tags
            )
            self._log_params(parent.info.run_id)
        self.parent_id = parent.info.run_id

    def _runs(self, kind: str) -> Iterator[Any]:
        """Runs of this study that carry the kind, latest first."""
        condition = f"tags.study_id = '{self._identity.study_id}' and tags.`{KIND_TAG}` = '{kind}'"
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                condition,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _log_params(self, run_id: str) -> None:
        from mlflow.entities import Param, RunTag

        texts = {key: str(value) for key, value in self._identity.params.items()}
        short = [Param(key, text) for key, text in texts.items() if len(text) <= _PARAM_LENGTH]
        for some in _batches(short, _PARAMS):
            self._client.log_batch(run_id, params=some, synchronous=True)
        if left := [key for key, text in texts.items() if len(text) > _PARAM_LENGTH]:
            tag = RunTag("params_left_out", ", ".join(left))
            self._client.log_batch(run_id, tags=[tag], synchronous=True)

    def _put(self, priority: int, item: JobReport | _Summary | None) -> None:
        self._queue.put((priority, next(self._numbers), item))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (item := self._queue.get()[2]) is not None:
            if self._closing and self._failing and not isinstance(item, _Summary):
                continue  # the server is gone and everybody waits for us
            try:
                if isinstance(item, _Summary):
                    self._summarise(item)
                else:
                    self._mirror_job(item)
                    self._mirrored += 1
                self._failing = False
            except Exception as error:  # a view must never stop a sweep, whatever broke
                self._failing = True
                self._fail(tracking_server.reason(error))

    def _fail(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                f"MLflow view is incomplete ({why}); the sweep goes on and its rows are whole."
            )

    def _mirror_job(self, report: JobReport) -> bool:
        """True if the job had no complete child yet. Three calls, after one search at the start."""
        if self._children is None:
            self._children = {
                run.data.tags[JOB_TAG]: (run.info.run_id, run.info.status == "FINISHED")
                for run in self._runs("job")
            }
        run_id, complete = self._children.get(report.job_id, ("", False))
        if complete:
            return False
        if not run_id:
            run_id = self._create_child(report)
            self._children[report.job_id] = (run_id, False)
        self._client.log_batch(run_id, metrics=_entities(job_metrics(report)), synchronous=True)
        self._client.set_terminated(run_id, "FINISHED")
        self._children[report.job_id] = (run_id, True)
        return True

    def _create_child(self, report: JobReport) -> str:
        tags = {
            **self._identity.tags,
            "mlflow.parentRunId": self.parent_id,
            KIND_TAG: "job",
            JOB_TAG: report.job_id,
            "job": report.job_id,
            "cell": report.cell,
        }
        began = _now() - round(1000 * sum(report.seconds.values()))
        run = self._client.create_run(
            self._experiment, start_time=began, run_name=report.job_id, tags=tags
        )
        return str(run.info.run_id)

    def _summarise(self, summary: _Summary) -> None:
        for some in _batches(_entities(summary.metrics), _METRICS):
            self._client.log_batch(self.parent_id, metrics=some, synchronous=True)
        for path in (self._layout.study_file, self._layout.report):
            if path.is_file():
                self._client.log_artifact(self.parent_id, str(path))
        for folder in (self._layout.figures, self._layout.summary):
            if folder.is_dir():
                self._client.log_artifacts(self.parent_id, str(folder), folder.name)
        self._client.set_terminated(self.parent_id, summary.status)


def _entities(metrics: Mapping[str, float]) -> list[Any]:
    """MLflow's metrics; what is not finite is left out, for MLflow would store another number."""
    from mlflow.entities import Metric

    now = _now()
    return [
        Metric(name, float(value), now, 0)
        for name, value in metrics.items()
        if math.isfinite(value)
    ]


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _now() -> int:
    return time.time_ns() // 1_000_000
