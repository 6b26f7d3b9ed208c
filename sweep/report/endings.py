"""Where training ended, in words: the outcomes, and what an arm without bad minima did instead."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from sweep.inference.summary import Summary
from sweep.report.numerals import percent
from sweep.verdicts import Outcome

Row = Mapping[Hashable, Any]
"""One line of a table: column → value."""

_KINDS = {
    Outcome.BAD_MINIMUM: ("certified bad minimum", "certified bad minima"),
    Outcome.GOOD_MINIMUM: ("good minimum", "good minima"),
    Outcome.GLOBAL_MINIMUM: ("in the basin of a global minimum",) * 2,
    Outcome.SADDLE: ("at a saddle",) * 2,
    Outcome.ESCAPING_GOOD: ("escaping to a good limit",) * 2,
    Outcome.ESCAPING_BAD: ("escaping to a bad limit",) * 2,
    Outcome.UNRESOLVED: ("unresolved",) * 2,
    Outcome.FAILED: ("failed",) * 2,
}

MEANINGS: Mapping[Outcome, str] = {
    Outcome.GLOBAL_MINIMUM: "F is proven to be as low as it can be, or the base network separates "
    "the data, so that F = 0 is within reach",
    Outcome.GOOD_MINIMUM: "a certified local minimum, and nothing better is known in its cell",
    Outcome.BAD_MINIMUM: "a certified local minimum, and something better is known to exist",
    Outcome.SADDLE: "stationary, and a verified step lowers F",
    Outcome.ESCAPING_GOOD: "F falls for ever towards a limit at infinity that is as good as the "
    "best known",
    Outcome.ESCAPING_BAD: "F falls for ever towards a limit at infinity that is worse than the "
    "best known, or not known: no minimum, and not a good end either",
    Outcome.UNRESOLVED: "no proof within the budget: may be any of these",
    Outcome.FAILED: "training overflowed",
}
"""What each outcome says of a network."""

_SAID_BEFORE = (Outcome.BAD_MINIMUM, Outcome.UNRESOLVED, Outcome.FAILED)


def kind(outcome: str, number: int) -> str:
    """What so many networks of an outcome are, to stand behind their number."""
    return _KINDS[Outcome(outcome)][number != 1]


def elsewhere(row: Row) -> str:
    """Where those of an arm went that are neither bad minima nor unresolved nor failed.

    `row` is one of `frequencies`; empty where there is nobody left.
    """
    n = int(row["n"])
    parts = [
        f"{count:,} {kind(name, count)} ({percent(count / n)})"
        for name in Outcome
        if name not in _SAID_BEFORE and (count := int(row[name]))
    ]
    who = "the others" if any(row[name] for name in _SAID_BEFORE) else "they"
    return f"Where {who} went: {', '.join(parts)}." if parts else ""


def bad_ends(row: Row) -> float:
    """The share of an arm that ended certified bad: a bad minimum, or an escape to a bad limit."""
    return float((row[Outcome.BAD_MINIMUM] + row[Outcome.ESCAPING_BAD]) / row["n"])


def escape_sentences(frequencies: pd.DataFrame, arms: Sequence[str]) -> list[str]:
    """Of whole arms, who escapes to a bad limit and how often; nothing where nobody does."""
    rows = frequencies[frequencies["level"] == "arm"]
    rows = rows[rows[Outcome.ESCAPING_BAD] > 0].set_index("arm")
    said = [
        f"{arm} {int(row[Outcome.ESCAPING_BAD]):,} of {int(row['n']):,} "
        f"({percent(row[Outcome.ESCAPING_BAD] / row['n'])})"
        for arm in arms
        if arm in rows.index
        for row in rows.loc[[arm]].to_dict("records")
    ]
    if not said:
        return []
    return [
        "Having no bad minimum is not ending well: networks also slide for ever towards a limit "
        f"worse than the best known (an escape to a bad limit): {'; '.join(said)}."
    ]


def meanings(summary: Summary) -> list[tuple[str, str]]:
    """The outcomes that occur, each with what it says."""
    counts = summary.frequencies[[str(name) for name in Outcome]].sum()
    return [(str(name), said) for name, said in MEANINGS.items() if counts[name] > 0]
