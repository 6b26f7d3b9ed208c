"""Members of a study as arrays, and which of them form pairs: same cell, same seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import floats
from sweep.inference.paired import Pairs
from sweep.verdicts import Outcome

POOLED = -1
"""In place of a draw's number: all draws."""

_DIGITS = 9  # of a count of pairs
_FEW, _MANY = 2**16, 2**30  # how many cells, arms and draws there may be, and how many seeds


@dataclass(frozen=True, eq=False)
class Members:
    """One entry per seed of a treatment: where it belongs, and its two ends of bad.

    `cell`, `arm`, `seed` are codes, `draw` a number or −1 for all; `low` and `high` are the shares
    of rows that are certified bad and that may be bad; `error` is the mean of the finite final
    errors, `lam` the draw's λ, each NaN where there is none.
    """

    cell: np.ndarray
    arm: np.ndarray
    draw: np.ndarray
    seed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    lam: np.ndarray

    def at(self, chosen: np.ndarray) -> Members:
        """The entries that are chosen, by position or by a mask."""
        return Members(*(column[chosen] for column in vars(self).values()))

    def joined(self, other: Members) -> Members:
        """These entries, then the others."""
        columns = zip(vars(self).values(), vars(other).values(), strict=True)
        return Members(*(np.concatenate(two) for two in columns))


@dataclass(frozen=True, eq=False)
class Paired:
    """Members of arms and of the baseline, pair by pair.

    `group` says which contrast each pair belongs to, `first` where a contrast's first pair is.
    """

    arm: Members
    base: Members
    group: np.ndarray
    first: np.ndarray

    def table(self, x: np.ndarray, y: np.ndarray) -> Pairs:
        """The table of every contrast when the arm's members are bad to x, the baseline's to y."""
        products = (x * y, x * (1 - y), (1 - x) * y, (1 - x) * (1 - y))
        n = len(self.first)
        # Thirds of draws add up to whole counts only after rounding; then equal is equal. Without
        # any pair bincount would count in integers.
        counts = (np.bincount(self.group, cell, n).astype(float) for cell in products)
        return Pairs(*(np.round(count, _DIGITS) for count in counts))


def members(found: pd.DataFrame) -> tuple[pd.DataFrame, Members]:
    """`study` and `cell` of each cell code, and one entry per row of a sorted frame."""
    if found["outcome"].isna().any():
        raise UserError("A row has no outcome: rows judged against their witnesses are accepted.")
    outcome = found["outcome"].astype("category").cat
    names, codes = outcome.categories, outcome.codes.to_numpy()
    is_bad = np.asarray(names == str(Outcome.BAD_MINIMUM))[codes]
    is_open = np.asarray(names == str(Outcome.UNRESOLVED))[codes]
    error = floats(found["final_error"])
    study, cell = (found[name].cat.codes.to_numpy(dtype=np.int64) for name in ("study", "cell"))
    both = _code(study, cell)
    _, first, code = np.unique(both, return_index=True, return_inverse=True)
    cells = found.loc[first, ["study", "cell"]].astype("string").reset_index(drop=True)
    return cells, Members(
        cell=code,
        arm=found["arm"].cat.codes.to_numpy(dtype=np.int64),
        draw=found["draw"].to_numpy(),
        seed=np.unique(found["seed"].to_numpy(), return_inverse=True)[1],
        low=is_bad.astype(np.float64),
        high=(is_bad | is_open).astype(np.float64),
        error=np.where(np.isfinite(error), error, np.nan),
        lam=floats(found["lam"]),
    )


def _code(*columns: np.ndarray) -> np.ndarray:
    """One number for each combination of codes, in their order; the last holds seeds or little.

    Overflows are refused, not wrapped.
    """
    sizes = (*(_FEW for _ in columns[1:]), _MANY)
    return np.asarray(np.ravel_multi_index(columns, sizes))


def pooled(some: Members) -> Members:
    """All draws of a cell, arm and seed as one entry: the means of their rows."""
    key = _code(some.cell, some.arm, some.seed)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    finite = np.isfinite(some.error)

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights, len(first))

    n, n_finite = total(np.ones(len(group))), total(finite)
    return dataclasses.replace(
        some.at(first),
        draw=np.full(len(first), POOLED),
        low=total(some.low) / n,
        high=total(some.high) / n,
        error=total(np.where(finite, some.error, 0.0)) / np.where(n_finite > 0, n_finite, np.nan),
        lam=np.full(len(first), np.nan),
    )


def paired(arm: Members, base: Members) -> Paired:
    """Entries of arms and of the baseline that belong together.

    An arm's draw is paired with the baseline's of that number where the cell has it, else with the
    mean over the baseline's draws; so is an arm without λ beside a baseline with λ: no draw of it
    is its own.
    """
    every = base.joined(pooled(base))
    has = np.isin(_code(arm.cell, arm.draw + 1), _code(base.cell, base.draw + 1))
    with_lam = np.isfinite(base.lam)
    has &= np.isfinite(arm.lam) | ~np.isin(arm.cell, base.cell[with_lam])
    wanted = _code(arm.cell, np.where(has, arm.draw, POOLED) + 1, arm.seed)
    known = _code(every.cell, every.draw + 1, every.seed)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)
    found = known[order[place]] == wanted
    arm, base = arm.at(found), every.at(order[place[found]])
    key = _code(arm.cell, arm.arm, arm.draw + 1)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return Paired(arm, base, group, first)
