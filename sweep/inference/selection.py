"""Rows that fit a condition, and numbers read off them, also from the evidence of a verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import floats, require_columns
from sweep.inference.claims import EVIDENCE


def fits(rows: pd.DataFrame, condition: Mapping[str, Any]) -> np.ndarray:
    """Which rows fit every entry, (rows,) bool: a value, one of a list, or a range.

    A null fits no range and no value but null.
    """
    found = np.ones(len(rows), dtype=bool)
    for column, wanted in condition.items():
        if isinstance(wanted, Mapping):
            given = numbers(rows, column)
            # Comparisons with NaN are false.
            found &= given >= wanted.get("at_least", -np.inf)
            found &= given <= wanted.get("at_most", np.inf)
        else:
            accepted = [
                _word(v) for v in (wanted if isinstance(wanted, (list, tuple)) else [wanted])
            ]
            found &= np.isin(words(rows, column), accepted)
    return found


def numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    """The column as float64, nulls as NaN, (rows,); of a list in the evidence the largest size.

    Raises `UserError` for a column that is not there or holds no numbers.
    """
    if not column.startswith(EVIDENCE):
        require_columns(rows, [column])
        try:
            return floats(rows[column].astype(object))
        except (TypeError, ValueError):
            raise UserError(f"The column {column} holds no numbers: a number is needed.") from None
    return np.array([_largest(value) for value in _evidence(rows, column)], dtype=np.float64)


def words(rows: pd.DataFrame, column: str) -> np.ndarray:
    """The column's values as words that are equal where the values are, (rows,) of str."""
    if column.startswith(EVIDENCE):
        return np.array([_word(value) for value in _evidence(rows, column)], dtype=str)
    require_columns(rows, [column])
    return np.array([_word(value) for value in rows[column].astype(object)], dtype=str)


def _evidence(rows: pd.DataFrame, column: str) -> list[Any]:
    """The value at a dotted place in each row's evidence; None where there is none."""
    require_columns(rows, ["evidence"])
    path = column.removeprefix(EVIDENCE).split(".")
    found: list[Any] = []
    for text in rows["evidence"]:
        value = json.loads(text) if isinstance(text, str) else None
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
        found.append(value)
    return found


def _largest(value: object) -> float:
    if isinstance(value, list):
        sizes = [abs(_largest(inner)) for inner in value]
        return max(sizes, default=np.nan)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return np.nan
    return float(value)


def _word(value: object) -> str:
    """Equal words for equal values, whatever their types: 2, 2.0 and numpy's; None, NaN and NA."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "null"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return repr(float(value))
