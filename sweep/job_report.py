"""How a job ended, small enough to send: what executors, progress and tracking need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class JobReport:
    """What a worker says of a finished job: small, picklable, enough for progress and tracking.

    `verdicts` and `stops` count members per arm; `mean_final_error` averages the members of an arm
    that ended with a finite error. `seconds` maps the stages compile, train, judge, commit to wall
    time.
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
