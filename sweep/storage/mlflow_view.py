"""One study's runs on one tracking server: what is there, and how a run is made whole.

Runs are told apart by tags (study, kind, job), never by an id that somebody has to remember, so
that a wiped database or a second server is filled from the rows alone. The only module that imports
mlflow, and only when a view is opened, because the import takes seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sweep.environment import environment
from sweep.job_report import JobReport
from sweep.storage import tracking_server
from sweep.storage.layout import Layout
from sweep.storage.mlflow_names import (
    ARTIFACTS_TAG,
    JOB_TAG,
    KIND_TAG,
    PARAM_LENGTH,
    Identity,
    job_metrics,
)

Status = Literal["FINISHED", "FAILED", "KILLED"]

_PARAMS, _ENTRIES = 100, 900  # MLflow's limits for one batch; 1,000 of all kinds together
_PAGE = 1000


class View:
    """The runs of one study. Nothing is asked before the first method that needs an answer."""

    def __init__(self, uri: str | None, layout: Layout, identity: Identity) -> None:
        """A view at that address; None means the sqlite file of the store.

        Raises `UserError` for an address that cannot serve.
        """
        self.address = tracking_server.address_of(uri, layout)
        tracking_server.be_quiet()
        tracking_server.require_database(self.address)
        import mlflow.tracking  # noqa: F401  # here and now, for two threads must not import it

        self._layout = layout
        self._identity = identity
        self._client: Any = None
        self._experiment = ""

    @property
    def client(self) -> Any:
        """MLflow's client; a new database gets its tables first, which takes seconds."""
        if self._client is None:
            from mlflow.tracking import MlflowClient

            tracking_server.require_unlocked(self.address)  # MLflow would try for minutes
            self._client = MlflowClient(self.address, registry_uri=self.address)
        return self._client

    def check(self) -> None:
        """Nothing, once a server has answered; `UserError` if none does within ten seconds.

        A database file is no server: that it can be written is known already.
        """
        if not self.address.startswith(tracking_server.SQLITE):
            with environment(tracking_server.WHILE_CHECKING):
                tracking_server.answer(
                    self.address, lambda: self.client.get_experiment_by_name(self._identity.name)
                )

    @property
    def experiment(self) -> str:
        """The id of the study's experiment, which is made, or brought back, if need be."""
        if not self._experiment:
            name = self._identity.name
            found = self.client.get_experiment_by_name(name)
            if found is None:
                # A server knows where artifacts go; a bare database would say ./mlruns.
                server = tracking_server.is_server(self.address)
                place = None if server else (self._layout.tracking_artifacts / name).as_uri()
                self._experiment = self.client.create_experiment(name, artifact_location=place)
            else:
                if found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found.experiment_id)
                self._experiment = found.experiment_id
        return self._experiment

    def runs(self, kind: Literal["parent", "job"]) -> Iterator[Any]:
        """Runs of this study and kind that are not deleted, each once, latest first."""
        condition = f"tags.study_id = '{self._identity.study_id}' and tags.`{KIND_TAG}` = '{kind}'"
        seen: set[str] = set()
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                condition,
                max_results=_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            for run in page:  # one that is added meanwhile shifts a page: the last comes again
                if run.info.run_id not in seen:
                    seen.add(run.info.run_id)
                    yield run
            token = page.token
            if not token:
                return

    def add_parent(self) -> str:
        """The id of a new parent run."""
        tags = {**self._identity.tags, KIND_TAG: "parent"}
        run = self.client.create_run(self.experiment, run_name=self._layout.root.name, tags=tags)
        return str(run.info.run_id)

    def add_child(self, report: JobReport, parent: str, ended: int | None = None) -> str:
        """The id of a new child run with its tags; `ended` in ms since 1970, now by default."""
        began = (ended or now()) - round(1000 * sum(report.seconds.values()))
        run = self.client.create_run(
            self.experiment,
            start_time=began,
            run_name=report.job_id,
            tags=self.child_tags(report, parent),
        )
        return str(run.info.run_id)

    def child_tags(self, report: JobReport, parent: str) -> dict[str, str]:
        """The tags of a job's run."""
        return {
            **self._identity.tags,
            "mlflow.parentRunId": parent,
            KIND_TAG: "job",
            JOB_TAG: report.job_id,
            "job": report.job_id,
            "cell": report.cell,
        }

    def complete_child(self, run_id: str, report: JobReport, ended: int | None = None) -> None:
        """A child with its metrics and its cell's params, closed: two calls."""
        self.log(run_id, job_metrics(report), self.params_of(report))
        self.close(run_id, "FINISHED", ended)

    def params_of(self, report: JobReport) -> dict[str, str]:
        """The params of a job's run: where its cell lies in the grid."""
        return self._identity.cell_params(report.cell)

    def describe_parent(self, run_id: str, metrics: Mapping[str, float], known: Any = None) -> bool:
        """Whether the parent lacked params or metrics, which it now has.

        `known` is what the server says of the run; None for a new one.
        """
        texts = {key: str(value) for key, value in self._identity.params.items()}
        too_long = [key for key, text in texts.items() if len(text) > PARAM_LENGTH]
        tags = {"params_left_out": ", ".join(too_long)} if too_long else {}
        params = {key: text for key, text in texts.items() if key not in too_long}
        if known is not None:  # a param is for good; one that is there stays
            params = {key: text for key, text in params.items() if key not in known.data.params}
            metrics = lacking(known, metrics)
            tags = {key: text for key, text in tags.items() if known.data.tags.get(key) != text}
        return self.log(run_id, metrics, params, tags)

    def log(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether there was anything to log; one call per 900 metrics, or 100 params or tags.

        What is not finite is left out, for MLflow would store another number.
        """
        from mlflow.entities import Metric, Param, RunTag

        moment = now()
        values = [
            Metric(k, float(v), moment, 0) for k, v in metrics.items() if math.isfinite(float(v))
        ]
        texts = [Param(key, str(value)) for key, value in (params or {}).items()]
        words = [RunTag(key, value) for key, value in (tags or {}).items()]
        size = _ENTRIES - _PARAMS if texts or words else _ENTRIES
        batches = itertools.zip_longest(
            _batches(values, size), _batches(texts, _PARAMS // 2), _batches(words, _PARAMS // 2)
        )
        for some, settings, labels in batches:
            self.client.log_batch(
                run_id, metrics=some or [], params=settings or [], tags=labels or [],
                synchronous=True,
            )  # fmt: skip
        return bool(values or texts or words)

    def close(self, run_id: str, status: Status, ended: int | None = None) -> None:
        """The run ended, now or at `ended` (ms since 1970)."""
        self.client.set_terminated(run_id, status, ended)

    def delete(self, run_id: str) -> None:
        """The run moved to MLflow's bin, from where a person may restore it."""
        self.client.delete_run(run_id)

    def send_artifacts(self, run_id: str, proceed: Callable[[], bool] = lambda: True) -> None:
        """study.json, the page, tables and figures sent as far as they exist, while `proceed`."""
        files = self._artifacts()
        for path, folder in files:
            if not proceed():
                return
            self.client.log_artifact(run_id, str(path), folder)
        self.log(run_id, {}, tags={ARTIFACTS_TAG: _digest(files)})

    def artifacts_differ(self, run: Any) -> bool:
        """Whether the run lacks an artifact, or has another than the folder's."""
        files = self._artifacts()
        if run.data.tags.get(ARTIFACTS_TAG) != _digest(files):
            return True
        listed: dict[str, int] = {}
        for folder in {folder for _, folder in files}:
            found = self.client.list_artifacts(run.info.run_id, folder)
            listed |= {file.path: file.file_size for file in found}
        return any(
            listed.get(f"{folder}/{path.name}" if folder else path.name) != path.stat().st_size
            for path, folder in files
        )

    def _artifacts(self) -> list[tuple[Path, str | None]]:
        """Files with the folder they go to, what a person wants first first."""
        single = [(path, None) for path in (self._layout.study_file, self._layout.report)]
        inside = [
            (path, folder.name)
            for folder in (self._layout.summary, self._layout.figures)
            for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        ]
        return [(p, f) for p, f in [*single, *inside] if p.is_file() and p.name[0] != "."]


def lacking(run: Any, metrics: Mapping[str, float]) -> dict[str, float]:
    """The finite metrics that a run does not have, or has otherwise."""
    known = run.data.metrics
    return {
        name: value
        for name, value in metrics.items()
        if math.isfinite(value)
        and not (name in known and math.isclose(known[name], value, rel_tol=1e-9, abs_tol=1e-12))
    }


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _digest(files: list[tuple[Path, str | None]]) -> str:
    found = hashlib.sha256()
    for path, folder in files:
        found.update(f"{folder or ''}/{path.name}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
