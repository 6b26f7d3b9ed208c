"""The MLflow view of a running study: a real server on loopback, a file, servers that are gone."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest

from sweep.errors import UserError
from sweep.storage import tracking_server
from sweep.storage.mlflow_mirror import Mirror
from sweep.storage.mlflow_names import arm_metrics
from sweep.storage.mlflow_view import View

# MLflow's own tables use an option that SQLAlchemy 2.1 wants to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

EXP = arm_metrics(
    "exp",
    frequency=0.25,
    low=0.1,
    high=0.5,
    mean_final_error=float("nan"),
    outcomes={"bad_minimum": 2, "failed": 0},
)


def nobody() -> str:
    """An address where nothing answers."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_real_server_shows_parent_children_and_metrics(server, tracked, identity, report, capfd):
    warnings: list[str] = []
    before = dict(os.environ)
    mirror = Mirror.open(server.uri, tracked, identity, warn=warnings.append)
    for number in range(3):
        mirror.job_done(report(number))
    assert mirror.finish(EXP) == 0
    assert warnings == []

    (parent,), children = server.runs(identity.name)
    assert parent.status == "FINISHED"
    assert parent.metrics == {
        "bad_minimum_frequency/exp": 0.25,
        "bad_minimum_frequency_low/exp": 0.1,
        "bad_minimum_frequency_high/exp": 0.5,
        "outcome/exp/bad_minimum": 2,
        "outcome/exp/failed": 0,
    }
    assert parent.params == {"problem": "xor", "model.width": "2"}
    assert parent.tags["params_left_out"] == "too_long"
    assert parent.tags["study_id"] == identity.study_id
    assert parent.tags["git_commit"] == "f00d"

    assert {child.tags["job"] for child in children} == {"c1-s0", "c1-s1", "c1-s2"}
    assert {child.tags["mlflow.parentRunId"] for child in children} == {parent.id}
    assert {child.status for child in children} == {"FINISHED"}
    one = next(child for child in children if child.tags["job"] == "c1-s2")
    assert one.metrics["first_seed"] == 20
    assert one.metrics["verdict/plain/failed"] == 2
    assert one.metrics["mean_final_error/exp"] == 0.25
    assert one.metrics["seconds/train"] == 1.5
    assert one.params == {"problem": "xor", "model.width": "2"}

    listed = server.ask(f"artifacts/list?run_id={parent.id}")["files"]
    assert {file["path"] for file in listed} == {"study.json", "report.html", "figures", "summary"}

    # A resumed run has its own parent, but jobs are never shown twice.
    again = Mirror.open(server.uri, tracked, identity, warn=warnings.append)
    for number in range(4):
        again.job_done(report(number))
    assert again.finish({}) == 0
    parents, children = server.runs(identity.name)
    assert len(parents) == 2
    assert sorted(child.tags["job"] for child in children) == [f"c1-s{n}" for n in range(4)]

    shown = capfd.readouterr()
    assert shown.out == shown.err == ""
    assert warnings == []
    changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
    assert not {key for key in changed if "HTTP" in key}
    assert list(Path.cwd().iterdir()) == []


def test_at_most_three_requests_a_job(proxy, tracked, identity, report, until):
    mirror = Mirror.open(proxy.uri, tracked, identity, warn=pytest.fail)
    for number in range(20):
        mirror.job_done(report(number))
    until(lambda: mirror.left_out == 0)
    of_parent = ["get-by-name", "create", "get-by-name", "search", "create", "log-batch"]
    calls = [request.rpartition("/")[2] for request in proxy.requests]
    of_jobs = calls[calls.index("search") + 3 :]
    assert of_jobs == ["create", "log-batch", "update"] * 20
    assert len(calls) - len(of_jobs) <= len(of_parent)
    mirror.finish({})


def test_credentials_come_from_the_environment_and_stay_there(
    proxy, server, tracked, identity, report, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
    mirror = Mirror.open(proxy.uri, tracked, identity, warn=pytest.fail)
    mirror.job_done(report(0))
    assert mirror.finish(EXP) == 0
    header = b64encode(b"me:hush").decode()
    assert proxy.authorizations == {f"Basic {header}"}
    shown = repr(server.runs(identity.name))
    written = b"".join(path.read_bytes() for path in tracked.root.rglob("*") if path.is_file())
    assert "hush" not in shown
    assert header not in shown
    assert b"hush" not in written


def test_the_default_is_a_file_in_the_store_and_nothing_elsewhere(tracked, identity):
    mirror = Mirror.open(None, tracked, identity, warn=pytest.fail)
    assert mirror.finish(EXP, patience=120) == 0
    assert tracked.tracking_database.is_file()
    uploaded = {path.name for path in tracked.tracking_artifacts.rglob("*") if path.is_file()}
    assert uploaded == {"study.json", "report.html", "frequencies.svg", "frequencies.csv"}
    assert list(Path.cwd().iterdir()) == []
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_an_interrupted_run_says_so_on_its_parent(local, identity):
    mirror = Mirror.open(None, local, identity, warn=pytest.fail)
    mirror.finish({}, "KILLED")
    (parent,) = View(None, local, identity).runs("parent")
    assert parent.info.status == "KILLED"


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("nonsense://me:secret@x", r"'nonsense://x': .*http://.* sqlite:///, .* is accepted"),
        ("file:///tmp/mlruns", r"http://.* sqlite:///, postgresql://, mysql://"),
        ("sqlite:////dev/null/x.db", "cannot be (used|written)"),
        ("http://me:secret@host:5000", "'http://host:5000' .* MLFLOW_TRACKING_USERNAME"),
        ("https://secret@host", "MLFLOW_TRACKING_TOKEN"),
        ("https://me:se/secret@host", "'https://host' .* MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://me:secret@host/db", "'postgresql://host/db' .*pgpass"),
        ("mysql+pymysql://host/db?password=secret", "'mysql[+]pymysql://host/db'"),
    ],
)
def test_addresses_that_cannot_serve_are_a_sentence(tracked, identity, uri, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        Mirror.open(uri, tracked, identity, warn=pytest.fail)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_sentence_at_once(tracked, identity):
    tracked.tracking_database.write_text("not a database " * 100)
    with pytest.raises(UserError, match="file is not a database"):
        Mirror.open(None, tracked, identity, warn=pytest.fail)


def test_an_unreachable_server_is_a_sentence(tracked, identity):
    with pytest.raises(UserError, match="no server answers there"):
        Mirror.open(nobody(), tracked, identity, warn=pytest.fail)


def test_a_server_that_never_replies_is_given_up_within_ten_seconds(tracked, identity):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        began = time.monotonic()
        with pytest.raises(UserError, match="cannot be used"):
            Mirror.open(
                f"http://127.0.0.1:{silent.getsockname()[1]}", tracked, identity, warn=pytest.fail
            )
        assert time.monotonic() - began < 11


def test_a_server_lost_later_warns_once_and_never_blocks(proxy, tracked, identity, report, capfd):
    warnings: list[str] = []
    mirror = Mirror.open(proxy.uri, tracked, identity, warn=warnings.append)
    proxy.down = True
    began = time.monotonic()
    for number in range(100):
        mirror.job_done(report(number))
    assert time.monotonic() - began < 5
    assert mirror.finish(EXP) == 100
    assert time.monotonic() - began < 10
    (said,) = warnings
    assert "the rows are whole" in said
    assert f"'sweep sync-mlflow {tracked.root} tracking.uri={proxy.uri}'" in said
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


def test_what_a_short_outage_missed_is_sent_at_the_end(
    proxy, server, tracked, identity, report, until
):
    warnings: list[str] = []
    mirror = Mirror.open(proxy.uri, tracked, identity, warn=warnings.append)
    mirror.job_done(report(0))
    until(lambda: mirror.left_out == 0)
    proxy.down = True
    mirror.job_done(report(1))
    until(lambda: warnings)
    proxy.down = False
    mirror.job_done(report(2))
    assert mirror.finish({}) == 0
    assert len(warnings) == 1
    parents, children = server.runs(identity.name)
    assert len(parents) == 1
    assert sorted(child.tags["job"] for child in children) == ["c1-s0", "c1-s1", "c1-s2"]
    assert {child.status for child in children} == {"FINISHED"}


def test_a_slow_server_costs_the_run_no_more_than_its_patience(proxy, tracked, identity, report):
    warnings: list[str] = []
    proxy.delay = 2.0
    began = time.monotonic()
    mirror = Mirror.open(proxy.uri, tracked, identity, warn=warnings.append)
    assert time.monotonic() - began < 5  # one answer
    began = time.monotonic()
    for number in range(1000):
        mirror.job_done(report(number))
    assert time.monotonic() - began < 5
    assert mirror.finish({}, patience=1.0) == 1000
    assert time.monotonic() - began < 10
    assert len(warnings) == 1
    assert "within 1 s" in warnings[0]
    before = len(proxy.requests)
    proxy.delay = 0.0
    mirror._thread.join(10)  # the thread gives up too: nothing goes on behind a person's back
    assert not mirror._thread.is_alive()
    assert len(proxy.requests) <= before + 8


def test_a_locked_file_neither_stops_nor_slows_the_run(local, identity, report):
    warnings: list[str] = []
    with closing(sqlite3.connect(local.tracking_database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        mirror = Mirror.open(None, local, identity, warn=warnings.append)
        mirror.job_done(report(0))
        assert time.monotonic() - began < 5
        assert mirror.finish({}, patience=1.0) == 1
        assert time.monotonic() - began < 8
    assert len(warnings) == 1
    mirror._thread.join(20)


def test_a_wiped_file_does_not_stop_the_run(local, identity, report, until):
    warnings: list[str] = []
    mirror = Mirror.open(None, local, identity, warn=warnings.append)
    mirror.job_done(report(0))
    until(lambda: mirror.left_out == 0)
    local.tracking_database.unlink()
    mirror.job_done(report(1))
    began = time.monotonic()
    mirror.finish({})
    assert time.monotonic() - began < 25


def test_a_server_that_hangs_at_the_end_is_left_behind(local, identity, report, until):
    mirror = Mirror.open(None, local, identity, warn=(warnings := []).append)
    release = threading.Event()
    until(lambda: mirror._parent)  # its thread has made its client
    mirror._view._client = type(
        "Hanging", (), {"__getattr__": lambda *_: lambda *a, **k: release.wait()}
    )()
    mirror.job_done(report(0))
    began = time.monotonic()
    assert mirror.finish({}, patience=0.2) == 1
    assert time.monotonic() - began < 10
    assert len(warnings) == 1
    release.set()


def test_a_full_queue_refuses_and_says_so(local, identity, report, monkeypatch):
    monkeypatch.setattr("sweep.storage.mlflow_mirror._QUEUE", 0)
    mirror = Mirror.open(None, local, identity, warn=(warnings := []).append)
    mirror.job_done(report(0))
    mirror.job_done(report(1))
    assert mirror.finish({}) == 2
    assert len(warnings) == 1
    assert "slower than the sweep" in warnings[0]


def test_a_server_that_answers_with_errors_is_not_said_to_be_absent():
    said = "Max retries exceeded with url: /api (Caused by ResponseError('too many 500 error "
    assert tracking_server.reason(OSError(f"{said}responses'))")) == "it answers with errors"
    assert tracking_server.reason(OSError(f"{said[:40]})")) == "no server answers there"
