#!/usr/bin/env python
"""How fast members train, against general tools in the same run.

    python scripts/benchmark_training.py --json training.json

Peers get their best of several batch sizes and thread counts. All contenders of a shape are timed
in turn, again and again, and medians compared, so that a busy moment hits everybody. Ratios hold
within one run; rates of different runs or machines do not compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_peers import (
    Contender,
    Shape,
    Train,
    check_agreement,
    contenders,
    reference_shapes,
)
from threadpoolctl import threadpool_limits

GEMM = 1024

#: What the project promises: shape → (peer, least ratio of the fused trainer's rate to its).
BARS = {
    "relu": [("vmap eager", 30.0), ("jax scan", 12.0)],
    "tanh": [("jax scan", 6.0)],
    "exp_skip": [("jax scan", 5.0)],
}
LEAST_SHARE = {"relu": 0.25}  # of DGEMM

Record = dict[str, Any]


def rate(train: Train, steps: int) -> float:
    """Seed-steps per second of one call."""
    began = time.perf_counter()
    done = train(steps)
    return done / (time.perf_counter() - began)


def fitting_steps(train: Train, seconds: float) -> int:
    """Steps that take about so long; the first call pays for compilation."""
    train(1)
    steps = 10
    while True:
        began = time.perf_counter()
        train(steps)
        took = time.perf_counter() - began
        if took > seconds / 4 or steps > 100_000:
            return max(1, min(100_000, round(steps * seconds / took)))
        steps *= 4


def gemm_rate(threads: int) -> float:
    """Multiplications and additions per second of a product of square float64 matrices."""
    a = np.random.Generator(np.random.Philox(key=1)).standard_normal((GEMM, GEMM))
    with threadpool_limits(limits=threads):
        began = time.perf_counter()
        a @ a
        return 2 * GEMM**3 / (time.perf_counter() - began)


class Best:
    """A contender at the batch size and number of threads that suit it best."""

    def __init__(self, contender: Contender, shape: Shape, threads: int, seconds: float) -> None:
        self.name = contender.name
        self.tried: list[Record] = []
        best: tuple[float, Train, int] | None = None
        for members, count in contender.options(shape, threads):
            train = contender.begin(shape, members, count)
            steps = fitting_steps(train, seconds)
            found = rate(train, steps)
            self.tried.append({"members": members, "threads": count, "rate": found})
            if best is None or found > best[0]:
                best = found, train, steps
                self.members, self.threads = members, count
        assert best is not None
        _, self.train, self.steps = best
        self.rates: list[float] = []

    @property
    def record(self) -> Record:
        return {
            "rate": statistics.median(self.rates),
            "rates": self.rates,
            "members": self.members,
            "threads": self.threads,
            "tried": self.tried,
        }


def measure(
    shape: Shape, field: Sequence[Contender], threads: int, repeats: int, seconds: float
) -> Record:
    """The record of one shape: every contender, in turn, `repeats` times."""
    best = [Best(contender, shape, threads, seconds) for contender in field]
    counts = sorted({1, threads})
    fused = next(c for c in field if c.name == "fused")
    fixed = {}
    for count in counts:  # the fused trainer on each number of threads, at its best batch size
        train = fused.begin(shape, best[0].members, count)
        fixed[count] = train, fitting_steps(train, seconds)
    gemm: dict[int, list[float]] = {count: [] for count in counts}
    on: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for one in best:
            one.rates.append(rate(one.train, one.steps))
        for count in counts:
            on[count].append(rate(*fixed[count]))
            gemm[count].append(max(gemm_rate(count) for _ in range(3)))
    return _record(shape, best, on, gemm)


def _record(
    shape: Shape, best: Sequence[Best], on: dict[int, list[float]], gemm: dict[int, list[float]]
) -> Record:
    found = {one.name: one.record for one in best}
    n, d = shape.data.x.shape
    own = found["fused"]["rate"]
    by_threads = {
        str(count): {
            "rate": statistics.median(on[count]),
            "gflops": statistics.median(on[count]) * shape.flops / 1e9,
            "dgemm_gflops": statistics.median(gemm[count]) / 1e9,
            "share": statistics.median(on[count]) * shape.flops / statistics.median(gemm[count]),
        }
        for count in on
    }
    return {
        "shape": shape.name,
        "points": n,
        "inputs": d,
        "widths": list(shape.widths),
        "activation": shape.activation,
        "parameters": shape.objective.n_params,
        "flops": shape.flops,
        "contenders": found,
        "fused_by_threads": by_threads,
        "ratios": {k: own / r["rate"] for k, r in found.items() if k != "fused"},
    }


def bars(records: Sequence[Record]) -> list[Record]:
    """What is promised beside what was found, as far as it was measured."""
    rows = []
    for record in records:
        name, ratios = record["shape"], record["ratios"]
        for peer, least in BARS.get(name, []):
            if peer in ratios:
                rows.append({"bar": f"{name} / {peer}", "least": least, "found": ratios[peer]})
        if name in LEAST_SHARE:
            share = list(record["fused_by_threads"].values())[-1]["share"]  # on all threads
            rows.append({"bar": f"{name} / DGEMM", "least": LEAST_SHARE[name], "found": share})
        if ratios:
            peer = min(ratios, key=ratios.__getitem__)
            bar = f"{name} / best peer ({peer})"
            rows.append({"bar": bar, "least": 1.0, "found": ratios[peer]})
    return rows


def shown(report: Record) -> str:
    """The report as a table."""
    machine = report["machine"]
    lines = [
        f"{machine['threads']} threads, load {machine['load']:.1f}; "
        "thousand seed-steps/s, median of "
        f"{report['repeats']}; ratio = fused / peer",
        f"{'shape':10} {'contender':16} {'members':>7} {'threads':>7} {'k/s':>10} {'ratio':>8}",
    ]
    for record in report["shapes"]:
        for name, one in record["contenders"].items():
            ratio = record["ratios"].get(name)
            lines.append(
                f"{record['shape']:10} {name:16} {one['members']:7} {one['threads']:7} "
                f"{one['rate'] / 1e3:10.4g} {'' if ratio is None else f'{ratio:.1f}':>8}"
            )
        for threads, one in record["fused_by_threads"].items():
            lines.append(
                f"{'':10} fused on {threads}: {one['rate'] / 1e3:.4g} k/s, "
                f"{one['gflops']:.3g} GFLOP/s at {record['flops']} per seed-step, "
                f"{100 * one['share']:.1f} % of DGEMM's {one['dgemm_gflops']:.3g}"
            )
    for row in report["bars"]:
        word = "reached" if row["found"] >= row["least"] else "MISSED"
        lines.append(f"{row['bar']:34} at least {row['least']:g}, found {row['found']:.3g}: {word}")
    return "\n".join(lines)


def main() -> int:
    shapes = {shape.name: shape for shape in reference_shapes()}
    field = {contender.name: contender for contender in contenders()}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=",".join(shapes), help="some of: %(default)s")
    parser.add_argument("--peers", default=",".join(list(field)[1:]), help="some of: %(default)s")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="seconds in all; numbers mean little")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names, peers = (text.split(",") if text else [] for text in (asked.shapes, asked.peers))
    if unknown := [*({*names} - {*shapes}), *({*peers} - {*field})]:
        parser.error(f"{', '.join(unknown)}: accepted are {', '.join([*shapes, *field])}")
    chosen = [field["fused"], *(field[name] for name in peers if name != "fused")]
    check_agreement([shapes[name] for name in names])
    repeats, seconds = (1, 0.02) if asked.quick else (asked.repeats, 0.7)
    load = os.getloadavg()[0]
    records = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        records.append(measure(shapes[name], chosen, asked.threads, repeats, seconds))
    report = {
        "machine": {"threads": asked.threads, "load": load, "torch": torch.__version__},
        "repeats": repeats,
        "shapes": records,
        "bars": bars(records),
    }
    print(shown(report))
    if asked.json is not None:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    missed = any(row["found"] < row["least"] for row in report["bars"])
    return int(missed and not asked.quick)


if __name__ == "__main__":
    sys.exit(main())
