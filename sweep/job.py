"""The waist: one job in, its rows out. Knows no cluster, no tracker, no config library."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sweep.constructions import INITIALISERS
from sweep.errors import UserError
from sweep.job_columns import Values, identity_columns, kept_params, measured_columns
from sweep.job_memory import in_halves
from sweep.job_report import JobReport
from sweep.judge import JUDGES
from sweep.kernels.turns import first_compilation
from sweep.lambdas import LAWS
from sweep.models.base import AUGMENTATIONS, MODELS
from sweep.models.initialisers import Constructing
from sweep.models.losses import LOSSES
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import REGULARIZERS
from sweep.problems import PROBLEMS, Data, Landscape
from sweep.spec import Arm, Cell, Job
from sweep.training.base import OPTIMIZERS, STOPPING, Ending
from sweep.training.batches import BatchOrder
from sweep.training.trainer import prepare, train, trainer_of
from sweep.verdicts import Stop

#: Members of an arm whose starts are judged so that machine code is made: most kernels are met.
REHEARSAL = 16
#: The columns of rows from which a report is made.
REPORTED = ("arm", "verdict", "stop", "final_error")


@dataclass(frozen=True, eq=False)
class JobResult:
    """All rows of one job, column by column (names and kinds: `sweep.rows.columns`)."""

    job: Job
    columns: Mapping[str, Sequence[Any]]
    seconds: Mapping[str, float]


class Clock:
    """Wall time per named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A block whose wall time is added to the stage `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def run_job(job: Job, device: str = "cpu", params: str = "auto") -> JobResult:
    """Train and judge every member of the job; the rows depend on the members' keys alone.

    `device` is 'cpu' or 'cuda'; `params` is `store.params` and decides the column `params` only.
    """
    clock = Clock()
    source = planned_data(job.cell)
    with one_core():
        with clock.stage("compile"), first_compilation() as first:
            for arm in job.cell.arms if first else ():
                _rehearse(job, arm, source, device)
        parts = [_arm_columns(job, arm, source, device, params, clock) for arm in job.cell.arms]
    columns = {name: [v for part in parts for v in part[name]] for name in parts[0]}
    return JobResult(job, columns, clock.seconds)


@contextmanager
def one_core() -> Iterator[None]:
    """A block in which linear algebra uses one thread: how it splits sums must not reach a row."""
    with threadpool_limits(limits=1):
        yield


def planned_data(cell: Cell) -> Data | Landscape:
    """The cell's problem; `UserError` if it is no longer the one the study was planned with."""
    source = PROBLEMS.build(cell.problem).load()
    if source.digest != cell.data_digest:
        raise UserError(
            f"problem '{cell.problem.name}' is not the data this study was planned with: "
            "restore the file, or run the command again to start a study of the new data."
        )
    return source


def report_of(result: JobResult, seconds: Mapping[str, float]) -> JobReport:
    """The small account of a job; `seconds` adds stages that came after training and judging."""
    arms = np.asarray(result.columns["arm"], dtype=object)

    def count(column: str) -> dict[str, dict[str, int]]:
        values = np.asarray(result.columns[column], dtype=object)
        return {str(arm): dict(Counter(map(str, values[arms == arm]))) for arm in np.unique(arms)}

    errors = np.asarray(result.columns["final_error"], dtype=float)
    means = {
        str(arm): float(np.mean(finite))
        for arm in np.unique(arms)
        if (finite := errors[(arms == arm) & np.isfinite(errors)]).size
    }
    block = result.job.block
    return JobReport(
        job_id=result.job.id,
        cell=result.job.cell.id,
        first_seed=block.first,
        n_seeds=block.count,
        n_rows=len(arms),
        verdicts=count("verdict"),
        stops=count("stop"),
        mean_final_error=means,
        seconds={**result.seconds, **seconds},
    )


def arm_objective(cell: Cell, arm: Arm, source: Data | Landscape, device: str = "cpu") -> Objective:
    """The objective F that an arm of a cell minimises."""
    return build_objective(
        source,
        model=MODELS.build(cell.model),
        augmentation=AUGMENTATIONS.build(arm.augment),
        loss=LOSSES.build(cell.loss),
        regularizer=REGULARIZERS.build(arm.regularizer),
        weight_decay=arm.weight_decay,
        device=device,
    )


def arm_lambdas(arm: Arm, root: int, size: int) -> np.ndarray | None:
    """λ of every draw, (draws, M): M = `size` for laws per neuron, else 1; None without λ."""
    if arm.lam is None:
        return None
    law = LAWS.build(arm.lam)
    length = size if law.per_neuron else 1
    return np.stack([law.sample(root, draw, length) for draw in range(law.draws)])


def _arm_columns(
    job: Job, arm: Arm, source: Data | Landscape, device: str, params: str, clock: Clock
) -> dict[str, Values]:
    objective = arm_objective(job.cell, arm, source, device)

    def columns_of(seeds: np.ndarray) -> dict[str, Values]:
        start = _starts(job, arm, objective, seeds)
        return member_columns(job, arm, objective, seeds, start, params, clock)

    return in_halves(columns_of, np.arange(job.block.first, job.block.end))


def _starts(job: Job, arm: Arm, objective: Objective, seeds: np.ndarray) -> np.ndarray:
    """Where the seeds start, (seeds, P); or every member (members, P), where λ may matter to it."""
    init = INITIALISERS.build(job.cell.init)
    lambdas = arm_lambdas(arm, job.root, objective.n_lambda)
    if lambdas is None or not isinstance(init, Constructing):
        return objective.initial(init, job.root, seeds.tolist())
    each = [np.tile(lambdas[draw], (len(seeds), 1)) for draw in job.draws(arm)]
    return np.vstack([objective.initial(init, job.root, seeds.tolist(), lam) for lam in each])


def member_columns(
    job: Job,
    arm: Arm,
    objective: Objective,
    seeds: np.ndarray,
    start: np.ndarray,
    params: str,
    clock: Clock,
) -> dict[str, Values]:
    """Rows of one arm, column by column: every seed once per draw.

    `start` is that of the seeds (seeds, P), or of all members (members, P) draw by draw.
    """
    cell = job.cell
    lambdas = arm_lambdas(arm, job.root, objective.n_lambda)
    # Members in the order draw by draw, all seeds within a draw.
    draws = np.repeat(np.array(job.draws(arm)), len(seeds))
    times = len(job.draws(arm))
    start = np.resize(start, (times * len(seeds), start.shape[1]))  # the seeds' again per draw
    member_lam = None if lambdas is None else lambdas[draws]
    order = BatchOrder(job.root, np.tile(seeds, times).tolist())
    optimizer, stopping = OPTIMIZERS.build(cell.optimizer), STOPPING.build(cell.stopping)
    with clock.stage("compile"):
        prepare(objective, optimizer)
    with clock.stage("train"):
        ending = train(objective, start, member_lam, optimizer, stopping, order)
    with clock.stage("judge"):
        final = objective.measure(ending.params, member_lam)
        judgement = JUDGES.build(cell.judge).judge(objective, ending, member_lam)
        judged = objective.measure(judgement.params, member_lam)
    return {
        **identity_columns(job, arm, draws, order.seeds, member_lam),
        **measured_columns(ending, final, judgement, judged),
        "trainer": [trainer_of(objective, optimizer)] * len(start),
        "params": kept_params(judgement, params),
    }


def _rehearse(job: Job, arm: Arm, source: Data | Landscape, device: str) -> None:
    """Have the arm's machine code made: judging a few starts goes through most of the judge's."""
    cell, seeds = job.cell, range(job.block.first, min(job.block.end, job.block.first + REHEARSAL))
    objective = arm_objective(cell, arm, source, device)
    prepare(objective, OPTIMIZERS.build(cell.optimizer))
    start = objective.initial(INITIALISERS.build(cell.init), job.root, seeds)
    lambdas = arm_lambdas(arm, job.root, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas[:1], len(start), axis=0)
    steps = np.zeros(len(start), dtype=np.int64)
    ending = Ending(start, steps, np.full(len(start), Stop.STEPS, dtype=object))
    JUDGES.build(cell.judge).judge(objective, ending, lam)
