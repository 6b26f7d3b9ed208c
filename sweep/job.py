"""The waist: one job in, its rows out. Knows no cluster, no tracker, no config library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.spec import Job


@dataclass(frozen=True, eq=False)
class JobResult:
    """All rows of one job, column by column (names and kinds: `sweep.rows.columns`)."""

    job: Job
    columns: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class JobReport:
    """What a worker says of a finished job: small, picklable, enough for progress and tracking.

    `verdicts` and `stops` count members per arm; `mean_final_error` averages the members of an arm
    that ended with a finite error. `seconds` maps the stages train, judge, commit to wall time.
    """

    job_id: str
    cell: str
    first_seed: int
    n_seeds: int
    n_rows: int
    verdicts: Mapping[str, Mapping[str, int]]
    stops: Mapping[str, Mapping[str, int]]
    mean_final_error: Mapping[str, float]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class JobFailure:
    """A job that failed for good, after its retries, with the reason in one line."""

    job_id: str
    reason: str
