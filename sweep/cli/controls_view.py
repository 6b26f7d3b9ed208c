"""What `sweep controls` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweep.controls import Confusion
from sweep.controls.confusion import Line
from sweep.verdicts import Verdict

# Short heads, so that the table fits eighty columns.
HEADS = {
    Verdict.GLOBAL_MINIMUM: "global",
    Verdict.LOCAL_MINIMUM: "local",
    Verdict.SADDLE: "saddle",
    Verdict.ESCAPING: "escape",
    Verdict.UNRESOLVED: "open",
}
LEGEND = """\
Each row: a construction, judged at its points or near them; 'open': unresolved.
'left': polishes that went below the minimum they started near.
'settled': expected verdicts among the points away from rounding trouble."""


def show_confusion(confusion: Confusion, console: Console | None = None) -> None:
    """Prints truth against verdict, then each family's contradictions with examples."""
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, title="Known truths", title_justify="left", padding=0)
    table.add_column("truth", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in (*HEADS.values(), "left", "wrong", "settled"):
        table.add_column(name, justify="right", no_wrap=True)
    for truth, lines in groupby(confusion.lines, key=lambda line: line.truth):
        table.add_row(truth, style="bold")
        for line in lines:
            table.add_row(*_cells(line))
    console.print(table)
    console.print(LEGEND, highlight=False)
    for line in confusion.lines:
        for example in line.examples:
            text = f"wrong: {line.family}: {example}"
            console.print(text, highlight=False, soft_wrap=True, markup=False)
    counts = f"{confusion.points:,} points, {confusion.wrong:,} wrong verdicts."
    console.print(counts, highlight=False)


def _cells(line: Line) -> Sequence[str]:
    counts = [line.verdicts[verdict.value] for verdict in HEADS]
    share = f"{line.settled / line.clear:.1%}" if line.clear else "-"
    numbers = [f"{n:,}" if n else "·" for n in (*counts, line.left, line.wrong)]
    return [f"  {line.family}", "near" if line.near else "at", *numbers, share]
