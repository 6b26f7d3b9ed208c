"""Connections to Ray: a private one on this machine, or a cluster that others started."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import ray

from sweep.environment import environment
from sweep.errors import UserError
from sweep.execution.interrupts import own_sigterm, uninterrupted
from sweep.execution.loopback import is_loopback
from sweep.execution.session_folder import session_folder
from sweep.execution.tokens import own_token, read_settings_again

REACH_SECONDS = 5.0  # a head node in the same building answers within milliseconds
LEAVE_SECONDS = 30.0  # a busy machine takes up to ten
CONNECT_SECONDS = 30.0  # Ray itself gives up a wrong token after 20, a wrong server after minutes

_OBJECT_STORE_BYTES = 200 * 2**20  # holds the job list only; Ray's least is 75 MiB

_WORKER_ENV = {
    # One job, one thread: workers share the machine, and a library's own threads may add up
    # numbers in another order.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Ray hides all GPUs from a worker that reserved none, also from one that was told to use them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "logging_level": logging.CRITICAL,
    "runtime_env": {"env_vars": _WORKER_ENV},
}


@contextmanager
def local_session(workers: int | None) -> Iterator[None]:
    """A Ray of our own on this machine, gone without a trace when the context ends.

    It has a processor for each worker, or the machine's, whichever is more. Any other Ray on the
    machine, and `RAY_ADDRESS`, are ignored. Raises `UserError` when this process is already
    connected to a Ray, because Ray allows one connection per process.
    """
    _refuse_connected()
    inherited = {
        "RAY_ADDRESS": None,
        "RAY_JOB_CONFIG_JSON_ENV_VAR": None,
        # Pages for Prometheus ask nobody for a token. Two of them have no switch, but a port: one
        # that does not exist is logged, and all else works.
        "RAY_enable_metrics_collection": "0",
        "DASHBOARD_METRIC_PORT": "-1",
        "AUTOSCALER_METRIC_PORT": "-1",
        **_WORKER_ENV,
    }
    with (
        session_folder() as folder,
        own_token(folder / "token"),
        environment(inherited),
    ):
        try:
            with own_sigterm():
                ray.init(
                    address="local",
                    num_cpus=max(workers or 1, _processors()),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(folder),
                    **_QUIET,
                )
            yield
        finally:
            _leave()


@contextmanager
def cluster_session(address: str | None, insecure: bool = False) -> Iterator[None]:
    """A connection to a running Ray; leaving disconnects and leaves the cluster as it was.

    `address` is host:port of the head, or 'auto' (also None) for the Ray on this machine or in
    `RAY_ADDRESS`. Authentication is the user's own `RAY_AUTH_*`. Raises `UserError` when there is
    no such Ray, it refuses us, or (unless `insecure`) it takes anybody who can reach it.
    """
    _refuse_connected()
    read_settings_again()
    where = address or "auto"
    if where == "auto":
        where = os.environ.get("RAY_ADDRESS") or "auto"
    if where != "auto":
        _check_reachable(where)
    head = _check_connects(where)
    if head.open and not insecure and not is_loopback(head.host):
        raise UserError(
            f"Ray at {head.host} answers without a token, so whoever reaches that machine can run"
            " code there as you: start it with RAY_AUTH_MODE=token, or accept that with"
            " compute.insecure=true."
        )
    with own_sigterm():
        ray.init(address=where, **_QUIET)
    try:
        yield
    finally:
        _leave()


def _leave() -> None:
    """Disconnect, and end the Ray that is ours; one that no longer answers cannot hold us up.

    Ray itself waits without an end for servers that hang. So ours are killed then, and those of
    others are left, also when the interpreter ends, where Ray would try once more.
    """
    leaving = Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
    with uninterrupted():
        leaving.start()
        leaving.join(LEAVE_SECONDS)
        if not leaving.is_alive():
            return
        worker: Any = ray._private.worker
        if (node := worker._global_node) is not None:  # which has started nothing on a cluster
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        leaving.join(LEAVE_SECONDS)
        if leaving.is_alive():
            atexit.unregister(ray.shutdown)


def _refuse_connected() -> None:
    if ray.is_initialized():
        raise UserError(
            "This process is already connected to a Ray: call ray.shutdown() before the sweep."
        )


def _processors() -> int:
    """How many processors this process may use, where the system can say so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_reachable(address: str) -> None:
    """Refuse an address nobody answers at: Ray itself would wait for minutes."""
    if address.startswith("ray://"):
        raise UserError(
            f"compute.address '{address}' is a Ray client's: give host:port of the head node, "
            "usually port 6379, and run on a machine of the cluster."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"compute.address '{address}' is no address: 'auto' or host:port is.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"compute.address '{address}' cannot be reached: {error}.") from error


# The same call as ours, with every error it is based on: Ray hides a refused token behind others.
# Then once more without a token, to the address that the head itself goes by.
_CONNECT = """
import logging, os, sys, ray
from ray import _raylet
try:
    ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
    head = ray.get_runtime_context().gcs_address
    ray.shutdown()
except Exception as error:
    while error is not None:
        print(type(error).__name__ + ":", str(error))
        error = error.__cause__ or error.__context__
    sys.exit(1)
for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
    os.environ.pop(name, None)
os.environ["RAY_AUTH_MODE"] = "disabled"
_raylet.Config.initialize("")
_raylet.AuthenticationTokenLoader.instance().reset_cache()
try:
    _raylet.GcsClient(address=head).get_all_node_info(timeout=5)
    print("open", head)
except Exception as error:
    print("closed", head)
"""


@dataclass(frozen=True)
class _Head:
    """The head of a cluster: its host as it calls itself, and whether it asks for no token."""

    host: str
    open: bool


def _check_connects(where: str) -> _Head:
    """The head that takes us in; refuses what does not.

    It is tried in a child process: Ray retries for minutes, and only a process can be stopped in
    the middle of that.
    """
    command = [sys.executable, "-c", _CONNECT, where]
    try:
        tried = subprocess.run(
            command, timeout=CONNECT_SECONDS, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"compute.address '{where}' did not answer as a Ray head does within "
            f"{CONNECT_SECONDS:g} s."
        ) from None
    if tried.returncode == 0:
        kind, head = tried.stdout.split()[-2:]
        return _Head(head.rpartition(":")[0].strip("[]"), kind == "open")
    if "InvalidAuthToken" in tried.stdout + tried.stderr:
        raise UserError(
            f"compute.address '{where}' refuses our token: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to the cluster's."
        )
    first = (tried.stdout.splitlines() or [f"exit status {tried.returncode}"])[0]
    raise UserError(f"compute.address '{where}' is no Ray that we can use: {first}")
