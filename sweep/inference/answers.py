"""What the rows of a study say of its claim: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from sweep.inference.claims import Claim, Expectation


class Status(StrEnum):
    """What the rows say of an expectation."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """An expectation and what was observed.

    `observed` says it in words. `rows` were looked at; `low` and `high` are the ends of the 95 %
    interval of a share or difference, or the least and largest number, NaN when there is none;
    asked cell by cell, they are those of the cell that decides (`sweep.inference.by_cell`).
    `contradictions` counts rows that contradict a statement on every row; `examples` are the keys
    (cell, arm, draw, seed) of the first few, to replay.
    """

    expectation: Expectation
    status: Status
    observed: str
    rows: int
    low: float = np.nan
    high: float = np.nan
    contradictions: int = 0
    examples: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True)
class Answer:
    """A study's claim and what its rows say of it.

    `study` is the study's name, `results` its folder. `fault` is the sentence that says why there
    are no findings, when no job of the study succeeded.
    """

    study: str
    results: Path
    claim: Claim
    findings: tuple[Finding, ...] = ()
    fault: str | None = None

    @property
    def status(self) -> Status:
        """All findings together: does not hold when one does not, holds when all do."""
        statuses = {finding.status for finding in self.findings}
        if Status.FAILS in statuses:
            return Status.FAILS
        return Status.HOLDS if statuses == {Status.HOLDS} else Status.UNDECIDED
