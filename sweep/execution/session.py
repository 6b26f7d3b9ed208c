"""Connections to Ray: a private one on this machine, or a cluster that others started."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from sweep.errors import UserError
from sweep.execution.base import reason
from sweep.execution.environment import environment
from sweep.execution.tokens import own_token

REACH_SECONDS = 5.0  # a head node in the same building answers within milliseconds

_OBJECT_STORE_BYTES = 200 * 2**20  # holds the job list only; Ray's least is 75 MiB

# A unix socket's path ends at 107 bytes; Ray appends a session folder and a socket's name (up to
# 66), mkdtemp 15.
_LONGEST_BASE = 26

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
    folder = Path(tempfile.mkdtemp(prefix="sweep-", dir=_short_folder()))
    inherited = {"RAY_ADDRESS": None, "RAY_JOB_CONFIG_JSON_ENV_VAR": None, **_WORKER_ENV}
    try:
        with own_token(folder / "token"), environment(inherited):
            ray.init(
                address="local",
                num_cpus=max(workers or 1, len(os.sched_getaffinity(0))),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                **_QUIET,
            )
            try:
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a dying process may still write its log


@contextmanager
def cluster_session(address: str | None) -> Iterator[None]:
    """A connection to a running Ray; leaving disconnects and leaves the cluster as it was.

    `address` is host:port of the head, or 'auto' (also None) for the Ray on this machine or in
    `RAY_ADDRESS`. Authentication is the user's own `RAY_AUTH_*`. Raises `UserError` when there is
    no such Ray or it refuses us.
    """
    _refuse_connected()
    where = address or "auto"
    if where == "auto":
        where = os.environ.get("RAY_ADDRESS") or "auto"
    if where != "auto":
        _check_reachable(where)
    try:
        ray.init(address=where, **_QUIET)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"compute.address '{where}' is no Ray we can use: {reason(error)}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_connected() -> None:
    if ray.is_initialized():
        raise UserError(
            "This process is already connected to a Ray: call ray.shutdown() before the sweep."
        )


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= _LONGEST_BASE else "/tmp"


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
