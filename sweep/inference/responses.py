"""How the bad-minimum frequency responds to λ and to the axes of the grid.

A *response* is a set of levels that differ in one thing alone:

- axis `lam`: the λ draws of one cell and arm. A level is a draw; its value is λ, the mean of a λ
  vector;
- axis `problem` or a grid axis: the cells that agree in everything else, for one arm. A level is a
  cell with all its λ draws.

Within a study a response is named by axis, setting (what stays the same) and arm.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sweep.inference.canonical import floats
from sweep.inference.cells import axis_names, axis_words

LAM = "lam"
RESPONSE = ["study", "axis", "setting", "arm"]
"""What names a response; its levels are the rows that agree in these."""

_NOT_AXES = ("setting", "n_rows")
_COPIED = [
    *("study", "cell", "arm", "draw", "n", "n_seeds", "bad_minimum", "unresolved"),
    *("interval_low", "interval_high"),
]
_RENAMED = {
    "bad_minimum_frequency": "frequency",
    "bad_minimum_frequency_upper": "frequency_upper",
}
_ORDER = [
    *("study", "cell", "arm", "axis", "setting", "value", "label", "draw", "n", "n_seeds"),
    *("bad_minimum", "unresolved", "frequency", "frequency_upper"),
    *("interval_low", "interval_high"),
]


def responses(frequencies: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """One row per level of every response, from the frames `frequencies` and `cells`.

    `value` is the level's number (null when the axis holds words), `label` the same as text;
    `cell` and `draw` (null where the level pools draws) say which rows it is made of. The counts,
    the frequency with unresolved members as not bad and as bad (`_upper`), and the interval around
    both are those of `frequencies`: a level of one draw counts rows, which are seeds; a level of
    several draws counts seeds. Sorted by study, axis, setting, arm, value, label, cell, draw.
    """
    counted = frequencies.rename(columns=_RENAMED)
    parts = [_along_lam(counted, cells), *_along_axes(counted, cells)]
    found = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    for name in ("study", "cell", "arm", "axis", "setting", "label"):
        found[name] = found[name].astype("string")
    found["draw"] = found["draw"].astype("Int64")
    found["value"] = found["value"].astype("float64")
    order = [*RESPONSE, "value", "label", "cell", "draw"]
    return found.sort_values(order, kind="stable", ignore_index=True)[_ORDER]


def axis_numbers(values: pd.Series) -> np.ndarray | None:
    """An axis' values as float64, nulls as NaN; None where they are words or truth values."""
    given = [value for value in values.astype(object) if not pd.isna(value)]
    numeric = all(
        isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        for value in given
    )
    return floats(values.astype(object)) if numeric else None


def _along_lam(counted: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The draws of every cell and arm that has λ."""
    draws = counted.loc[(counted["level"] == "draw") & counted["lam"].notna(), [*_PICKED, LAM]]
    found = draws.merge(cells[["study", "cell", "setting"]], on=["study", "cell"])
    return found.assign(
        axis=LAM, value=found[LAM], label=[f"{value:.6g}" for value in found[LAM]]
    ).drop(columns=LAM)


def _along_axes(counted: pd.DataFrame, cells: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The cells that differ in one axis alone, one frame per study and axis."""
    pooled = counted.loc[counted["level"] == "cell", _PICKED]
    axes = ["problem", *(name for name in axis_names(cells.columns) if name not in _NOT_AXES)]
    for _, own in cells.groupby("study", sort=True):
        text = {axis: axis_words(own[axis]) for axis in axes}
        varying = [axis for axis in axes if text[axis].nunique() > 1]
        for axis in varying:
            others = [name for name in varying if name != axis]
            levels = pd.DataFrame(
                {
                    "study": own["study"],
                    "cell": own["cell"],
                    "axis": axis,
                    "setting": _setting(own, text, axis, others),
                    "value": np.nan,
                    "label": text[axis],
                }
            )
            numbers = axis_numbers(own[axis])
            if numbers is not None:
                levels["value"] = numbers
            # A cell in which the axis is not set has no place on it.
            levels = levels[own[axis].notna().to_numpy()]
            several = levels.groupby("setting")["label"].transform("nunique") > 1
            yield levels[several].merge(pooled, on=["study", "cell"])


def _setting(
    own: pd.DataFrame, text: dict[str, pd.Series], axis: str, others: list[str]
) -> pd.Series:
    """What stays the same along an axis: the problem and every other axis that varies."""
    found = pd.Series("all problems", index=own.index, dtype="string")
    if axis != "problem":
        found = text["problem"]
    for name in others:
        if name != "problem":
            found = found + ", " + name + " = " + text[name]
    return found


_PICKED = [*_COPIED, *_RENAMED.values()]
