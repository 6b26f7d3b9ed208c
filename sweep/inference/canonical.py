"""Rows in one order, so that no number depends on the order in which files were read.

Sorting by the key first makes everything after it deterministic: sums of floats add up in the same
order, and "the first row that reaches the minimum" is the one with the smallest key.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.rows import KEY

_WORDS = ("study", "cell", "arm")


def canonical(rows: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The key and the named columns, sorted by key, with a fresh index 0, 1, ….

    `study`, `cell`, `arm` come back categorical with sorted categories, `draw` and `seed` as int64.
    Raises `UserError` when a column is missing or a key appears twice.
    """
    wanted = [*KEY, *(name for name in columns if name not in KEY)]
    require_columns(rows, wanted)
    found = rows.loc[:, wanted].reset_index(drop=True)
    for name in _WORDS:
        found[name] = sorted_categorical(found[name])
    for name in ("draw", "seed"):
        found[name] = found[name].astype("int64")
    codes = [_codes(found[name]) for name in KEY]
    if _ascends(codes):
        return found
    order = np.lexsort(codes[::-1])
    _refuse_duplicates(found, codes, order)
    return found.iloc[order].reset_index(drop=True)


def _ascends(codes: list[np.ndarray]) -> bool:
    """Whether every key is larger than the one before it: sorted, and none twice."""
    open_ = np.ones(max(len(codes[0]) - 1, 0), dtype=bool)
    for code in codes:
        here, before = code[1:], code[:-1]
        if (open_ & (here < before)).any():
            return False
        open_ &= here == before
    return not open_.any()


def require_columns(rows: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Refuse a frame that lacks one of the columns, by naming the missing ones."""
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise UserError(
            f"The rows lack the column {', '.join(missing)}: "
            "a data frame with the columns of a study's rows is accepted."
        )


def sorted_categorical(words: pd.Series) -> pd.Series:
    """The same words as a categorical whose categories are those present, sorted; never null."""
    if words.isna().any():
        raise UserError(f"The column {words.name} has missing values: every row needs a key.")
    category = words.astype("category").cat.remove_unused_categories()
    return category.cat.reorder_categories(sorted(category.cat.categories))


def floats(column: pd.Series) -> np.ndarray:
    """The column as float64, nulls of any kind as NaN, shape (rows,)."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _codes(column: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy()
    return column.to_numpy()


def _refuse_duplicates(found: pd.DataFrame, codes: list[np.ndarray], order: np.ndarray) -> None:
    if len(order) < 2:
        return
    same = np.logical_and.reduce([code[order[1:]] == code[order[:-1]] for code in codes])
    if same.any():
        twice = found.iloc[order[int(np.argmax(same))]]
        key = ", ".join(f"{name} {twice[name]}" for name in KEY)
        raise UserError(f"The row of {key} appears more than once: each key is accepted once.")
