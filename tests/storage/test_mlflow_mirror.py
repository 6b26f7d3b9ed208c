"""The MLflow view, against a real server on loopback, a sqlite file, and servers that are gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import UserError
from sweep.job_report import JobReport
from sweep.spec import Block
from sweep.storage.layout import Layout
from sweep.storage.mlflow_mirror import Mirror
from sweep.storage.mlflow_names import Identity, arm_metrics
from sweep.storage.study_file import Header, agree_blocks

# MLflow's own tables use an option that SQLAlchemy 2.1 wants to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

STUDY = "0123456789ab"
IDENTITY = Identity(
    "tiny", STUDY, {"problem": "xor", "model.width": 2, "too_long": "x" * 7000}, "f00d"
)
EXP = arm_metrics(
    "exp",
    frequency=0.25,
    low=0.1,
    high=0.5,
    mean_final_error=float("nan"),
    outcomes={"bad_minimum": 2, "failed": 0},
)


def report(number: int) -> JobReport:
    return JobReport(
        job_id=f"c1-s{number}",
        cell="c1",
        first_seed=10 * number,
        n_seeds=10,
        n_rows=20,
        verdicts={"plain": {"unresolved": 8, "failed": 2}, "exp": {"unresolved": 10}},
        stops={"plain": {"steps": 8, "overflow": 2}, "exp": {"steps": 10}},
        mean_final_error={"plain": 0.5, "exp": 0.25},
        seconds={"train": 1.5, "judge": 0.25, "commit": 0.25},
    )


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A real `mlflow server` on loopback; its REST API is asked without MLflow's own client."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "server.log"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", self.uri.rpartition(":")[2], "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        quiet = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # helpers that tracking does not need
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **quiet},
                start_new_session=True,  # uvicorn's workers end with their own group
            )

    def wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"the MLflow server did not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, 9)
                self.process.wait(10)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            found: dict[str, Any] = json.load(reply)
        return found

    def runs(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Parents and children in the experiment 'tiny'."""
        experiment = self.ask("experiments/get-by-name?experiment_name=tiny")["experiment"]
        found = self.ask("runs/search", experiment_ids=[experiment["experiment_id"]])["runs"]
        parents = [run for run in found if "mlflow.parentRunId" not in tags(run)]
        return parents, [run for run in found if run not in parents]


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def metrics(run: dict[str, Any]) -> dict[str, float]:
    return {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A study folder with everything that becomes an artifact, in another working directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    made = Layout.for_study(tmp_path / "results", "tiny", STUDY)
    agree_blocks(made, Header(STUDY, "tiny", "cpu", {"name": "tiny"}), lambda _: [Block(0, 10)])
    made.report.write_text("<html></html>")
    for folder in (made.figures, made.summary):
        folder.mkdir()
    (made.figures / "frequencies.svg").write_text("<svg/>")
    (made.summary / "frequencies.csv").write_text("arm\n")
    return made


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: making them takes seconds."""
    made = Layout.for_study(tmp_path_factory.mktemp("empty"), "empty", "0" * 12)
    Mirror.open(None, made, Identity("empty", "0" * 12, {}), warn=pytest.fail).finish({})
    return made.tracking_database


@pytest.fixture
def local(layout: Layout, empty_database: Path) -> Layout:
    """The study folder with MLflow's tables already in its store."""
    shutil.copy(empty_database, layout.tracking_database)
    return layout


def test_a_real_server_shows_parent_children_and_metrics(server, layout, capfd):
    warnings: list[str] = []
    before = dict(os.environ)
    mirror = Mirror.open(server.uri, layout, IDENTITY, warn=warnings.append)
    for number in range(3):
        mirror.job_done(report(number))
    assert mirror.finish(EXP) == 0
    assert warnings == []

    (parent,), children = server.runs()
    assert parent["info"]["run_id"] == mirror.parent_id
    assert parent["info"]["status"] == "FINISHED"
    assert metrics(parent) == {
        "bad_minimum_frequency/exp": 0.25,
        "bad_minimum_frequency_low/exp": 0.1,
        "bad_minimum_frequency_high/exp": 0.5,
        "outcome/exp/bad_minimum": 2,
        "outcome/exp/failed": 0,
    }
    assert {p["key"]: p["value"] for p in parent["data"]["params"]} == {
        "problem": "xor",
        "model.width": "2",
    }
    assert tags(parent)["params_left_out"] == "too_long"
    assert tags(parent)["study_id"] == STUDY
    assert tags(parent)["git_commit"] == "f00d"

    assert {tags(child)["job"] for child in children} == {"c1-s0", "c1-s1", "c1-s2"}
    assert {tags(child)["mlflow.parentRunId"] for child in children} == {mirror.parent_id}
    assert {child["info"]["status"] for child in children} == {"FINISHED"}
    one = metrics(next(child for child in children if tags(child)["job"] == "c1-s2"))
    assert one["first_seed"] == 20
    assert one["verdict/plain/failed"] == 2
    assert one["mean_final_error/exp"] == 0.25
    assert one["seconds/train"] == 1.5

    listed = server.ask(f"artifacts/list?run_id={mirror.parent_id}")["files"]
    assert {file["path"] for file in listed} == {"study.json", "report.html", "figures", "summary"}

    # A resumed run has its own parent, but jobs are never shown twice.
    again = Mirror.open(server.uri, layout, IDENTITY, warn=warnings.append)
    for number in range(4):
        again.job_done(report(number))
    assert again.finish({}) == 0
    parents, children = server.runs()
    assert len(parents) == 2
    assert sorted(tags(child)["job"] for child in children) == [f"c1-s{n}" for n in range(4)]

    # Brought up to date later: only what is missing, under the parent that is there.
    later = Mirror.open(server.uri, layout, IDENTITY, warn=warnings.append, reuse_parent=True)
    assert later.parent_id == again.parent_id
    assert later.sync(report(number) for number in range(6)) == 2
    assert later.sync(report(number) for number in range(6)) == 0
    later.finish({})
    assert len(server.runs()[0]) == 2
    assert len(server.runs()[1]) == 6

    shown = capfd.readouterr()
    assert shown.out == shown.err == ""
    changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
    assert not {key for key in changed if "HTTP" in key}
    assert list(Path.cwd().iterdir()) == []


def test_a_job_that_was_cut_off_is_completed_not_doubled(local):
    mirror = Mirror.open(None, local, IDENTITY, warn=pytest.fail)
    client = mirror._client
    mirror._create_child(report(0))  # as if the driver had died before the metrics went out
    assert mirror.sync([report(0)]) == 1
    runs = client.search_runs([mirror._experiment], "tags.`sweep.kind` = 'job'")
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].data.metrics["n_rows"] == 20
    mirror.finish({}, "KILLED")
    assert client.get_run(mirror.parent_id).info.status == "KILLED"


def test_at_most_three_calls_a_job(local, monkeypatch):
    mirror = Mirror.open(None, local, IDENTITY, warn=pytest.fail)
    calls: list[str] = []
    for name in ("create_run", "log_batch", "set_terminated", "search_runs"):
        real = getattr(mirror._client, name)

        def counted(*args: Any, _real: Any = real, _name: str = name, **kwargs: Any) -> Any:
            calls.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(mirror._client, name, counted)
    assert mirror.sync([report(0), report(1)]) == 2
    assert calls == ["search_runs", *["create_run", "log_batch", "set_terminated"] * 2]
    mirror.finish({})


def test_the_default_is_a_file_in_the_store_and_nothing_elsewhere(layout):
    mirror = Mirror.open(None, layout, IDENTITY, warn=pytest.fail)
    mirror.finish(EXP)
    assert layout.tracking_database.is_file()
    uploaded = {path.name for path in layout.tracking_artifacts.rglob("*") if path.is_file()}
    assert uploaded == {"study.json", "report.html", "frequencies.svg", "frequencies.csv"}
    assert list(Path.cwd().iterdir()) == []
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("nonsense://me:secret@x", r"'nonsense://x': .*http://.* sqlite:///, .* is accepted"),
        ("file:///tmp/mlruns", r"http://.* sqlite:///, postgresql://, mysql://"),
        ("sqlite:////dev/null/x.db", "cannot be (used|written)"),
    ],
)
def test_addresses_that_cannot_serve_are_a_sentence(layout, uri, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        Mirror.open(uri, layout, IDENTITY, warn=pytest.fail)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_sentence_at_once(layout):
    layout.tracking_database.write_text("not a database " * 100)
    with pytest.raises(UserError, match="file is not a database"):
        Mirror.open(None, layout, IDENTITY, warn=pytest.fail)


def test_an_unreachable_server_is_a_sentence_without_the_password(layout):
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match="no server answers there") as caught:
        Mirror.open(uri, layout, IDENTITY, warn=pytest.fail)
    assert "secret" not in str(caught.value)


def test_a_server_that_never_replies_is_given_up_within_ten_seconds(layout):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        began = time.monotonic()
        with pytest.raises(UserError, match="cannot be used"):
            Mirror.open(
                f"http://127.0.0.1:{silent.getsockname()[1]}", layout, IDENTITY, warn=pytest.fail
            )
        assert time.monotonic() - began < 11


def test_a_server_lost_later_warns_once_and_never_blocks(local):
    warnings: list[str] = []
    mirror = Mirror.open(None, local, IDENTITY, warn=warnings.append)
    gone = f"http://127.0.0.1:{free_port()}"
    mirror._client = type(mirror._client)(gone, registry_uri=gone)
    began = time.monotonic()
    for number in range(100):
        mirror.job_done(report(number))
    assert time.monotonic() - began < 1
    assert mirror.finish(EXP) == 100
    assert time.monotonic() - began < 30
    assert len(warnings) == 1
    assert "no server answers there" in warnings[0]
    assert "its rows are whole" in warnings[0]


def test_a_server_that_hangs_at_the_end_is_left_behind(local):
    mirror = Mirror.open(None, local, IDENTITY, warn=(warnings := []).append)
    release = threading.Event()
    mirror._client = type(
        "Hanging", (), {"__getattr__": lambda *_: lambda *a, **k: release.wait()}
    )()
    mirror.job_done(report(0))
    began = time.monotonic()
    assert mirror.finish({}, patience=0.2) == 1
    assert time.monotonic() - began < 2
    assert len(warnings) == 1
    release.set()


def test_a_full_queue_refuses_and_says_so(local, monkeypatch):
    monkeypatch.setattr("sweep.storage.mlflow_mirror._QUEUE", 0)
    mirror = Mirror.open(None, local, IDENTITY, warn=(warnings := []).append)
    mirror.job_done(report(0))
    mirror.job_done(report(1))
    assert mirror.finish({}) == 2
    assert len(warnings) == 1
