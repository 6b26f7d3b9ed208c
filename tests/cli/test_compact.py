"""`sweep compact` on a small study: fewer files, the same numbers; and two runs of it at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import sweep
from sweep.cli.main import main
from sweep.storage.compaction import compact
from sweep.storage.layout import Layout
from sweep.storage.row_files import commit
from sweep.study import work
from sweep.study.status import status
from sweep.study.verify import verify

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = (
    "study=quick",
    "seeds.count=6",
    "stopping.max_steps=400",
    "compute=serial",
    "compute.block_size=2",
    "tracking=none",
)


def test_a_merged_study_is_finished_agrees_and_grows(tmp_path: Path, capsys) -> None:
    words = [*STUDY, f"store.root={tmp_path}"]
    folder = sweep.run(words).path
    rows = pd.read_parquet(folder / "rows")
    tables = {path.name: path.read_bytes() for path in (folder / "summary").iterdir()}
    capsys.readouterr()

    assert main(["compact", str(folder)]) == 0
    assert "3 row files before, 1 now: 3 jobs merged" in capsys.readouterr().out
    merged = pd.read_parquet(folder / "rows")
    key = ["cell", "arm", "draw", "seed"]
    pd.testing.assert_frame_equal(
        merged.sort_values(key, ignore_index=True), rows.sort_values(key, ignore_index=True)
    )
    assert main(["run", *words]) == 0
    assert "Nothing to train" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (folder / "summary").iterdir()} == tables

    sweep.run([*words, "seeds.count=10"])
    assert len(list((folder / "rows").iterdir())) == 3
    assert (len(status(folder).done), verify(folder, 5).agrees) == (5, True)
    assert main(["compact", str(folder)]) == 0
    assert main(["compact", str(folder)]) == 0
    assert "2 row files, nothing to merge" in capsys.readouterr().out


def test_what_is_no_study_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["compact"]) == 2
    assert main(["compact", str(tmp_path)]) == 2
    assert "is no results folder" in capsys.readouterr().err
    assert main(["compact", "--help"]) == 0


def test_a_full_disk_ends_the_run_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    real = os.link
    words = [*STUDY, "seeds.count=2", f"store.root={tmp_path}"]

    def full(*given: object) -> object:
        if list(tmp_path.glob("*/rows")):  # the job's rows are the first to find no room
            raise OSError(28, "No space left on device")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        assert main(["run", *words]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sweep: ")]
    assert len(said) == 1
    assert "cannot be written: the disk is full" in said[0]
    assert list(tmp_path.glob("*/rows/*")) == []


def test_a_run_inside_another_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    """All of a second run, and a compaction, between a job's training and its commit."""
    words, inner = [*STUDY, f"store.root={tmp_path}"], []

    def late(*given: object, **options: object) -> bool:
        if not inner:
            inner.append(None)
            inner[0] = sweep.run(words).path
            compact(Layout.at(inner[0]))
        return commit(*given, **options)

    monkeypatch.setattr(work, "commit", late)
    folder = sweep.run(words).path
    assert inner == [folder]
    found = verify(folder, 1)
    assert (found.agrees, found.files, found.jobs_done, found.stored) == (True, 1, 3, 6 * 4)


@pytest.mark.slow
def test_two_runs_at_once_make_each_row_once(tmp_path: Path) -> None:
    words = [*STUDY, f"store.root={tmp_path}"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "sweep.cli.main", "run", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=240)[0] for run in both]
    assert [run.returncode for run in both] == [0, 0], said
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    found = verify(folder)
    assert (found.agrees, found.files, found.jobs_done, found.stored) == (True, 3, 3, 6 * 4)
    tables = {path.name: path.read_bytes() for path in (folder / "summary").iterdir()}
    sweep.run(words)
    assert {path.name: path.read_bytes() for path in (folder / "summary").iterdir()} == tables
    left = list(folder.rglob("*.tmp"))
    assert left == []
