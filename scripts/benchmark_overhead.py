#!/usr/bin/env python
"""What running jobs costs beyond the jobs: time between them, the driver's memory, files.

    python scripts/benchmark_overhead.py --json overhead.json

A whole `sweep run` in this process, planned, executed, committed and reported as always, but whose
jobs sleep for a given time in place of training: what is left is orchestration, and other work on
the machine disturbs it little. Overhead is the time that workers spend from their first start to
their last commit, against the time that their jobs asked for: handing out jobs, building and
committing rows, reporting. Starting Ray and its workers happens once and is shown apart.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sweep.study.run as run_module
from sweep.cli.compose import compose
from sweep.job import JobResult, report_of, run_job
from sweep.job_report import JobReport
from sweep.planning import jobs
from sweep.spec import Block, Cell, Job
from sweep.storage.arrow_schema import to_table
from sweep.storage.journal import COMMITTED, STARTED, attempt, read_journal
from sweep.storage.layout import Layout
from sweep.storage.row_files import commit
from sweep.study.observer import Silent
from sweep.study.resolve import resolve

SEEDS_PER_JOB = 8
BARS = {10.0: 0.05, 1.0: 0.20}
MOST_MEGABYTES, MOST_FILES = 0.1, 3.0

Record = dict[str, Any]
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Asleep:
    """Work that sleeps, and then commits the rows of one trained job under the job's own keys."""

    layout: Layout
    cells: tuple[Cell, ...]
    seconds: float
    trained: Columns
    used: list[float] = field(default_factory=list)  # this process's, when a job ended

    def __call__(self, job: Job) -> JobReport:
        with attempt(self.layout, job.id):
            time.sleep(self.seconds)
            columns = dict(self.trained)
            columns["job"] = [job.id] * len(columns["seed"])
            columns["seed"] = [job.block.first + seed for seed in columns["seed"]]
            commit(self.layout, job.id, to_table(columns, self.cells))
            report = report_of(JobResult(job, columns, {}), {})
        self.used.append(time.process_time())
        since_last = self.used[-2:]
        return replace(report, seconds={"processor": since_last[-1] - since_last[0]})


class Watch(Silent):
    """When jobs begin and whenever one has ended: the driver's memory (MB), processor seconds.

    `workers` are the processor seconds of the workers, from one job's end to the next one's.
    """

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.driver: list[float] = []
        self.workers: list[float] = []

    def started(self, *_: Any) -> None:
        self.memory.append(resident())

    def job_finished(self, report: JobReport) -> None:
        self.memory.append(resident())
        self.driver.append(time.process_time())
        if used := report.seconds.get("processor"):
            self.workers.append(used)


def resident() -> float:
    """Memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def asleep(seconds: float, trained: Columns) -> Iterator[None]:
    """A block in which studies run `Asleep`, and no witness is searched."""
    work, searches = run_module.CommitRows, run_module.reference_jobs

    def made(layout: Layout, cells: tuple[Cell, ...], device: str, params: str) -> Asleep:
        return Asleep(layout, cells, seconds, trained)

    vars(run_module).update(CommitRows=made, reference_jobs=lambda study, starts: [])
    try:
        yield
    finally:
        vars(run_module).update(CommitRows=work, reference_jobs=searches)


def measure(count: int, seconds: float, asked: argparse.Namespace, store: Path) -> Record:
    """One study of so many jobs of that length."""
    words = ["study=quick", f"compute={asked.compute}", "stopping.max_steps=1"]
    words += [f"store.root={store}", f"tracking={asked.tracking}"]
    words += [f"compute.block_size={SEEDS_PER_JOB}", f"seeds.count={count * SEEDS_PER_JOB}"]
    words += [] if asked.compute == "serial" else [f"compute.workers={asked.workers}"]
    composed = compose(words)
    typed = resolve(composed)
    (first,) = jobs(typed[0], [Block(0, SEEDS_PER_JOB)])
    watch, began = Watch(), time.time()
    with asleep(seconds, run_job(first).columns), contextlib.redirect_stdout(io.StringIO()):
        results = run_module.run_study(*typed, composed.resolved, watch)
    entries = read_journal(Layout.at(results.path)).entries
    spans, jobs_of = [], []
    for process in {entry.process for entry in entries}:
        own = [entry for entry in entries if entry.process == process]
        spans.append(max(e.time for e in own) - min(e.time for e in own))
        jobs_of.append(sum(entry.event == COMMITTED for entry in own))
    files = sum(path.is_file() for path in results.path.rglob("*"))
    starts = [entry.time for entry in entries if entry.event == STARTED]
    return {
        "jobs": sum(jobs_of),
        "seconds_per_job": seconds,
        "workers": len(spans),
        "start": min(starts) - began,
        "total": time.time() - began,
        "milliseconds_between": 1e3 * (sum(spans) - seconds * count) / count,
        "driver_milliseconds": 1e3 * (watch.driver[-1] - watch.driver[0]) / max(count - 1, 1),
        "worker_milliseconds": 1e3 * sum(watch.workers) / max(len(watch.workers), 1),
        "overhead": sum(spans) / (seconds * count) - 1 if seconds else None,
        "megabytes_per_job": (max(watch.memory[1:]) - watch.memory[0]) / count,
        "files_per_job": files / count,
    }


def shown(record: Record) -> str:
    """One study in a line."""
    share = record["overhead"]
    return (
        f"{record['jobs']:5} jobs of {record['seconds_per_job']:g} s, {record['workers']} workers: "
        f"{'' if share is None else f'overhead {100 * share:.1f} %, '}"
        f"{record['milliseconds_between']:.0f} ms per job (processor: driver "
        f"{record['driver_milliseconds']:.0f}, worker {record['worker_milliseconds']:.0f}), "
        f"driver {record['megabytes_per_job']:.4f} MB and {record['files_per_job']:.2f} files per"
        f" job; first start after {record['start']:.1f} s of {record['total']:.1f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", default="10,1", help="lengths of jobs, with commas")
    parser.add_argument("--work", type=float, default=60.0, help="seconds per worker and length")
    parser.add_argument("--jobs", type=int, default=2000, help="of no length, for the memory")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compute", choices=["local", "serial"], default="local")
    parser.add_argument("--tracking", choices=["none", "mlflow"], default="none")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    records = []
    workers = 1 if asked.compute == "serial" else asked.workers
    lengths = [float(word) for word in asked.seconds.split(",")]
    plan = [(max(1, round(asked.work / length)) * workers, length) for length in lengths]
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as scratch:
        for number, (count, seconds) in enumerate([*plan, (asked.jobs, 0.0)]):
            records.append(measure(count, seconds, asked, Path(scratch) / str(number)))
            print(shown(records[-1]), flush=True)
    holds = {
        f"overhead at {length:g} s": records[i]["overhead"] <= BARS[length]
        for i, length in enumerate(lengths)
        if length in BARS
    }
    holds["driver's memory"] = records[-1]["megabytes_per_job"] <= MOST_MEGABYTES
    holds["files"] = records[-1]["files_per_job"] <= MOST_FILES
    print(", ".join(f"{name}: {'ok' if held else 'MISSED'}" for name, held in holds.items()))
    if asked.json is not None:
        asked.json.write_text(
            json.dumps({"runs": records, "bars": holds}, indent=1) + "\n", "utf-8"
        )
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
