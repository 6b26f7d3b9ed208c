"""A real MLflow server, started on the results, shows the study through its REST API."""

from __future__ import annotations

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

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("tracked")
    small = ["study=quick", "seeds.count=12", "stopping.max_steps=30", "compute=serial"]
    results = sweep.run([*small, "compute.block_size=4", f"store.root={root}"])
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
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        yield address, results.path
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


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


def test_experiment_parent_children_and_metrics(server: tuple[str, Path]) -> None:
    address, path = server
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
