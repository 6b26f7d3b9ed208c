"""Checks before the first job: nothing may wait for ever, nothing may land on a wrong disk."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.errors import UserError
from sweep.execution.base import Probe, reason
from sweep.execution.sameness import Installation, installation
from sweep.spec import Compute

PROBE_SECONDS = 120.0  # a cold worker on a network disk takes tens of seconds to import

# Ray takes a node for dead that has missed five checks in a row: some 15 to 60 seconds.
LOSS_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_NOT_OF_A_LOST_NODE = (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError)

_GB = 1e9


def job_resources(compute: Compute) -> dict[str, float]:
    """What one job reserves, in Ray's names: processors, GPUs, bytes of memory."""
    shape = {"CPU": compute.cpus_per_job, "memory": compute.memory_per_job_gb * _GB}
    return {**shape, "GPU": compute.gpus_per_job} if compute.gpus_per_job else shape


def check_resources(compute: Compute) -> None:
    """Refuse a job shape that no living node can hold: Ray would wait for such a node for ever."""
    for key in ("cpus_per_job", "gpus_per_job"):
        value = getattr(compute, key)
        if value > 1 and not float(value).is_integer():
            raise UserError(f"compute.{key} is {value}: a share ≤ 1 or a whole number is accepted.")
    wanted = job_resources(compute)
    nodes = _nodes()
    if any(_holds(node["Resources"], wanted) for node in nodes):
        return
    biggest = max(nodes, key=lambda node: _size(node["Resources"], wanted))
    raise UserError(
        f"A job asks for {_words(wanted)} but the biggest node, {_name(biggest)}, has "
        f"{_words(biggest['Resources'])}: lower compute.cpus_per_job, compute.gpus_per_job or "
        "compute.memory_per_job_gb."
    )


def places(compute: Compute) -> int:
    """How many jobs of this shape the living nodes hold together, at least one."""
    wanted = job_resources(compute)
    held = [
        min(int(node["Resources"].get(name, 0.0) / amount) for name, amount in wanted.items())
        for node in _nodes()
    ]
    return max(1, sum(held))


def probe_nodes(probe: Probe | None) -> None:
    """Call `probe` on every living node; `UserError` names the first one where it fails.

    Without a probe this still shows that each node starts a worker that can import this package,
    and that its code and libraries are the driver's. A node that is lost meanwhile is nothing to
    refuse: the others are checked, with those that have come.
    """
    check = ray.remote(num_cpus=0, max_retries=0)(_call)
    ours, here = installation(), f"the driver's machine {socket.gethostname()}"
    asked: set[str] = set()
    while new := [node for node in _nodes() if node["NodeID"] not in asked]:
        asked.update(node["NodeID"] for node in new)
        started = [
            (
                node,
                check.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(probe, ours, here),
            )
            for node in new
        ]
        for node, answer in started:
            problem = _problem(answer, node)
            if problem:
                raise UserError(f"Node {_name(node)} cannot run jobs of this study: {problem}")


def _problem(answer: Any, node: Mapping[str, Any]) -> str:
    """What a node answers; empty when all is well there, or when the node is lost."""
    deadline = time.monotonic() + PROBE_SECONDS
    while not ray.wait([answer], timeout=_LOOK_SECONDS)[0]:
        if not _is_alive(node):
            return ""
        if time.monotonic() > deadline:
            return f"it does not answer within {PROBE_SECONDS:g} s"
    try:
        return str(ray.get(answer))
    except ray.exceptions.RayError as error:
        # A worker's end is known at once, that of its node once it has missed some heartbeats.
        patience = 0.0 if isinstance(error, _NOT_OF_A_LOST_NODE) else LOSS_SECONDS
        deadline = time.monotonic() + patience
        while (alive := _is_alive(node)) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return reason(error) if alive else ""


def _is_alive(node: Mapping[str, Any]) -> bool:
    return any(other["NodeID"] == node["NodeID"] for other in _nodes())


def _call(probe: Probe | None, ours: Installation, here: str) -> str:
    """Empty when the place will do, else the reason: exceptions may not survive the way back."""
    try:
        problem = ours.difference(installation(), here, "this node")
        if not problem and probe is not None:
            probe()
    except Exception as error:
        return reason(error)
    return problem and f"{problem}, and rows must not depend on where they are made."


def _nodes() -> list[dict[str, Any]]:
    state: Any = ray  # `nodes` has no annotations
    return [node for node in state.nodes() if node["Alive"]]


def _holds(node: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in wanted.items())


def _size(node: Mapping[str, float], wanted: Mapping[str, float]) -> tuple[float, ...]:
    fitting = sum(node.get(name, 0.0) >= amount for name, amount in wanted.items())
    return (fitting, node.get("GPU", 0.0), node.get("CPU", 0.0), node.get("memory", 0.0))


def _words(resources: Mapping[str, float]) -> str:
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    return f"{cpus:g} CPUs, {gpus:g} GPUs and {resources.get('memory', 0.0) / _GB:.3g} GB"


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
