"""How fast `gradient_and_hessian` is beside torch.func's vmapped Hessian; for benchmark scripts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from sweep.judge.second_order import gradient_and_hessian
from sweep.models.lanes import one_thread
from sweep.models.objective import DataObjective


@dataclass(frozen=True)
class HessianSpeed:
    """Seconds per member on one thread, and the largest difference relative to torch's largest.

    `torch_batch` is the number of members at once with which torch was fastest.
    """

    ours: float
    torch: float
    torch_batch: int
    difference: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.torch / self.ours


def hessian_speed(
    objective: DataObjective,
    params: np.ndarray,
    lam: np.ndarray | None,
    batches: Sequence[int] = (8, 32, 64),
    repeats: int = 3,
) -> HessianSpeed:
    """Both at params (S, P), λ (S, M), compiled beforehand; medians of `repeats`.

    torch computes the Hessian alone, eagerly, in each of the batch sizes (at most S members).
    """
    points = torch.tensor(params)
    strengths = torch.zeros(len(params), 0) if lam is None else torch.tensor(lam)

    def value(theta: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        column = None if lam is None else strength.unsqueeze(1)
        return objective.value(theta.unsqueeze(1), column)[0]

    second = torch.func.vmap(torch.func.hessian(value))
    found = gradient_and_hessian(objective, params, lam)[2]
    with one_thread(), warnings.catch_warnings():
        # torch.func.hessian itself calls what torch deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        ours = _median(lambda: gradient_and_hessian(objective, params, lam), repeats) / len(params)
        times = {}
        for batch in sorted({min(batch, len(params)) for batch in batches}):
            some, few = points[:batch], strengths[:batch]
            reference = second(some, few).numpy()
            times[batch] = _median(partial(second, some, few), repeats) / batch
    best = min(times, key=lambda batch: times[batch])
    difference = np.abs(found[: len(reference)] - reference).max() / np.abs(reference).max()
    return HessianSpeed(ours, times[best], best, float(difference))


def _median(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
