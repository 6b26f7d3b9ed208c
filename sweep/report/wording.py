"""The finding in words: sentences made of the summary's numbers, and nothing that they do not say.

A frequency with unresolved members is never given as one number: the sentence names both ends.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweep.inference.summary import Summary

Row = Mapping[Hashable, Any]
"""One line of a table: column → value."""


@dataclass(frozen=True)
class Statement:
    """What is said about one arm; `cell` is None where it is pooled over all cells."""

    cell: str | None
    arm: str
    text: str


@dataclass(frozen=True)
class Finding:
    """What is said about one cell, or about all of them: a heading, its arms, and its witness."""

    heading: str
    statements: tuple[Statement, ...]
    witness: str


def percent(share: float) -> str:
    """A share as per cent with three significant digits: 0.0731 → '7.31 %'."""
    if math.isnan(share):
        return "–"
    number = f"{100 * share:.3g}"
    if number == "100" and share < 1:  # nearly all is not all
        number = f"{100 * share:.8g}"
    return f"{float(number):f}".rstrip("0").rstrip(".") + " %" if "e" in number else f"{number} %"


def opening(summary: Summary) -> list[str]:
    """What the whole study can and cannot say, one sentence an entry."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    minima = int(pooled[["bad_minimum", "good_minimum"]].to_numpy().sum())
    unresolved, failed = int(pooled["unresolved"].sum()), int(pooled["failed"].sum())
    said = [
        f"{summary.n_rows:,} networks were trained in {_count(len(summary.cells), 'cell')}; "
        f"a bad minimum is counted only when it is certified to be a local minimum and something "
        f"better is known to exist."
    ]
    if unresolved:
        said.append(
            f"{unresolved:,} of them ({percent(unresolved / summary.n_rows)}) are unresolved: no "
            "certificate was found, so each frequency lies between two ends: none of the "
            "unresolved are bad, or all of them are."
        )
    if unresolved and not minima:
        said.append(
            "No member carries a certificate of a local minimum: the low ends are 0 for want of "
            "proof, not because bad minima were shown to be absent."
        )
    if failed:
        said.append(f"{failed:,} failed (no longer finite) and stay in every denominator.")
    return said


def findings(summary: Summary, limit: int) -> list[Finding]:
    """One finding per cell, at most `limit`, led by one over all cells when there are several."""
    frequencies = summary.frequencies
    levels = {name: frequencies[frequencies["level"] == name] for name in ("cell", "arm")}
    found = []
    if len(summary.cells) > 1:
        for study, rows in levels["arm"].groupby("study"):
            heading = "All cells" if summary.cells["study"].nunique() == 1 else f"Study {study}"
            found.append(Finding(heading, _statements(rows), ""))
    for cell in summary.cells.head(limit).to_dict("records"):
        same = (levels["cell"]["study"] == cell["study"]) & (levels["cell"]["cell"] == cell["cell"])
        witness = _witness_sentence(summary.witnesses, cell)
        found.append(Finding(cell["setting"], _statements(levels["cell"][same]), witness))
    return found


def arm_sentence(row: Row) -> str:
    """One arm's bad-minimum frequency with its interval, honest about what is unresolved."""
    n, bad, unresolved = int(row["n"]), int(row["bad_minimum"]), int(row["unresolved"])
    interval = f"{percent(row['interval_low'])} to {percent(row['interval_high'])}"
    level = f"{100 * row['confidence']:g} % interval"
    lower = percent(row["bad_minimum_frequency"])
    who = f"{bad:,} of {n:,}" if bad else f"none of {n:,}"
    if unresolved:
        said = (
            f"{who} ({lower}) certified bad and {unresolved:,} unresolved: the frequency lies "
            f"between {lower} and {percent(row['bad_minimum_frequency_upper'])} "
            f"({level} around both ends {interval})"
        )
    elif bad:
        said = f"{who} ({lower}, {level} {interval}) certified bad"
    else:
        said = f"{who} certified bad (upper end of the {level} {percent(row['interval_high'])})"
    if row["failed"]:
        said += f"; {int(row['failed']):,} failed"
    if row["n_seeds"] < n:
        said += f"; the interval counts {_count(int(row['n_seeds']), 'seed')}, not networks"
    return said + "."


def _statements(rows: pd.DataFrame) -> tuple[Statement, ...]:
    return tuple(
        Statement(None if pd.isna(row["cell"]) else row["cell"], row["arm"], arm_sentence(row))
        for row in rows.to_dict("records")
    )


def _witness_sentence(witnesses: pd.DataFrame, cell: Row) -> str:
    same = (witnesses["study"] == cell["study"]) & (witnesses["cell"] == cell["cell"])
    found = witnesses[same].iloc[0]
    if found["r_star_known"]:
        return "R* = 0: a base network that separates the data was found."
    if pd.isna(found["base_error"]):
        return "There are no errors here: minima are compared by their objective."
    return (
        "R* is not known: no base network that separates the data was found. The best has error "
        f"{percent(found['base_error'])}, and minima that reach the best known error count as good."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
