"""The finding in words: sentences made of the summary's numbers, and nothing that they do not say.

A frequency with unresolved members is never given as one number: the sentence names both ends.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sweep.inference.responses import LAM, RESPONSE
from sweep.inference.summary import Summary
from sweep.report.numerals import count, p_value, percent, points, span

MAX_NOTES = 12
"""Sentences on λ or on the grid's axes that a heading shows; summary/trends has every response."""

Row = Mapping[Hashable, Any]
"""One line of a table: column → value."""


@dataclass(frozen=True)
class Statement:
    """What is said about one arm; `cell` is None where it is pooled over all cells.

    `baseline` is the arm it is compared with, None where it is not compared.
    """

    cell: str | None
    arm: str
    text: str
    baseline: str | None = None


@dataclass(frozen=True)
class Finding:
    """What is said of one cell, or of all: a heading, its arms, its witness, its contrasts.

    `notes` are further sentences: on λ or the axes of the grid, and on the naive count.
    """

    heading: str
    statements: tuple[Statement, ...]
    witness: str
    notes: tuple[str, ...] = ()
    contrasts: tuple[Statement, ...] = ()


_ADJUSTMENTS = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg"}


def family_words(row: Row) -> str:
    """How a contrast's p-value is adjusted: 'Holm over 6'."""
    return f"{_ADJUSTMENTS[row['adjustment']]} over {row['family_size']}"


def opening(summary: Summary) -> list[str]:
    """What the whole study can and cannot say, one sentence an entry."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    minima = int(pooled[["bad_minimum", "good_minimum"]].to_numpy().sum())
    unresolved, failed = int(pooled["unresolved"].sum()), int(pooled["failed"].sum())
    said = [
        f"{_count(summary.n_rows, 'training run')} in {_count(len(summary.cells), 'cell')}; "
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
            notes = _dependences(summary, study, None)
            found.append(Finding(heading, _statements(rows), "", notes))
    for cell in summary.cells.head(limit).to_dict("records"):
        same = (levels["cell"]["study"] == cell["study"]) & (levels["cell"]["cell"] == cell["cell"])
        witness = _witness_sentence(summary.witnesses, cell)
        counts = summary.naive[
            (summary.naive["study"] == cell["study"]) & (summary.naive["cell"] == cell["cell"])
        ]
        notes = _dependences(summary, cell["study"], cell["cell"])
        notes += tuple(said for row in counts.to_dict("records") if (said := naive_sentence(row)))
        statements = _statements(levels["cell"][same])
        against = _contrasts(summary, cell)
        found.append(Finding(cell["setting"], statements, witness, notes, against))
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


def dependence_sentence(trend: Row, levels: pd.DataFrame) -> str:
    """Whether an arm's frequency was seen to depend on λ or an axis; `levels` are its responses.

    A test that does not reject proves nothing: the sentence then says how large a difference
    between two levels the data leave possible. p is that of Cochran's Q with Box's correction.
    """
    if math.isnan(trend["q_p_adjusted"]):
        return f"{trend['arm']}: nothing can be said about {_axis(trend)}: {trend['note']}."
    level = f"{100 * trend['confidence']:g} %"
    numbers = levels["value"]
    where = f"the values of {_axis(trend)}"
    if numbers.notna().all():
        where = f"{_axis(trend)} between {numbers.min():.3g} and {numbers.max():.3g}"
    ends = [percent(levels["frequency"].min()), percent(levels["frequency_upper"].max())]
    shown = f"{ends[0]} at all" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} at"
    seen = (
        f"{shown} {_count(int(trend['n_levels']), 'level')} ({level} intervals within "
        f"{percent(levels['interval_low'].min())} to {percent(levels['interval_high'].max())}), "
        f"Cochran's Q with Box's correction: p = {trend['q_p_adjusted']:.2g}"
    )
    high = percent(trend["difference_high"])
    if trend["q_p_adjusted"] < 1 - trend["confidence"]:
        low = percent(trend["difference_low"])
        said = (
            f"{trend['arm']}: the frequency of bad minima depends on {where}: {seen}; the largest "
            f"difference between two levels is {percent(trend['difference'])} ({level} interval "
            f"{low} to {high})"
        )
    else:
        said = (
            f"{trend['arm']}: no dependence on {where} was seen: {seen}; two levels may still "
            f"differ by up to {high} (upper end of the {level} interval for the largest difference)"
        )
    return said + _odds(trend, numbers) + "."


def naive_sentence(row: Row) -> str:
    """What the ends with an error above 0, and those with error 0, were; empty without either."""
    said = []
    if row["naive_bad"]:
        parts = [
            f"{int(count):,} {words.replace('minima', 'minimum') if count == 1 else words}"
            for name, words in _NAIVE.items()
            if (count := row[f"naive_{name}"])
        ]
        said.append(
            f"Of {_count(int(row['naive_bad']), 'network')} whose training ended with an error "
            f"above 0: {', '.join(parts)}."
        )
    if row["zero_by_neuron"]:
        said.append(
            f"Of {int(row['zero_error']):,} that ended with error 0, {int(row['zero_by_neuron']):,}"
            " owe it to the augmentation: their base network errs."
        )
    return f"{row['arm']}: {' '.join(said)}" if said else ""


_NAIVE = {
    "bad_minimum": "certified bad minima",
    "good_minimum": "good minima",
    "global_minimum": "in the basin of a global minimum",
    "saddle": "at a saddle",
    "escaping_good": "escaping to a good limit",
    "escaping_bad": "escaping to a bad limit",
    "unresolved": "unresolved",
    "failed": "failed",
}


_LARGEST = 700.0
"""e to this is still a finite number."""


def _dependences(summary: Summary, study: object, cell: str | None) -> tuple[str, ...]:
    """The sentences on λ of one cell's arms, or (None) on the axes of a study's grid."""
    own = summary.trends[summary.trends["study"] == study]
    own = own[own["cell"].isna() if cell is None else (own["cell"] == cell).fillna(False)]
    found = []
    for row in own.head(MAX_NOTES).to_dict("records"):
        same = np.logical_and.reduce(
            [(summary.responses[name] == row[name]).to_numpy(dtype=bool) for name in RESPONSE]
        )
        found.append(dependence_sentence(row, summary.responses[same]))
    return tuple(found)


def _axis(trend: Row) -> str:
    """The axis, with what stays the same along it."""
    return "λ" if trend["axis"] == LAM else f"{trend['axis']} ({trend['setting']})"


def _odds(trend: Row, numbers: pd.Series) -> str:
    """How the odds change along the axis, empty without a slope; the interval covers both ends."""
    if math.isnan(trend["slope_p"]):
        return ""
    unit, per = math.log(10), "a tenfold value"
    if trend["scale"] == "linear":
        unit, per = float(numbers.max() - numbers.min()), "the way from the least to the largest"
    low, high = (math.exp(min(unit * trend[end], _LARGEST)) for end in ("slope_low", "slope_high"))
    return (
        f"; {per} multiplies the odds by {low:.3g} to {high:.3g} (trend p = {trend['slope_p']:.2g})"
    )


def contrast_sentence(row: Row, confidence: float, averaged: bool = False) -> str:
    """One arm against the baseline: difference, interval, discordant seeds, adjusted p.

    `averaged` where an arm has several draws: its counts are means, also when they are whole.
    """
    arm, baseline, n = row["arm"], row["baseline"], int(row["n_pairs"])
    is_open = row["difference"] < row["difference_upper"]
    level = f"{100 * confidence:g} % interval" + (" around both ends" if is_open else "")
    ends = f"{points(row['interval_low'])} to {points(row['interval_high'])}"
    only_arm, only_baseline = row["only_arm"], row["only_baseline"]
    whole = float(only_arm).is_integer() and float(only_baseline).is_integer()
    is_mean = averaged or not whole
    p = p_value(row["p_adjusted"], "≤" if is_open else "=")
    return (
        f"{span(row['difference'], row['difference_upper'])} points against {baseline} "
        f"({level} {ends}); {'on average over draws ' if is_mean else ''}"
        f"{count(only_baseline)} of {_count(n, 'seed')} {'certified ' if is_open else ''}bad only "
        f"with {baseline}, {count(only_arm)} only with {arm}; McNemar {p}, {family_words(row)}."
    )


def _contrasts(summary: Summary, cell: Row) -> tuple[Statement, ...]:
    """The contrasts of a cell, all draws of an arm together."""
    found = summary.contrasts
    same = (found["study"] == cell["study"]) & (found["cell"] == cell["cell"])
    counted = summary.frequencies
    own = (counted["study"] == cell["study"]) & (counted["cell"] == cell["cell"])
    draws = counted.loc[own & (counted["level"] == "draw"), "arm"].value_counts()
    several = set(draws.index[draws > 1])
    return tuple(
        Statement(
            row["cell"],
            row["arm"],
            contrast_sentence(
                row, summary.confidence, bool({row["arm"], row["baseline"]} & several)
            ),
            row["baseline"],
        )
        for row in found[same & (found["level"] == "cell")].to_dict("records")
    )


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
        if pd.isna(found["error"]) and pd.isna(found["objective"]):
            return "Nothing was measured here that could serve as a witness."
        return "There are no errors here: minima are compared by their objective."
    return (
        "R* is not known: no base network that separates the data was found. The best has error "
        f"{percent(found['base_error'])}, and minima that reach the best known error count as good."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
