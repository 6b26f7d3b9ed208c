"""`sweep sync-mlflow` at the door: what it says, what it refuses, and that no password gets in."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

import sweep
from sweep.cli.main import main

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("study=quick", "seeds.count=4", "stopping.max_steps=9", "compute=serial")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    own = ("tracking=none", "compute.block_size=2", f"store.root={root}")
    return sweep.run([*SMALL, *own]).path


def test_a_study_without_tracking_gets_its_view_afterwards(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"tracking.uri=sqlite:///{tmp_path}/other.db"
    assert main(["sync-mlflow", str(study), address]) == 0
    printed = capsys.readouterr().out
    assert printed == (
        f"{study}: 2 jobs in MLflow, 0 were there, 2 added, 0 repaired; the parent run was added.\n"
    )
    assert main(["sync-mlflow", address, str(study)]) == 0
    printed = capsys.readouterr().out
    assert "2 were there, 0 added, 0 repaired; the parent run was there." in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "sweep sync-mlflow needs the results folder"),
        (["{study}", "tracking.url=http://h"], "did you mean 'tracking.uri'"),
        (["{study}", "tracking.uri="], "tracking.uri is given empty"),
        (["{study}", "tracking.uri=http://a", "tracking.uri=http://b"], "is given twice"),
        (["{study}", "tracking.uri=foo"], "tracking.uri is 'foo'"),
        (["{study}", "tracking.uri=http://127.0.0.1:9"], "no server answers there"),
        (["{study}", "tracking.uri=http://me:hush@h"], "MLFLOW_TRACKING_PASSWORD"),
        (["{study}", "--fast"], "--fast"),
        (["{empty}"], "is no results folder"),
        (["{empty}/nothing"], "is no results folder"),
        (["{study}/rows"], "is no results folder"),
    ],
)
def test_what_is_refused_in_a_sentence(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    filled = [word.format(study=study, empty=tmp_path) for word in words]
    assert main(["sync-mlflow", *filled]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert "hush" not in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "said"), [(401, "asks for a user"), (403, "does not let this")])
def test_a_server_that_refuses_the_user_says_where_to_name_one(
    study: Path, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert main(["sync-mlflow", str(study), f"tracking.uri={address}"]) == 2
        server.shutdown()
    error = capsys.readouterr().err
    assert f"'{address}' {said}" in error
    assert "MLFLOW_TRACKING_USERNAME" in error
    assert error.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync-mlflow", "--help"]) == 0
    assert "tracking.uri=ADDRESS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://me:hush@127.0.0.1:9", "MLFLOW_TRACKING_USERNAME"),
        ("https://hush@127.0.0.1:9", "MLFLOW_TRACKING_TOKEN"),
        ("postgresql://me:hush@127.0.0.1/db", "MLFLOW_TRACKING_PASSWORD"),
        ("http://me:hush,hush@127.0.0.1:9", "tracking.uri"),
        ("http://me:{hush@127.0.0.1:9", "cannot be read"),
        ("htp://me:hush@127.0.0.1:9", "http://"),
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, said: str
) -> None:
    assert main(["run", *SMALL, f"store.root={tmp_path}", f"tracking.uri={address}"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "hush" not in printed.err + printed.out
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
