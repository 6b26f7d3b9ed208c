"""Which trainer runs, and training by it.

The fused trainer serves multilayer perceptrons with the analytic parts of the registries; torch
serves everything else. Which of the two follows from the configuration alone, never from timing or
hardware, so that a study's rows are the same wherever it runs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sweep.models.objective import Objective
from sweep.training.base import Ending, Optimizer, Stopping
from sweep.training.batched import train_batched
from sweep.training.batches import BatchOrder
from sweep.training.fused.cpu import prepare_fused, train_fused
from sweep.training.fused.scheme import fused_parts

Trainer = Literal["fused", "torch"]


def trainer_of(objective: Objective, optimizer: Optimizer) -> Trainer:
    """The trainer of an objective and an optimizer."""
    return "torch" if fused_parts(objective, optimizer) is None else "fused"


def prepare(objective: Objective, optimizer: Optimizer) -> None:
    """Compile what `train` will need, or load it from the cache; does nothing for torch."""
    parts = fused_parts(objective, optimizer)
    if parts is not None and objective.device.type == "cpu":
        prepare_fused(parts)


def train(
    objective: Objective,
    start: np.ndarray,
    lam: np.ndarray | None,
    optimizer: Optimizer,
    stopping: Stopping,
    order: BatchOrder | None = None,
) -> Ending:
    """Train members from `start` (S, P), with λ (S, M), each until its own rule stops it.

    `order` is needed by an optimizer with a batch size. Raises `UserError` when mini-batches are
    asked for without enough data.
    """
    parts = fused_parts(objective, optimizer)
    # CUDA kernels of the fused programs are not wired in yet: torch serves that device.
    if parts is None or objective.device.type != "cpu":
        return train_batched(objective, start, lam, optimizer, stopping, order)
    return train_fused(parts, start, lam, stopping, order)
