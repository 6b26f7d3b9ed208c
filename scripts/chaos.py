#!/usr/bin/env python
"""Kill sweeps at random, run the same command again, and compare with an undisturbed run.

    python scripts/chaos.py --json chaos.json
    python scripts/chaos.py --victims driver --kills 2 --per-run 1 --seconds 60

kill -9 hits the `driver` (the command itself), a `worker` (a process that runs jobs), the private
`ray` of a run (its raylet, the only node), or a `node` of a cluster of several nodes on this
machine, which is replaced by a new one. After the last kill of a study the same command runs to its
end. Then nothing may be missing or double, every row file must equal the undisturbed one byte for
byte, no more jobs may have run again than were in flight when something was killed, and no process
may be left. Moments are drawn from keyed streams; exit status 1 if any of that does not hold.

The time of all runs together is held against the latest undisturbed one's, too: at most 1.5 times
as long with one kill in a run of a minute or more. That is said, but other work on the machine
disturbs it; as machines get slower and faster, the undisturbed run is made anew now and then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from chaos_runs import TICK, Nodes, Run, strike, wait

from sweep.rows import KEY
from sweep.seeds import stream
from sweep.storage.journal import COMMITTED, STARTED, Journal, read_journal
from sweep.storage.layout import Layout

VICTIMS = ("driver", "worker", "ray", "node")
SLOWER = 1.5  # bar: interrupted and resumed against undisturbed, for runs of a minute or more
LIMIT = 900.0  # seconds after which a run counts as hanging

Record = dict[str, Any]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every row file, by name."""
    files = sorted((folder / "rows").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def double_keys(folder: Path) -> int:
    """Rows whose key another row has too."""
    rows = pq.read_table(folder / "rows", columns=list(KEY)).to_pandas()
    return int(rows.duplicated(list(KEY)).sum())


def account(journal: Journal) -> tuple[int, int]:
    """How many jobs ran again, and how many were in flight when their process died."""
    starts = Counter(entry.job for entry in journal.entries if entry.event == STARTED)
    last = {entry.process: entry for entry in journal.entries}
    lost = sum(entry.event == STARTED for entry in last.values())
    return sum(starts.values()) - len(starts), lost


def job_seconds(journal: Journal) -> float:
    """The least time from a job's start to its commit: others may have compiled kernels."""
    began = {(e.process, e.job): e.time for e in journal.entries if e.event == STARTED}
    ended = [e for e in journal.entries if e.event == COMMITTED]
    spans = [entry.time - began[entry.process, entry.job] for entry in ended]
    return min(spans)


class Study:
    """A study in a store of its own, run by one command again and again."""

    def __init__(self, store: Path, jobs: int, block: int, address: str | None) -> None:
        self.store = store
        self._runs: list[Run] = []
        place = ["compute=local"] if address is None else ["compute=cluster"]
        if address is not None:
            place += [f"compute.address={address}", "compute.insecure=true"]
        self._words = [
            *("study=quick", "tracking=none", f"store.root={store}", "compute.retries=5"),
            *(*place, "compute.workers=2", "compute.memory_per_job_gb=0.3"),
            *(f"compute.block_size={block}", f"seeds.count={jobs * block}"),
        ]

    @property
    def layout(self) -> Layout:
        """Where its results are, once it has begun."""
        return Layout.at(next(iter(self.store.iterdir())))

    @contextmanager
    def running(self) -> Iterator[Run]:
        """The command at work; killed when the context ends, if it has not ended before."""
        run = Run(self._words)
        self._runs.append(run)
        try:
            yield run
        finally:
            run.end()

    def orphans(self) -> list[str]:
        """The commands of processes that outlived their runs by too long; they are ended."""
        commands = [command for run in self._runs for command in run.close()]
        self._runs.clear()
        return commands

    def to_the_end(self) -> float:
        """The seconds of the command, undisturbed; exits unless its status is 0."""
        with self.running() as run:
            if wait(run, LIMIT) != 0:
                raise SystemExit(f"{run.process.returncode}: {run.log.read_text()}")
            return run.seconds


def disturb(
    study: Study, victim: str, key: tuple[int, int], kills: int, usual: float, nodes: Nodes | None
) -> Record:
    """Moments of the kills (seconds into their runs), how each run ended, seconds of all runs."""
    draws = stream("chaos", victim, *key)
    fatal = victim in ("driver", "ray")  # the command ends with it, and is given again
    span = usual if fatal else usual / kills
    moments: list[float] = []
    exits: list[int] = []
    total = 0.0
    while not exits or exits[-1] != 0:
        before = len(moments)
        with study.running() as run:
            while len(moments) < kills and not (fatal and len(moments) > before):
                if wait(run, run.seconds + float(draws.uniform(0, span))) is not None:
                    break
                which = float(draws.uniform())
                while run.process.poll() is None:
                    if strike(victim, run, nodes, which):
                        moments.append(round(run.seconds, 2))
                        break
                    wait(run, run.seconds + TICK)  # for a process of that kind
            status = wait(run, LIMIT)
            total += run.seconds
            said = run.log.read_text()
        if status not in (0, -signal.SIGKILL):
            print(f"  exit status {status}: {said[-1000:]}", flush=True)
        if status is None or (status != 0 and len(moments) == before):
            raise SystemExit(f"{victim} {key}: exit status {status} after {moments}: {said}")
        exits.append(status)
    return {
        **{"victim": victim, "kills": moments, "exits": exits},
        **{"undisturbed": usual, "seconds": total, "ratio": total / usual},
    }


def judged(study: Study, whole: dict[str, str], disturbed: Record) -> Record:
    """What a disturbed study shows, held against the undisturbed row files `whole`."""
    found, folder, orphans = digests(study.layout.root), study.layout.root, study.orphans()
    again, lost = account(read_journal(study.layout))
    record: Record = {
        "missing": len(whole.keys() - found.keys()),
        "double": double_keys(folder),
        "other_bits": sum(whole.get(name) != digest for name, digest in found.items()),
        "orphans": len(orphans),
    }
    holds = not any(record.values()) and again <= lost
    timed = disturbed["undisturbed"] >= 60 and len(disturbed["kills"]) == 1
    in_time = disturbed["ratio"] <= SLOWER if timed else None
    return {**disturbed, **record, "in_flight": lost, "again": again} | {
        "orphan_commands": orphans,
        "holds": holds,
        "in_time": in_time,
    }


HEAD = ("kills", "missing", "double", "other bits", "in flight", "again", "orphans", "ratio")


def shown(record: Record) -> str:
    """One study as a line of the table under `HEAD`, with the moments of its kills."""
    counts = [len(record["kills"]), *(record[name.replace(" ", "_")] for name in HEAD[1:-1])]
    line = " ".join(f"{count:>{len(name)}}" for name, count in zip(HEAD, counts, strict=False))
    at = ", ".join(f"{moment:g}" for moment in record["kills"])
    said = "ok" if record["holds"] else "BROKEN"
    slow = ", SLOW" if record["in_time"] is False else ""
    return (
        f"{line} {record['ratio']:5.2f}  {said}{slow}  at {at} s, exit statuses {record['exits']}"
    )


def chase(victim: str, asked: argparse.Namespace, jobs: int, place: Path) -> list[Record]:
    """Studies disturbed until as many of these processes were killed as asked."""
    records: list[Record] = []
    with ExitStack() as ending:
        nodes = None
        if victim == "node":
            nodes = Nodes(2)
            ending.callback(nodes.close)
        address = None if nodes is None else nodes.address

        def study(name: object) -> Study:
            made = Study(place / f"{victim}-{name}", jobs, asked.block, address)
            ending.callback(made.orphans)
            return made

        def finish(one: Study, disturbed: Record) -> None:
            records.append(judged(one, whole, disturbed))
            print(f"  {shown(records[-1])}", flush=True)

        left, usual = asked.kills, 0.0
        whole: dict[str, str] = {}
        # Judged when the next one has run: what it left behind has had time to end meanwhile.
        before: tuple[Study, Record] | None = None
        while left:
            number = len(records) + (before is not None)
            if number % asked.still_every == 0:
                still = study(f"still-{number}")
                usual, whole = still.to_the_end(), digests(still.layout.root)
                print(f"{victim}: {jobs} jobs, undisturbed {usual:.1f} s", flush=True)
                print(f"  {' '.join(HEAD)}", flush=True)
            one, key = study(number), (asked.root, number)
            disturbed = disturb(one, victim, key, min(left, asked.per_run), usual, nodes)
            left -= len(disturbed["kills"])
            if before is not None:
                finish(*before)
            before = one, disturbed
        if before is not None:
            finish(*before)
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--victims", default=",".join(VICTIMS), help="kinds, with commas")
    parser.add_argument("--kills", type=int, default=20, help="of each kind")
    parser.add_argument("--per-run", type=int, default=4, help="at most, before a study is new")
    parser.add_argument("--seconds", type=float, default=20.0, help="of work in a study, about")
    parser.add_argument(
        "--still-every", type=int, default=4, help="studies, before the undisturbed run is renewed"
    )
    parser.add_argument("--block", type=int, default=32, help="seeds per job")
    parser.add_argument("--root", type=int, default=0, help="of the moments' streams")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    victims = asked.victims.split(",")
    if unknown := set(victims) - set(VICTIMS):
        parser.error(f"--victims {', '.join(sorted(unknown))}: accepted are {', '.join(VICTIMS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that runs end with us
    print(f"moments drawn by root {asked.root}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sweep-chaos-") as scratch:
        warm = Study(Path(scratch) / "warm", 4, asked.block, None)
        warm.to_the_end()  # compiles what is not compiled yet
        warm.orphans()
        each = job_seconds(read_journal(warm.layout))
        jobs = max(4, math.ceil(2 * asked.seconds / each))
        records = [r for victim in victims for r in chase(victim, asked, jobs, Path(scratch))]
    for victim in victims:
        own = [record for record in records if record["victim"] == victim]
        kills, worst = sum(len(r["kills"]) for r in own), max(r["ratio"] for r in own)
        broken = sum(not r["holds"] for r in own)
        print(
            f"{victim}: {kills} kills, {broken} of {len(own)} studies broken, ratio ≤ {worst:.2f}"
        )
    if asked.json is not None:
        asked.json.write_text(json.dumps({"runs": records}, indent=1) + "\n", "utf-8")
    return 0 if all(record["holds"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
