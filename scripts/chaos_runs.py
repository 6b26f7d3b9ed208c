"""Runs of `sweep` as processes that can be watched and killed; used by `chaos.py`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TICK = 0.02  # seconds between two looks
# Seconds that processes of a killed run have to end by themselves: Ray's agents first try for 60 s
# to tell a head that is gone that their raylet is.
PATIENCE = 90.0


class Run:
    """One `sweep run` in a session and a temporary folder of its own."""

    def __init__(self, words: list[str]) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))  # short: sockets
        self.log = self.temporary / "log"
        environment = {**os.environ, "TMPDIR": str(self.temporary), "RAY_AUTH_MODE": "disabled"}
        command = [sys.executable, "-m", "sweep.cli.main", "run", *words]
        self.began = self.ended = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def others(self) -> list[int]:
        """Living processes of its session but the command itself."""
        return [pid for pid in session(self.process.pid) if pid != self.process.pid]

    def end(self) -> None:
        """Kill the command if it is still running; what it started has `PATIENCE` from now on."""
        kill(self.process.pid)
        self.process.wait()
        self.ended = time.monotonic()

    def close(self) -> list[str]:
        """The commands of its processes that did not end by themselves; they are ended here."""
        deadline = self.ended + PATIENCE
        while (left := self.others()) and time.monotonic() < deadline:
            time.sleep(0.1)
        commands = [words_of(pid)[:300] for pid in left]
        for pid in left:
            kill(pid)
        shutil.rmtree(self.temporary, ignore_errors=True)
        return commands


def stat_of(pid: int) -> list[str]:
    """State, parent, group and session of a process, and more; empty once it has ended."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def session(leader: int) -> Iterator[int]:
    """Living processes of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        found = stat_of(int(folder.name))
        if found and found[0] != "Z" and int(found[3]) == leader:
            yield int(folder.name)


def words_of(pid: int) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(pid: int) -> bool:
    """kill -9; False if the process had ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Nodes:
    """A Ray cluster on this machine whose nodes can be killed; the head runs no jobs."""

    def __init__(self, count: int) -> None:
        os.environ["RAY_AUTH_MODE"] = "disabled"
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self._nodes = [self._add() for _ in range(count)]
        self.address = str(self._cluster.address)

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

    def strike(self, at: float) -> bool:
        """Kill the raylet of the node at that share of the list, and add a node in its place."""
        node = self._nodes.pop(int(at * len(self._nodes)))
        (raylet,) = node.all_processes["raylet"]
        killed = kill(raylet.process.pid)
        self._nodes.append(self._add())
        self._cluster.remove_node(node, allow_graceful=False)
        return killed

    def close(self) -> None:
        self._cluster.shutdown()


def workers(run: Run) -> list[int]:
    """Processes that run jobs at this moment or are about to."""
    # Tune wraps our trainable in a class of its own.
    return sorted(pid for pid in run.others() if words_of(pid).startswith("ray::ResourceTrainable"))


def strike(victim: str, run: Run, nodes: Nodes | None, at: float) -> bool:
    """Kill one process of that kind, which of them `at` in [0, 1) says; False if there is none."""
    if victim == "driver":
        return kill(run.process.pid)
    if nodes is not None:
        return nodes.strike(at)
    named = [pid for pid in run.others() if "/raylet/raylet " in words_of(pid)]
    found = workers(run) if victim == "worker" else named
    return bool(found) and kill(found[int(at * len(found))])


def wait(run: Run, seconds: float) -> int | None:
    """The exit status, or None if the command is still running `seconds` after it began."""
    while run.process.poll() is None and run.seconds < seconds:
        time.sleep(TICK)
    return run.process.poll()
