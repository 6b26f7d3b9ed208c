"""Why a study ended where it did, in words: its target, whether it is reached, and what that means.

Only for studies whose number of seeds follows from a precision.
"""

from __future__ import annotations

import pandas as pd

from sweep.inference.precision import Target, ends_differ
from sweep.inference.summary import Summary
from sweep.report.endings import Row
from sweep.report.numerals import counted, percent, points


def goal(target: Target) -> str:
    """What has to be known how precisely, as the subject of a sentence with its verb."""
    what = "the bad-minimum frequency of every arm in every cell is"
    if target.arm is not None:
        what = f"the difference between '{target.arm}' and '{target.baseline}' in every cell is"
    return f"{what} known to ± {percent(target.half_width)} ({100 * target.confidence:g} %)"


def stopping_sentences(summary: Summary) -> list[str]:
    """What the table `precision` says, in words; nothing where there was no target.

    Says with which seeds each study ended, how wide its widest interval is, and that the ordinary
    intervals do not account for such stopping.
    """
    precision = summary.precision.merge(
        summary.cells[["study", "cell", "setting"]], on=["study", "cell"]
    )
    if precision.empty:
        return []
    found = []
    several = summary.cells["study"].nunique() > 1
    for study, rows in precision.groupby("study", sort=True):
        found += [f"Study {study}: {said}" if several else said for said in _of_one_study(rows)]
    return [
        *found,
        "The intervals of the table 'precision' allow for having stopped when they were narrow; "
        "all others are those of a number of seeds fixed beforehand.",
    ]


def stopping_note(summary: Summary, row: Row) -> str:
    """What must be said beside an ordinary interval of a study that stopped when it was precise.

    `row` is one of `frequencies` or `contrasts`. Gives the interval that allows for the stopping
    where there is one of that number; empty for a number of seeds fixed beforehand.
    """
    precision = summary.precision[summary.precision["study"] == row["study"]]
    if precision.empty:
        return ""
    own = precision[
        (precision["cell"] == row["cell"]).fillna(False)
        & (precision["arm"] == row["arm"])
        & (precision["baseline"].isna() == pd.isna(row.get("baseline")))
    ]
    if own.empty:
        return (
            "Seeds were added until a target was reached, for which this interval does not allow."
        )
    one = own.iloc[0]
    ends = f"{percent(one['low'])} to {percent(one['high'])}"
    if not pd.isna(one["baseline"]):
        ends = f"{points(one['low'])} to {points(one['high'])} points"
    return (
        "Seeds were added until this was precise, for which the interval above does not allow; "
        f"the one to quote does: {ends} ({100 * one['confidence']:g} % confidence sequence, "
        f"{counted(int(one['n']), 'seed')})."
    )


def stopping_caveat(summary: Summary) -> str:
    """One sentence for a page that shows only the study's ordinary intervals; empty if all hold."""
    if summary.precision.empty:
        return ""
    return (
        "Seeds were added until a target was reached, for which its intervals on this page, and "
        "those of differences from it, do not allow: the ones that do are on its own page."
    )


def _of_one_study(rows: pd.DataFrame) -> list[str]:
    widest = rows.sort_values("half_width", ascending=False, kind="stable").iloc[0]
    arm = None if pd.isna(widest["baseline"]) else str(widest["arm"])
    aim = goal(Target(widest["wanted"], widest["confidence"], str(widest["baseline"]), arm))
    seeds = f"{int(widest['n']):,} seeds from {int(widest['first_seed']):,}"
    reached = f"{percent(widest['low'])} to {percent(widest['high'])}"
    where = f"{reached} (± {percent(widest['half_width'])}; {widest['arm']}, {widest['setting']})"
    if rows["reached"].all():
        return [f"Seeds were added until {aim}: reached with {seeds}; widest interval {where}."]
    said = [f"Seeds were added until {aim}: not reached with {seeds}; widest interval {where}."]
    if ends_differ(rows).any():
        said.append(
            "So many members are unresolved that no number of seeds reaches it: they alone keep "
            "the two ends of a frequency further apart."
        )
    return said
