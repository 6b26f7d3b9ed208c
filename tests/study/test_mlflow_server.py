"""A real MLflow server, started on the results, shows the study; stopped, it takes no row along."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.cli.compose import compose
from sweep.cli.main import main
from sweep.job_report import JobReport
from sweep.storage.layout import Layout
from sweep.storage.mlflow_mirror import Mirror
from sweep.study.observer import Silent
from sweep.study.resolve import resolve
from sweep.study.run import run_study
from sweep.study.sync import job_reports, sync_mlflow

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


SMALL = ["study=quick", "seeds.count=12", "compute=serial", "compute.block_size=4"]


@dataclasses.dataclass
class Served:
    """A server on the database of a store, and the study in it."""

    address: str
    path: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
            self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("tracked")
    results = sweep.run([*SMALL, "stopping.max_steps=30", f"store.root={root}"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    served = Served(f"http://127.0.0.1:{port}", results.path, process)
    try:
        _wait(served.address)
        yield served
    finally:
        served.stop()


def _wait(address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError("the MLflow server did not start")


def ask(address: str, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{call}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_experiment_parent_children_and_metrics(server: Served) -> None:
    address, path = server.address, server.path
    found = ask(address, "experiments/get-by-name?experiment_name=quick")["experiment"]
    runs = ask(
        address, "runs/search", {"experiment_ids": [found["experiment_id"]], "max_results": 100}
    )["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    parents = [run for run, t in zip(runs, tags, strict=True) if "mlflow.parentRunId" not in t]
    assert len(parents) == 1
    (parent,) = parents
    children = [t for t in tags if t.get("mlflow.parentRunId") == parent["info"]["run_id"]]
    assert len(children) == 3  # 12 seeds in blocks of 4, one cell
    assert len({t["job"] for t in children}) == 3
    assert parent["info"]["status"] == "FINISHED"
    metrics = {m["key"]: m["value"] for m in parent["data"]["metrics"]}
    rows = sweep.load_rows(path)
    for arm in ("plain", "exp", "extra_neuron"):
        own = rows[rows["arm"] == arm]
        bad = (own["outcome"] == "bad_minimum").mean()
        assert metrics[f"bad_minimum_frequency/{arm}"] == pytest.approx(bad)
        assert metrics[f"bad_minimum_frequency_high/{arm}"] > 0.0
        assert metrics[f"mean_final_error/{arm}"] == pytest.approx(own["final_error"].mean())
        count = int((own["outcome"] == "global_minimum").sum())
        assert metrics[f"outcome/{arm}/global_minimum"] == count
    params = {p["key"]: p["value"] for p in parent["data"]["params"]}
    assert params["problem"] == "xor"
    assert params["model.width"] == "2"
    study_id = json.loads((path / "study.json").read_text())["study"]
    assert all(t["study_id"] == study_id for t in tags)
    listed = ask(address, f"artifacts/list?run_id={parent['info']['run_id']}")["files"]
    assert {"report.html", "study.json", "figures", "summary"} <= {f["path"] for f in listed}


def test_a_sync_finds_nothing_to_do_after_a_run(server: Served) -> None:
    # By the server's address, although the run wrote to its database.
    found = sync_mlflow(server.path, server.address)
    assert (found.parent, found.present, found.added, found.repaired) == ("present", 3, 0, 0)


def test_rows_say_what_the_jobs_said(tmp_path: Path) -> None:
    said: list[JobReport] = []

    class Hearing(Silent):
        def job_finished(self, report: JobReport) -> None:
            said.append(dataclasses.replace(report, seconds={}))

    words = [*SMALL, "stopping.max_steps=30", "model.width=2,3", "tracking=none"]
    composed = compose([*words, f"store.root={tmp_path}"])
    results = run_study(*resolve(composed), composed.resolved, Hearing())
    found = job_reports(Layout.at(results.path))
    assert len(found) == 6
    assert found == sorted(said, key=lambda report: (report.first_seed, report.job_id))


def test_a_server_stopped_in_the_middle_costs_no_row_and_the_view_is_caught_up(
    server: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*SMALL, "stopping.max_steps=31", "compute.block_size=2"]
    alone = sweep.run([*words, "tracking=none", f"store.root={tmp_path / 'alone'}"])
    seen: list[str] = []
    hand_over = Mirror.job_done

    def job_done(self: Mirror, report: JobReport) -> None:
        hand_over(self, report)
        seen.append(report.job_id)
        if len(seen) == 3:
            deadline = time.monotonic() + 60
            while self.left_out and time.monotonic() < deadline:
                time.sleep(0.01)
            server.stop()

    monkeypatch.setattr(Mirror, "job_done", job_done)
    root = tmp_path / "tracked"
    began = time.monotonic()
    assert main(["run", *words, f"tracking.uri={server.address}", f"store.root={root}"]) == 0
    assert time.monotonic() - began < 60
    printed = capsys.readouterr().out
    (path,) = root.glob("quick-*")
    assert printed.count("warning: ") == 1
    assert f"'sweep sync-mlflow {path} tracking.uri={server.address}'" in printed
    assert len(seen) == 6
    assert sweep.load_rows(path).equals(sweep.load_rows(alone.path))
    database = f"sqlite:///{server.path.parent / 'mlflow.db'}"
    found = sync_mlflow(path, database)
    assert (found.present, found.added, found.repaired, found.removed) == (3, 3, 0, 0)
    assert found.parent == "repaired"
    again = sync_mlflow(path, database)
    assert (again.parent, again.present, again.added, again.repaired) == ("present", 6, 0, 0)
