"""What a batch system is asked for: nodes, time and memory, and where a container finds things."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sweep.errors import UserError
from sweep.registry import require

_TIME = re.compile(r"(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d")
# Kubernetes' names: one label, as RFC 1123 has it, or several with dots between.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_LABELS = rf"{_LABEL}(\.{_LABEL})*"
_LONGEST_NAME = 253


@dataclass(frozen=True)
class Batch:
    """The allocation that `sweep submit` asks for; part of `Compute`, so it never changes a row.

    Per node: `cpus_per_node`, `gpus_per_node` and `memory_per_node_gb` (GB). `time_limit` is
    HH:MM:SS, or D-HH:MM:SS. `python` is the interpreter on the cluster, where sweep's packages are
    installed: a command, or an absolute path. SLURM's are `partition`, `account`, `join_seconds`,
    the time that nodes have to join Ray, and `extra`, further options for sbatch as they stand.
    KubeRay's are `image`, `namespace`, `service_account`, `volume_claim` (mounted at
    `mount_path`), `deadline_seconds` and `backoff_limit`. Credentials do not belong here: they come
    from the environment.
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
        # Less leaves nothing beside Ray's own; 0 would ask SLURM for all that a node has.
        accepted = "a number of GB ≥ 1 and < 1000000"
        require(1 <= memory < 1e6, "compute.batch.memory_per_node_gb", memory, accepted)
        require(
            deadline is None or deadline >= 1,
            "compute.batch.deadline_seconds",
            deadline,
            "a whole number ≥ 1, or null",
        )
        require(
            bool(_TIME.fullmatch(self.time_limit)) and self.time_limit.strip("0:-") != "",
            "compute.batch.time_limit",
            self.time_limit,
            "HH:MM:SS or D-HH:MM:SS, as in '04:00:00' and '2-00:00:00', longer than nothing,",
        )
        self._check_words()
        self._check_names()

    def _check_words(self) -> None:
        """Refuse what a batch script would not pass on as it stands."""
        for key in ("partition", "account", "image", "python"):
            _one_word(key, getattr(self, key))
        require(
            "/" not in self.python or self.python.startswith("/"),
            "compute.batch.python",
            self.python,
            "a command on the cluster's PATH, or an absolute path,",
        )
        for line in self.extra:
            require("\n" not in line, "compute.batch.extra", line, "a list of single lines")

    def _check_names(self) -> None:
        """Refuse what Kubernetes would refuse."""
        for key in ("namespace", "service_account", "volume_claim"):
            _kubernetes_name(key, getattr(self, key))
        require(
            re.fullmatch(r"(/[\w.+-]+)+/?", self.mount_path) is not None,
            "compute.batch.mount_path",
            self.mount_path,
            "an absolute path, as in '/results',",
        )


def _one_word(key: str, value: str | None) -> None:
    """Refuse what would become several words, or another command, in a script."""
    if value is not None and re.fullmatch(r"[\w./:@%+][\w./:@%+-]*", value) is None:
        raise UserError(
            f"compute.batch.{key} is {value!r}: one word of letters, digits and . / : @ % + - is"
            " accepted, in which nothing stands for a home folder."
        )


def _kubernetes_name(key: str, value: str | None) -> None:
    """Refuse a name that Kubernetes would refuse; a namespace has no dots."""
    if value is None:
        return
    pattern, dots = (_LABEL, "") if key == "namespace" else (_LABELS, " and .")
    known = re.fullmatch(pattern, value) is not None and len(value) <= _LONGEST_NAME
    accepted = f"a name for Kubernetes, of small letters, digits, -{dots}, as in 'my-results',"
    require(known, f"compute.batch.{key}", value, accepted)
