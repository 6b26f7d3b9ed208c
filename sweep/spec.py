"""What a study is, as plain frozen data: scientific settings apart from running settings.

Scientific settings (`Cell`, `Arm`, the seeds' root) decide every bit of a row and make up the
study's identity. Running settings (`Compute`, `Store`, `Tracking`) never change a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweep.errors import UserError, unknown
from sweep.lambdas import LAWS
from sweep.registry import Choice, require

NONE = Choice("none")
GROUPS = ("problem", "model", "loss", "init", "optimizer", "stopping", "judge")


@dataclass(frozen=True)
class Arm:
    """One treatment of a seed: an augmentation, its regularizer and the law of λ.

    `weight_decay` adds (weight_decay/2)·‖θ‖² over the ordinary weights and biases.
    """

    name: str
    augment: Choice = NONE
    regularizer: Choice = NONE
    weight_decay: float = 0.0
    lam: Choice | None = None

    def __post_init__(self) -> None:
        where = f"arms.{self.name}"
        require(
            0 <= self.weight_decay < math.inf,
            f"{where}.weight_decay",
            self.weight_decay,
            "a number ≥ 0",
        )
        regularized = self.regularizer.name != "none"
        if regularized and self.lam is None:
            raise UserError(f"{where}.lambda is missing: '{self.regularizer.name}' needs a λ.")
        if self.lam is not None and not regularized:
            raise UserError(
                f"{where}.lambda is given but {where}.regularizer is 'none': it would do nothing."
            )

    @property
    def draws(self) -> int:
        """Number of λ draws; an arm without λ has the single draw 0."""
        return LAWS.build(self.lam).draws if self.lam is not None else 1


@dataclass(frozen=True)
class Cell:
    """One combination of the grid, with every setting typed and filled in.

    `axes` holds the grid keys (dotted) and their values; `data_digest` is the SHA-256 of the
    prepared data. `id` begins with a letter, so that no reader takes it for a number.
    """

    id: str
    axes: Mapping[str, Any]
    problem: Choice
    model: Choice
    loss: Choice
    init: Choice
    optimizer: Choice
    stopping: Choice
    judge: Choice
    arms: tuple[Arm, ...]
    data_digest: str

    @property
    def members_per_seed(self) -> int:
        """How many networks one seed stands for: the sum of all arms' draws."""
        return sum(arm.draws for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """The arm of that name; `UserError` with the choices when there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise unknown("arm", name, [arm.name for arm in self.arms])


@dataclass(frozen=True)
class Block:
    """Seeds first, first+1, …, first+count−1."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """One past the last seed."""
        return self.first + self.count


#: Rows hold a seed as int64; ranges end before, whatever their length.
END_OF_SEEDS = 2**63
#: More networks than a cluster trains in years.
MOST_SEEDS = 100_000_000


@dataclass(frozen=True)
class Seeds:
    """Which seeds a study asks for; `root` alone belongs to the study's identity.

    Either `count` of them, or (`count` null) as many as it takes until a confidence sequence is no
    wider than ± `half_width`, at most `max`: that of every arm's bad-minimum frequency in every
    cell, or of the difference between the arm `target` and the baseline.
    """

    root: int = 0
    first: int = 0
    count: int | None = 1000
    half_width: float | None = None
    confidence: float = 0.95
    max: int = 100_000
    target: str | None = None

    def __post_init__(self) -> None:
        require(
            0 <= self.first <= END_OF_SEEDS - MOST_SEEDS,
            "seeds.first",
            self.first,
            f"a whole number ≥ 0 and ≤ {END_OF_SEEDS - MOST_SEEDS}",
        )
        if (self.count is None) == (self.half_width is None):
            both = "missing" if self.count is None else "both given"
            raise UserError(
                f"seeds.count and seeds.half_width are {both}: give a number of seeds, or the half "
                "width that they are to reach."
            )
        width = self.half_width
        require(
            width is None or 0 < width < 0.5,
            "seeds.half_width",
            width,
            "a number between 0 and 0.5, or null",
        )
        given = self.confidence
        require(0 < given < 1, "seeds.confidence", given, "a number between 0 and 1")
        for key in ("count", "max"):
            value = getattr(self, key)
            require(
                value is None or 1 <= value <= MOST_SEEDS,
                f"seeds.{key}",
                value,
                f"a whole number ≥ 1 and ≤ {MOST_SEEDS}",
            )
        if self.target is not None and width is None:
            raise UserError(
                f"seeds.target is '{self.target}' but seeds.half_width is null: give the half "
                "width that its difference to the baseline is to reach."
            )

    @property
    def most(self) -> int:
        """How many seeds the study asks for at most."""
        return self.max if self.count is None else self.count


@dataclass(frozen=True)
class Study:
    """A whole study: cells × arms × draws × seeds.

    Raises `UserError` when some cell lacks the arm whose difference `seeds.target` asks for.
    """

    id: str
    name: str
    baseline: str
    cells: tuple[Cell, ...]
    seeds: Seeds

    def __post_init__(self) -> None:
        target = self.seeds.target
        for cell in self.cells if target is not None else ():
            others = [arm.name for arm in cell.arms if arm.name != self.baseline]
            if target not in others:
                raise unknown("seeds.target", str(target), others)

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id; `UserError` with the choices when there is none."""
        for cell in self.cells:
            if cell.id == cell_id:
                return cell
        raise unknown("cell", cell_id, [cell.id for cell in self.cells])


@dataclass(frozen=True)
class Job:
    """One unit of work: one cell × one block of seeds, with all arms and λ draws.

    A `reference` job is a search for a witness instead: its block counts starting points of a
    stream of its own, and its rows never count as the study's. With a `draw` only that λ draw of
    every arm is trained, as in a replay.
    """

    id: str
    study_id: str
    root: int
    cell: Cell
    block: Block
    reference: bool = False
    draw: int | None = None

    @property
    def members(self) -> int:
        """Networks trained, which is also the number of rows."""
        if self.draw is None:
            return self.block.count * self.cell.members_per_seed
        return self.block.count * len(self.cell.arms)

    def draws(self, arm: Arm) -> range:
        """The λ draws of an arm of the cell that the job trains."""
        return range(arm.draws) if self.draw is None else range(self.draw, self.draw + 1)


#: A day: longer than any job that planning makes.
SECONDS_PER_JOB = 86400.0


@dataclass(frozen=True)
class Compute:
    """Where and how jobs run. Never changes a row.

    `block_size` null: chosen when planning. `workers` null: as many as there are processors.
    `device` is decided by the first run of a study and kept in its study.json. A job that runs for
    longer than `seconds_per_job` fails, unless it runs in the study's own process (serial).
    """

    name: Literal["serial", "local", "cluster"] = "local"
    address: str | None = None
    workers: int | None = None
    block_size: int | None = None
    cpus_per_job: float = 1.0
    gpus_per_job: float = 0.0
    memory_per_job_gb: float = 1.0
    retries: int = 3
    seconds_per_job: float = SECONDS_PER_JOB
    device: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        for key in ("workers", "block_size"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"compute.{key}", value, "a whole number ≥ 1")
        require(self.cpus_per_job > 0, "compute.cpus_per_job", self.cpus_per_job, "a number > 0")
        require(self.gpus_per_job >= 0, "compute.gpus_per_job", self.gpus_per_job, "a number ≥ 0")
        given = self.seconds_per_job
        require(0 < given < math.inf, "compute.seconds_per_job", given, "a number > 0")
        if self.name == "serial" and given != SECONDS_PER_JOB:
            raise UserError(
                f"compute.seconds_per_job is {given:g} but compute is 'serial': a job in the "
                "study's own process cannot be ended from outside; compute=local can do that."
            )
        require(self.retries >= 0, "compute.retries", self.retries, "a whole number ≥ 0")
        require(
            self.memory_per_job_gb > 0,
            "compute.memory_per_job_gb",
            self.memory_per_job_gb,
            "a number > 0",
        )


@dataclass(frozen=True)
class Store:
    """Where rows land, and whose parameters are kept ('auto': all up to 256 parameters)."""

    root: str = "results"
    params: Literal["auto", "all", "judged", "none"] = "auto"


@dataclass(frozen=True)
class Tracking:
    """The MLflow server to mirror to; null: a sqlite file under `store.root`."""

    enabled: bool = True
    uri: str | None = None
