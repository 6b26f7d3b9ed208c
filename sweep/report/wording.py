"""The finding in words: sentences made of the summary's numbers, and nothing that they do not say.

A frequency with unresolved members is never given as one number: the sentence names both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sweep.inference.summary import Summary
from sweep.report.dependences import dependences, naive_sentence
from sweep.report.endings import Row, bad_ends, elsewhere, escape_sentences
from sweep.report.numerals import count, counted, p_value, percent, points, span
from sweep.report.stopping import stopping_note
from sweep.verdicts import Outcome


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

    The baseline's statement comes first, the others in the order of the study. `notes` are further
    sentences: on λ or the axes of the grid, and on the naive count.
    """

    heading: str
    statements: tuple[Statement, ...]
    witness: str
    notes: tuple[str, ...] = ()
    contrasts: tuple[Statement, ...] = ()

    @property
    def by_arm(self) -> list[tuple[str, list[Statement]]]:
        """Each arm with all that is said of it: its frequency, then its contrast if it has one."""
        return [
            (one.arm, [one, *(other for other in self.contrasts if other.arm == one.arm)])
            for one in self.statements
        ]


_ADJUSTMENTS = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg"}


def family_words(row: Row) -> str:
    """How a contrast's p-value is adjusted: 'Holm over 6'."""
    return f"{_ADJUSTMENTS[row['adjustment']]} over {row['family_size']}"


def opening(summary: Summary, arms: Sequence[str] = ()) -> list[str]:
    """What the whole study can and cannot say, one sentence an entry; `arms` give the order."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    minima = int(pooled[["bad_minimum", "good_minimum"]].to_numpy().sum())
    unresolved, failed = int(pooled["unresolved"].sum()), int(pooled["failed"].sum())
    said = [
        f"{counted(summary.n_rows, 'training run')} in {counted(len(summary.cells), 'cell')}; "
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
    return [*said, *escape_sentences(summary.frequencies, arms_in_order(summary, arms))]


def arms_in_order(summary: Summary, known: Sequence[str] = ()) -> list[str]:
    """The summary's arms, each once: the baseline, the `known` ones in their order, the rest."""
    there = sorted(summary.frequencies["arm"].unique())
    order = dict.fromkeys([summary.baseline, *known, *there])
    return [arm for arm in order if arm in there]


def findings(summary: Summary, limit: int, arms: Sequence[str] = ()) -> list[Finding]:
    """One finding per cell, at most `limit`, led by one over all cells when there are several.

    `arms` is the order in which the study has them.
    """
    order = arms_in_order(summary, arms)
    found = []
    if len(summary.cells) > 1:
        rows = summary.frequencies[summary.frequencies["level"] == "arm"]
        for study, own in rows.groupby("study"):
            heading = "All cells" if summary.cells["study"].nunique() == 1 else f"Study {study}"
            notes = dependences(summary, study, None)
            found.append(Finding(heading, _statements(summary, own, order), "", notes))
    for cell in summary.cells.head(limit).to_dict("records"):
        rows = _of_cell(summary.frequencies, cell)
        counts = _of_cell(summary.naive, cell).to_dict("records")
        notes = dependences(summary, cell["study"], cell["cell"])
        notes += tuple(said for row in counts if (said := naive_sentence(row)))
        statements = _statements(summary, rows[rows["level"] == "cell"], order)
        witness = _witness_sentence(summary.witnesses, cell)
        against = _contrasts(summary, cell)
        found.append(Finding(cell["setting"], statements, witness, notes, against))
    return found


def _of_cell(frame: pd.DataFrame, cell: Row) -> pd.DataFrame:
    same = (frame["study"] == cell["study"]) & (frame["cell"] == cell["cell"])
    own: pd.DataFrame = frame[same.fillna(False)]
    return own


def arm_sentence(row: Row) -> str:
    """One arm's bad-minimum frequency with its interval, honest about what is unresolved.

    A second sentence says where the others went: to have no bad minimum is not to end well.
    """
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
        said += f"; the interval counts {counted(int(row['n_seeds']), 'seed')}, not networks"
    return f"{said}. {elsewhere(row)}".rstrip()


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
        f"{count(only_baseline)} of {counted(n, 'seed')} {'certified ' if is_open else ''}bad only "
        f"with {baseline}, {count(only_arm)} only with {arm}; McNemar {p}, {family_words(row)}"
        f"{' (≤: whatever the unresolved are)' if is_open else ''}."
    )


def _contrasts(summary: Summary, cell: Row) -> tuple[Statement, ...]:
    """The contrasts of a cell, all draws of an arm together."""
    counted_rows = _of_cell(summary.frequencies, cell)
    draws = counted_rows.loc[counted_rows["level"] == "draw", "arm"].value_counts()
    several = set(draws.index[draws > 1])
    pooled = counted_rows[counted_rows["level"] == "cell"].to_dict("records")
    ends = {row["arm"]: row for row in pooled}
    found = _of_cell(summary.contrasts, cell)
    said = []
    for row in found[found["level"] == "cell"].to_dict("records"):
        arm, baseline = row["arm"], row["baseline"]
        parts = [
            contrast_sentence(row, summary.confidence, bool({arm, baseline} & several)),
            _bad_ends_sentence(ends[arm], ends[baseline]),
            stopping_note(summary, row),
        ]
        said.append(Statement(row["cell"], arm, " ".join(filter(None, parts)), baseline))
    return tuple(said)


def _bad_ends_sentence(arm: Row, baseline: Row) -> str:
    """How both compare when escapes to a bad limit count as well; empty where nobody escapes so."""
    if not (arm[Outcome.ESCAPING_BAD] or baseline[Outcome.ESCAPING_BAD]):
        return ""
    shares = (f"{percent(bad_ends(row))} with {row['arm']}" for row in (arm, baseline))
    return f"Certified bad minima and escapes to a bad limit together: {', '.join(shares)}."


def _statements(
    summary: Summary, rows: pd.DataFrame, order: Sequence[str]
) -> tuple[Statement, ...]:
    ranked = sorted(rows.to_dict("records"), key=lambda row: order.index(row["arm"]))
    return tuple(
        Statement(
            None if pd.isna(row["cell"]) else row["cell"],
            row["arm"],
            f"{arm_sentence(row)} {stopping_note(summary, row)}".rstrip(),
        )
        for row in ranked
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
