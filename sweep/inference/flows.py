"""Where each seed's outcome goes when the baseline is replaced by another arm.

All arms of a seed share its data and base initialisation, so that the same seed under two arms is
one pair: the table of their outcomes says what an arm turned the baseline's bad minima into.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical, floats
from sweep.inference.frequencies import OUTCOMES

FLOW_COLUMNS = ("outcome", "lam")
"""Columns of the rows that `flows` reads, besides the key."""

_ORDER = ("study", "cell", "arm", "baseline_outcome", "outcome", "n")


def flows(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Pairs of outcomes of rows that carry `outcome`: `study cell arm baseline_outcome outcome n`.

    `n` counts rows of an arm (all its draws) by their own outcome and by that of the baseline at
    the same seed of the same cell; pairs that do not occur are left out. A baseline with several
    draws is compared draw by draw, an arm without λ with all of them. Rows without a partner are
    not counted. Sorted by study, cell and arm, then in the order of the outcomes' vocabulary; empty
    without the baseline or any other arm.
    """
    members = canonical(rows, FLOW_COLUMNS)
    outcome = pd.Categorical(members["outcome"].astype(object), OUTCOMES).codes.astype(np.int64)
    is_baseline = (members["arm"] == baseline).to_numpy()
    counted, partner = _pairs(members, is_baseline)
    group = members.groupby(["study", "cell", "arm"], observed=True, sort=True).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    size = len(OUTCOMES)
    place = (group[counted] * size + outcome[partner]) * size + outcome[counted]
    n = np.bincount(place, minlength=len(first) * size * size)
    seen = np.flatnonzero(n)
    found = members.loc[first[seen // size**2], ["study", "cell", "arm"]].reset_index(drop=True)
    words = np.array(OUTCOMES, dtype=object)
    found["baseline_outcome"] = words[seen // size % size]
    found["outcome"] = words[seen % size]
    found["n"] = n[seen].astype(np.int64)
    return found.astype(dict.fromkeys(_ORDER[:-1], "string"))[list(_ORDER)]


def _pairs(members: pd.DataFrame, is_baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of arms' rows and of the baseline's at the same study, cell and seed, (pairs,)."""
    key = np.zeros(len(members), dtype=np.int64)
    for codes in (
        members["study"].cat.codes.to_numpy(),
        members["cell"].cat.codes.to_numpy(),
        pd.factorize(members["seed"], sort=True)[0],
    ):
        key = key * (int(codes.max(initial=0)) + 1) + codes
    draws, own = members["draw"].to_numpy(), np.flatnonzero(is_baseline)
    levels = np.unique(draws[own])
    if len(levels) < 2:
        return _matched(key, np.flatnonzero(~is_baseline), own)
    every_draw = np.isnan(floats(members["lam"]))
    found = [
        _matched(
            key,
            np.flatnonzero(~is_baseline & (every_draw | (draws == level))),
            own[draws[own] == level],
        )
        for level in levels
    ]
    rows, partners = zip(*found, strict=True)
    return np.concatenate(rows), np.concatenate(partners)


def _matched(key: np.ndarray, rows: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of `rows` with a partner of equal key among `own`, and the partners."""
    if not len(own):
        return rows[:0], own
    own = own[np.argsort(key[own], kind="stable")]
    at = np.minimum(np.searchsorted(key[own], key[rows]), len(own) - 1)
    there = key[own][at] == key[rows]
    return rows[there], own[at[there]]
