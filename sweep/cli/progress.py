"""What a person at the terminal sees while a study runs, and when it has run.

On a terminal a live bar with one line per arm; elsewhere (a log file, a pipe) a plain line every
few seconds. The end looks the same in both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from sweep.cli.ending_view import show_ending
from sweep.cli.plan_view import unfolded
from sweep.cli.tally import SHARES, Tally
from sweep.job_report import JobFailure, JobReport
from sweep.study.observer import Ending, Observer

PLAIN_SECONDS = 5.0
# Every failure counts, but beyond a few the reasons repeat and would push the bar off the screen.
SHOWN_FAILURES = 5
# Jobs end in bursts, one per worker: a short window would make the time left jump.
RATE_WINDOW_SECONDS = 600.0


@contextmanager
def progress(console: Console | None = None) -> Iterator[Observer]:
    """An observer for this terminal or log; its live display ends with the block, come what may."""
    console = console or Console()
    unfolded(console)
    if not console.is_terminal:
        yield PlainProgress(console)
        return
    live = LiveProgress(console)
    try:
        yield live
    finally:
        live.stop()


class PlainProgress:
    """An observer that prints lines, at most one of progress every `seconds`."""

    def __init__(self, console: Console, seconds: float = PLAIN_SECONDS) -> None:
        self._console = console
        self._seconds = seconds
        self._tally = Tally()
        self._last = 0.0

    def started(self, n_jobs: int, n_done: int, n_members: int, arms: Sequence[str]) -> None:
        """Prints what is ahead."""
        self._tally = Tally(n_jobs, n_done, n_members, arms)
        self._say(self._tally.opening())

    def job_finished(self, report: JobReport) -> None:
        """Prints where things stand, if the last line is old enough or this was the last job."""
        self._tally.add(report)
        now = time.monotonic()
        if now - self._last >= self._seconds or self._tally.complete:
            self._last = now
            self._say(self._tally.line())

    def job_failed(self, failure: JobFailure) -> None:
        """Prints the reason of the first few failures."""
        _say_failure(self._console, self._tally, failure)

    def warning(self, sentence: str) -> None:
        """Prints the sentence."""
        self._say(f"warning: {sentence}")

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self._say(sentence)

    def finished(self, ending: Ending) -> None:
        """Prints the summary table and where everything is."""
        show_ending(self._console, ending)

    def _say(self, text: str) -> None:
        # A log is read by people and by grep: no wrapping, no markup.
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


class LiveProgress:
    """An observer that redraws a bar and one line per arm."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._bar = Progress(
            TextColumn("{task.fields[jobs]} jobs"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=RATE_WINDOW_SECONDS,
        )
        self._task: TaskID | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def started(self, n_jobs: int, n_done: int, n_members: int, arms: Sequence[str]) -> None:
        """Prints what is ahead and opens the bar."""
        self._tally = Tally(n_jobs, n_done, n_members, arms)
        self._console.print(self._tally.opening(), markup=False)
        if n_members == 0:
            return
        self._task = self._bar.add_task("jobs", total=n_members, jobs=self._tally.jobs(), rate="")
        self._live.start()
        self._draw()

    def job_finished(self, report: JobReport) -> None:
        """Moves the bar."""
        self._tally.add(report)
        if self._task is not None:
            self._bar.update(
                self._task,
                completed=self._tally.members,
                jobs=self._tally.jobs() + self._tally.compiling(),
                rate=self._tally.rate(),
            )
        self._draw()

    def job_failed(self, failure: JobFailure) -> None:
        """Prints the reason of the first few failures above the bar."""
        _say_failure(self._console, self._tally, failure)
        self._draw()

    def warning(self, sentence: str) -> None:
        """Prints the sentence above the bar."""
        self._console.print(f"warning: {sentence}", style="yellow", markup=False)

    def note(self, sentence: str) -> None:
        """Prints the sentence above the bar."""
        self._console.print(sentence, markup=False)

    def finished(self, ending: Ending) -> None:
        """Closes the bar; prints the summary table and where everything is."""
        self.stop()
        show_ending(self._console, ending)

    def stop(self) -> None:
        """Takes the live display off the screen; doing it twice is fine."""
        self._live.stop()

    def _draw(self) -> None:
        table = Table("arm", box=None, collapse_padding=True)
        for name in SHARES:
            table.add_column(name, justify="right")
        for arm in self._tally.arms:
            table.add_row(arm, *self._tally.shares(arm).values())
        self._live.update(Group(self._bar, table))


def _say_failure(console: Console, tally: Tally, failure: JobFailure) -> None:
    tally.failed += 1
    if tally.failed <= SHOWN_FAILURES:
        text = f"job {failure.job_id} failed: {failure.reason}"
        console.print(text, style="red", soft_wrap=True, markup=False, highlight=False)
    elif tally.failed == SHOWN_FAILURES + 1:
        console.print("more jobs fail; their number is shown at the end.", style="red")
