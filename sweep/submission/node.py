"""What the batch script of an allocation calls: Ray on one node, waiting for all, the marker.

`python -m sweep.submission.node VERB`. One machine may carry several nodes, and other people's
Rays: every port is a free one, every folder is private, and only what was started is stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from socket import create_server
from typing import Any

from sweep.execution.session_folder import remove_folder
from sweep.execution.tokens import write_token
from sweep.submission.marker import read_marker, write_marker

#: What a node's Ray prints when it is told to end: srun's own exit status does not tell.
TOLD = "sweep: told to end"
STOP_SECONDS = 5.0  # Ray ends within one or two; there is nothing that it has to save

_POLL_SECONDS = 1.0
_OBJECT_STORE_BYTES = 200 * 2**20  # holds the job list only; Ray's least is 75 MiB
_FOR_JOBS = 0.9  # of a node's memory: the rest is Ray's own and the driver's
_PORTS = ("node-manager", "object-manager", "metrics-export", "dashboard-agent-listen")


def main(words: Sequence[str] | None = None) -> int:
    """The exit status of one verb."""
    parser = argparse.ArgumentParser(prog="python -m sweep.submission.node")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("token").add_argument("file", type=Path)
    verbs.add_parser("address")
    starting = verbs.add_parser("start")
    starting.add_argument("address")
    for name in ("cpus", "gpus", "megabytes"):
        starting.add_argument(f"--{name}", type=int, required=True)
    waiting = verbs.add_parser("wait")
    waiting.add_argument("address")
    waiting.add_argument("--nodes", type=int, required=True)
    waiting.add_argument("--seconds", type=float, required=True)
    ending = verbs.add_parser("verdict")
    ending.add_argument("marker", type=Path)
    for flag in ("--failed", "--interrupted"):
        ending.add_argument(flag, action="store_true")
    given = parser.parse_args(words)
    if given.verb == "token":
        write_token(given.file)
        return 0
    if given.verb == "address":
        print(address())
        return 0
    if given.verb == "start":
        memory = int(given.megabytes * 2**20 * _FOR_JOBS) - _OBJECT_STORE_BYTES
        return start(given.address, given.cpus, given.gpus, memory, sys.stdin.read().strip())
    if given.verb == "wait":
        return wait(given.address, given.nodes, given.seconds)
    return verdict(given.marker, given.failed, given.interrupted)


def address() -> str:
    """Where a head may go: the machine's address as Ray sees it, and a port that is free now."""
    import ray

    util: Any = ray.util  # this function has no annotations
    return f"{util.get_node_ip_address()}:{_free_ports(1)[0]}"


def start(head: str, cpus: int, gpus: int, memory: int, token: str) -> int:
    """Ray on this node until SIGTERM; its exit status, or 0 when it was asked to end.

    The first task of a step becomes the head at `head` (host:port), the others join it. `memory`
    is in bytes. The token lies in a private folder, which is gone afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="sweep-", dir="/tmp"))  # short: Ray puts sockets there
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        write_token(folder / "token", token)
        started = subprocess.Popen(
            _start_words(head, cpus, gpus, memory, folder),
            stdin=subprocess.DEVNULL,
            env={**_bare_environment(), "RAY_AUTH_TOKEN_PATH": str(folder / "token")},
        )
        while started.poll() is None and not asked:
            time.sleep(_POLL_SECONDS / 4)
        if asked:
            print(TOLD, flush=True)
            _end(started)
        return 0 if asked else started.returncode
    finally:
        (folder / "token").unlink(missing_ok=True)
        remove_folder(folder)


def wait(head: str, nodes: int, seconds: float) -> int:
    """0 once that many nodes have joined the Ray at `head`; 1, with one sentence, at the deadline.

    Authentication is the caller's `RAY_AUTH_*`.
    """
    deadline = time.monotonic() + seconds
    joined = 0
    while True:
        try:
            joined = _living(head, min(5.0, max(1.0, deadline - time.monotonic())))
        except Exception as error:  # Ray has several kinds of 'not yet'
            last = type(error).__name__
        else:
            last = ""
        if joined >= nodes:
            return 0
        if time.monotonic() > deadline:
            why = f" (the head does not answer: {last})" if last else ""
            print(
                f"sweep: {joined} of {nodes} nodes joined Ray within {seconds:g} s{why}: nothing"
                " was run; submitting again resumes.",
                file=sys.stderr,
            )
            return 1
        time.sleep(_POLL_SECONDS)


def verdict(marker: Path, failed: bool = False, interrupted: bool = False) -> int:
    """The exit status in the marker at `<results>/.submission/<id>.json`.

    A run that left none has failed, unless it was `interrupted` (130); so has one that the script
    calls `failed`. That is written down, so that marker and exit status agree.
    """
    results = marker.parents[1]
    found = read_marker(results, marker.stem)
    if found is not None and (found.exit_status == 0 or not failed):
        return found.exit_status
    status = 130 if interrupted and not failed else 1
    write_marker(marker, status, results.name)
    return status


def _start_words(head: str, cpus: int, gpus: int, memory: int, folder: Path) -> list[str]:
    host, _, port = head.rpartition(":")
    if os.environ.get("SLURM_PROCID", "0") == "0":
        place = ["--head", f"--node-ip-address={host}", f"--port={port}"]
        place.append("--include-dashboard=false")
    else:
        place = [f"--address={head}"]
    ports = zip(_PORTS, _free_ports(len(_PORTS)), strict=True)
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *place),
        *(f"--{name}-port={number}" for name, number in ports),
        *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
        *(f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--memory={memory}"),
        *(f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--temp-dir={folder / 'ray'}"),
    ]


def _bare_environment() -> dict[str, str]:
    """The environment of a Ray that knows no other and asks for its token."""
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    kept.pop("RAY_AUTH_TOKEN", None)  # would win over the path
    return {**kept, "RAY_AUTH_MODE": "token", "RAY_enable_metrics_collection": "0"}


def _living(head: str, seconds: float) -> int:
    """How many nodes are alive in the Ray at `head`."""
    from ray import _raylet

    native: Any = _raylet  # whose stub leaves this out
    nodes = native.GcsClient(address=head).get_all_node_info(timeout=seconds)
    return sum(node.state == _ALIVE for node in nodes.values())


_ALIVE = 0  # GcsNodeInfo.GcsNodeState.ALIVE


def _end(started: subprocess.Popen[bytes]) -> None:
    """End `ray start --block`, which ends what it started."""
    started.terminate()
    try:
        started.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    with ExitStack() as stack:
        servers = [stack.enter_context(create_server(("", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]


if __name__ == "__main__":
    sys.exit(main())
