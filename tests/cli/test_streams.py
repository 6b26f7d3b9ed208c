"""Standard streams that are closed, that nobody reads, and the end of a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

COMMAND = """
import sys, time
from sweep.cli import main as door

def run(words):
    {body}
    return 0

door.COMMANDS = {{"run": run}}
sys.exit(door.main(["run"]))
"""
PRINTS = "while True: print('a line')"
DRAWS = "from rich.console import Console; c = Console()\n    while True: c.print('a line')"
LAST_WORDS = "print('a line')"
WAITS = "print('ready', flush=True); time.sleep(600)"
OPENS = "sys.stderr.write(str(open(sys.executable, 'rb').fileno()))"
NAMES = r"print('\udcff λ')"


def command(
    body: str, prepare: Callable[[], object] | None = None, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("body", [PRINTS, DRAWS, LAST_WORDS])
def test_a_lost_reader_is_an_interruption_and_no_failure(body: str) -> None:
    with command(body) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        said = run.stderr.read()
    assert run.returncode == 130
    assert said == (
        "sweep: interrupted; what was finished is on disk, and the same command resumes.\n"
    )


@pytest.mark.parametrize(
    ("ignored", "status"), [(False, 130), (True, -signal.SIGKILL)], ids=["terminal", "nohup"]
)
def test_the_end_of_a_terminal_interrupts_unless_it_is_to_be_ignored(
    ignored: bool, status: int
) -> None:
    def begin() -> None:  # the tests may themselves run below nohup
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    with command(WAITS, begin) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGHUP)
        if ignored:
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(0.3)
            run.kill()
    assert run.returncode == status


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    with command(OPENS, lambda: os.close(1)) as run:
        said = run.communicate()[1]
    assert int(said) > 2
    assert run.returncode == 0


def test_any_name_can_be_printed() -> None:
    with command(NAMES, PYTHONIOENCODING="latin-1") as run:
        assert run.communicate() == ("\\udcff \\u03bb\n", "")
