#!/usr/bin/env python
"""How many seeds a second go the whole road, and where the time goes.

    python scripts/benchmark_end_to_end.py --json road.json
    python scripts/benchmark_end_to_end.py --study xor --seeds 1000,10000,100000,1000000

It runs `sweep run` as anybody would, in a fresh folder, and watches from outside: the files that a
run writes mark its phases, the MLflow view holds the seconds of every job's stages, and /proc the
peak memory of its processes. A small run before it compiles the kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

TICK = 0.1  # seconds between two looks at the run

#: The arm `plain` alone, which no bundled study has.
XOR = """\
# @package _global_
defaults:
  - override /problem: xor
  - override /model: mlp
  - override /loss: hinge_power
  - override /optimizer: adam
name: xor
baseline: plain
arms:
  plain: {}
model:
  width: 2
stopping:
  max_steps: 3000
"""
SEEDS = {"default": "1000", "xor": "10000"}
WARM_UP_SEEDS = 128
#: Stages as shown, and as jobs report them.
STAGES = {"compile": "compile", "train": "train", "judge": "judge", "store": "commit"}
PHASES = ("plan", "start", *STAGES, "other", "report", "end")
MEANING = {
    "plan": "imports, configuration, list of jobs",
    "start": "Ray and MLflow",
    "compile": "kernels of the trainer, or loading them",
    "train": "",
    "judge": "",
    "store": "Arrow, Parquet, checksums",
    "other": "workers' start, witness searches, draws, Tune, idle ends",
    "report": "outcomes, frequencies, figures, page",
    "end": "last MLflow calls, end of Ray",
}

Record = dict[str, Any]


class Watch:
    """What can be seen of a running study: when its files appear, how much memory it holds."""

    def __init__(self, process: int, store: Path, name: str) -> None:
        self._process, self._store, self._name = process, store, name
        self.folder: Path | None = None
        self.planned = 0.0
        self.driver = self.worker = 0

    def look(self) -> None:
        """Note what is new."""
        if self.folder is None:
            self.folder = next(self._store.glob(f"{self._name}-*"), None)
            self.planned = time.time()
        for process in tree(self._process):
            peak, works = memory(process)
            if process == self._process:
                self.driver = max(self.driver, peak)
            elif works:
                self.worker = max(self.worker, peak)


def tree(root: int) -> Iterator[int]:
    """A process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return iter(found)


def memory(process: int) -> tuple[int, bool]:
    """Peak memory in bytes, and whether the process runs jobs for Ray; (0, False) once it ended."""
    folder = Path("/proc") / str(process)
    try:
        works = (folder / "cmdline").read_bytes().startswith(b"ray::")
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return 0, False
    peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (1024 * peak[0] if peak else 0), works


def job_seconds(database: Path) -> dict[str, float]:
    """Seconds per stage, summed over all jobs, and `n_rows`, from the MLflow view."""
    query = (
        "select key, sum(value) from latest_metrics where key like 'seconds/%' or key = 'n_rows'"
        " group by key"
    )
    with closing(sqlite3.connect(database)) as found:
        return {key.removeprefix("seconds/"): value for key, value in found.execute(query)}


def run(study: str, seeds: int, workers: int, compute: str, store: Path) -> Record:
    """One `sweep run`, watched."""
    conf = store / "conf" / "study"
    conf.mkdir(parents=True)
    (conf / "xor.yaml").write_text(XOR)
    words = [f"study={study}", f"seeds.count={seeds}", f"compute={compute}", f"store.root={store}"]
    words += [] if compute == "serial" else [f"compute.workers={workers}"]
    command = [sys.executable, "-m", "sweep.cli.main", "run", f"--config-dir={conf.parent}"]
    load, began = os.getloadavg()[0], time.time()
    with (store / "output.txt").open("w") as output:
        process = subprocess.Popen([*command, *words], stdout=output, stderr=subprocess.STDOUT)
        watch = Watch(process.pid, store, study)
        try:
            while process.poll() is None:
                watch.look()
                time.sleep(TICK)
        finally:
            process.terminate()  # nothing to do unless this benchmark is interrupted
            process.wait()
    ended = time.time()
    if process.returncode != 0 or watch.folder is None:
        raise SystemExit((store / "output.txt").read_text())
    workers = 1 if compute == "serial" else workers
    return _record(study, seeds, workers, load, (began, ended), watch, store)


def _record(
    study: str,
    seeds: int,
    workers: int,
    load: float,
    wall: tuple[float, float],
    watch: Watch,
    store: Path,
) -> Record:
    assert watch.folder is not None
    folder, (began, ended) = watch.folder, wall
    files = [*(folder / "rows").iterdir(), *(folder / "references").iterdir()]
    started = (folder / "study.json").stat().st_mtime
    landed = max(file.stat().st_mtime for file in files)
    reported = (folder / "report.html").stat().st_mtime
    told = job_seconds(store / "mlflow.db")
    shared = {shown: told.get(name, 0.0) / workers for shown, name in STAGES.items()}
    phases = {
        "plan": watch.planned - began,
        "start": started - watch.planned,
        **shared,
        "other": landed - started - sum(shared.values()),
        "report": reported - landed,
        "end": ended - reported,
    }
    rows, seconds = int(told["n_rows"]), ended - began
    return {
        "study": study,
        "seeds": seeds,
        "rows": rows,
        "workers": workers,
        "load": load,
        "seconds": seconds,
        "seeds_per_second": seeds / seconds,
        "rows_per_second": rows / seconds,
        "phases": {name: phases[name] for name in PHASES},
        "job_microseconds_per_row": 1e6 * workers * sum(shared.values()) / rows,
        "train_microseconds_per_row": 1e6 * workers * shared["train"] / rows,
        "driver_peak_mib": watch.driver / 2**20,
        "worker_peak_mib": watch.worker / 2**20,
        "row_mib": sum(file.stat().st_size for file in files) / 2**20,
    }


def shown(record: Record) -> str:
    """One run as a table."""
    total = record["seconds"]
    lines = [
        f"{record['study']}, {record['seeds']} seeds per cell, {record['rows']} rows, "
        f"{record['workers']} workers, load {record['load']:.1f} at the start",
        *(
            f"  {name:8} {seconds:9.2f} s {100 * seconds / total:5.1f} %  {MEANING[name]}"
            for name, seconds in record["phases"].items()
        ),
        f"  {'total':8} {total:9.2f} s: {record['seeds_per_second']:.4g} seeds/s, "
        f"{record['rows_per_second']:.4g} rows/s",
        f"  in jobs {record['job_microseconds_per_row']:.4g} µs per row and worker, of which "
        f"training {record['train_microseconds_per_row']:.4g}; {record['row_mib']:.4g} MiB of rows",
        f"  peak memory: driver {record['driver_peak_mib']:.0f} MiB, "
        f"largest worker {record['worker_peak_mib']:.0f} MiB",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", choices=sorted(SEEDS), default="default")
    parser.add_argument("--seeds", help="seeds per cell; several, with commas, are run in turn")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--compute", choices=["local", "serial"], default="local")
    parser.add_argument("--cold", action="store_true", help="no small run before")
    parser.add_argument("--keep", type=Path, help="a new folder for the results")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the study ends with us
    counts = [int(word) for word in (asked.seeds or SEEDS[asked.study]).split(",")]
    settings = asked.workers, asked.compute
    records = []
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as scratch:
        place = asked.keep or Path(scratch)
        if not asked.cold:
            run(asked.study, WARM_UP_SEEDS, *settings, place / "warm")
        for seeds in counts:
            records.append(run(asked.study, seeds, *settings, place / str(seeds)))
            print(shown(records[-1]), flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps({"runs": records}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
