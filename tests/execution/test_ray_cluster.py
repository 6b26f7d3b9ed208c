"""Joining a Ray that others run: refusals before anything waits, and no harm done on leaving."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from sweep.errors import UserError
from sweep.execution import open_executor, preflight, session
from sweep.execution.sameness import installation
from sweep.job_report import JobReport
from sweep.spec import Compute, Job

cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE = 240.0  # seconds for what takes about ten on an idle machine


@pytest.fixture(scope="module")
def joined() -> Iterator[Compute]:
    """Two nodes on this machine, each with a processor and a GPU that is only counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        cluster = Cluster()
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 * 2**20)
            address = cluster.address
            yield Compute(
                name="cluster", address=address, workers=1, memory_per_job_gb=0.1, insecure=True
            )
        finally:
            cluster.shutdown()


def test_a_cluster_does_the_jobs_and_outlives_us(
    joined: Compute, jobs: list[Job], tmp_path: Path
) -> None:
    def probe() -> None:
        node = ray.get_runtime_context().get_node_id()
        (tmp_path / f"seen-by-{node}").touch()

    def work(job: Job) -> JobReport:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        return JobReport(job.id, "c0", job.block.first, 10, 10, {}, {}, {}, {})

    with open_executor(replace(joined, gpus_per_job=0.5, retries=0), probe) as executor:
        ends = list(executor.run(jobs, work))
    assert {type(end) for end in ends} == {JobReport}
    assert sorted(end.job_id for end in ends) == [job.id for job in jobs]
    assert len(list(tmp_path.iterdir())) == 2
    assert not ray.is_initialized()

    ray.init(joined.address, log_to_driver=False, logging_level="CRITICAL")
    try:
        assert sum(node["Alive"] for node in ray.nodes()) == 2
    finally:
        ray.shutdown()


@pytest.mark.slow  # Ray takes its time to believe that a node is lost
def test_a_node_that_is_lost_during_the_probe_stops_nobody(jobs: list[Job], tmp_path: Path) -> None:
    def probe() -> None:
        node = ray.get_runtime_context().get_node_id()
        (tmp_path / f"seen-by-{node}").touch()
        if node == victim:
            os.kill(os.getppid(), signal.SIGKILL)  # its raylet
            time.sleep(PATIENCE)

    def work(job: Job) -> JobReport:
        return JobReport(job.id, "c0", job.block.first, 10, 10, {}, {}, {}, {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in "ab"]
            victim = nodes[0].node_id
            compute = Compute(
                name="cluster", address=cluster.address, memory_per_job_gb=0.1, insecure=True
            )
            with open_executor(compute, probe) as executor:
                ends = list(executor.run(jobs, work))
        finally:
            cluster.shutdown()
    assert {type(end) for end in ends} == {JobReport}
    assert sorted(end.job_id for end in ends) == [job.id for job in jobs]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_node_that_fails_the_probe_is_named(joined: Compute) -> None:
    def probe() -> None:
        raise FileNotFoundError("results")

    with (
        pytest.raises(UserError, match=rf"^Node {socket.gethostname()} .*Error: results"),
        open_executor(joined, probe),
    ):
        pass


def test_a_node_with_other_code_is_named(joined: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is made to differ, which to the nodes looks as if they did."""
    ours = installation()
    monkeypatch.setattr(preflight, "installation", lambda: replace(ours, code="0" * 64))
    words = f"hash 000000000000 on the driver.* but {ours.code[:12]} on this node"
    with (
        pytest.raises(UserError, match=f"^Node {socket.gethostname()} .*{words}"),
        open_executor(joined),
    ):
        pass


def test_a_cluster_that_asks_for_no_token_is_refused(joined: Compute) -> None:
    with (
        pytest.raises(UserError, match=r"answers without a token.*compute\.insecure=true"),
        open_executor(replace(joined, insecure=False)),
    ):
        pass


def test_a_shape_that_no_node_holds_is_refused(joined: Compute) -> None:
    too_big = replace(joined, cpus_per_job=2, gpus_per_job=0.5)
    with (
        pytest.raises(UserError, match=r"asks for 2 CPUs, 0.5 GPUs.* biggest node.* has 1 CPUs, 1"),
        open_executor(too_big),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "cannot be reached"),
        ("nobody.invalid:6379", "cannot be reached"),
        ("ray://127.0.0.1:10001", "host:port of the head"),
        ("head", "'auto' or host:port"),
        ("head:99999", "cannot be reached"),
    ],
)
def test_a_wrong_address_is_refused_at_once(address: str, words: str) -> None:
    _refused(address, words)


def test_a_server_that_is_no_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_SECONDS", 3.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        _refused(f"127.0.0.1:{server.getsockname()[1]}", "did not answer as a Ray head does")


def _refused(address: str, words: str) -> None:
    started = time.monotonic()
    with (
        pytest.raises(UserError, match=words),
        open_executor(Compute(name="cluster", address=address)),
    ):
        pass
    assert time.monotonic() - started < 20
