#!/usr/bin/env python
"""How fast the judge's gradient and Hessian are, against torch.func's vmapped Hessian.

    python scripts/benchmark_second_order.py --json second_order.json

Both on one thread, on the shapes of `benchmark_training.py`; torch gets the best of several batch
sizes and computes the Hessian alone. Ratios hold within one run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmark_peers import reference_shapes

from sweep.judge.smooth.second_order import gradient_and_hessian
from sweep.models.lanes import one_thread
from sweep.models.objective import DataObjective

BAR = 5.0  # least ratio on every shape


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


def main() -> int:
    shapes = {shape.name: shape for shape in reference_shapes()}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=",".join(shapes), help="with commas")
    parser.add_argument("--members", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = asked.shapes.split(",")
    if unknown := set(names) - set(shapes):
        parser.error(f"--shapes {', '.join(sorted(unknown))}: accepted are {', '.join(shapes)}")
    found = {}
    print(f"{'shape':10} {'ours, µs':>9} {'torch, µs':>10} {'batch':>6} {'ratio':>6}  difference")
    for name in names:
        objective = shapes[name].objective
        params, lam = shapes[name].members(asked.members)
        speed = found[name] = hessian_speed(objective, params, lam, repeats=asked.repeats)
        print(
            f"{name:10} {1e6 * speed.ours:9.4g} {1e6 * speed.torch:10.4g} {speed.torch_batch:6}"
            f" {speed.ratio:6.1f}  {speed.difference:.1g}",
            flush=True,
        )
    if asked.json is not None:
        records = {name: {**asdict(one), "ratio": one.ratio} for name, one in found.items()}
        asked.json.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    return 0 if all(one.ratio >= BAR for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
