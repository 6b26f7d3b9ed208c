"""Training by a fused kernel: which objectives it covers, and the call.

Axis letters as in `sweep.training.fused.program`; S members, M strengths λ.
"""

from __future__ import annotations

import numpy as np

from sweep.kernels.plain import TILE
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.training.base import STOPS, Ending, Optimizer, Stopping
from sweep.training.batches import BatchOrder, batch_key, batch_plan
from sweep.training.fused.build import Scheme, trainer
from sweep.training.fused.members import Points, Queue, Results, Rule, Tables
from sweep.training.fused.program import Net
from sweep.training.optimizers import Adam, GradientDescent, Momentum

DEEPEST, WIDEST = 4, 64


def covers(objective: Objective, optimizer: Optimizer) -> bool:
    """Whether the fused trainer serves this configuration; else torch does."""
    if not isinstance(objective, DataObjective) or not isinstance(objective.network, MlpNetwork):
        return False
    network, settings = objective.network, objective.loss.settings
    return (
        len(network.widths) <= DEEPEST
        and max(network.widths) <= WIDEST
        and all(float(value).is_integer() for value in settings)
        and isinstance(objective.augmentation, NoAugmentation | ExpSkip | ExtraNeuron)
        and isinstance(objective.regularizer, NoRegularizer | Augment)
        and isinstance(optimizer, GradientDescent | Momentum | Adam)
    )


def train_fused(
    objective: DataObjective,
    start: np.ndarray,
    lam: np.ndarray | None,
    optimizer: GradientDescent | Momentum | Adam,
    stopping: Stopping,
    order: BatchOrder | None = None,
) -> Ending:
    """Train members from `start` (S, P), with λ (S, M), each until its own rule stops it.

    The same contract as `sweep.training.trainer.train`, for configurations that `covers` accepts.
    """
    members = len(start)
    results = Results(
        np.zeros((members, objective.n_params)),
        np.zeros(members, dtype=np.int64),
        np.zeros(members, dtype=np.int64),
    )
    batched = optimizer.batch_size is not None
    net = net_of(objective)
    points = points_of(objective, optimizer.batch_size)
    queue = Queue(
        np.ascontiguousarray(start, dtype=np.float64),
        np.zeros((members, 0)) if lam is None else np.ascontiguousarray(lam, dtype=np.float64),
        np.full(members, float(optimizer.lr)),
        _keys(order, members) if batched else np.zeros((0, 2), dtype=np.uint64),
    )
    rule = Rule(stopping.max_steps, stopping.gradient, stopping.loss)
    run = trainer(scheme_of(objective, optimizer))
    widths = np.array(objective.network.widths)
    run(queue, points, widths, net, tables_of(optimizer, stopping.max_steps), rule, results)
    return Ending(results.params, results.steps, np.array(STOPS, dtype=object)[results.stop])


def scheme_of(objective: DataObjective, optimizer: Optimizer) -> Scheme:
    """The formulas to compile."""
    activation = objective.network.activation
    assert activation is not None
    names = {GradientDescent: "gd", Momentum: "momentum", Adam: "adam"}
    return Scheme(
        activation.formula,
        activation.settings,
        objective.loss.formula,
        objective.loss.settings,
        not isinstance(objective.augmentation, ExtraNeuron),  # for none either would do
        names[type(optimizer)],
        optimizer.batch_size is not None,
    )


def net_of(objective: DataObjective) -> Net:
    """Shapes and constants; the points are padded to whole tiles."""
    n_inputs = objective.x.shape[1]
    n_added = (objective.n_params - objective.n_base) // (n_inputs + 2)
    return Net(
        n_points=-(-objective.n_data // TILE) * TILE,
        n_inputs=n_inputs,
        n_base=objective.n_base,
        n_added=n_added,
        n_params=objective.n_params,
        n_units=sum(objective.network.widths) + n_added,
        decayed=objective.n_params if objective.augmentation.decayed else objective.n_base,
        decay=float(objective.weight_decay),
        penalised=int(isinstance(objective.regularizer, Augment)),
    )


def points_of(objective: DataObjective, batch_size: int | None) -> Points:
    """The data in the program's layout. Padding repeats the last point with weight 0."""
    x, y = objective.x.cpu().numpy(), objective.y.cpu().numpy()
    padding = -len(y) % TILE
    batch, factor = batch_plan(len(y), batch_size)
    return Points(
        np.ascontiguousarray(np.pad(x, ((0, padding), (0, 0)), mode="edge").T).ravel(),
        np.pad(y, (0, padding), mode="edge"),
        np.pad(np.ones(len(y)), (0, padding)),
        batch,
        factor,
    )


def tables_of(optimizer: GradientDescent | Momentum | Adam, max_steps: int) -> Tables:
    """What the t-th update needs besides the learning rate, t = 1 … max_steps."""
    t = np.arange(1, max(1, max_steps) + 1, dtype=np.float64)
    ones = np.ones_like(t)
    if isinstance(optimizer, Adam):
        constants = np.array([optimizer.beta1, optimizer.beta2, optimizer.eps])
        rate, spread = 1 / (1 - optimizer.beta1**t), 1 / (1 - optimizer.beta2**t)
        return Tables(2, rate, spread, constants)
    if isinstance(optimizer, Momentum):
        return Tables(1, ones, ones, np.array([optimizer.momentum]))
    return Tables(0, ones, ones, np.zeros(1))


def _keys(order: BatchOrder | None, members: int) -> np.ndarray:
    """The Philox key of every member's stream of mini-batches, (S, 2)."""
    if order is None:
        raise ValueError("mini-batches need an order")
    return np.array([batch_key(order, member) for member in range(members)]).reshape(-1, 2)
