from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweep.cli import main as door
from sweep.cli.library import GROUPS, Library
from sweep.cli.main import COMMANDS, main
from sweep.errors import CheckError, UserError

WORDS = ["study=quick", "problem=two_moons", "seeds.root=${problem.n}"]
HEAVY = {"torch", "ray", "mlflow", "pandas", "hydra", "sklearn", "rich", "pyarrow"}


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        printed = capsys.readouterr().out
        for command in COMMANDS:
            assert f"sweep {command}" in printed


@pytest.mark.parametrize("command", ["run", "plan"])
def test_study_help_lists_every_group_and_option(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "my_own.yaml").touch()
    assert main([command, "--help", "--config-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.split()
    for group in GROUPS:
        assert {group, *Library().options(group)} <= set(printed)
    assert "my_own" in printed


@pytest.mark.parametrize("command", ["status", "report"])
def test_folder_commands_have_help_and_want_a_folder(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    assert "RESULTS" in capsys.readouterr().out
    assert main([command]) == 2
    assert "results folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_folder_without_a_study_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "did you mean 'run'"),
        (["study=quick", "seeds.count=3"], "sweep run study=quick seeds.count=3"),
        (["report", "--fast"], "--fast"),
    ],
)
def test_what_is_no_command(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--cfg", "job"], ["--cfg=job"], ["-c", "job"]])
def test_cfg_job_prints_the_composed_yaml(
    flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *WORDS, *flag, "model.width=2,3"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["name"] == "quick"
    assert found["problem"]["name"] == "two_moons"
    assert found["grid"] == {"model.width": [2, 3]}
    assert found["seeds"]["root"] == "${problem.n}", "interpolations are shown as written"


def _raises(error: BaseException) -> dict[str, object]:
    def command(words: list[str]) -> int:
        raise error

    return {"run": command}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("no."), 2, "no."),
        (CheckError("3 rows differ."), 1, "3 rows differ."),
        (KeyboardInterrupt(), 130, "the same command resumes"),
        (PermissionError(errno.EACCES, "Permission denied", "/theirs/x"), 2, "'/theirs/x'"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/aa"), 2, "File name too long"),
    ],
)
def test_exit_statuses(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(door, "COMMANDS", _raises(error))
    assert main(["run"]) == status
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_only_what_resumes_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "verify", _raises(KeyboardInterrupt())["run"])
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "sweep: interrupted.\n"


@pytest.mark.parametrize(
    "bug", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "No such file", "/x")]
)
def test_a_bug_is_no_bad_input(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "COMMANDS", _raises(bug))
    with pytest.raises(type(bug)):
        main(["run"])


def test_the_handlers_of_signals_are_the_callers_again() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert main(["--help"]) == 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_reader_who_has_gone_is_an_interruption() -> None:
    """As in 'sweep logs … | head': no traceback, neither then nor at the interpreter's end."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.cli.main", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (130, "")


def test_the_nearest_results_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quick-0123456789ab").mkdir()
    (tmp_path / "quick-0123456789ab" / "study.json").write_text("{}")
    for given in ("", "quick", "quick-0123456789ba", "qiuck-0123456789ab"):
        assert main(["status", str(tmp_path / given)]) == 2
        error = capsys.readouterr().err
        assert f"did you mean '{tmp_path}/quick-0123456789ab'?" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["status", "verify", "report", "compact", "sync-mlflow"])
def test_another_users_folder_is_refused_in_one_sentence(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def denied(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", denied)
    assert main([command, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"'{tmp_path}/study.json' cannot be read: permission is denied" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "status", "allowed"),
    [
        (["--help"], 0, set()),
        (["run", "--help"], 0, set()),
        (["rnu"], 2, set()),
        # A misspelt option is refused before torch is imported.
        (["run", "problem=iris"], 2, {"hydra"}),
    ],
)
def test_help_and_refusals_import_nothing_heavy(
    words: list[str], status: int, allowed: set[str]
) -> None:
    code = (
        "import sys; from sweep.cli.main import main; status = main(sys.argv[1:]);"
        "print('loaded', *sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    loaded = set(done.stdout.split("loaded ")[-1].split())
    assert loaded & HEAVY == allowed
