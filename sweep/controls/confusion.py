"""All controls, judged and counted."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from sweep.controls import (
    coercive,
    convolution,
    endless,
    equal_strengths,
    neurons,
    piecewise,
    separating,
    strict_minima,
)
from sweep.controls.base import Batch, Family, Seen, left, wrong
from sweep.judge import Judge, StandardJudge
from sweep.seeds import stream
from sweep.verdicts import Stop, Verdict

FAMILIES: tuple[Family, ...] = (
    *piecewise.FAMILIES,
    *strict_minima.FAMILIES,
    *separating.FAMILIES,
    *endless.FAMILIES,
    *coercive.FAMILIES,
    *equal_strengths.FAMILIES,
    *convolution.FAMILIES,
    *neurons.FAMILIES,
)
#: So many rounds give more than 10,000 points.
ROUNDS = 20
#: Of each family's wrong verdicts, so many are kept in words.
EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Ended:
    """Points as a training run would hand them over."""

    params: np.ndarray
    stop: np.ndarray


@dataclass
class Line:
    """Counts of one family's points, started at (`near` False) or near the constructed ones.

    `left` are polishes that left a minimum's surroundings downhill; `clear` points are away from
    rounding trouble, and `settled` of them got an expected verdict.
    """

    family: str
    truth: str
    near: bool
    points: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    left: int = 0
    clear: int = 0
    settled: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: Line) -> None:
        """Count another line's points too."""
        self.points += other.points
        self.verdicts.update(other.verdicts)
        self.wrong += other.wrong
        self.left += other.left
        self.clear += other.clear
        self.settled += other.settled
        self.examples = (self.examples + other.examples)[:EXAMPLES]


@dataclass(frozen=True)
class Confusion:
    """Truth against verdict: one line per family and start, families of one truth together."""

    lines: tuple[Line, ...]

    @property
    def points(self) -> int:
        """How many points were judged."""
        return sum(line.points for line in self.lines)

    @property
    def wrong(self) -> int:
        """How many verdicts contradict the truth."""
        return sum(line.wrong for line in self.lines)


def run_controls(
    rounds: int = ROUNDS, workers: int = 2, families: Iterable[Family] = FAMILIES, root: int = 0
) -> Confusion:
    """Judge `rounds` draws of every family in `workers` processes (1: in this one)."""
    # Round by round, so that slow families are spread over the processes.
    tasks = [(family.name, root, round_) for round_ in range(rounds) for family in families]
    if workers == 1:
        return _collected(map(_task, tasks))
    # Spawned: forking a process that has loaded torch's thread pool is not safe.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c) as pool:
        ends = [pool.submit(_task, task) for task in tasks]
        try:
            return _collected(end.result() for end in ends)
        except BaseException:
            # Cancelled one by one, as `map` does, tasks that a process is about to take would
            # break the pool's own thread.
            pool.shutdown(cancel_futures=True)
            raise


def _leave_ctrl_c() -> None:
    """Ctrl-C reaches all processes of a terminal; the first one decides for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def judge_batch(batch: Batch, judge: Judge) -> tuple[Seen, list[str]]:
    """What the judge says of a batch, and why each point's verdict is wrong ('' if it is not)."""
    stop = np.full(len(batch.points), Stop.GRADIENT.value, dtype=object)
    found = judge.judge(batch.objective, Ended(batch.points, stop), batch.lam)
    judged = batch.objective.measure(found.params, batch.lam)
    seen = Seen(
        verdict=found.verdict,
        start=batch.objective.measure(batch.points, batch.lam).objective,
        judged=judged.objective,
        limit=found.limit_objective,
        error=judged.error,
    )
    return seen, wrong(batch, seen)


def _task(key: tuple[str, int, int]) -> list[Line]:
    name, root, round_ = key
    # The processes share the machine's cores between them already.
    with threadpool_limits(limits=1):
        return _judged(name, root, round_)


def _judged(name: str, root: int, round_: int) -> list[Line]:
    family = next(family for family in FAMILIES if family.name == name)
    judge = StandardJudge()
    rng = stream("controls", root, name, round_)
    return [line for batch in family.make(rng) for line in _lines(family, batch, judge)]


def _lines(family: Family, batch: Batch, judge: Judge) -> Iterator[Line]:
    if not len(batch.points):
        return
    seen, faults = judge_batch(batch, judge)
    gone = left(batch, seen)
    expected = np.array([Verdict(v) in batch.truth.expected for v in seen.verdict])
    for near in (False, True):
        some = batch.near == near
        chosen = [faults[k] for k in np.flatnonzero(some) if faults[k]]
        yield Line(
            family=family.name,
            truth=batch.truth.name,
            near=near,
            points=int(some.sum()),
            verdicts=Counter(map(str, seen.verdict[some])),
            wrong=len(chosen),
            left=int((some & gone).sum()),
            clear=int((some & batch.clear).sum()),
            settled=int((some & batch.clear & (expected | gone)).sum()),
            examples=chosen[:EXAMPLES],
        )


def _collected(parts: Iterable[list[Line]]) -> Confusion:
    found: dict[tuple[str, bool], Line] = {}
    for part in parts:
        for line in part:
            total = found.setdefault(
                (line.family, line.near), Line(line.family, line.truth, line.near)
            )
            total.add(line)
    order = [family.name for family in FAMILIES]
    truths = list(dict.fromkeys(line.truth for line in found.values()))

    def place(key: tuple[str, bool]) -> tuple[int, int, bool]:
        return truths.index(found[key].truth), order.index(key[0]), key[1]

    keys = sorted(found, key=place)
    return Confusion(tuple(found[key] for key in keys))
