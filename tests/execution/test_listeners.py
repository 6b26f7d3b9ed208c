"""Whatever a local run opens beyond loopback turns away who has no token."""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from sweep.execution.session import local_session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# One harmless question to each of Ray's services; a server knows those of its own services only.
QUESTIONS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/GetCoreWorkerStats",
    "ReporterService/HealthCheck",
)
SECONDS = 20


@dataclass(frozen=True)
class Listener:
    host: str
    port: int

    @property
    def at(self) -> tuple[str, int]:
        """Where a client reaches it."""
        return ("127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host), self.port


def test_every_listener_asks_for_the_token() -> None:
    grpc = pytest.importorskip("grpc", reason="comes with ray[default]")

    def answers(listener: Listener, token: str | None) -> set[str]:
        """What a client with this token hears from the services that the listener knows."""
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        heard = set()
        with grpc.insecure_channel("{}:{}".format(*listener.at)) as channel:
            for question in QUESTIONS:
                try:
                    channel.unary_unary(f"/ray.rpc.{question}")(
                        b"", metadata=metadata, timeout=SECONDS
                    )
                    heard.add("answered")
                except grpc.RpcError as error:
                    heard.add(error.code().name)
        return heard - {"UNIMPLEMENTED"}

    def work() -> int:
        return os.getpid()

    with local_session(1):
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text()
        worker = ray.get(ray.remote(work).remote(), timeout=120)
        processes = family(os.getpid())
        assert worker in processes
        found = [listener for listener in listeners(processes) if listener.host != "127.0.0.1"]
        assert len(found) >= 5  # head, node, objects, driver, worker: none was overlooked
        for listener in found:
            if (status := http_status(listener)) is not None:
                assert status == 401, listener
                continue
            assert answers(listener, None) == {"UNAUTHENTICATED"}, listener
            assert answers(listener, "0" * 64) == {"UNAUTHENTICATED"}, listener
            assert answers(listener, token) == {"answered"}, listener


def http_status(listener: Listener) -> int | None:
    """What a plain web page answers; None from a server that does not speak HTTP/1."""
    connection = http.client.HTTPConnection(*listener.at, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return None
    finally:
        connection.close()


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # gone in the meantime
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listeners(processes: Sequence[int] | set[int]) -> Iterator[Listener]:
    """The TCP sockets on which any of the processes listens."""
    ours = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                ours.add(str(link.readlink()))
            except OSError:
                continue
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in ours:
                address, _, port = words[1].partition(":")
                yield Listener(socket.inet_ntop(kind, in_host_order(address)), int(port, 16))


def in_host_order(address: str) -> bytes:
    """The kernel prints every four bytes of an address as one number."""
    words = [address[start : start + 8] for start in range(0, len(address), 8)]
    return b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
