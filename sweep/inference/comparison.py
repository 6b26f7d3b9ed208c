"""Two studies side by side: which of their cells are the same, and how far their arms differ.

Two cells match when they agree in the problem and in every grid axis that both studies have; what
else sets the studies apart (a learning rate, a loss) is what their difference is about. An arm is
compared with the arm of the same name, draw by draw, where λ is the same: other draws are other
treatments.

Studies with one root share data and base initialisation seed by seed, so that the seeds that both
have are pairs (`sweep.inference.paired`). Else the two samples are independent, and the interval is
Newcombe's for those (1998, Statistics in Medicine 17, 873-890, method 10, of statsmodels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import confint_proportions_2indep

from sweep.inference.canonical import canonical, floats
from sweep.inference.cells import axis_names, axis_words
from sweep.inference.paired import newcombe_interval, pairs
from sweep.verdicts import Outcome

COMPARISON_COLUMNS = ("outcome", "lam")
"""Columns of the rows that `differences` reads, besides the key."""

_ORDER = [
    *("setting", "arm", "draw", "lam", "first", "second", "n_first", "n_second", "n_pairs"),
    *("difference", "difference_upper", "interval_low", "interval_high"),
]


@dataclass(frozen=True, eq=False)
class Study:
    """What a comparison needs: the study's label, its rows with `outcome`, its cells, its root."""

    label: str
    rows: pd.DataFrame
    cells: pd.DataFrame
    root: int


def shared_axes(tables: list[pd.DataFrame]) -> list[str]:
    """The problem and the grid axes that all these frames of cells have, sorted by name."""
    axes = [{*axis_names(table.columns)} - {"setting", "n_rows"} for table in tables]
    return ["problem", *sorted(set.intersection(*axes))]


def settings(cells: pd.DataFrame, axes: list[str]) -> pd.Series:
    """A name for each cell that is equal where the cells agree in these axes, (cells,)."""
    found = cells[axes[0]].astype("string")
    for axis in axes[1:]:
        found = found + ", " + axis + " = " + axis_words(cells[axis])
    return found


def differences(first: Study, second: Study, axes: list[str], confidence: float) -> pd.DataFrame:
    """Bad-minimum frequency of the second study minus the first's: one row per shared treatment.

    Columns: `setting` in the words of `axes`, `arm draw lam`, the labels `first second`, rows
    `n_first n_second`, `n_pairs` seeds in common (0 where the samples are independent; then all
    rows count), `difference` and `difference_upper` with unresolved members as unfavourable and as
    favourable to the first as can be, and an interval around both. Each interval is for itself: no
    correction for how many there are. Sorted by setting, arm, draw.
    """
    left, right = _members(first), _members(second)
    same = _shared(_treatments(left, first, axes), _treatments(right, second, axes))
    found = same.assign(first=first.label, second=second.label)
    paired = _joined(left, right, same, first.root == second.root)
    found["n_pairs"] = np.bincount(paired["place"], minlength=len(same))
    has = found["n_pairs"].to_numpy() > 0
    ends = _by_pairs(paired, len(same), confidence), _independent(same, confidence)
    for name, of_pairs, of_samples in zip(_ORDER[-4:], *ends, strict=True):
        found[name] = np.where(has, of_pairs, of_samples)
    found = found.astype(dict.fromkeys(("setting", "arm", "first", "second"), "string"))
    found = found.astype({"draw": "Int64", "n_first": "int64", "n_second": "int64"})
    order = ["setting", "arm", "draw", "cell_first", "cell_second"]
    return found.sort_values(order, ignore_index=True)[_ORDER]


def _members(study: Study) -> pd.DataFrame:
    """One line per row: its treatment, seed, and whether it is bad, surely (low) or at all."""
    rows = canonical(study.rows, COMPARISON_COLUMNS)
    outcome = rows["outcome"].astype(object).to_numpy()
    found = rows[["cell", "arm", "draw", "seed"]].astype({"cell": object, "arm": object})
    found["lam"] = floats(rows["lam"])
    found["low"] = (outcome == Outcome.BAD_MINIMUM).astype(np.int64)
    found["high"] = found["low"] + (outcome == Outcome.UNRESOLVED)
    return found


def _treatments(members: pd.DataFrame, study: Study, axes: list[str]) -> pd.DataFrame:
    groups = members.groupby(["cell", "arm", "draw"], sort=True)
    found = groups[["low", "high"]].sum().assign(n=groups.size(), lam=groups["lam"].first())
    names = {"cell": study.cells["cell"].astype(object), "setting": settings(study.cells, axes)}
    return found.reset_index().merge(pd.DataFrame(names), on="cell")


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    same = first.merge(second, on=["setting", "arm", "draw"], suffixes=("_first", "_second"))
    lam, other = same["lam_first"], same["lam_second"]
    same = same[(lam == other) | (lam.isna() & other.isna())]
    return same.rename(columns={"lam_first": "lam"}).reset_index(drop=True)


def _joined(
    left: pd.DataFrame, right: pd.DataFrame, same: pd.DataFrame, has_pairs: bool
) -> pd.DataFrame:
    """One line per pair: the place of its treatment in `same`, and both members' ends of bad."""
    place = same[["cell_first", "cell_second", "arm", "draw"]].assign(place=np.arange(len(same)))
    if not has_pairs:
        place = place.head(0)
    found = place.merge(
        left.rename(columns={"cell": "cell_first"}), on=["cell_first", "arm", "draw"]
    ).merge(
        right.rename(columns={"cell": "cell_second"}),
        on=["cell_second", "arm", "draw", "seed"],
        suffixes=("_first", "_second"),
    )
    return found.astype({"place": np.int64})


def _by_pairs(paired: pd.DataFrame, count: int, confidence: float) -> tuple[np.ndarray, ...]:
    """Difference at its low and high end, and the interval around both; NaN or ±1 without pairs."""
    tables = []
    for one, other in (("low", "high"), ("high", "low")):
        second, first = paired[f"{one}_second"].to_numpy(), paired[f"{other}_first"].to_numpy()
        cells = (second * first, second * (1 - first), (1 - second) * first)
        both, only, other_only = (np.bincount(paired["place"], cell, count) for cell in cells)
        total = np.bincount(paired["place"], minlength=count)
        tables.append(pairs(both, only, other_only, total - both - only - other_only))
    low, high = (newcombe_interval(table, confidence) for table in tables)
    return tables[0].difference, tables[1].difference, low[0], high[1]


def _independent(same: pd.DataFrame, confidence: float) -> tuple[np.ndarray, ...]:
    """The same for samples that share nothing."""
    n_first, n_second = same["n_first"].to_numpy(), same["n_second"].to_numpy()
    found = []
    for one, other in (("low", "high"), ("high", "low")):
        second, first = same[f"{one}_second"].to_numpy(), same[f"{other}_first"].to_numpy()
        low, high = confint_proportions_2indep(
            *(second, n_second, first, n_first),
            method="newcomb",
            compare="diff",
            alpha=1 - confidence,
            correction=False,
        )
        found.append((second / n_second - first / n_first, low, high))
    (difference, low, _), (upper, _, high) = found
    return difference, upper, np.asarray(low), np.asarray(high)
