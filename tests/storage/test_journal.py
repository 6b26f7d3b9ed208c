"""The journal: who runs a job is known from locks, so a killed process runs nothing."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweep.errors import UserError
from sweep.storage.journal import COMMITTED, RAISED, STARTED, attempt, note_failure, read_journal
from sweep.storage.layout import Layout

HOLDS = """
import sys, time
from pathlib import Path
from sweep.storage.journal import attempt
from sweep.storage.layout import Layout
with attempt(Layout(Path(sys.argv[1])), "job7"):
    print("at work", flush=True)
    time.sleep(600)
"""


def test_an_attempt_runs_while_it_lasts_and_says_how_it_ended(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    assert read_journal(layout).entries == ()
    before = time.time()
    with attempt(layout, "job0"):
        (running,) = read_journal(layout).running.values()
        assert (running.job, running.event) == ("job0", STARTED)
        assert before <= running.time <= time.time()
    with pytest.raises(ZeroDivisionError), attempt(layout, "job1"):
        _ = 1 / 0
    found = read_journal(layout)
    assert found.running == {}
    assert [(entry.job, entry.event) for entry in found.entries] == [
        ("job0", STARTED),
        ("job0", COMMITTED),
        ("job1", STARTED),
        ("job1", RAISED),
    ]
    assert len(list(layout.journal.iterdir())) == 1, "a file per process, not per job"


def test_a_killed_process_runs_nothing_whatever_its_file_says(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "at work\n"
            (running,) = read_journal(layout).running.items()
            assert running[0] == "job7"
            assert running[1].place.endswith(f", process {other.pid}")
        finally:
            other.kill()
    found = read_journal(layout)
    assert found.running == {}
    assert [entry.event for entry in found.entries] == [STARTED]


def test_the_last_reason_of_a_failure_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    note_failure(layout, "job0", "no luck")
    note_failure(layout, "job1", "no memory, größer als λ")
    note_failure(layout, "job0", "no luck again")
    assert read_journal(layout).failed == {
        "job0": "no luck again",
        "job1": "no memory, größer als λ",
    }


@pytest.mark.parametrize("torn", [b'{"job": "jo', b"\xff\xfe\n", b"[]\n", b'{"job": 1}\n'])
def test_a_line_that_a_crash_tore_hides_no_other(tmp_path: Path, torn: bytes) -> None:
    layout = Layout(tmp_path)
    note_failure(layout, "job0", "no luck")
    (own,) = layout.journal.iterdir()
    (layout.journal / "elsewhere-1-0.jsonl").write_bytes(own.read_bytes() + torn)
    found = read_journal(layout)
    assert [entry.process for entry in found.entries] == sorted([own.stem, "elsewhere-1-0"])


def test_a_journal_that_cannot_be_written_stops_before_the_work(tmp_path: Path) -> None:
    (tmp_path / ".journal").write_text("a file is in the way")
    with pytest.raises(UserError, match="cannot be written"), attempt(Layout(tmp_path), "job0"):
        pytest.fail("the work began")


def test_somebody_who_looks_does_not_keep_a_job_from_being_said_to_run(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    note_failure(layout, "job0", "no luck")
    (own,) = layout.journal.iterdir()
    with own.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.03, looking.close).start()
        with attempt(layout, "job1"):
            assert set(read_journal(layout).running) == {"job1"}


def test_a_full_disk_is_one_sentence_also_for_the_journal(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    note_failure(layout, "job0", "no luck")
    (own,) = layout.journal.iterdir()
    own.unlink()
    own.symlink_to("/dev/full")
    with pytest.raises(UserError, match="the disk is full"), attempt(layout, "job1"):
        pytest.fail("the work began")
    with pytest.raises(UserError, match="the disk is full"):
        note_failure(layout, "job0", "no luck")
