"""One small study, plausible rows of its jobs without any training, and MLflow servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sweep.job_report import JobReport
from sweep.registry import Choice
from sweep.rows import as_kind, axis_values, columns
from sweep.seeds import stream
from sweep.spec import Arm, Block, Cell
from sweep.storage.layout import Layout
from sweep.storage.mlflow_names import Identity
from sweep.storage.mlflow_view import View
from sweep.storage.study_file import Header, agree_blocks
from sweep.verdicts import Verdict

STUDY = "0123456789ab"


def make_cell(name: str, width: int, extra: dict[str, Any] | None = None) -> Cell:
    return Cell(
        id=name,
        axes={"problem": "xor", "model.width": width, **(extra or {})},
        problem=Choice("xor"),
        model=Choice("mlp", {"width": width}),
        loss=Choice("hinge_power"),
        init=Choice("normal"),
        optimizer=Choice("gd"),
        stopping=Choice("default"),
        judge=Choice("default"),
        arms=(Arm("plain"), Arm("exp")),
        data_digest="0" * 64,
    )


def make_rows(
    cell: Cell, cells: list[Cell], job: str, seeds: range, *, stored: bool = True
) -> dict[str, list[Any]]:
    """Columns of one job: every seed with both arms; what does not apply is None."""
    noise = stream("data", "storage-test", job)
    rows = []
    for seed in seeds:
        for arm in ("plain", "exp"):
            row: dict[str, Any] = {column.name: None for column in columns(cells)}
            row |= {
                "study": STUDY,
                "cell": cell.id,
                "arm": arm,
                "draw": 0,
                "seed": seed,
                "job": job,
                "problem": "xor",
                "lam": 0.1 if arm == "exp" else None,
                "lam_vector": [0.1, 0.2] if arm == "exp" else None,
                "verdict": Verdict.UNRESOLVED,
                "certificate": "none",
                "evidence": "{}",
                "trainer": "torch",
                "stop": "steps",
                "steps": 10,
                "final_error": float(noise.random()),
                "params": list(noise.random(3)) if stored else None,
            }
            kinds = {column.name: column.kind for column in columns(cells)}
            row |= {k: as_kind(v, kinds[k]) for k, v in axis_values(cell).items()}
            rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture
def cells() -> list[Cell]:
    return [make_cell("c00000001", 2), make_cell("c00000002", 3)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.for_study(tmp_path / "results", "tiny", STUDY)


@pytest.fixture
def rows_of(cells: list[Cell]) -> Callable[..., dict[str, list[Any]]]:
    """`rows_of(cell_index, job, seeds, stored=True)`: columns of a job of the small study."""

    def make(index: int, job: str, seeds: range, *, stored: bool = True) -> dict[str, list[Any]]:
        return make_rows(cells[index], cells, job, seeds, stored=stored)

    return make


class Server:
    """A real `mlflow server` on loopback; its REST API is asked without MLflow's own client."""

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.uri = f"http://127.0.0.1:{found.getsockname()[1]}"
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
        deadline = time.monotonic() + 120
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

    def runs(self, name: str) -> tuple[list[Shown], list[Shown]]:
        """Parents and children in the experiment of that name."""
        experiment = self.ask(f"experiments/get-by-name?experiment_name={name}")["experiment"]
        found = self.ask("runs/search", experiment_ids=[experiment["experiment_id"]])["runs"]
        shown = [
            Shown(
                id=run["info"]["run_id"],
                status=run["info"]["status"],
                tags={tag["key"]: tag["value"] for tag in run["data"].get("tags", ())},
                params={param["key"]: param["value"] for param in run["data"].get("params", ())},
                metrics={m["key"]: m["value"] for m in run["data"].get("metrics", ())},
            )
            for run in found
        ]
        parents = [run for run in shown if "mlflow.parentRunId" not in run.tags]
        return parents, [run for run in shown if run not in parents]


@dataclass(frozen=True)
class Shown:
    """A run as the server shows it."""

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


class Proxy:
    """Stands before a server: counts its requests, delays them by `delay` s, or is `down`."""

    def __init__(self, target: str) -> None:
        self.requests: list[str] = []
        self.authorizations: set[str | None] = set()
        self.delay = 0.0
        self.down = False
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append(f"{self.command} {self.path.partition('?')[0]}")
                proxy.authorizations.add(self.headers["Authorization"])
                proxy.stopped.wait(proxy.delay)
                if proxy.down or proxy.stopped.is_set():
                    self.close_connection = True
                    return
                kept = {k: self.headers[k] for k in ("Content-Type",) if k in self.headers}
                request = urllib.request.Request(
                    f"{target}{self.path}", data=body or None, headers=kept, method=self.command
                )
                try:
                    with urllib.request.urlopen(request, timeout=30) as reply:
                        self.reply(reply.status, reply.read())
                except urllib.error.HTTPError as error:
                    with error:
                        self.reply(error.code, error.read())

            def reply(self, status: int, body: bytes) -> None:
                with contextlib.suppress(OSError):  # nobody waits for it any more
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        for method in ("GET", "POST", "PUT", "PATCH"):
            setattr(Handler, f"do_{method}", Handler.forward)
        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.uri)
    yield made
    made.stop()


@pytest.fixture
def tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Layout:
    """A folder with everything that becomes an artifact, in another working directory."""
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


@pytest.fixture
def identity(request: pytest.FixtureRequest) -> Identity:
    """A study in an experiment of the test's own, so that tests may share a server."""
    params = {"problem": "xor", "model.width": 2, "too_long": "x" * 7000}
    name = re.sub(r"\W", "_", request.node.name)
    return Identity(name, STUDY, params, "f00d", {"c1": {"problem": "xor", "model.width": 2}})


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: making them takes seconds."""
    made = Layout.for_study(tmp_path_factory.mktemp("empty"), "empty", "0" * 12)
    assert View(None, made, Identity("empty", "0" * 12, {})).client is not None
    return made.tracking_database


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """`until(lambda: mirror.left_out == 0)` returns when that is true, at most a minute later."""

    def wait(true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


@pytest.fixture
def local(tracked: Layout, empty_database: Path) -> Layout:
    """The study folder with MLflow's tables already in its store."""
    shutil.copy(empty_database, tracked.tracking_database)
    return tracked


@pytest.fixture
def report() -> Callable[[int], JobReport]:
    """`report(number)`: what a worker says of a job of the study."""

    def make(number: int) -> JobReport:
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

    return make
