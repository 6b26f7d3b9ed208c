"""Dependence on λ and on the grid, and the naive count, in words that claim only what was seen."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sweep.inference.responses import LAM, RESPONSE
from sweep.inference.summary import Summary
from sweep.report.endings import Row, kind
from sweep.report.numerals import counted, percent
from sweep.verdicts import Outcome

MAX_NOTES = 12
"""Sentences on λ or on the grid's axes that a heading shows; summary/trends has every response."""

_LARGEST = 700.0
"""e to this is still a finite number."""

_NAIVE_ORDER = (Outcome.BAD_MINIMUM, *(name for name in Outcome if name != Outcome.BAD_MINIMUM))


def dependences(summary: Summary, study: object, cell: str | None) -> tuple[str, ...]:
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


def dependence_sentence(trend: Row, levels: pd.DataFrame) -> str:
    """Whether an arm's frequency was seen to depend on λ or an axis; `levels` are its responses.

    A test that does not reject proves nothing: the sentence then says how large a difference
    between two levels the data leave possible. p is that of Cochran's Q with Box's correction, and
    null where too few seeds differ between the levels for a test.
    """
    if not trend["n_seeds"]:
        return f"{trend['arm']}: nothing can be said about {_axis(trend)}: {trend['note']}."
    level = f"{100 * trend['confidence']:g} %"
    numbers = levels["value"]
    where = f"the values of {_axis(trend)}"
    if numbers.notna().all():
        where = f"{_axis(trend)} between {numbers.min():.3g} and {numbers.max():.3g}"
    ends = [percent(levels["frequency"].min()), percent(levels["frequency_upper"].max())]
    shown = f"{ends[0]} at all" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} at"
    test = (
        "too few seeds differ between them for a test"
        if math.isnan(trend["q_p_adjusted"])
        else f"Cochran's Q with Box's correction: p = {trend['q_p_adjusted']:.2g}"
    )
    seen = (
        f"{shown} {counted(int(trend['n_levels']), 'level')} ({level} intervals within "
        f"{percent(levels['interval_low'].min())} to {percent(levels['interval_high'].max())}), "
        f"{test}"
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
            f"{count:,} {kind(name, count)}"
            for name in _NAIVE_ORDER
            if (count := int(row[f"naive_{name}"]))
        ]
        said.append(
            f"Of {counted(int(row['naive_bad']), 'network')} whose training ended with an error "
            f"above 0: {', '.join(parts)}."
        )
    if row["zero_by_neuron"]:
        said.append(
            f"Of {int(row['zero_error']):,} that ended with error 0, {int(row['zero_by_neuron']):,}"
            " owe it to the augmentation: their base network errs."
        )
    return f"{row['arm']}: {' '.join(said)}" if said else ""


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
