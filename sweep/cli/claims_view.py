"""What `sweep claims` runs and prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweep.cli.compose import compose
from sweep.cli.library import Library
from sweep.errors import UserError, unknown

if TYPE_CHECKING:
    from sweep.inference.answers import Answer
    from sweep.job_report import JobFailure, JobReport
    from sweep.study.claims import Claiming
    from sweep.study.observer import Ending

_OWN_WORDS = ("study", "seeds.count", "seeds.half_width")
# What can be overridden without changing what a study claims.
_ACCEPTED = ("compute", "store", "tracking")


def studies_with_claims(library: Library) -> list[str]:
    """Names of the studies whose file states a claim, sorted."""
    return [name for name in library.options("study") if library.states("study", name, "claim")]


def claims_help(own: Path | None) -> str:
    """What `sweep claims --help` prints."""
    names = " ".join(studies_with_claims(Library(own))) or "none"
    listed = textwrap.fill(names, 96, initial_indent="  ", subsequent_indent="  ")
    return f"""\
sweep claims [STUDY…] [OVERRIDES] [--seeds N] [--full] [--config-dir DIR]

Runs every study that states a claim (or the named ones), each at the reduced seed count that its
file gives, with N seeds, or at --full size, and compares what was stated beforehand with what is
observed. Studies:
{listed}

Overrides apply to every study: compute=serial  store.root=…  tracking=mlflow (none without it).
The table is also written to claims.md and claims.csv in store.root. Exit status: 0 no claim fails,
1 one does not hold or a study failed, 2 bad input.
"""


def claiming_studies(
    words: Sequence[str], own: Path | None, seeds: int | None, full: bool
) -> list[Claiming]:
    """The studies that are asked for, all of them checked before the first one runs.

    `words` are names of studies (none: all with a claim) and overrides for every one.
    """
    from sweep.study.claims import Claiming

    library = Library(own)
    names = [word for word in words if "=" not in word and word[:1] not in ("~", "-")]
    overrides = [word for word in words if word not in names]
    for word in overrides:
        if word.lstrip("+~").split("=")[0] in _OWN_WORDS:
            raise UserError(f"'{word}' is not accepted: write 'sweep claims STUDY… --seeds N'.")
        if word.lstrip("+~").split("=")[0].split(".")[0] not in _ACCEPTED:
            raise UserError(
                f"'{word}' would change what is claimed: overrides of {', '.join(_ACCEPTED)} are "
                "accepted, and 'sweep run' for everything else."
            )
    if not any(word.startswith("tracking=") for word in overrides):
        overrides.append("tracking=none")
    claiming = studies_with_claims(library)
    found = []
    for name in dict.fromkeys(names or claiming):
        if name not in claiming:
            if name in library.options("study"):
                raise UserError(
                    f"study '{name}' states no claim: 'sweep run study={name}' runs it."
                )
            raise unknown("study with a claim", name, claiming)
        composed = compose([f"study={name}", *overrides], own)
        if not full:
            reduced = seeds if seeds is not None else _reduced(composed.claim)
            composed = compose([f"study={name}", *overrides, f"seeds.count={reduced}"], own)
        one = Claiming.of(composed)
        assert one is not None
        found.append(one)
    return found


def _reduced(claim: object) -> object:
    """The reduced seed count of a claim that is not checked yet."""
    from sweep.inference.claims import Claim

    return claim.get("seeds", Claim.seeds) if isinstance(claim, dict) else Claim.seeds


def show_answers(
    asked: Sequence[Claiming], console: Console | None = None, table: str = "claims"
) -> bool:
    """Runs the studies and prints their answers; whether one does not hold or could not be run.

    `table` names the file beside the results that keeps them.
    """
    from sweep.cli.plan_view import unfolded
    from sweep.report.claims import replays
    from sweep.study.claims import check_claims

    console = console or Console()
    unfolded(console)
    answers: list[Answer] = []
    for answer in check_claims(asked, lambda one: _Line(console, one), table):
        answers.append(answer)
        console.print(f"{answer.study}: {answer.status}", highlight=False)
        console.print(f"  {answer.claim.statement}", highlight=False, markup=False)
    console.print(_table(answers))
    for answer in answers:
        if answer.claim.note:
            console.print(f"{answer.study}: {answer.claim.note}", highlight=False, markup=False)
        for command in replays(answer):
            text = f"contradicts: {command}"
            console.print(text, soft_wrap=True, highlight=False, markup=False)
    if asked:
        path = Path(asked[0].store.root) / f"{table}.md"
        console.print(f"table  {path}", soft_wrap=True, highlight=False, markup=False)
    return any(answer.fault is not None or answer.status == "does not hold" for answer in answers)


def _table(answers: Sequence[Answer]) -> Table:
    """A line per claim with its answer, and under it a line per expectation."""
    from sweep.report.claims import HEADS, table_rows

    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("claim, expectation")
    for head in HEADS[3:]:
        table.add_column(head)
    for answer in answers:
        title = f"{answer.study}: {answer.claim.source}"
        table.add_row(escape(title), "", "", str(answer.status), style="bold")
        for _, _, expectation, *said in table_rows(answer):
            table.add_row(*map(escape, (f"  {expectation}", *said)))
    return table


class _Line:
    """An observer that prints one line when a study starts, and its warnings and failures."""

    def __init__(self, console: Console, one: Claiming) -> None:
        self._console, self._name = console, one.study.name

    def started(self, n_jobs: int, n_done: int, n_members: int, arms: Sequence[str]) -> None:
        """Prints what is ahead."""
        work = f"{n_members:,} networks to train" if n_members else "all rows are on disk"
        self._say(work)

    def job_finished(self, report: JobReport) -> None:
        """Nothing."""

    def job_failed(self, failure: JobFailure) -> None:
        """Prints the reason."""
        self._say(f"job {failure.job_id} failed: {failure.reason}")

    def warning(self, sentence: str) -> None:
        """Prints the sentence."""
        self._say(sentence)

    def note(self, sentence: str) -> None:
        """Prints the sentence."""
        self._say(sentence)

    def finished(self, ending: Ending) -> None:
        """Nothing: the table comes when all studies have run."""

    def _say(self, text: str) -> None:
        self._console.print(f"{self._name}: {text}", highlight=False, soft_wrap=True, markup=False)
