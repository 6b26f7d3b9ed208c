"""kill -9 in the middle, the same command again: every row once, with the bits of a quiet run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sweep.cli.main import main
from sweep.storage.journal import COMMITTED, STARTED, Entry, read_journal
from sweep.storage.layout import Layout
from sweep.study.status import status

ROOT = Path(__file__).parents[2]
WORDS = (
    *("study=quick", "tracking=none", "compute=serial"),
    *("compute.block_size=8", "seeds.count=80", "stopping.max_steps=300"),
)
PATIENCE = 200.0  # seconds for what takes a few on an idle machine


def row_files(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.glob("*/rows/*")}


def killed_during(store: Path, job: int) -> tuple[Entry, ...]:
    """The journal of a run that is killed while it works on its job of that number."""
    command = [sys.executable, "-m", "sweep.cli.main", "run", *WORDS, f"store.root={store}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        try:
            deadline = time.monotonic() + PATIENCE
            while run.poll() is None and time.monotonic() < deadline:
                folder = next(store.glob("*/.journal"), None)
                entries = read_journal(Layout(folder.parent)).entries if folder else ()
                if sum(entry.event == STARTED for entry in entries) >= job:
                    break
                time.sleep(0.002)
            assert run.poll() is None, "it ended before it could be killed"
        finally:
            run.kill()
    (folder,) = store.iterdir()
    return read_journal(Layout(folder)).entries


def test_a_killed_run_loses_at_most_what_was_in_flight(tmp_path: Path) -> None:
    entries = killed_during(tmp_path / "killed", 3)
    in_flight = [entries[-1].job] if entries[-1].event == STARTED else []
    found = status(next((tmp_path / "killed").iterdir()))
    assert found.running == {}
    assert len(found.done) >= sum(entry.event == COMMITTED for entry in entries)
    assert 2 <= len(found.done) < found.n_jobs == 10

    words = ["run", *WORDS]
    assert main([*words, f"store.root={tmp_path / 'killed'}"]) == 0
    assert main([*words, f"store.root={tmp_path / 'quiet'}"]) == 0
    assert row_files(tmp_path / "killed") == row_files(tmp_path / "quiet")
    (folder,) = (tmp_path / "killed").iterdir()
    starts = Counter(e.job for e in read_journal(Layout(folder)).entries if e.event == STARTED)
    assert {job for job, count in starts.items() if count > 1} <= set(in_flight)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_drivers_workers_and_nodes_are_killed_at_random(tmp_path: Path) -> None:
    file = tmp_path / "chaos.json"
    words = ["--kills=2", "--per-run=2", "--seconds=3", f"--json={file}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "chaos.py"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(file.read_text())["runs"]
    kills = Counter[str]()
    for run in runs:
        kills[run["victim"]] += len(run["kills"])
        assert (run["missing"], run["double"], run["other_bits"], run["orphans"]) == (0, 0, 0, 0)
        assert run["again"] <= run["in_flight"]
    assert kills == {"driver": 2, "worker": 2, "ray": 2, "node": 2}
