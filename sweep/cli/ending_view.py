"""The last screen of a run: frequencies per cell and arm, and where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweep.report.numerals import counted
from sweep.study.observer import Ending
from sweep.verdicts import Outcome

_RANGE = "Where a range is given, unresolved members may or may not be bad minima."
_ESCAPING = (
    "Escaping bad: F falls for ever towards a limit worse than the best known; no bad minimum, and"
    " no good end."
)
# Beyond a few screens a table in a terminal is read by nobody.
SHOWN_CELLS = 20
# Reasons repeat; `sweep status` and the lines above have more of them.
SHOWN_FAILURES = 5


def show_ending(console: Console, ending: Ending) -> None:
    """Prints a table per cell with n, outcomes, frequency and interval, then paths and commands."""
    found = ending.frequencies
    pooled = found[found["level"] == "cell"]
    console.print("How often training ended in a bad minimum", style="bold")
    tables = {str(cell): rows for cell, rows in pooled.groupby("cell", sort=False)}
    in_order = [cell for cell in ending.cells if cell in tables] or list(tables)
    for cell in in_order[:SHOWN_CELLS]:
        rows = tables[cell].sort_values("arm", key=lambda arms: arms.map(_rank(ending)))
        console.print(frequency_table(ending.cells.get(cell, cell), rows))
    if len(in_order) > SHOWN_CELLS:
        console.print(f"… {len(in_order) - SHOWN_CELLS} more cells are in the report.")
    if (pooled[Outcome.UNRESOLVED] > 0).any():
        console.print(_RANGE, style="italic")
    if (pooled[Outcome.ESCAPING_BAD] > 0).any():
        console.print(_ESCAPING, style="italic")
    for sentence in (*ending.unfinished, *ending.stopping):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    for name, text in _places(ending):
        console.print(f"{name:<8}{text}", soft_wrap=True, markup=False, highlight=False)


def _rank(ending: Ending) -> Callable[[str], int]:
    """Where an arm stands in the study; unknown ones first, as they come."""
    order = {arm: place for place, arm in enumerate(ending.arms)}
    return lambda arm: order.get(arm, -1)


def _places(ending: Ending) -> list[tuple[str, str]]:
    """Where rows, report and MLflow are, and what failed."""
    lines = [("rows", f"{ending.results / 'rows'}   ({ending.rows:,} rows)")]
    if ending.report is not None:
        lines.append(("report", str(ending.report)))
    if ending.tracking_uri is not None:
        lines.append(("MLflow", mlflow_line(ending.tracking_uri)))
    if ending.failed:
        jobs = counted(ending.failed, "job")
        lines.append(("failed", f"{jobs}; the same command tries again"))
        lines += [("", f"{one.job_id}: {one.reason}") for one in ending.failures[:SHOWN_FAILURES]]
    return lines


def mlflow_line(uri: str) -> str:
    """How to look at the mirror: the server's address, or the command that starts one."""
    if uri.startswith(("http://", "https://")):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def frequency_table(title: str, rows: pd.DataFrame) -> Table:
    """One row per arm of a cell, all λ draws pooled; a column per outcome that occurs.

    Narrow enough for 80 columns: numbers in per cent, the sign in the header.
    """
    arms = rows.to_dict("records")
    outcomes = [name for name in map(str, Outcome) if (rows[name] > 0).any()]
    table = Table(
        title=title,
        box=SIMPLE_HEAD,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    table.add_column("arm", no_wrap=True)
    interval = f"{arms[0]['confidence']:.0%}\ninterval, %"
    for name in ("n", *outcomes, "bad\nminima, %", interval, "mean\nerror"):
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for row in arms:
        table.add_row(
            str(row["arm"]),
            f"{row['n']:,}",
            *(f"{row[name]:,}" for name in outcomes),
            _range(row["bad_minimum_frequency"], row["bad_minimum_frequency_upper"]),
            _range(row["interval_low"], row["interval_high"]),
            "-" if pd.isna(row["mean_final_error"]) else f"{row['mean_final_error']:.4f}",
        )
    return table


def _range(low: float, high: float) -> str:
    """Both ends in per cent, or the one number that they are."""
    shown = f"{100 * low:.2f}"
    return shown if low == high else f"{shown}-{100 * high:.2f}"
