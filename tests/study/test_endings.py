"""How a run ends when things go wrong: exit status, sentence, and what stays on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import sweep
from sweep.cli.main import main
from sweep.job import JobResult, run_job
from sweep.job_report import JobFailure, JobReport
from sweep.spec import Job
from sweep.storage.layout import Layout
from sweep.study import work
from sweep.study.results import Results, write_summary
from sweep.study.work import CommitRows

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("study=quick", "tracking=none", "compute=serial", "seeds.count=2", "stopping.max_steps=9")


def run(tmp_path: Path, *words: str) -> int:
    return main(["run", *SMALL, *words, f"store.root={tmp_path / 'r'}"])


@pytest.mark.parametrize(
    "words",
    [
        ("compute.device=cuda",),
        ("tracking=mlflow", "tracking.uri=http://127.0.0.1:9"),
        ("compute=cluster", "compute.address=127.0.0.1:9"),
        ("compute=cluster", "compute.address=ray://127.0.0.1:9"),
    ],
    ids=["device", "tracking", "cluster", "client"],
)
def test_a_place_that_cannot_be_reached_leaves_no_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(tmp_path, *words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.rglob("study.json"))
    assert run(tmp_path) == 0  # nothing stands in the way of the right command


def test_jobs_that_fail_for_good_end_with_status_1_and_are_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = CommitRows.__call__

    def broken(self: CommitRows, job: Job) -> JobReport:
        if job.reference or job.block.first == 0:
            raise RuntimeError("no memory")
        return honest(self, job)

    monkeypatch.setattr(CommitRows, "__call__", broken)
    assert run(tmp_path, "compute.retries=0") == 1
    assert "all 1 jobs failed for good; the first: RuntimeError: no memory" in (
        capsys.readouterr().err
    )
    more = ("seeds.count=4", "compute.block_size=2", "compute.retries=0")
    assert run(tmp_path, *more) == 1  # one block of two is there
    (path,) = (tmp_path / "r").iterdir()
    assert set(sweep.load_rows(path)["seed"]) == {2, 3}
    monkeypatch.undo()
    assert run(tmp_path, *more) == 0
    rows = sweep.load_rows(path)
    assert set(rows["seed"]) == {0, 1, 2, 3}
    assert not rows.duplicated(["cell", "arm", "draw", "seed"]).any()


def test_a_folder_that_is_moved_while_it_grows_is_not_begun_anew_in_its_old_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"

    def moving(job: Job, *rest: str) -> JobResult:
        if job.block.first == 1:
            (tmp_path / "r").rename(moved)
        return run_job(job, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(work, "run_job", moving)
        assert run(tmp_path, "compute.block_size=1") == 2
    assert "has no study.json any more: it was moved or deleted" in capsys.readouterr().err
    assert not list((tmp_path / "r").rglob("*"))
    assert main(["run", *SMALL, "compute.block_size=1", f"store.root={moved}"]) == 0
    (path,) = moved.iterdir()
    assert sorted(sweep.load_rows(path)["seed"].unique()) == [0, 1]


def test_the_last_phase_is_named_when_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = []

    def summarising(layout: Layout, failures: Sequence[JobFailure]) -> Results:
        before.append(capsys.readouterr().out.splitlines())
        return write_summary(layout, failures)

    monkeypatch.setattr("sweep.study.run.write_summary", summarising)
    assert run(tmp_path) == 0
    (lines,) = before
    assert lines[-2].startswith("1/1 jobs")
    assert lines[-1] == "Summarising and drawing the report."


def test_several_hidden_layers_make_rows(tmp_path: Path) -> None:
    assert run(tmp_path, "model.width=[3,2],4") == 0
    (path,) = (tmp_path / "r").iterdir()
    assert set(sweep.load_rows(path)["model.width"]) == {"[3, 2]", "4"}


def test_a_report_of_anothers_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    (path,) = (tmp_path / "r").iterdir()
    text = (path / "study.json").read_text()
    own = path.name.removeprefix("quick-")
    (path / "study.json").write_text(text.replace(own, "0123456789ab"))
    assert main(["report", str(path)]) == 2
    assert "is of study 0123456789ab" in capsys.readouterr().err
