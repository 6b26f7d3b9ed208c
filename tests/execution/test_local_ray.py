"""A local Ray as its user meets it: quiet, private, gone after Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from sweep.execution import open_executor, session
from sweep.execution import session_folder as session_folder_module
from sweep.execution.session_folder import ABANDONED_SECONDS, OWNER, PREFIX, session_folder
from sweep.execution.tokens import write_token
from sweep.job_report import JobReport
from sweep.registry import Choice
from sweep.spec import Arm, Block, Cell, Compute, Job

LIMIT = 120  # seconds for a step that takes about ten on an idle machine

STUDY = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
import ray  # before the token is set, as a notebook may have done
from sweep.execution import open_executor
from sweep.job_report import JobReport
from sweep.registry import Choice
from sweep.spec import Arm, Block, Cell, Compute, Job

os.umask(0)
cell = Cell("c0", {}, *[Choice("any")] * 7, arms=(Arm("plain"),), data_digest="")
jobs = [Job(f"job{i}", "s0", 0, cell, Block(i, 1)) for i in range(6)]


def work(job):
    print("a worker's chatter", flush=True)
    if job.id != "job0":
        time.sleep(600)
    return JobReport(job.id, "c0", 0, 1, 1, {}, {}, {}, {})


compute = Compute(name="local", workers=2, memory_per_job_gb=0.1)
try:
    with open_executor(compute) as executor:
        for end in executor.run(jobs, work):
            print(end.job_id, ray.get_runtime_context().gcs_address, flush=True)
except KeyboardInterrupt:
    print("interrupted", ray.is_initialized(), flush=True)
    sys.exit(130)
"""

# A stranger on the same machine: no token, one attempt.
STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).get_all_node_info()
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))  # short: Ray puts sockets there
    yield folder
    shutil.rmtree(folder)


def test_ctrl_c_reaches_a_quiet_private_ray_and_leaves_nothing(
    temporary: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "RAY_ADDRESS": "192.0.2.1:6379",  # nobody's; a local run must not care
    }
    study = subprocess.Popen(
        [sys.executable, "-c", STUDY],
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(LIMIT, study.kill)
    watchdog.start()
    try:
        assert study.stdout is not None
        first, _, address = study.stdout.readline().partition(" ")
        assert first == "job0"
        (token,) = temporary.glob("sweep-*/token")
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        stranger = [sys.executable, "-c", STRANGER, address.strip()]
        refused = subprocess.run(stranger, capture_output=True, text=True, timeout=LIMIT)
        assert refused.stdout == "AuthenticationError\n"

        pressed = time.monotonic()
        for _ in range(2):  # as a terminal does: to all of the group; as people do: twice
            os.killpg(study.pid, signal.SIGINT)
            time.sleep(0.3)
        out, err = study.communicate()
        assert time.monotonic() - pressed < 20
    finally:
        watchdog.cancel()
    assert (out, err) == ("interrupted False\n", "")
    assert study.returncode == 130
    assert _session(study.pid) == []
    assert list(temporary.iterdir()) == []
    assert [path.name for path in home.iterdir()] in ([], [".cache"])  # compiled kernels


def test_folders_of_killed_owners_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(session_folder_module, "_LONGEST_BASE", 1000)
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    for name, files in {"killed": [OWNER, "token"], "young": [OWNER], "foreign": ["x"]}.items():
        for file in files:
            path = tmp_path / f"{PREFIX}{name}" / file
            path.parent.mkdir(exist_ok=True)
            path.touch()
            os.utime(path, None if name == "young" else (long_ago, long_ago))
    with session_folder() as living:
        os.utime(living / OWNER, (long_ago, long_ago))
        with session_folder() as other:
            assert living.is_dir()
            assert other.is_dir()
        assert not other.exists()
    assert not living.exists()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"{PREFIX}young", f"{PREFIX}foreign"}


def _session(leader: int) -> list[str]:
    """Processes of a session that still live, a moment after they should not."""
    for _ in range(50):
        listed = subprocess.run(
            ["ps", "-s", str(leader), "-o", "args="], capture_output=True, text=True
        ).stdout.split("\n")[:-1]
        if not listed:
            break
        time.sleep(0.1)
    return listed


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_token_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "token"
    before = os.umask(umask)
    try:
        write_token(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
    with pytest.raises(FileExistsError):
        write_token(path)


@pytest.mark.slow  # some starts of a worker long
def test_short_jobs_reach_every_worker(tmp_path: Path) -> None:
    """They end faster than a worker starts; no worker may be kept from starting by that."""
    cell = Cell("c0", {}, *[Choice("any")] * 7, arms=(Arm("plain"),), data_digest="")
    jobs = [Job(f"job{i}", "s0", 0, cell, Block(i, 1)) for i in range(200)]

    def work(job: Job) -> JobReport:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.3)
        return JobReport(job.id, "c0", 0, 1, 1, {}, {}, {}, {})

    compute = Compute(name="local", workers=2, memory_per_job_gb=0.1)
    with open_executor(compute) as executor:
        assert len(list(executor.run(jobs, work))) == len(jobs)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("server", ["gcs_server", "raylet"])
def test_a_ray_that_hangs_does_not_hold_up_the_end(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own way out would wait for it without an end."""
    monkeypatch.setattr(session, "LEAVE_SECONDS", 15.0)
    with session.local_session(1):
        worker: Any = ray._private.worker
        (hanging,) = worker._global_node.all_processes[server]
        os.kill(hanging.process.pid, signal.SIGSTOP)
        began = time.monotonic()
    assert time.monotonic() - began < LIMIT
    assert hanging.process.poll() is not None
    assert not ray.is_initialized()
