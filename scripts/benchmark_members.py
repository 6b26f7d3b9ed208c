#!/usr/bin/env python
"""Whether a member costs the same among a thousand as among a million, and in the same memory.

    python scripts/benchmark_members.py --members 1000,10000,100000,1000000

The fused trainer alone, on one core: XOR, two ReLU units, full-batch Adam until the default
stopping rule ends each member, in jobs of `--block` members with starts from the keyed streams. No
judging and no storing: `benchmark_end_to_end.py` has those. Small counts are timed several times,
and the median is taken.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.training.base import Standard
from sweep.training.batches import BatchOrder
from sweep.training.optimizers import Adam
from sweep.training.trainer import prepare, train

ROOT = 0
#: Bar: time per member, the dearest count against the cheapest, from so many members on.
FLAT, FROM = 1.1, 1000


def peak_mb() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(members: int, block: int) -> float:
    """The time to draw and train so many members, one job after the other."""
    data = PROBLEMS.build(Choice("xor")).load()
    objective = build_objective(
        data, Mlp((2,), Choice("relu")), NoAugmentation(), HingePower(), NoRegularizer()
    )
    optimizer, init = Adam(), KaimingUniform()
    prepare(objective, optimizer)
    began = time.perf_counter()
    for first in range(0, members, block):
        seeds = range(first, min(first + block, members))
        start = objective.initial(init, ROOT, seeds)
        train(objective, start, None, optimizer, Standard(), BatchOrder(ROOT, seeds))
    return time.perf_counter() - began


def measured(members: int, block: int) -> dict[str, Any]:
    """The record of one count."""
    repeats = max(1, min(9, 200_000 // members))
    times = [seconds_of(members, block) for _ in range(repeats)]
    each = 1e6 * statistics.median(times) / members
    return {"members": members, "repeats": repeats, "us_per_member": each, "peak_mb": peak_mb()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--members", default="1000,10000,100000,1000000", help="counts, with commas"
    )
    parser.add_argument("--block", type=int, default=1000, help="members of a job")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    counts = sorted(int(text) for text in asked.members.split(","))
    seconds_of(asked.block, asked.block)  # compiles
    runs = []
    print(f"{'members':>10} {'µs each':>9} {'peak MB':>9}")
    for count in counts:
        runs.append(measured(count, asked.block))
        found = runs[-1]
        print(f"{count:10} {found['us_per_member']:9.2f} {found['peak_mb']:9.1f}", flush=True)
    each = [run["us_per_member"] for run in runs]
    spread = max(each) / min(each)
    word = "reached" if spread <= FLAT else "MISSED"
    print(f"dearest / cheapest at most {FLAT:g}, found {spread:.3f}: {word}")
    if asked.json is not None:
        asked.json.write_text(
            json.dumps({"runs": runs, "spread": spread}, indent=1) + "\n", "utf-8"
        )
    return int(spread > FLAT and counts[0] >= FROM)


if __name__ == "__main__":
    sys.exit(main())
