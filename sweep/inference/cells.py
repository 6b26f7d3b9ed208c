"""What the cells of a study are, in words: their problem and their place on the grid's axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from sweep.inference.canonical import canonical
from sweep.rows import columns

_ADDED = ("outcome",)

_EXACT_INTEGERS = 2.0**53


def axis_names(names: Iterable[str]) -> list[str]:
    """Those column names that are grid axes: they belong to no other part of the schema."""
    known = {column.name for column in columns([])}
    return [name for name in names if name not in known and name not in _ADDED]


def axis_words(values: pd.Series) -> pd.Series:
    """An axis' values in words, equal for equal numbers; "none" for null.

    Integers with nulls among them come back from a file as floats: 2.0 is written 2.
    """
    return pd.Series(map(_word, values.astype(object)), index=values.index, dtype="string")


def _word(value: Any) -> str:
    if pd.isna(value):
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return str(int(value))
    return str(value)


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per study × cell, sorted: `study cell setting problem`, the axes, `n_rows`.

    `setting` is a readable name: the problem and every axis that differs between the cells, made
    unique by the cell's id where that is not enough.
    """
    axes = axis_names(rows.columns)
    members = canonical(rows, ["problem", *axes])
    groups = members.groupby(["study", "cell"], observed=True, sort=True)
    found = groups[["problem", *axes]].first()
    found["n_rows"] = groups.size()
    found = found.reset_index()
    varying = [name for name in axes if found[name].astype("string").nunique(dropna=False) > 1]
    names = found["problem"].astype("string")
    for axis in varying:
        names = names + ", " + axis + " = " + axis_words(found[axis])
    twice = names.duplicated(keep=False)
    names = names.where(~twice, names + " (" + found["cell"].astype("string") + ")")
    found.insert(2, "setting", names)
    for name in ("study", "cell", "problem"):
        found[name] = found[name].astype("string")
    return found
