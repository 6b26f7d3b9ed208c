"""What a results folder tells of its jobs: done, running, failed with the reason, missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli.main import main
from sweep.job_report import JobReport
from sweep.spec import Job
from sweep.storage.journal import STARTED, attempt, read_journal
from sweep.storage.layout import Layout
from sweep.study.status import status
from sweep.study.work import CommitRows

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = (
    *("run", "study=quick", "tracking=none", "compute=serial", "compute.block_size=2"),
    *("seeds.count=6", "stopping.max_steps=9", "compute.retries=0"),
)


def test_every_job_is_in_one_state_and_the_same_command_does_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = CommitRows.__call__

    def broken(self: CommitRows, job: Job) -> JobReport:
        if not job.reference and job.block.first == 2:
            raise RuntimeError("no luck")
        if job.block.first == 4:
            raise KeyboardInterrupt
        return honest(self, job)

    monkeypatch.setattr(CommitRows, "__call__", broken)
    words = [*WORDS, f"store.root={tmp_path}"]
    assert main(words) == 130
    (folder,) = tmp_path.iterdir()
    found = status(folder)
    (first,), ((second, reason),), (third,) = found.done, found.failed.items(), found.missing
    assert reason.startswith("RuntimeError: no luck (test_status.py:")
    assert [job[-10:-3] for job in (first, second, third)] == ["0000000", "0000002", "0000004"]
    assert found.n_jobs == 3
    assert sum(found.verdicts["plain"].values()) == 2

    capsys.readouterr()
    with attempt(Layout.at(folder), second):
        found = status(folder)
        assert (list(found.running), found.failed, found.missing) == ([second], {}, (third,))
        assert main(["status", str(folder)]) == 0
        said = capsys.readouterr().out
        assert "1 of 3 done, 1 running, 0 failed, 1 missing" in said
        assert f"{second} on " in said
    assert main(["status", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 done, 0 running, 1 failed, 1 missing" in said
    assert f"{second}: {reason}" in said

    monkeypatch.undo()
    assert main(words) == 0
    found = status(folder)
    assert (len(found.done), found.running, found.failed, found.missing) == (3, {}, {}, ())
    starts = [
        entry.job for entry in read_journal(Layout.at(folder)).entries if entry.event == STARTED
    ]
    assert starts.count(first) == 1
    assert starts.count(third) == 1


def test_rows_that_are_there_are_reported_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that died after its commit, or two sweeps at once: the second only reads."""
    reports: list[JobReport] = []
    honest = CommitRows.__call__

    def twice(self: CommitRows, job: Job) -> JobReport:
        reports.append(honest(self, job))
        reports.append(honest(self, job))
        return reports[-1]

    monkeypatch.setattr(CommitRows, "__call__", twice)
    assert main([*WORDS, f"store.root={tmp_path}"]) == 0
    for first, second in zip(reports[::2], reports[1::2], strict=True):
        assert second.seconds == {}
        assert (first.verdicts, first.stops) == (second.verdicts, second.stops)
        assert first.mean_final_error == pytest.approx(second.mean_final_error, rel=1e-12)
    (folder,) = tmp_path.iterdir()
    starts = [e.job for e in read_journal(Layout.at(folder)).entries if e.event == STARTED]
    assert len(starts) == len(set(starts)) == len(reports) // 2
