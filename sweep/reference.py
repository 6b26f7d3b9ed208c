"""The search for a witness, which shows how well the base network of a cell can do.

"Bad" is relative to something better that is known to exist. Rows of a study are witnesses for one
another; a reference search adds some cheaply, from streams of its own, so that a small study or a
rare success does not leave the least error R* unknown. It never influences a row.

First ordinary starts. If none of them separates the data, constructive ones: networks a few times
as wide, which separate far more often, are trained and cut back to the cell's width by keeping the
units that contribute most; training goes on from there.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from sweep.constructions import INITIALISERS
from sweep.job import (
    Clock,
    JobResult,
    arm_objective,
    member_columns,
    one_core,
    planned_data,
)
from sweep.job_columns import Values
from sweep.job_memory import in_halves
from sweep.models.base import MODELS
from sweep.models.initialisers import Initialiser, KaimingUniform
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, Objective
from sweep.problems.base import Data, Landscape
from sweep.registry import Choice
from sweep.spec import NONE, Arm, Job
from sweep.training.base import OPTIMIZERS, STOPPING
from sweep.training.batches import BatchOrder
from sweep.training.trainer import train

#: Ordinary starts, and as many cut-back ones if these do not separate the data.
STARTS = 128
#: How many times as wide the networks are that are cut back.
WIDENING = 4


def run_reference(job: Job, device: str = "cpu") -> JobResult:
    """Rows of the witness search of the job's cell, in the schema of its study's rows.

    They carry the name of the cell's plain arm (so that their objectives serve it too), or
    "reference" when it has none.
    """
    with one_core():
        return _search(job, device)


def _search(job: Job, device: str) -> JobResult:
    clock = Clock()
    source = planned_data(job.cell)
    arm = plain_arm(job)
    job = replace(job, root=reference_root(job))
    objective = arm_objective(job.cell, arm, source, device)
    seeds = np.arange(job.block.first, job.block.end)

    def ordinary(some: np.ndarray) -> dict[str, Values]:
        start = objective.initial(ordinary_start(job), job.root, some.tolist())
        return member_columns(job, arm, objective, some, start, "all", clock)

    columns = in_halves(ordinary, seeds)
    if isinstance(source, Data) and not _separated(columns):
        cut = cut_back_starts(job, arm, source, objective, device)
        if cut is not None:

            def later(some: np.ndarray) -> dict[str, Values]:
                start = cut[some - job.block.end]
                return member_columns(job, arm, objective, some, start, "all", clock)

            more = in_halves(later, np.arange(job.block.end, job.block.end + len(cut)))
            columns = {name: [*columns[name], *more[name]] for name in columns}
    return JobResult(job, {name: list(v) for name, v in columns.items()}, clock.seconds)


def plain_arm(job: Job) -> Arm:
    """The cell's first arm that is the bare base network, or one made for the search."""
    for arm in job.cell.arms:
        if arm.augment.name == "none" and arm.regularizer.name == "none" and arm.weight_decay == 0:
            return arm
    return Arm("reference", NONE, NONE)


def ordinary_start(job: Job) -> Initialiser:
    """The cell's initialiser; in place of one that constructs its points, torch's usual law."""
    init = INITIALISERS.build(job.cell.init)
    return init if isinstance(init, Initialiser) else KaimingUniform(init.augment_scale)


def reference_root(job: Job) -> int:
    """The root of the search's own random streams, by (root, cell)."""
    digest = hashlib.sha256(f"reference\x1f{job.root}\x1f{job.cell.id}".encode()).digest()
    return int.from_bytes(digest[:7], "little")


def cut_back_starts(
    job: Job, arm: Arm, source: Data | Landscape, objective: Objective, device: str
) -> np.ndarray | None:
    """Starts (S, P) cut out of trained wider networks, best first; None if not one layer."""
    model = MODELS.build(job.cell.model)
    if not isinstance(model, Mlp) or not isinstance(objective, DataObjective):
        return None
    if not isinstance(model.width, int):
        return None
    cell = job.cell
    wide_model = Choice(cell.model.name, {**cell.model.settings, "width": WIDENING * model.width})
    wide = arm_objective(replace(cell, model=wide_model), arm, source, device)
    seeds = list(range(job.block.first, job.block.end))
    ending = train(
        wide,
        wide.initial(ordinary_start(job), job.root + 1, seeds),
        None,
        OPTIMIZERS.build(cell.optimizer),
        STOPPING.build(cell.stopping),
        BatchOrder(job.root, seeds),
    )
    best_first = np.argsort(wide.measure(ending.params).loss, kind="stable")
    inputs = source.x.shape[1] if isinstance(source, Data) else 0
    return _cut(ending.params[best_first], inputs, WIDENING * model.width, model.width)


def _cut(params: np.ndarray, inputs: int, wide: int, width: int) -> np.ndarray:
    """One-layer networks (S, P) with only the `width` units of largest |a_j|·‖(w_j, b_j)‖."""
    count = len(params)
    weights = params[:, : wide * inputs].reshape(count, wide, inputs)
    biases = params[:, wide * inputs : wide * (inputs + 1)]
    outgoing = params[:, wide * (inputs + 1) : wide * (inputs + 2)]
    size = np.abs(outgoing) * np.sqrt((weights**2).sum(axis=2) + biases**2)
    keep = np.sort(np.argsort(-size, axis=1, kind="stable")[:, :width], axis=1)
    rows = np.arange(count)[:, None]
    parts = [weights[rows, keep].reshape(count, -1), biases[rows, keep], outgoing[rows, keep]]
    return np.hstack([*parts, params[:, -1:]])


def _separated(columns: dict[str, Values]) -> bool:
    errors = [np.asarray(columns[name], dtype=float) for name in ("final_error", "judged_error")]
    return any(bool((error == 0).any()) for error in errors)
