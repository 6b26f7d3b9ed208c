"""What `sweep replay` prints."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sweep.cli.plan_view import unfolded
from sweep.report.numerals import counted
from sweep.study.replay import Difference, Replay
from sweep.verdicts import Stop

_HEADS = {
    "step": "step",
    "loss": "loss",
    "objective": "F",
    "error": "error\nf̃",
    "error_base": "error\nf",
    "grad_norm": "‖∇F‖",
    "augment_activity": "max\n|f̃−f|",
    "param_norm": "‖θ̃‖",
}
_PROOF = (
    *("certificate_radius", "certificate_margin", "judged_error", "judged_error_base"),
    *("judged_loss", "judged_objective", "judged_grad_norm", "judged_min_eig"),
    *("augment_activity", "limit_error", "limit_error_base", "limit_objective", "moved"),
)


def show_replay(found: Replay, console: Console | None = None) -> None:
    """Prints the comparison, the trajectory, the verdict with its numbers, and the figure."""
    console = unfolded(console or Console())
    row = found.row
    lam = "" if row["lam"] is None else f" (λ = {row['lam']!r})"
    lines = [
        ("results", str(found.results)),
        ("cell", f"{row['cell']} ({found.setting})"),
        ("member", f"arm {row['arm']}, draw {row['draw']}{lam}, seed {row['seed']}"),
        ("trainer", str(row["trainer"])),
        ("row", _comparison(found)),
        *(("", _difference(one)) for one in found.differences),
    ]
    if found.differences and found.made_elsewhere:
        lines.append(("", f"rows were made elsewhere: {'; '.join(found.made_elsewhere)}"))
    _say(console, lines)
    console.print(_trajectory(found.trajectory))
    ended = Stop(row["stop"]).sentence
    lines = [
        ("ended", f"after {counted(row['steps'], 'step')}: {ended}"),
        ("verdict", f"{found.verdict}, certificate {found.certificate}"),
        *(("", f"{name} = {row[name]!r}") for name in _PROOF if row[name] is not None),
    ]
    proof = [("", f"{name} = {json.dumps(value)}") for name, value in found.evidence.items()]
    if proof:
        lines += [("evidence", proof[0][1]), *proof[1:]]
    lines += [("figure" if i == 0 else "", str(path)) for i, path in enumerate(found.figures)]
    _say(console, lines)


def _say(console: Console, lines: list[tuple[str, str]]) -> None:
    for name, text in lines:
        console.print(f"{name:<10}{text}", soft_wrap=True, markup=False, highlight=False)


def _comparison(found: Replay) -> str:
    columns = counted(len(found.compared), "column")
    if not found.stored:
        return "not there yet, its job is not finished; trained all the same, nothing to compare"
    without = "" if "params" in found.compared else " (no parameters are stored)"
    if found.differences:
        return f"differs in {len(found.differences)} of {columns}{without}"
    return f"equal bit for bit in {columns}, all but 'job'{without}"


def _difference(one: Difference) -> str:
    """One line: the values, and for lists of equal length the first entry that differs."""
    stored, replayed, where = one.stored, one.replayed, ""
    if isinstance(stored, list) and isinstance(replayed, list) and len(stored) == len(replayed):
        unlike = [i for i, pair in enumerate(zip(stored, replayed, strict=True)) if _unlike(*pair)]
        if unlike:
            where = f" at {len(unlike)} of {len(stored)} entries, first [{unlike[0]}]"
            stored, replayed = stored[unlike[0]], replayed[unlike[0]]
    return f"{one.column}{where}: stored {stored!r}, replayed {replayed!r}"


def _unlike(stored: Any, replayed: Any) -> bool:
    return repr(stored) != repr(replayed)


def _trajectory(course: pd.DataFrame) -> Table:
    """One line per point, measures that are defined."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    shown = [name for name in _HEADS if course[name].notna().any()]
    for name in shown:
        table.add_column(_HEADS[name], justify="right", no_wrap=True)
    for line in course[shown].to_dict("records"):
        table.add_row(*(f"{value:.6g}" for value in line.values()))
    return table
