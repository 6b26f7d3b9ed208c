"""What a control is: points with a known truth, and when a verdict contradicts it.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
S       points of one batch (one objective)
P, M    parameters, regularizer strengths                     (S, P), (S, M)
F       objective
======  ====================================================  ==========

Nothing here uses the judge's own mathematics: minima come from formulas or from another optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sweep.models.objective import Objective
from sweep.verdicts import Verdict

#: Relative to max(1, F): far above the rounding of F (1e-13), far below the gap between any two
#: values of F that a control tells apart.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Truth:
    """What may be said of a family's points; `unresolved` always may.

    `allowed` are the verdicts that contradict nothing. `everywhere`: they hold for every point of
    the objective; otherwise only for the constructed minimum, and a polish from near it that came
    to a lower F has left it. `expected` are the verdicts that a judge without gaps gives.
    `falls`: no point where F is as high as at the start is a minimum or stationary. `limit`: where
    F tends to, if the verdict is `escaping`; None if it is not known. `separates`: every minimum
    has training error 0. `least`: the value of the batch is that of the global minimum.
    """

    name: str
    allowed: frozenset[Verdict]
    expected: frozenset[Verdict]
    everywhere: bool = True
    falls: bool = False
    limit: float | None = None
    separates: bool = False
    least: bool = False


@dataclass(frozen=True, eq=False)
class Batch:
    """Points (S, P) of one objective with one truth.

    `near` (S,): the point lies beside the constructed one. `clear` (S,): away from rounding trouble
    (each family says how). `value` is F of every local minimum there can be (`everywhere`) or of
    the constructed one; NaN if it is not known.
    """

    objective: Objective
    truth: Truth
    points: np.ndarray
    near: np.ndarray
    clear: np.ndarray
    lam: np.ndarray | None = None
    value: float = field(default=float("nan"))


@dataclass(frozen=True)
class Family:
    """One construction: a name, what it is, and batches from a random stream."""

    name: str
    about: str
    make: Callable[[np.random.Generator], Iterator[Batch]]


def at_and_near(
    rng: np.random.Generator, points: np.ndarray, size: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """The points (S, P), then a neighbour of each at distance `size` (S,); and `near` (2S,)."""
    step = rng.normal(size=points.shape)
    step *= (np.broadcast_to(size, len(points)) / np.linalg.norm(step, axis=1))[:, None]
    near = np.repeat([False, True], len(points))
    return np.vstack([points, points + step]), near


@dataclass(frozen=True, eq=False)
class Seen:
    """A judged batch: verdicts (S,), F at the start, where judged and in the limit (S,) each.

    `error` (S,) is the training error where judged; None for a landscape.
    """

    verdict: np.ndarray
    start: np.ndarray
    judged: np.ndarray
    limit: np.ndarray
    error: np.ndarray | None = None


def left(batch: Batch, seen: Seen) -> np.ndarray:
    """Points (S,) whose polish went below the minimum they started beside: nothing is known."""
    lower = seen.judged < batch.value - _room(batch.value)
    return np.asarray(batch.near & lower & (not batch.truth.everywhere))


def wrong(batch: Batch, seen: Seen) -> list[str]:
    """Why each point's verdict contradicts the truth; an empty string where it does not."""
    gone = left(batch, seen)
    return ["" if gone[k] else _contradiction(batch, seen, k) for k in range(len(seen.verdict))]


def _contradiction(batch: Batch, seen: Seen, k: int) -> str:
    truth, verdict = batch.truth, Verdict(seen.verdict[k])
    start, judged, limit = float(seen.start[k]), float(seen.judged[k]), float(seen.limit[k])
    if verdict is Verdict.UNRESOLVED:
        return ""
    if verdict not in truth.allowed:
        return f"{verdict} at F = {judged!r}"
    if judged > start + _room(start):
        return f"the polish rose from F = {start!r} to {judged!r}"
    stationary = verdict in (Verdict.LOCAL_MINIMUM, Verdict.GLOBAL_MINIMUM, Verdict.SADDLE)
    if truth.falls and stationary and not judged < start:
        return f"{verdict} where descent exists, F = {judged!r}"
    minimum = verdict in (Verdict.LOCAL_MINIMUM, Verdict.GLOBAL_MINIMUM)
    if truth.separates and minimum and seen.error is not None and seen.error[k] > 0:
        return f"{verdict} with training error {float(seen.error[k])!r}"
    if verdict is Verdict.LOCAL_MINIMUM and abs(judged - batch.value) > _room(batch.value):
        return f"local_minimum at F = {judged!r}, but minima have F = {batch.value!r}"
    apart = abs(judged - batch.value) > _room(batch.value)
    if verdict is Verdict.GLOBAL_MINIMUM and truth.least and apart:
        return f"global_minimum at F = {judged!r}, but the least is F = {batch.value!r}"
    if verdict is Verdict.ESCAPING and limit > start + _room(start):
        return f"escaping upwards, from F = {start!r} to {limit!r}"
    known = truth.limit is not None and np.isfinite(limit)
    if verdict is Verdict.ESCAPING and known and abs(limit - float(truth.limit or 0)) > TOLERANCE:
        return f"escaping to F = {limit!r} instead of {truth.limit!r}"
    return ""


def _room(value: float) -> float:
    return TOLERANCE * max(1.0, abs(value)) if np.isfinite(value) else np.nan
