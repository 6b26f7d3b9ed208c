"""Where each seed's outcome goes when the baseline is replaced by another arm.

All arms of a seed share its data and base initialisation, so that the same seed under two arms is
one pair: the table of their outcomes says what an arm turned the baseline's bad minima into.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical
from sweep.inference.frequencies import OUTCOMES

FLOW_COLUMNS = ("outcome",)
"""Columns of the rows that `flows` reads, besides the key."""

_ORDER = ("study", "cell", "arm", "baseline_outcome", "outcome", "n")


def flows(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Pairs of outcomes of rows that carry `outcome`: `study cell arm baseline_outcome outcome n`.

    `n` counts rows of an arm (all its draws) by their own outcome and by that of the baseline at
    the same seed of the same cell; pairs that do not occur are left out. A baseline with several
    draws is compared draw by draw. Rows without a partner are not counted. Sorted by study, cell
    and arm, then in the order of the outcomes' vocabulary; empty without the baseline or any other
    arm.
    """
    members = canonical(rows, FLOW_COLUMNS)
    outcome = pd.Categorical(members["outcome"].astype(object), OUTCOMES).codes.astype(np.int64)
    is_baseline = (members["arm"] == baseline).to_numpy()
    partner = _partners(members, is_baseline)
    counted = np.flatnonzero(~is_baseline & (partner >= 0))
    group = members.groupby(["study", "cell", "arm"], observed=True, sort=True).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    size = len(OUTCOMES)
    place = (group[counted] * size + outcome[partner[counted]]) * size + outcome[counted]
    n = np.bincount(place, minlength=len(first) * size * size)
    seen = np.flatnonzero(n)
    found = members.loc[first[seen // size**2], ["study", "cell", "arm"]].reset_index(drop=True)
    words = np.array(OUTCOMES, dtype=object)
    found["baseline_outcome"] = words[seen // size % size]
    found["outcome"] = words[seen % size]
    found["n"] = n[seen].astype(np.int64)
    return found.astype(dict.fromkeys(_ORDER[:-1], "string"))[list(_ORDER)]


def _partners(members: pd.DataFrame, is_baseline: np.ndarray) -> np.ndarray:
    """Position of the baseline's row at the same study, cell and seed, −1 without one, (rows,)."""
    draws = members["draw"].to_numpy()
    several = len(np.unique(draws[is_baseline])) > 1
    key = np.zeros(len(members), dtype=np.int64)
    for codes in (
        members["study"].cat.codes.to_numpy(),
        members["cell"].cat.codes.to_numpy(),
        *((pd.factorize(draws, sort=True)[0],) if several else ()),
        pd.factorize(members["seed"], sort=True)[0],
    ):
        key = key * (int(codes.max(initial=0)) + 1) + codes
    own = np.flatnonzero(is_baseline)
    if not len(own):
        return np.full(len(members), -1)
    own = own[np.argsort(key[own], kind="stable")]
    at = np.minimum(np.searchsorted(key[own], key), len(own) - 1)
    return np.where(key[own][at] == key, own[at], -1)
