"""How the final loss is distributed: one histogram per cell and arm, with bins that arms share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical, floats

LOSS_COLUMNS = ("final_loss",)
"""Columns of the rows that `losses` reads, besides the key."""

BINS = 40
"""Bins between the least and the largest loss of a cell."""

_DECADES_TO_LOG = 2.0
"""Positive losses that span more decades than this are binned by their logarithm."""
_DECADES_SHOWN = 12.0
"""Losses further below a cell's largest are one bin with 0: they are 0 up to rounding."""


def losses(rows: pd.DataFrame) -> pd.DataFrame:
    """The histogram of `final_loss`, one row per cell, arm and bin that holds something.

    Columns `study cell arm scale low high n`: n members of the arm (all draws) ended with a loss in
    [low, high), the last bin of a cell with its high end. `scale` is "linear" or "log", the same
    for all arms of a cell, as are the ends; with "log" the bin that starts at 0 holds what is too
    small for the scale, above all 0 itself. Members whose loss is not finite, or not known, are
    counted in a row whose ends are null. Sorted by study, cell, arm, low.
    """
    members = canonical(rows, LOSS_COLUMNS)
    loss = floats(members["final_loss"])
    cell = members.groupby(["study", "cell"], observed=True, sort=True).ngroup().to_numpy()
    group = members.groupby(["study", "cell", "arm"], observed=True, sort=True).ngroup().to_numpy()
    edges, is_log = _edges(loss, cell)
    place = group * (BINS + 2) + _bins(loss, edges, cell)
    first = np.unique(group, return_index=True)[1]
    n = np.bincount(place, minlength=len(first) * (BINS + 2))
    seen = np.flatnonzero(n)
    start, position = first[seen // (BINS + 2)], seen % (BINS + 2)
    ends = np.column_stack([edges, np.full(len(edges), np.nan)])
    found = members.loc[start, ["study", "cell", "arm"]].reset_index(drop=True)
    found = found.astype("string")
    found["scale"] = pd.Series(np.where(is_log[cell[start]], "log", "linear"), dtype="string")
    found["low"] = np.where(position > BINS, np.nan, edges[cell[start], position])
    found["high"] = ends[cell[start], position + 1]
    found["n"] = n[seen].astype(np.int64)
    return found


def _edges(loss: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of every cell's bins, (cells, BINS + 2) non-decreasing, and whether they are log.

    The first bin is [0, least) of a log scale and of no width on a linear one.
    """
    finite = np.isfinite(loss)
    by_cell = pd.Series(np.where(finite, loss, np.nan)).groupby(cell, sort=True)
    low, high = by_cell.min().to_numpy(), by_cell.max().to_numpy()
    positive = pd.Series(np.where(finite & (loss > 0), loss, np.nan)).groupby(cell, sort=True)
    least = positive.min().to_numpy()
    known = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(known, low, 0.0), np.where(known, high, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.log10(high)
        is_log = (low >= 0) & (top - np.log10(least) > _DECADES_TO_LOG)
        bottom = np.where(is_log, np.maximum(np.log10(least), top - _DECADES_SHOWN), 0.0)
    top = np.where(is_log, top, 0.0)
    steps = np.linspace(0.0, 1.0, BINS + 1)
    linear = low[:, None] + (high - low)[:, None] * steps
    log = 10.0 ** (bottom[:, None] + (top - bottom)[:, None] * steps)
    inner = np.where(is_log[:, None], log, linear)
    # The ends are the values themselves, not what 10^log10 makes of them.
    inner[:, -1] = high
    inner[:, 0] = np.where(is_log, np.maximum(least, high * 10.0**-_DECADES_SHOWN), low)
    return np.column_stack([np.where(is_log, 0.0, low), inner]), is_log


def _bins(loss: np.ndarray, edges: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Which bin each loss is in, 0 … BINS, and BINS + 1 where it is not finite, (rows,)."""
    place = np.zeros(len(loss), dtype=np.int64)
    for edge in range(1, BINS + 1):  # a pass over all rows per edge, none over rows or cells
        place += loss >= edges[cell, edge]
    return np.where(np.isfinite(loss), place, BINS + 1)
