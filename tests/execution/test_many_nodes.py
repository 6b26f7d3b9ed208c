"""A cluster of several nodes on this machine: all of it is used, and what it loses is done again.

GPUs are counted and not there; jobs sleep, since what is shared out is places and not work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from sweep.execution import open_executor
from sweep.job_report import JobReport
from sweep.spec import Block, Compute, Job

cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE = 240.0  # seconds for what takes about ten on an idle machine


class Span(NamedTuple):
    """When a job ran, and where."""

    job: str
    node: str
    began: float
    ended: float


@dataclass(frozen=True)
class Sleeper:
    """Work that takes its time and leaves a file about it, one per attempt.

    Jobs wait for one another: those before the number `half` until jobs have begun on `nodes`
    nodes, the others until they have on one more. So a node that gets no jobs is noticed.
    """

    folder: Path
    seconds: float
    half: int
    nodes: int

    def __call__(self, job: Job) -> JobReport:
        node, began = ray.get_runtime_context().get_node_id(), time.time()
        note = self.folder / f"{job.id}-{node}-{os.getpid()}"
        note.with_suffix(".begun").touch()
        deadline = time.monotonic() + PATIENCE
        while len(self.met()) < self.nodes + (job.block.first >= self.half):
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs have begun on {len(self.met())} nodes only")
            time.sleep(0.05)
        time.sleep(self.seconds)
        note.with_suffix(".json").write_text(json.dumps([job.id, node, began, time.time()]))
        return JobReport(job.id, "c0", job.block.first, 1, 1, {}, {}, {}, {})

    def met(self) -> set[str]:
        """Nodes on which jobs have begun."""
        return {path.name.split("-")[1] for path in self.folder.glob("*.begun")}

    def spans(self) -> list[Span]:
        return [Span(*json.loads(path.read_text())) for path in self.folder.glob("*.json")]

    def begun(self) -> int:
        return len(list(self.folder.glob("*.begun")))


class Nodes:
    """A head that only leads, and nodes with as many GPUs as asked for."""

    def __init__(self, count: int, gpus: int) -> None:
        self._gpus = gpus
        health = {"health_check_period_ms": 1000, "health_check_failure_threshold": 10}
        head = {"num_cpus": 0, "_system_config": health}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []
        for _ in range(count):
            self.add()

    def add(self) -> None:
        node = self._cluster.add_node(
            num_cpus=1, num_gpus=self._gpus, object_store_memory=80 * 2**20
        )
        self.nodes.append(node)

    def kill(self) -> str:
        """kill -9 for the first node; the node's id."""
        node = self.nodes.pop(0)
        (raylet,) = node.all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        return str(node.node_id)

    def compute(self, gpus_per_job: float) -> Compute:
        return Compute(
            name="cluster",
            address=self._cluster.address,
            cpus_per_job=0.001,
            gpus_per_job=gpus_per_job,
            memory_per_job_gb=0.001,
            insecure=True,  # these nodes ask for no token, wherever they can be reached from
        )

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def cluster(count: int, gpus: int) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        nodes = Nodes(count, gpus)
        try:
            yield nodes
        finally:
            nodes.close()


def copies(job: Job, count: int) -> list[Job]:
    return [replace(job, id=f"job{i}", block=Block(i, 1)) for i in range(count)]


def disturbed(nodes: Nodes, gpus_per_job: float, work: Sleeper, jobs: list[Job]) -> str:
    """The node that was killed, and replaced, once every node had done a job."""
    ends, lost = [], ""
    with open_executor(nodes.compute(gpus_per_job)) as executor:
        for end in executor.run(jobs, work):
            ends.append(end)
            if not lost and len({span.node for span in work.spans()}) == work.nodes:
                lost = nodes.kill()
                nodes.add()  # Ray wants the main thread for that
    assert {type(end) for end in ends} == {JobReport}
    assert sorted(end.job_id for end in ends) == sorted(job.id for job in jobs)
    assert {span.job for span in work.spans()} == {job.id for job in jobs}
    return lost


@pytest.mark.slow  # three Rays' nodes start, one after the other
def test_a_node_is_lost_and_another_joins_in_the_middle(jobs: list[Job], tmp_path: Path) -> None:
    many, work = copies(jobs[0], 12), Sleeper(tmp_path, 0.3, half=6, nodes=2)
    with cluster(2, gpus=1) as nodes:
        lost = disturbed(nodes, 1, work, many)
    assert lost in work.met()
    assert len(work.met()) == 3
    assert work.begun() <= len(many) + 1, "only what ran on the lost node ran again"


@pytest.mark.slow  # sixteen and more workers start, on however few processors
@pytest.mark.timeout(1200)
def test_four_nodes_with_four_gpus_each_are_all_used(jobs: list[Job], tmp_path: Path) -> None:
    """Two jobs share a GPU: 32 places, none of which stays free while jobs wait."""
    many, work = copies(jobs[0], 160), Sleeper(tmp_path, 5.0, half=96, nodes=4)
    with cluster(4, gpus=4) as nodes:
        disturbed(nodes, 0.5, work, many)
    spans = work.spans()
    assert len(work.met()) == 5
    assert work.begun() <= len(many) + 8
    # More, where what a killed node left behind ends beside jobs on the node in its place.
    assert most_at_once(spans) >= 32
    for node in {span.node for span in spans}:
        own = [span for span in spans if span.node == node]
        assert most_at_once(own) == 8
        assert idle_share(own, 8) < 0.1, "places stayed free while jobs waited"


def most_at_once(spans: list[Span]) -> int:
    edges = sorted([(s.began, 1) for s in spans] + [(s.ended, -1) for s in spans])
    level = most = 0
    for _, step in edges:
        level += step
        most = max(most, level)
    return most


def idle_share(spans: list[Span], places: int) -> float:
    """The share of a node's time, between its full places' first and last start, that is free."""
    starts = sorted(span.began for span in spans)
    first, last = starts[places - 1], starts[-1]
    busy = sum(max(0.0, min(s.ended, last) - max(s.began, first)) for s in spans)
    return 1 - busy / max((last - first) * places, 1e-9)


def test_the_measures_of_this_test() -> None:
    spans = [Span("a", "n", 0, 2), Span("b", "n", 1, 3), Span("c", "n", 2, 4), Span("d", "n", 4, 5)]
    assert most_at_once(spans) == 2
    assert idle_share(spans, 2) == pytest.approx(1 - 5 / 6)
