"""Which trainer runs, and training by it.

The fused trainer serves gd, momentum and adam, with full or mini-batches, on multilayer perceptrons
with at most four hidden layers of at most 64 units (`DEEPEST` and `WIDEST` in
`sweep.training.fused.scheme`), with as many outputs, with any of this package's augmentations. To
torch goes everything else: users' augmentations, landscapes, convolutions and users' modules,
deeper or wider networks, the activation piecewise_linear, hinge_power with a p that is no whole
number, and lbfgs. Which of the two follows from the configuration alone, never from timing or
hardware, so that a study's rows are the same wherever it runs. On a GPU the fused one is
`sweep.training.fused.cuda`, imported by those who need it: numba's CUDA takes a while to load.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from sweep.errors import UserError
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
    if parts is None:
        return
    if objective.device.type == "cuda":
        from sweep.training.fused.cuda import prepare_fused_cuda

        prepare_fused_cuda(parts)
    else:
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
    asked for without enough data, or a GPU is asked for that numba cannot use.
    """
    parts = fused_parts(objective, optimizer)
    if parts is None:
        return train_batched(objective, start, lam, optimizer, stopping, order)
    if objective.device.type == "cuda":
        from sweep.training.fused.cuda import train_fused_cuda

        return train_fused_cuda(parts, start, lam, stopping, order)
    return train_fused(parts, start, lam, stopping, order)


def require_gpu() -> None:
    """`UserError` unless both trainers can use a GPU here."""
    if not torch.cuda.is_available():
        raise UserError("compute.device is 'cuda', but no GPU is to be seen here: 'cpu' works.")
    from sweep.training.fused.cuda import require_numba_cuda

    require_numba_cuda()
