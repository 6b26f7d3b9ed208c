"""What a batch system is asked for: nodes, time and memory, and where a container finds things."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sweep.errors import UserError
from sweep.registry import require

_TIME = re.compile(r"(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d")


@dataclass(frozen=True)
class Batch:
    """The allocation that `sweep submit` asks for; part of `Compute`, so it never changes a row.

    Per node: `cpus_per_node`, `gpus_per_node` and `memory_per_node_gb` (GB). `time_limit` is
    HH:MM:SS, or D-HH:MM:SS. `python` is the interpreter on the cluster, where sweep's packages are
    installed. SLURM's are `partition`, `account`, `join_seconds`, the time that nodes have to join
    Ray, and `extra`, further options for sbatch as they stand. KubeRay's are `image`, `namespace`,
    `service_account`, `volume_claim` (mounted at `mount_path`), `deadline_seconds` and
    `backoff_limit`. Credentials do not belong here: they come from the environment.
    """

    nodes: int = 1
    cpus_per_node: int = 8
    gpus_per_node: int = 0
    memory_per_node_gb: float = 16.0
    time_limit: str = "04:00:00"
    python: str = "python"
    partition: str | None = None
    account: str | None = None
    join_seconds: int = 300
    extra: tuple[str, ...] = ()
    image: str | None = None
    namespace: str = "default"
    service_account: str | None = None
    volume_claim: str | None = None
    mount_path: str = "/results"
    deadline_seconds: int | None = None
    backoff_limit: int = 3

    def __post_init__(self) -> None:
        for key in ("nodes", "cpus_per_node", "join_seconds"):
            value = getattr(self, key)
            require(value >= 1, f"compute.batch.{key}", value, "a whole number ≥ 1")
        for key in ("gpus_per_node", "backoff_limit"):
            value = getattr(self, key)
            require(value >= 0, f"compute.batch.{key}", value, "a whole number ≥ 0")
        memory, deadline = self.memory_per_node_gb, self.deadline_seconds
        require(0 < memory < 1e6, "compute.batch.memory_per_node_gb", memory, "a number > 0")
        require(
            deadline is None or deadline >= 1,
            "compute.batch.deadline_seconds",
            deadline,
            "a whole number ≥ 1, or null",
        )
        require(
            _TIME.fullmatch(self.time_limit) is not None,
            "compute.batch.time_limit",
            self.time_limit,
            "hours, minutes and seconds, as in '04:00:00'",
        )
        for key in ("partition", "account", "image", "namespace", "service_account", "python"):
            _one_word(key, getattr(self, key))
        for line in self.extra:
            require("\n" not in line, "compute.batch.extra", line, "a list of single lines")


def _one_word(key: str, value: str | None) -> None:
    """Refuse what would become several words, or another command, in a script."""
    if value is not None and re.fullmatch(r"[\w./:@%+][\w./:@%+-]*", value) is None:
        raise UserError(
            f"compute.batch.{key} is {value!r}: one word of letters, digits and . / : @ % + - is"
            " accepted, in which nothing stands for a home folder."
        )
