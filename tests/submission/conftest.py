from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from sweep.execution.tokens import own_token, read_settings_again

START_SECONDS = 120


@dataclass(frozen=True)
class Head:
    """A Ray head of our own: its job server's address, and the file that holds its token."""

    address: str
    token: Path


@pytest.fixture(autouse=True)
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder of one test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "state" / "sweep" / "submissions"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A real Ray that asks for a token, with its job server on loopback."""
    pytest.importorskip("aiohttp_cors", reason="Ray's job server comes with ray[default]")
    folder = Path(tempfile.mkdtemp(prefix="sh-", dir="/tmp"))  # short: Ray puts sockets there
    with own_token(folder / "token"):
        head = Head(f"http://127.0.0.1:{free_port()}", folder / "token")
        with (folder / "log").open("w") as log:
            process = start(folder, head, log.fileno())
        try:
            wait_for(head, process, folder / "log")
            yield head
        finally:
            stop(process)
            shutil.rmtree(folder, ignore_errors=True)
    read_settings_again()


def start(folder: Path, head: Head, log: int) -> subprocess.Popen[bytes]:
    options = {
        "port": 0,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": head.address.rpartition(":")[2],
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
        "min-worker-port": 0,
        "max-worker-port": 0,
        "num-cpus": 2,
        "object-store-memory": 100 * 2**20,
        "temp-dir": folder / "ray",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    return subprocess.Popen(
        [*command, "--disable-usage-stats", *words],
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
    )


def wait_for(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until its job server takes jobs, which needs the head's agent, too."""
    headers = {"Authorization": f"Bearer {head.token.read_text()}"}
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with suppress(requests.RequestException):
            answer = requests.get(f"{head.address}/api/jobs/", headers=headers, timeout=5)
            if answer.status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(log.read_text())


def stop(process: subprocess.Popen[bytes]) -> None:
    """`ray start --block` ends what it started when it is asked to end."""
    process.terminate()
    try:
        process.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])
