"""Fused training on the CPU: one thread, LANES members at a time in its vector registers."""

from __future__ import annotations

import numpy as np

from sweep.training.base import STOPS, Ending, Stopping
from sweep.training.batches import BatchOrder, batch_key
from sweep.training.fused.build import trainer
from sweep.training.fused.records import NO_STEP, Queue, Results, Rule
from sweep.training.fused.scheme import FusedParts


def train_fused(
    parts: FusedParts,
    start: np.ndarray,
    lam: np.ndarray | None,
    stopping: Stopping,
    order: BatchOrder | None = None,
) -> Ending:
    """Train members from `start` (S, P), with λ (S, M), each until its own rule stops it."""
    members = len(start)
    results = Results(
        np.zeros((members, parts.objective.n_params)),
        np.zeros(members, dtype=np.int64),
        np.zeros(members, dtype=np.int64),
    )
    queue = Queue(
        np.ascontiguousarray(start, dtype=np.float64),
        parts.strengths(lam, members),
        np.full(members, float(parts.optimizer.lr)),
        batch_keys(parts, order, members),
    )
    rule = Rule(int(stopping.max_steps), float(stopping.gradient), float(stopping.loss))
    tables = parts.tables(rule.max_steps)
    run = trainer(parts.scheme)
    run(queue, parts.points, parts.widths, parts.net, tables, rule, results)
    return Ending(results.params, results.steps, np.array(STOPS, dtype=object)[results.stop])


def prepare_fused(parts: FusedParts) -> None:
    """Compile the scheme, or load its machine code: train nobody."""
    nobody = np.zeros((0, parts.objective.n_params))
    batched = parts.optimizer.batch_size is not None
    train_fused(parts, nobody, None, NO_STEP, BatchOrder(0, []) if batched else None)


def batch_keys(parts: FusedParts, order: BatchOrder | None, members: int) -> np.ndarray:
    """The Philox key of every member's stream of mini-batches, (S, 2); empty for full batches."""
    if parts.optimizer.batch_size is None:
        return np.zeros((0, 2), dtype=np.uint64)
    if order is None:
        raise ValueError("mini-batches need an order")
    keys = [batch_key(order, member) for member in range(members)]
    return np.array(keys, dtype=np.uint64).reshape(-1, 2)
