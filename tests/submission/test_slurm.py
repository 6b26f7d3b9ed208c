"""A real SLURM of two nodes: what is submitted is followed, ended, requeued, and loses no row."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from sweep.cli.main import main
from sweep.submission import open_submitter, records
from sweep.submission.base import Phase, Submission
from sweep.submission.marker import read_marker

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_cluster.py"
SECONDS = 240.0  # for a step that takes half a minute on an idle machine
MEMBERS = 4  # networks per seed of the study 'quick'
PER_JOB = 200
LONG = (f"compute.block_size={PER_JOB}", "model.width=6")  # jobs of seconds, not of milliseconds
ENDLESS = "seeds.count=60000"  # minutes, on the fastest of machines


def can_start_slurm() -> bool:
    """Whether this machine has SLURM and may start one."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
    return os.geteuid() == 0 and all(shutil.which(name, path=path) for name in programs)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_start_slurm(), reason="needs root, and slurm-wlm and munge"),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """Two nodes on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="sweep-slurm-", dir="/tmp"))
    folder.chmod(0o755)  # munged runs as its own user
    command = [sys.executable, str(SCRIPT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            subprocess.run([*command, "start", str(folder), "--nodes=2"], check=True)
            yield
        finally:
            subprocess.run([*command, "stop", str(folder)], check=True)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def words(slurm: None, tmp_path: Path) -> list[str]:
    """A small study for two nodes of one processor."""
    batch = {"nodes": 2, "cpus_per_node": 1, "memory_per_node_gb": 1.5, "python": sys.executable}
    return [
        *("submit", "--to", "slurm", "study=quick", "tracking=none"),
        *(f"store.root={tmp_path / 'results'}", "compute.memory_per_job_gb=0.2"),
        *(f"compute.batch.{key}={value}" for key, value in batch.items()),
    ]


def submitted(tmp_path: Path) -> Submission:
    """The only study that this test's user has submitted, its latest attempt."""
    (file,) = (tmp_path / "state" / "sweep" / "submissions").iterdir()
    return records.require(file.stem)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def files(submission: Submission) -> int:
    return len(list((Path(submission.results) / "rows").glob("*.parquet")))


def seeds_on_disk(results: str) -> list[int]:
    """Every seed of the rows, as often as each network of it has a row; whole or refused."""
    rows = pd.read_parquet(Path(results) / "rows")
    assert not rows[["cell", "arm", "draw", "seed"]].duplicated().any()
    counts = rows["seed"].value_counts()
    assert (counts == MEMBERS).all()
    return sorted(counts.index)


def asked(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def log(submission: Submission) -> str:
    return "".join(open_submitter("slurm").logs(submission, follow=False))


def exit_status(submission: Submission) -> str:
    """SLURM's own word on the batch script."""
    shown = asked("scontrol", "--oneliner", "show", "job", str(submission.job))
    return dict(pair.partition("=")[::2] for pair in shown.split())["ExitCode"]


def completed(words: list[str], first: Submission, tmp_path: Path) -> None:
    """Ended, and submitted again for little more than it has done, it is complete, each row once.

    How much it does meanwhile depends on the machine.
    """
    submitter = open_submitter("slurm")
    assert main(["cancel", first.results]) == 0
    until(lambda: submitter.state(first).ended)
    seeds = PER_JOB * (files(first) + 2)
    assert main([*words, f"seeds.count={seeds}", "--wait"]) == 0
    second = submitted(tmp_path)
    assert second.id == f"sweep-{first.study_id}-2"
    assert exit_status(second) == "0:0"
    assert set(seeds_on_disk(first.results)) >= set(range(seeds))


def leftovers() -> set[str]:
    """Private folders of nodes and scripts, which hold a token; a local Ray's has an owner."""
    folders = {path.parent for path in Path("/tmp").glob("sweep-*/token")}
    return {str(folder) for folder in folders if not (folder / "owner").exists()}


def test_a_study_is_submitted_followed_and_waited_for(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = leftovers()
    assert main([*words, "seeds.count=4", "compute.block_size=2", "--wait"]) == 0
    found = submitted(tmp_path)
    assert found.id == f"sweep-{found.study_id}-1"
    assert f"{found.id} succeeded" in capsys.readouterr().out
    assert seeds_on_disk(found.results) == [0, 1, 2, 3]
    marker = read_marker(found.results, found.id)
    assert marker is not None
    assert (marker.exit_status, marker.study) == (0, found.label)
    assert exit_status(found) == "0:0"
    assert leftovers() <= before

    assert main(["logs", "--follow", found.label]) == 0
    assert "(16 rows)" in capsys.readouterr().out
    assert main(["status", found.results]) == 0
    assert "state    succeeded" in capsys.readouterr().out
    assert main(["cancel", found.study_id]) == 0
    assert "has ended already" in capsys.readouterr().out


def test_requeued_and_out_of_time_in_the_middle_it_is_complete(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [*words, *LONG, ENDLESS]
    assert main([*many, "compute.batch.time_limit=00:10:00"]) == 0
    first = submitted(tmp_path)
    submitter = open_submitter("slurm")
    until(lambda: files(first) >= 3)
    assert submitter.state(first).phase is Phase.RUNNING

    assert main(many) == 2
    assert f"is running already as {first.id}" in capsys.readouterr().err
    with monkeypatch.context() as patch:  # somebody else, who has no record of it
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
        assert main(many) == 2
        assert f"queue already as {first.id}, job {first.job}" in capsys.readouterr().err

    asked("scontrol", "requeue", str(first.job))
    until(lambda: submitter.state(first).phase is Phase.PENDING)
    kept = files(first)
    assert 3 <= kept < 300
    until(lambda: files(first) >= kept + 3)

    # Three minutes from its start, two of them are warning: the signal comes soon.
    asked("scontrol", "update", f"JobId={first.job}", "TimeLimit=3")
    until(lambda: submitter.state(first).phase is not Phase.RUNNING)
    assert submitter.state(first).phase is Phase.PENDING, log(first)
    kept = files(first)
    asked("scontrol", "update", f"JobId={first.job}", "TimeLimit=60")
    until(lambda: files(first) >= kept + 3)
    assert log(first).count("on disk already") == 2  # it was started three times
    completed([*words, *LONG], first, tmp_path)


def test_preempted_in_the_middle_it_goes_back_into_the_queue_and_is_complete(
    words: list[str], tmp_path: Path
) -> None:
    """Told to end, by a signal to its script, to its Ray alone, or because others need the nodes.

    The last two are the same to a job: ahead of a pre-emption SLURM warns the steps only.
    """
    assert main([*words, *LONG, ENDLESS, "compute.batch.time_limit=00:30:00"]) == 0
    found = submitted(tmp_path)
    job = str(found.job)
    submitter = open_submitter("slurm")

    def state() -> Phase:
        return submitter.state(found).phase

    before, kept = leftovers(), 0
    urgent = ("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", f"--chdir={tmp_path}")
    for warning in (
        ("scancel", "--signal=TERM", "--batch", job),
        ("scancel", "--signal=TERM", job),
        (*urgent, "--output=/dev/null", "--wrap=exit 0"),
    ):
        until(lambda kept=kept: files(found) >= kept + 3)
        assert state() is Phase.RUNNING, log(found)
        asked(*warning)
        until(lambda: state() is not Phase.RUNNING)
        assert state() is Phase.PENDING, log(found)
        until(lambda: state() is Phase.RUNNING)
        kept = files(found)
    until(lambda: files(found) >= kept + 3)
    assert log(found).count("on disk already") == 3  # it was started four times
    completed([*words, *LONG], found, tmp_path)
    assert not leftovers() - before


def test_cancelled_in_the_middle_and_submitted_again_it_is_complete(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [*words, *LONG, "seeds.count=6000"]
    assert main(many) == 0
    first = submitted(tmp_path)
    until(lambda: files(first) >= 3)
    assert main(["cancel", first.results]) == 0
    submitter = open_submitter("slurm")
    until(lambda: submitter.state(first).ended)
    state = submitter.state(first)
    assert (state.phase, state.status) == (Phase.CANCELLED, 130)
    assert 3 <= files(first) < 30

    assert main([*many, "--wait"]) == 0
    second = submitted(tmp_path)
    assert (second.id, first.id) == (f"sweep-{first.study_id}-2", f"sweep-{first.study_id}-1")
    assert seeds_on_disk(second.results) == list(range(6000))


def test_a_node_that_never_joins_fails_the_job_everywhere(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second node's interpreter does nothing, as on a machine with a broken disk."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/bash\ncase "$SLURMD_NODENAME $*" in "n2 "*" start "*) exec sleep 600;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    few = ["seeds.count=4", f"compute.batch.python={python}", "compute.batch.join_seconds=30"]
    assert main([*words, *few, "--wait"]) == 1
    found = submitted(tmp_path)
    assert "1 of 2 nodes joined Ray within 30 s" in log(found)
    marker = read_marker(found.results, found.id)
    assert marker is not None
    assert marker.exit_status == 1
    assert exit_status(found) == "1:0"
    assert open_submitter("slurm").state(found).phase is Phase.FAILED
    assert not files(found)


def test_no_planted_secret_is_left_anywhere(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows, study.json, MLflow, marker, log, script, parcel, record, and what was printed."""
    for name in (
        *("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ):
        monkeypatch.setenv(name, f"hunter2-{name.lower()}-77aa")
    tracked = [word for word in words if word != "tracking=none"]
    assert main([*tracked, "seeds.count=2", "--wait"]) == 0
    found = submitted(tmp_path)
    assert main(["status", found.label]) == 0
    assert main(["logs", found.label]) == 0
    seen = capsys.readouterr()
    assert "hunter2" not in seen.out + seen.err
    searched = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"study.json", "mlflow.db", "job.sh", f"{found.id}.log"} <= {p.name for p in searched}
    assert not [path for path in searched if b"hunter2" in path.read_bytes()]
