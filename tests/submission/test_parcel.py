"""What travels, what is remembered, what is judged: no cluster needed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.cli.compose import compose
from sweep.cli.main import main
from sweep.cli.submit import _remember, marking
from sweep.errors import CheckError, UserError
from sweep.execution.sameness import installation
from sweep.registry import build
from sweep.spec import Compute
from sweep.storage.provenance import git_state
from sweep.study.resolve import resolve
from sweep.submission import base, records
from sweep.submission.base import Parcel, Phase, State, Submission, judged, wait
from sweep.submission.credentials import refuse_credentials
from sweep.submission.marker import latest_attempt, marker_file, read_marker, write_marker
from sweep.submission.parcel import COMPOSED, MANIFEST, packed, read_composed

SECRET = "hunter2-hunter2"
GIVEN = Submission("ray", "sweep-0123456789ab-1", "0123456789ab", "mine", "/none", "2026-11-22")


def study_words(tmp_path: Path, *more: str) -> list[str]:
    return ["study=quick", "compute=cluster", f"store.root={tmp_path / 'results'}", *more]


def test_a_parcel_runs_by_itself_and_is_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked elsewhere it is the study that was packed, judged by the hash that was packed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heart.csv").write_text(
        "a,b,target\n" + "".join(f"{k},{k * k % 7},{k % 2}\n" for k in range(12))
    )
    composed = compose(
        ["study=quick", "compute=cluster", "problem=table", "problem.path=heart.csv"]
    )
    study, compute, store, _ = resolve(composed)
    with packed(composed, study, compute, store) as parcel:
        unpacked = tmp_path / "elsewhere"
        shutil.copytree(parcel.folder, unpacked)
    assert parcel.results == str(tmp_path / "results" / f"quick-{study.id}")
    said = json.loads((unpacked / MANIFEST).read_text())
    assert said == {**installation().to_json(), **git_state()}
    assert sorted(path.name for path in unpacked.iterdir()) == sorted((COMPOSED, MANIFEST, "sweep"))
    (tmp_path / "far").mkdir()
    monkeypatch.chdir(tmp_path / "far")
    again, there, stored, _ = resolve(read_composed(unpacked / COMPOSED))
    assert (again.id, there.name, there.address) == (study.id, "cluster", "auto")
    assert Path(stored.root) == tmp_path / "results"
    script = (
        "from sweep.execution.sameness import code_hash; from sweep.storage.provenance import"
        " git_state; import json; print(code_hash(), json.dumps(git_state()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, _, packed_from = run.stdout.partition(" ")
    assert code == installation().code
    assert json.loads(packed_from) == git_state()

    (unpacked / MANIFEST).write_text(json.dumps({**said, "code": "0" * 64}))
    with pytest.raises(UserError, match=r"holds code with hash 000000000000, but .* is running"):
        read_composed(unpacked / COMPOSED)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"tracking": {"uri": f"https://me:{SECRET}@ml.example"}}, "tracking.uri"),
        ({"tracking": {"uri": f"https://{SECRET}@ml.example"}}, "tracking.uri"),
        ({"store": {"root": f"s3://bucket/x?AWSSecretKey={SECRET}"}}, "store.root"),
        (
            {"compute": {"batch": {"extra": ["--ok", f"--export=A={SECRET}"]}}},
            "compute.batch.extra",
        ),
        ({"cells": [{"axes": {SECRET: 1}}]}, "cells[0].axes"),
        ({"store": {"root": "s3://me:hunter2/hunter2@bucket/x"}}, "store.root"),
        ({"note": "--export=URI=https://me:hunter2@ml.example"}, "note"),
        ({"extra": ["--export=ALL,AWS_SECRET_ACCESS_KEY=hunter2"]}, "extra[0]"),
    ],
)
def test_a_credential_does_not_travel(
    value: dict[str, Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    with pytest.raises(UserError) as refused:
        refuse_credentials(value, "")
    assert str(refused.value).startswith(place)
    assert "hunter2" not in str(refused.value)


def test_plain_settings_are_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "gd")  # too short to be a secret, and a word of the config
    refuse_credentials(compose(["study=default"]).resolved, "")
    refuse_credentials({"uri": "postgresql://ml.example/runs?sslmode=require"}, "")
    refuse_credentials({"root": "s3://bucket/a@b", "uri": "http://ml.example:8080/a@b"}, "")
    refuse_credentials({"extra": ["--export=ALL,RAY_AUTH_TOKEN_PATH=/home/me/token"]}, "")


def test_a_dry_run_prints_the_request_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    words = study_words(tmp_path)
    assert main(["submit", "--to", "ray", "--dry-run", *words]) == 0
    printed = capsys.readouterr().out
    request = json.loads(printed)
    assert request["submission_id"].startswith("sweep-")
    assert request["composed"]["name"] == "quick"
    assert SECRET not in printed
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "state").exists()
    planted = [*words, f"tracking.uri=https://me:{SECRET}@ml.example"]
    assert main(["submit", "--to", "ray", "--dry-run", *planted]) == 2
    assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_record_is_its_owners_alone(umask: int, own_records: Path) -> None:
    own_records.parent.mkdir(parents=True)
    before = os.umask(umask)
    try:
        path = records.keep(GIVEN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_records.stat().st_mode) == 0o700


def test_a_record_is_found_by_everything_that_names_its_study(tmp_path: Path) -> None:
    results = tmp_path / "mine-0123456789ab"
    given = replace(GIVEN, results=str(results))
    records.keep(given)
    for target in ("0123456789ab", "mine-0123456789ab", results):
        assert records.find(target) == given
    for target in ("0123456789ac", "yours-0123456789ab", tmp_path, "mine"):
        assert records.find(target) is None
    elsewhere = tmp_path / "copy" / "mine-0123456789ab"
    elsewhere.mkdir(parents=True)
    assert records.find(elsewhere) is None
    with pytest.raises(UserError, match="'mine' is no study that you submitted from here"):
        records.require("mine")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"to": "moon"}', "\udcff"])
def test_a_damaged_record_is_said(text: str) -> None:
    path = records.keep(GIVEN)
    path.write_bytes(os.fsencode(text))
    with pytest.raises(UserError, match="is damaged"):
        records.find(GIVEN.study_id)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "sweep-0123456789ac-1"),
        ("id", "sweep-0123456789ab-1/../../x"),
        ("study_id", "0123456789ac"),
        ("job", "--user=somebody"),
        ("job", 7),
        ("results", ["/none"]),
        ("details", {"namespace": 1}),
        ("details", "x"),
    ],
)
def test_a_record_that_could_mislead_a_command_is_refused(key: str, value: object) -> None:
    path = records.keep(GIVEN)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match="is damaged"):
        records.find(GIVEN.study_id)


def test_a_record_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the address that our token would be sent to."""
    records.keep(GIVEN)
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(UserError, match="belongs to another user"):
        records.find(GIVEN.study_id)


def test_a_record_of_a_newer_sweep_is_read() -> None:
    path = records.keep(GIVEN)
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert records.find(GIVEN.study_id) == GIVEN


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, 0),
        (UserError("x"), 2),
        (KeyboardInterrupt(), 130),
        (CheckError("x"), 1),
        (RuntimeError("x"), 1),
    ],
)
def test_every_end_leaves_its_marker(
    raised: BaseException | None, status: int, tmp_path: Path
) -> None:
    path = marker_file(tmp_path / "mine-0123456789ab", "sweep-1")
    write_marker(path, 7, "an earlier attempt's")
    try:
        with marking(path) as statuses:
            assert not path.exists()
            if raised is not None:
                raise raised
            statuses.append(0)
    except BaseException as error:
        assert error is raised
    found = read_marker(tmp_path / "mine-0123456789ab", "sweep-1")
    assert found is not None
    assert (found.exit_status, found.study) == (status, "mine-0123456789ab")


def test_a_marker_lies_beside_its_results_in_an_object_store_too(tmp_path: Path) -> None:
    results = "memory://markers/mine-0123456789ab"
    given = replace(GIVEN, results=results)
    parcel = Parcel(given.study_id, given.name, results, {}, Compute(name="cluster"), tmp_path)
    word = parcel.command(given.id)[-1]
    assert word == f"{results}/.submission/{given.id}.json"
    assert judged(State(Phase.LOST), given).phase is Phase.LOST
    with marking(word) as statuses:
        statuses.append(0)
    assert judged(State(Phase.LOST), given).phase is Phase.SUCCEEDED
    assert latest_attempt(results, given.study_id) == 1


def test_a_submission_that_cannot_be_remembered_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "replace", full)
    _remember(GIVEN)
    assert f"{GIVEN.id} goes on, but cannot be remembered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "marker", "phase", "status"),
    [
        (State(Phase.RUNNING), 0, Phase.RUNNING, 1),
        (State(Phase.SUCCEEDED), 0, Phase.SUCCEEDED, 0),
        (State(Phase.SUCCEEDED), 1, Phase.FAILED, 1),
        (State(Phase.SUCCEEDED), None, Phase.FAILED, 1),
        (State(Phase.FAILED), 0, Phase.SUCCEEDED, 0),
        (State(Phase.FAILED, exit_status=2), None, Phase.FAILED, 2),
        (State(Phase.CANCELLED), None, Phase.CANCELLED, 130),
        (State(Phase.CANCELLED), 130, Phase.CANCELLED, 130),
        (State(Phase.LOST), 0, Phase.SUCCEEDED, 0),
        (State(Phase.LOST), None, Phase.LOST, 1),
    ],
)
def test_the_marker_decides_how_it_ended(
    asked: State, marker: int | None, phase: Phase, status: int, tmp_path: Path
) -> None:
    given = replace(GIVEN, results=str(tmp_path))
    if marker is not None:
        write_marker(marker_file(tmp_path, given.id), marker, given.label)
    found = judged(asked, given)
    assert (found.phase, found.status) == (phase, status)


def test_a_marker_of_another_study_is_not_believed(tmp_path: Path) -> None:
    given = replace(GIVEN, results=str(tmp_path))
    write_marker(marker_file(tmp_path, given.id), 0, "yours-0123456789ab")
    assert judged(State(Phase.SUCCEEDED), given).phase is Phase.FAILED
    assert judged(State(Phase.LOST), given).phase is Phase.LOST


def test_results_that_cannot_be_seen_from_here_leave_the_cluster_its_word(tmp_path: Path) -> None:
    given = replace(GIVEN, results=str(tmp_path / "there"))
    assert judged(State(Phase.SUCCEEDED), given).status == 0


def test_attempts_are_counted_by_their_markers(tmp_path: Path) -> None:
    assert latest_attempt(tmp_path / "none", "0123456789ab") == 0
    for job in ("sweep-0123456789ab-2", "sweep-0123456789ab-10", "sweep-ba9876543210-30", "odd-7"):
        write_marker(marker_file(tmp_path, job), 0, "mine")
    assert latest_attempt(tmp_path, "0123456789ab") == 10


class Flaky:
    """A submitter that answers every third time."""

    def __init__(self) -> None:
        self.asked = 0

    def state(self, submission: Submission) -> State:
        self.asked += 1
        if self.asked % 3:
            raise UserError("nobody answers")
        return State(Phase.RUNNING if self.asked < 9 else Phase.SUCCEEDED)


def test_waiting_outlasts_a_network_that_fails_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    submitter: Any = Flaky()
    assert wait(submitter, GIVEN, poll=0.0).phase is Phase.SUCCEEDED
    assert submitter.asked == 9
    monkeypatch.setattr(base, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(UserError, match="nobody answers"):
        wait(submitter, GIVEN, poll=0.01)


@pytest.mark.parametrize("status", ['"x"', '"0"', "0.5", "false", "7", "-1", "null", "{}"])
def test_what_is_no_exit_status_is_no_success(status: str, tmp_path: Path) -> None:
    path = marker_file(tmp_path, "s")
    path.parent.mkdir()
    whole = f'{{"exit_status": {status}, "study": "mine", "finished_at": "now"}}'
    for text in (whole, whole[:-1], "", "{}", "[]"):
        path.write_text(text)
        assert read_marker(tmp_path, "s") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit"], "--to ray|slurm|kuberay"),
        (["submit", "--to", "slrum"], "did you mean 'slurm'"),
        (["submit", "--to", "ray", "study=quick", "compute=serial"], "compute=cluster"),
        (["submit", "--to", "ray", "--dry-run", "compute.batch.nodes=0"], "compute.batch.nodes is"),
        (["submit", "--to", "ray", "--dry-run", "compute.batch.time_limit=4h"], "'04:00:00'"),
        (["submit", "--to", "ray", "--dry-run", "compute.batch.account='a; b'"], "one word"),
        (["submit", "--to", "ray", "--dry-run", "compute.batch.python='~/bin/python'"], "home"),
        (["logs"], "needs one study"),
        (["cancel", "0123456789ab"], "no study that you submitted"),
        (["run", "--composed", "nowhere.json"], "cannot be read"),
        (["run", "--composed", "nowhere.json", "study=quick"], "not accepted beside it"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_batch_settings_change_no_study(tmp_path: Path) -> None:
    plain = resolve(compose(study_words(tmp_path)))[0]
    asked = ("compute.batch.nodes=4", "compute.insecure=true", "compute.batch.extra=['--qos=high']")
    study, compute, *_ = resolve(compose(study_words(tmp_path, *asked)))
    assert study.id == plain.id
    assert (compute.batch.nodes, compute.insecure, compute.batch.extra) == (
        4,
        True,
        ("--qos=high",),
    )
    assert build(Compute, {}, "compute").batch.nodes == 1
