"""The last screen of a run: frequencies per cell and arm, and where everything is."""

from __future__ import annotations

import shlex
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sweep.study.observer import Ending
from sweep.verdicts import Outcome


def show_ending(console: Console, ending: Ending) -> None:
    """Prints a table with n, outcomes, frequency and interval, then the paths and commands."""
    console.print(frequency_table(ending))
    lines = [("rows", f"{ending.results / 'rows'}   ({ending.rows:,} rows)")]
    if ending.report is not None:
        lines.append(("report", str(ending.report)))
    if ending.tracking_uri is not None:
        lines.append(("MLflow", mlflow_line(ending.tracking_uri)))
    if ending.failed:
        lines.append(("failed", f"{ending.failed} jobs; the same command tries them again"))
    for name, text in lines:
        console.print(f"{name:<8}{text}", soft_wrap=True, markup=False, highlight=False)


def mlflow_line(uri: str) -> str:
    """How to look at the mirror: the server's address, or the command that starts one."""
    if uri.startswith(("http://", "https://")):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def frequency_table(ending: Ending) -> Table:
    """One row per cell and arm, all λ draws pooled."""
    found = ending.frequencies
    cells = found[found["level"] == "cell"].to_dict("records")
    confidence = f"{cells[0]['confidence']:.0%} " if cells else ""
    table = Table(title="How often training ended in a bad minimum", title_justify="left")
    for name in ("cell", "arm"):
        table.add_column(name)
    table.add_column("n", justify="right")
    table.add_column("outcomes")
    table.add_column("bad minima", justify="right")
    table.add_column(f"{confidence}interval", justify="right")
    table.add_column("mean error", justify="right")
    for row in cells:
        cell = str(row["cell"])
        table.add_row(
            ending.cells.get(cell, cell),
            str(row["arm"]),
            f"{row['n']:,}",
            _outcomes(row),
            _frequency(row),
            f"{row['interval_low']:.2%} - {row['interval_high']:.2%}",
            "-" if pd.isna(row["mean_final_error"]) else f"{row['mean_final_error']:.4f}",
        )
    return table


def _outcomes(row: dict[Any, Any]) -> str:
    """The outcomes that occur, with their counts."""
    names = [str(outcome) for outcome in Outcome]
    return ", ".join(f"{row[name]:,} {name}" for name in names if row[name])


def _frequency(row: dict[Any, Any]) -> str:
    """One number, or both ends while some members are unresolved."""
    low, high = row["bad_minimum_frequency"], row["bad_minimum_frequency_upper"]
    return f"{low:.2%}" if low == high else f"{low:.2%} - {high:.2%}"
