"""How long a seed takes on this machine, and how many seeds make a job of a good length.

Starting a job and reporting its end cost about a tenth of a second; a job that is lost with its
machine is lost whole. So jobs last some seconds where the study is long enough. The size is chosen
once, when the blocks enter study.json: it never changes a row, and a later run keeps it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import numpy as np

from sweep.constructions import INITIALISERS
from sweep.job import arm_lambdas, arm_objective, one_core
from sweep.judge import JUDGES
from sweep.planning import MOST_JOBS
from sweep.problems import PROBLEMS, Data, Landscape
from sweep.registry import Choice
from sweep.spec import Arm, Cell, Compute, Study
from sweep.training.base import OPTIMIZERS, STOPPING, Ending
from sweep.training.batches import BatchOrder
from sweep.training.trainer import prepare, train
from sweep.verdicts import Stop

#: Members of a job where nothing is measured, and most where something is: a job's rows are built
#: in memory, about 10 kB each.
MEMBERS_PER_JOB = 2000
MOST_MEMBERS_PER_JOB = 20_000
#: A job lasts so long at most, if its study is long enough, and so long at least.
LONG, SHORT = 20.0, 2.0
#: Jobs that a worker has at least, so that the last ones end at about the same time.
JOBS_PER_WORKER = 4
#: Studies of so few jobs, each forecast to be so short, are not measured: it would not pay.
FEW_JOBS, FORECAST_SECONDS = 32, 60.0
#: Members whose training and judging is timed: lanes are full, judges are met.
TRAINED, JUDGED = 64, 8
#: Training is timed for at least so many steps and, unless it ends before, so many seconds.
STEPS, SECONDS = 200, 0.3

_SECONDS_PER_NUMBER = 1e-8  # and step, roughly: measured shapes lie within a factor of three


def block_size(study: Study, compute: Compute) -> int:
    """Seeds per block for seeds that are in no block yet, where nothing is measured."""
    if compute.block_size is not None:
        return compute.block_size
    return max(1, min(study.seeds.most, MEMBERS_PER_JOB // _members_per_seed(study)))


def measured_block_size(
    study: Study, compute: Compute, rates: Mapping[str, float] | None = None
) -> int:
    """The same from `rates` (default: a calibration), if the study is long enough for one to pay.

    Not for seeds until a precision is reached: where they end depends on the blocks, and must not
    depend on a clock. Not for a GPU: this machine may have none.
    """
    plain = block_size(study, compute)
    few = -(-study.seeds.most // plain) * len(study.cells) <= FEW_JOBS
    fixed = compute.block_size is not None or study.seeds.half_width is not None
    if fixed or compute.device != "cpu" or (few and _forecast(study, plain) < FORECAST_SECONDS):
        return plain
    return size_for(rates or seconds_per_seed(study), study, worker_count(compute))


def worker_count(compute: Compute) -> int:
    """Jobs at the same time, as far as this machine can say."""
    return compute.workers or (1 if compute.name == "serial" else os.cpu_count() or 1)


def size_for(rates: Mapping[str, float], study: Study, workers: int) -> int:
    """Seeds per block when a seed of each cell (id) takes so many seconds, alone on a worker."""
    seeds, mean = study.seeds.most, max(sum(rates.values()) / len(rates), 1e-9)
    share = mean * len(rates) * seeds / workers / JOBS_PER_WORKER
    size = round(min(LONG, max(SHORT, share)) / mean)
    most = max(1, MOST_MEMBERS_PER_JOB // _members_per_seed(study))
    least = -(-seeds * len(rates) // MOST_JOBS)
    return min(seeds, max(least, min(size, most), 1))


def seconds_per_seed(study: Study) -> dict[str, float]:
    """Seconds of a seed (all arms and draws) of each cell: trained and judged, on one thread.

    Measured with machine code at hand, from a few members: what takes longer than a moment is
    trained for some of its steps only, as if those that have not stopped used all the others.
    """
    with one_core():
        return {cell.id: _cell_seconds(study, cell) for cell in study.cells}


def _members_per_seed(study: Study) -> int:
    return max(cell.members_per_seed for cell in study.cells)


def _forecast(study: Study, seeds: int) -> float:
    """Seconds of the longest job of that many seeds, from sizes alone."""
    found = 0.0
    for cell in study.cells:
        source, steps = PROBLEMS.build(cell.problem).load(), cell.stopping.settings["max_steps"]
        numbers = sum(arm.draws * arm_objective(cell, arm, source).work for arm in cell.arms)
        found = max(found, _SECONDS_PER_NUMBER * numbers * int(steps) * seeds)
    return found


def _cell_seconds(study: Study, cell: Cell) -> float:
    source = PROBLEMS.build(cell.problem).load()
    return sum(arm.draws * _member_seconds(study, cell, arm, source) for arm in cell.arms)


def _member_seconds(study: Study, cell: Cell, arm: Arm, source: Data | Landscape) -> float:
    objective, judge = arm_objective(cell, arm, source), JUDGES.build(cell.judge)
    seeds, root = list(range(TRAINED)), study.seeds.root
    lambdas = arm_lambdas(arm, root, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas[:1], TRAINED, axis=0)
    start = objective.initial(INITIALISERS.build(cell.init), root, seeds, lam)
    optimizer, order = OPTIMIZERS.build(cell.optimizer), BatchOrder(root, seeds)

    def training(steps: int) -> tuple[Ending, float]:
        limit = Choice(cell.stopping.name, {**cell.stopping.settings, "max_steps": steps})
        began = time.perf_counter()
        ending = train(objective, start, lam, optimizer, STOPPING.build(limit), order)
        return ending, time.perf_counter() - began

    def judging(ending: Ending) -> float:
        some = Ending(ending.params[:JUDGED], ending.steps[:JUDGED], ending.stop[:JUDGED])
        began = time.perf_counter()
        judge.judge(objective, some, None if lam is None else lam[:JUDGED])
        return time.perf_counter() - began

    prepare(objective, optimizer)
    most = int(cell.stopping.settings["max_steps"])
    steps = min(STEPS, most)
    ending, seconds = training(steps)
    judging(ending)  # makes or loads machine code
    while (left := np.mean(ending.stop == Stop.STEPS)) and steps < most and seconds < SECONDS:
        steps = min(4 * steps, most)
        ending, seconds = training(steps)
    whole = seconds * (1 + float(left) * (most / max(steps, 1) - 1))
    return whole / TRAINED + judging(ending) / JUDGED
