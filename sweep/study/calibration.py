"""How long a seed takes on this machine, and how many seeds make a job of a good length.

Starting a job and reporting its end cost about a tenth of a second; a job that is lost with its
machine is lost whole. So jobs last some seconds where the study is long enough. They last longer
where a step costs nearly the same for few members as for many, as in torch: dividing such a study
finely would pay for the same steps again and again. The size is chosen once, when the blocks enter
study.json: it never changes a row, and a later run keeps it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

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
#: So long at most, or twice what it takes with the fewest seeds, where that pays.
LONGEST = 300.0
#: What a job takes however few its seeds is at most so large a share of what its seeds take.
LEAST_GAIN = 0.25
#: Jobs that a worker has at least, so that the last ones end at about the same time.
JOBS_PER_WORKER = 4
#: Studies of so few jobs, each forecast to be so short, are not measured: it would not pay.
FEW_JOBS, FORECAST_SECONDS = 32, 60.0
#: Members whose training is timed, many (lanes are full) and few, and whose judging.
TRAINED, JUDGED = (64, 8), (8, 2)
#: Training is timed for at least so many steps and, unless it ends before, so many seconds.
STEPS, SECONDS = 200, 0.3

#: Seconds after which a person is told how far the timing is, each time.
PATIENCE = 10.0

_SECONDS_PER_NUMBER = 1e-8  # and step, roughly: measured shapes lie within a factor of three


class Cost(NamedTuple):
    """Seconds on one thread: of a job of a cell however few its seeds, and of each of its seeds.

    A seed is all its arms and draws, trained and judged.
    """

    job: float
    seed: float


def block_size(study: Study, compute: Compute) -> int:
    """Seeds per block for seeds that are in no block yet, where nothing is measured."""
    if compute.block_size is not None:
        return compute.block_size
    return max(1, min(study.seeds.most, MEMBERS_PER_JOB // _members_per_seed(study)))


def silent(sentence: str) -> None:
    """Tells nobody."""


def measured_block_size(
    study: Study,
    compute: Compute,
    costs: Mapping[str, Cost] | None = None,
    note: Callable[[str], None] = silent,
) -> int:
    """The same from `costs` (default: a calibration), if the study is long enough for one to pay.

    Not for seeds until a precision is reached: where they end depends on the blocks, and must not
    depend on a clock. Not for a GPU: this machine may have none.
    """
    plain = block_size(study, compute)
    few = -(-study.seeds.most // plain) * len(study.cells) <= FEW_JOBS
    fixed = compute.block_size is not None or study.seeds.half_width is not None
    if fixed or compute.device != "cpu" or (few and _forecast(study, plain) < FORECAST_SECONDS):
        return plain
    return size_for(costs or cell_costs(study, note), study, worker_count(compute))


def worker_count(compute: Compute) -> int:
    """Jobs at the same time, as far as this machine can say."""
    return compute.workers or (1 if compute.name == "serial" else os.cpu_count() or 1)


def size_for(costs: Mapping[str, Cost], study: Study, workers: int) -> int:
    """Seeds per block when jobs and seeds of each cell (id) cost so much, alone on a worker."""
    seeds, cells = study.seeds.most, len(costs)
    job = sum(cost.job for cost in costs.values()) / cells
    seed = max(sum(cost.seed for cost in costs.values()) / cells, 1e-9)
    each = seeds * cells / workers  # seeds that a worker has
    span = min(LONG, max(SHORT, seed * each / JOBS_PER_WORKER))
    paying = min(job / LEAST_GAIN, max(LONGEST, 2 * job) - job) / seed
    size = round(max(span / seed, min(paying, each)))
    most = max(1, MOST_MEMBERS_PER_JOB // _members_per_seed(study))
    least = -(-seeds * cells // MOST_JOBS)
    return min(seeds, max(least, min(size, most), 1))


def cell_costs(study: Study, note: Callable[[str], None] = silent) -> dict[str, Cost]:
    """What jobs of each cell (id) cost.

    Measured with machine code at hand, from a few members: what takes longer than a moment is
    trained for some of its steps only, as if those that have not stopped used all the others. By
    the processor's clock, so that a machine that is busy at the moment does not seem a slow one.
    Where many kernels must be made this takes minutes; `note` is told how far it is.
    """
    found, told = {}, time.monotonic()
    with one_core():
        for number, cell in enumerate(study.cells, start=1):
            source, job, seed = PROBLEMS.build(cell.problem).load(), 0.0, 0.0
            for arm in cell.arms:
                if time.monotonic() - told >= PATIENCE:
                    where = f"cell {number} of {len(study.cells)}, arm {arm.name}"
                    note(f"Timing a few members, and compiling what they need: {where}.")
                    told = time.monotonic()
                cost = _arm_cost(study, cell, arm, source)
                # A job trains all draws of an arm together.
                job, seed = job + cost.job, seed + arm.draws * cost.seed
            found[cell.id] = Cost(job, seed)
    return found


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


def _arm_cost(study: Study, cell: Cell, arm: Arm, source: Data | Landscape) -> Cost:
    """What an arm costs with a single draw."""
    objective, judge = arm_objective(cell, arm, source), JUDGES.build(cell.judge)
    seeds, root = list(range(max(TRAINED))), study.seeds.root
    lambdas = arm_lambdas(arm, root, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas[:1], len(seeds), axis=0)
    start = objective.initial(INITIALISERS.build(cell.init), root, seeds, lam)
    optimizer = OPTIMIZERS.build(cell.optimizer)

    def training(steps: int, members: int) -> tuple[Ending, float]:
        limit = Choice(cell.stopping.name, {**cell.stopping.settings, "max_steps": steps})
        some = None if lam is None else lam[:members]
        order = BatchOrder(root, seeds[:members])
        began = time.process_time()
        ending = train(objective, start[:members], some, optimizer, STOPPING.build(limit), order)
        return ending, time.process_time() - began

    def judging(ending: Ending, members: int) -> float:
        some = Ending(ending.params[:members], ending.steps[:members], ending.stop[:members])
        began = time.process_time()
        judge.judge(objective, some, None if lam is None else lam[:members])
        return time.process_time() - began

    prepare(objective, optimizer)
    most = int(cell.stopping.settings["max_steps"])
    steps = min(STEPS, most)
    ending, seconds = training(steps, max(TRAINED))
    while (left := np.mean(ending.stop == Stop.STEPS)) and steps < most and seconds < SECONDS:
        steps = min(4 * steps, most)
        ending, seconds = training(steps, max(TRAINED))
    trained = _line(TRAINED, seconds, training(steps, min(TRAINED))[1])
    judging(ending, max(JUDGED))  # makes or loads machine code: of all that these members need
    judged = _line(JUDGED, *(judging(ending, members) for members in JUDGED))
    # What has not stopped goes on as before.
    whole = 1 + float(left) * (most / max(steps, 1) - 1)
    return Cost(whole * trained.job + judged.job, whole * trained.seed + judged.seed)


def _line(members: tuple[int, int], many: float, few: float) -> Cost:
    """The cost of a job and of a member that explain the seconds of many and of few of them."""
    most, least = members
    job = min(max((most * few - least * many) / (most - least), 0.0), many)
    return Cost(job, (many - job) / most)
