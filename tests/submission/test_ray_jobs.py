"""A real Ray with a token on loopback: what is submitted runs once, is followed and ended."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweep.cli.main import main
from sweep.errors import UserError
from sweep.execution.tokens import read_settings_again
from sweep.submission import open_submitter, records
from sweep.submission.base import Phase, Submission
from sweep.submission.marker import read_marker
from sweep.submission.ray_jobs import RayJobs

SECONDS = 240.0  # for a step that takes about fifteen on an idle machine
MEMBERS = 4  # networks per seed of the study 'quick'


@pytest.fixture
def words(head: Any, tmp_path: Path) -> list[str]:
    """A small study on the head's machine."""
    return [
        *("submit", "--to", "ray", "--address", head.address),
        *("study=quick", "tracking=none", f"store.root={tmp_path / 'results'}"),
        *("compute.memory_per_job_gb=0.2", f"compute.batch.python={sys.executable}"),
    ]


def submitted(tmp_path: Path) -> Submission:
    """The only submission that this test's user has made."""
    (file,) = (tmp_path / "state" / "sweep" / "submissions").iterdir()
    return records.require(file.stem)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def seeds_on_disk(results: str) -> list[int]:
    """Every seed of the rows, as often as each network of it has a row; whole or refused."""
    rows = pd.read_parquet(Path(results) / "rows")
    keys = rows[["cell", "arm", "draw", "seed"]]
    assert not keys.duplicated().any()
    counts = rows["seed"].value_counts()
    assert (counts == MEMBERS).all()
    return sorted(counts.index)


def test_a_study_is_submitted_followed_and_waited_for(
    words: list[str], head: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["seeds.count=4", "compute.block_size=2", "compute.workers=1"]
    assert main([*words, *few, "--wait"]) == 0
    found = submitted(tmp_path)
    printed = capsys.readouterr().out
    assert found.id == f"sweep-{found.study_id}-1"
    assert f"{found.id} succeeded" in printed
    assert seeds_on_disk(found.results) == [0, 1, 2, 3]
    marker = read_marker(found.results, found.id)
    assert marker is not None
    assert (marker.exit_status, marker.study) == (0, found.label)

    assert main(["logs", "--follow", found.label]) == 0
    logged = capsys.readouterr().out
    assert "(16 rows)" in logged
    secret = head.token.read_text()
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 10
    assert not any(secret.encode() in content for content in (*written, logged.encode()))

    assert main(["status", found.results]) == 0
    printed = capsys.readouterr().out
    assert "state    succeeded" in printed
    assert "2 of 2 done" in printed
    assert main(["cancel", found.study_id]) == 0
    assert "has ended already" in capsys.readouterr().out


def test_without_the_token_nobody_gets_in(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for mode, token in (("token", "0" * 64), ("disabled", "")):
            patch.setenv("RAY_AUTH_MODE", mode)
            patch.setenv("RAY_AUTH_TOKEN", token)
            assert main(words) == 2
            error = capsys.readouterr().err
            assert "refuses our token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" in error
            assert error.count("\n") == 1
            assert "0000" not in error
    read_settings_again()


@pytest.mark.slow
def test_cancelled_killed_and_submitted_again_it_is_complete(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = [*words, "seeds.count=600", "compute.block_size=2", "model.width=3"]
    assert main(many) == 0
    first = submitted(tmp_path)
    submitter = open_submitter("ray", first.address)
    rows = Path(first.results) / "rows"
    until(lambda: len(list(rows.glob("*.parquet"))) >= 3)
    assert submitter.state(first).phase is Phase.RUNNING
    refused_beside(first, many, tmp_path / "other", capsys)

    assert main(["cancel", first.results]) == 0
    until(lambda: submitter.state(first).ended)
    assert submitter.state(first).phase is Phase.CANCELLED
    done = kept(rows)
    assert 0 < len(seeds_on_disk(first.results)) < 600

    assert main(many) == 0
    second = submitted(tmp_path)
    assert second.id == f"sweep-{first.study_id}-2"
    until(lambda: len(list(rows.glob("*.parquet"))) >= len(done) + 3)
    os.kill(driver(second), signal.SIGKILL)
    until(lambda: submitter.state(second).ended)
    assert submitter.state(second).phase is Phase.FAILED
    assert read_marker(second.results, second.id) is None
    done |= kept(rows)

    least = len(done) * 2 + 20
    fewer = [*words, f"seeds.count={least}", "compute.block_size=2", "model.width=3"]
    assert main([*fewer, "--wait"]) == 0
    assert submitted(tmp_path).id == f"sweep-{first.study_id}-3"
    assert set(seeds_on_disk(first.results)) >= set(range(least))
    assert kept(rows).items() >= done.items()


def refused_beside(
    running: Submission, words: list[str], other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study that runs is refused, whoever asks, and also to one who asked too early to know."""
    assert main(words) == 2
    assert f"is running already as {running.id}" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(other))
        assert main(words) == 2
        assert f"runs already as {running.id}" in capsys.readouterr().err
        patch.setattr(RayJobs, "_latest_attempt", lambda self, study_id: 0)
        assert main(words) == 2
        assert f"runs already as {running.id}" in capsys.readouterr().err


def kept(rows: Path) -> dict[str, int]:
    """When each row file was written, which never changes."""
    return {file.name: file.stat().st_mtime_ns for file in rows.iterdir()}


def driver(submission: Submission) -> int:
    """The process that runs a submission on this machine."""
    marker = f"{submission.id}.json"
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = file.read_text().split("\0")
            if words[1:2] == ["-m"] and any(word.endswith(marker) for word in words):
                return int(file.parent.name)
    raise LookupError(submission.id)


@contextmanager
def open_job_server(nodes: list[str]) -> Iterator[str]:
    """The address of something like Ray's job server that asks nobody for a token."""

    class Open(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = ", ".join(f'{{"ip": "{ip}"}}' for ip in nodes)
            body = f'{{"ray_version": "2.60.0", "data": {{"summary": [{listed}]}}}}'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Open) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("nodes", "insecure", "refused"),
    [
        (["127.0.0.1"], False, False),
        (["127.0.0.1", "192.0.2.7"], False, True),
        (["192.0.2.7"], False, True),
        ([], False, True),
        (["192.0.2.7"], True, False),
    ],
)
def test_a_ray_that_others_reach_without_a_token_is_refused(
    nodes: list[str], insecure: bool, refused: bool
) -> None:
    with open_job_server(nodes) as address:
        jobs = RayJobs(address, insecure)
        if refused:
            with pytest.raises(UserError, match=r"answers without a token, so .* --insecure"):
                jobs._refuse_open()
        else:
            jobs._refuse_open()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("ray://127.0.0.1:10001", "is no job server's"),
        ("127.0.0.1:8265", "is no job server's"),
        ("http://me:hunter2@127.0.0.1:1", "holds a credential in 'http://127.0.0.1:1'"),
        ("http://127.0.0.1:1/?token=hunter2", "holds a credential in 'http://127.0.0.1:1/'"),
    ],
)
def test_a_wrong_address_is_refused_in_one_sentence(
    address: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["submit", "--to", "ray", "--address", address, "study=quick"]
    assert main([*words, f"store.root={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "hunter2" not in error
    assert error.count("\n") == 1
