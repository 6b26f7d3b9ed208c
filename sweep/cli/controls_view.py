"""What `sweep controls` prints."""

from __future__ import annotations

from collections.abc import Sequence

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
Rows: what a point is, and whether it was judged at the constructed point or near it. Columns:
verdicts; 'open' is unresolved; 'left' counts polishes that went below the minimum they started
near; 'settled' is the share of an expected verdict among the points away from rounding trouble."""


def show_confusion(confusion: Confusion, console: Console | None = None) -> None:
    """Prints truth against verdict, then every kind of contradiction with an example."""
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, title="Known truths", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("truth")
    table.add_column("", no_wrap=True)
    for name in (*HEADS.values(), "left", "wrong", "settled"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in confusion.lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print(LEGEND, highlight=False)
    for line in confusion.lines:
        for example in line.examples:
            console.print(f"wrong: {line.family}: {example}", highlight=False, soft_wrap=True)
    console.print(
        f"{confusion.points:,} points, {confusion.wrong:,} wrong verdicts.", highlight=False
    )


def _cells(line: Line) -> Sequence[str]:
    counts = [line.verdicts[verdict.value] for verdict in HEADS]
    share = f"{line.settled / line.clear:.1%}" if line.clear else "-"
    numbers = [f"{n:,}" if n else "·" for n in (*counts, line.left, line.wrong)]
    return [line.family, "near" if line.near else "at", *numbers, share]
