"""Bad is relative: witnesses, and the outcome of a verdict seen against them.

A *witness* is something better that is known to exist. A row depends on its key alone, so witnesses
and outcomes are added when rows are read and are never stored in a row.

- Errors of **base** networks (the network without its augmentation) serve every arm of the cell;
  errors of augmented networks serve their own arm, whose networks they are.
- Objectives are comparable only within a cell, arm and draw: λ is part of the objective.
- Points where training stopped, judged points and the limits of escapes all exist, so all serve.
  (A limit counts zero outputs as errors, and points close to it err no more than it does.)
- A failed member serves nobody: with a NaN output no point counts as an error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sweep.errors import UserError, unknown
from sweep.inference.canonical import canonical, floats, require_columns
from sweep.verdicts import Outcome, Verdict

ERROR_TOLERANCE = 1e-9
"""Errors are shares count/N: different shares of up to 30,000 points differ by more than this, and
two ways to round the same share by far less."""

OBJECTIVE_TOLERANCE = 1e-6
"""Relative to max(1, |witness|). Sums over data carry errors near 1e-13; the polish stops where the
objective still misses its minimum by up to about 1e-9. Loss levels of different minima lie far
further apart."""

_OWN = ("judged_error", "final_error", "limit_error")
_BASE = ("judged_error_base", "final_error_base", "limit_error_base")
_OBJECTIVE = ("judged_objective", "final_objective", "limit_objective")
_GROUP = ["study", "cell", "arm", "draw"]

WITNESS_COLUMNS = ("verdict", *_OWN, *_BASE, *_OBJECTIVE)
"""Columns of the rows that `witnesses` reads, besides the key."""

OUTCOME_COLUMNS = ("verdict", "judged_error", "judged_objective", "limit_error", "limit_objective")
"""Columns of the rows that `outcome` reads, besides the key."""


class _Best(NamedTuple):
    """The least value of a group and the position of the first row that has it (−1: none)."""

    value: float
    position: int


def witnesses(rows: pd.DataFrame, references: pd.DataFrame | None = None) -> pd.DataFrame:
    """The best that is known, one row per study × cell × arm × draw of `rows`, sorted.

    Columns: `error` is the best error that serves the arm and `error_arm error_draw error_seed
    error_source` the key that reached it; `objective objective_seed objective_source` likewise
    within the arm and draw; `base_error` is the cell's best error of a base network, and
    `r_star_known` says whether that is 0, so that the least possible error R* is known. Sources
    are "rows" or "references". Values are NaN (keys null) where nothing was measured. Ties go to
    the smallest key, rows before references; the order of `rows` plays no part.
    """
    points = _points(rows, references)
    base = _least(points, ["study", "cell"], "best_base")
    own = _least(points, ["study", "cell", "arm"], "best_own")
    objective = _least(points, _GROUP, "best_objective")
    groups = points.loc[~points["is_reference"], _GROUP].drop_duplicates()
    records = []
    for study, cell, arm, draw in groups.itertuples(index=False, name=None):
        best_base = base[study, cell]
        best_error = min(best_base, own[study, cell, arm])
        record = {"study": study, "cell": cell, "arm": arm, "draw": draw}
        record |= {"error": best_error.value, **_key(points, best_error, "error")}
        best_objective = objective[study, cell, arm, draw]
        record |= {"objective": best_objective.value, **_key(points, best_objective, "objective")}
        del record["objective_arm"], record["objective_draw"]  # those of the group itself
        record["base_error"] = best_base.value
        record["r_star_known"] = best_base.value <= ERROR_TOLERANCE
        records.append(record)
    return _typed(pd.DataFrame.from_records(records))


def outcome(
    rows: pd.DataFrame, witnesses: pd.DataFrame, tolerance: float = OBJECTIVE_TOLERANCE
) -> pd.Series:
    """What each row's verdict means against the witnesses: categorical, with the index of `rows`.

    A local minimum is bad when its error exceeds the witness error; without errors (regression,
    landscapes) when its objective exceeds the witness objective by more than
    tolerance·max(1, |witness|). An escape is good when its limit is no worse than the witness by
    the same comparison, bad otherwise; a limit that is not known shows nothing good. Every other
    verdict passes through. Raises `UserError` for a verdict outside the vocabulary or a row whose
    cell, arm and draw have no witness.
    """
    require_columns(rows, (*_GROUP, *OUTCOME_COLUMNS))
    verdict = _verdicts(rows["verdict"])
    best_error, best_objective = _witness_of(rows, witnesses)
    slack = tolerance * np.maximum(1.0, np.abs(best_objective))
    # Comparisons with NaN are false: an unknown limit is no better, an unmeasured witness no worse.
    without_errors = np.isnan(floats(rows["judged_error"])) & np.isnan(best_error)
    above = floats(rows["judged_error"]) > best_error + ERROR_TOLERANCE
    above_objective = floats(rows["judged_objective"]) > best_objective + slack
    reaches = floats(rows["limit_error"]) <= best_error + ERROR_TOLERANCE
    reaches_objective = floats(rows["limit_objective"]) <= best_objective + slack
    bad = np.where(without_errors, above_objective, above)
    good_escape = np.where(without_errors, reaches_objective, reaches)
    names = verdict.copy()
    minimum, escape = verdict == Verdict.LOCAL_MINIMUM, verdict == Verdict.ESCAPING
    names[minimum & bad] = Outcome.BAD_MINIMUM
    names[minimum & ~bad] = Outcome.GOOD_MINIMUM
    names[escape & good_escape] = Outcome.ESCAPING_GOOD
    names[escape & ~good_escape] = Outcome.ESCAPING_BAD
    categories = [str(name) for name in Outcome]
    return pd.Series(pd.Categorical(names, categories), index=rows.index, name="outcome")


def decisive(rows: pd.DataFrame) -> pd.DataFrame:
    """Those rows that give the same witness values, bad minima and unresolved members as all do.

    Every local minimum and unresolved member, and of each study × cell × arm × draw a member that
    has the least error, the least error of a base network and the least objective. Applying it to
    what it kept and further rows keeps what it would have kept of all of them.
    """
    keep = np.array(rows["verdict"].isin([Verdict.LOCAL_MINIMUM, Verdict.UNRESOLVED]))
    best = rows[_GROUP].reset_index(drop=True)
    for name in ("best_own", "best_base", "best_objective"):
        best[name] = _best_of(rows, name)
        keep[best.groupby(_GROUP, observed=True, sort=False)[name].idxmin().to_numpy()] = True
    return rows[keep]


def _points(rows: pd.DataFrame, references: pd.DataFrame | None) -> pd.DataFrame:
    """Every row and reference as a candidate witness, in the order that breaks ties."""
    parts = [canonical(rows, WITNESS_COLUMNS).assign(is_reference=False)]
    if references is not None and len(references):
        parts.append(canonical(references, WITNESS_COLUMNS).assign(is_reference=True))
    found = pd.DataFrame()
    for name in ("best_own", "best_base", "best_objective"):
        found[name] = np.concatenate([_best_of(part, name) for part in parts])
    for name in ("is_reference", "draw", "seed"):
        found[name] = np.concatenate([part[name].to_numpy() for part in parts])
    for name in ("study", "cell", "arm"):
        words = pd.api.types.union_categoricals([p[name] for p in parts], sort_categories=True)
        found[name] = pd.Series(words)
    if len(parts) == 1:
        return found
    order = ["study", "cell", "arm", "draw", "seed", "is_reference"]
    return found.sort_values(order, kind="stable", ignore_index=True)


def _best_of(part: pd.DataFrame, name: str) -> np.ndarray:
    """The least finite value a member reached at any of its points, +inf where there is none."""
    columns = {"best_own": _OWN, "best_base": _BASE, "best_objective": _OBJECTIVE}[name]
    values = np.column_stack([floats(part[column]) for column in columns])
    values[~np.isfinite(values)] = np.inf
    values[(part["verdict"] == Verdict.FAILED).to_numpy()] = np.inf
    return np.asarray(values.min(axis=1))


def _least(points: pd.DataFrame, by: list[str], column: str) -> dict[tuple[object, ...], _Best]:
    """The least value of each group with the first position that reaches it."""
    first = points.groupby(by, observed=True, sort=False)[column].idxmin()
    values = points[column].to_numpy()[first.to_numpy()]
    return {
        group: _Best(float(value), int(position))
        if np.isfinite(value)
        else _Best(np.inf, len(points))
        for group, position, value in zip(first.index, first, values, strict=True)
    }


def _key(points: pd.DataFrame, best: _Best, prefix: str) -> dict[str, object]:
    if best.position >= len(points):
        return {f"{prefix}_{part}": None for part in ("arm", "draw", "seed", "source")}
    row = points.iloc[best.position]
    source = "references" if row["is_reference"] else "rows"
    key = {f"{prefix}_{part}": row[part] for part in ("arm", "draw", "seed")}
    return {**key, f"{prefix}_source": source}


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    for name in ("error", "objective", "base_error"):
        found[name] = found[name].replace(np.inf, np.nan).astype("float64")
    for name in ("error_draw", "error_seed", "objective_seed"):
        found[name] = found[name].astype("Int64")
    for name in ("study", "cell", "arm", "error_arm", "error_source", "objective_source"):
        found[name] = found[name].astype("string")
    return found.sort_values(_GROUP, ignore_index=True)


def _verdicts(column: pd.Series) -> np.ndarray:
    """The verdicts as an object array of plain strings, all of them known."""
    accepted = [str(verdict) for verdict in Verdict]
    for name in column.unique():
        if name not in accepted:
            raise unknown("verdict", str(name), accepted)
    return column.to_numpy(dtype=object)


def _witness_of(rows: pd.DataFrame, witnesses: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Witness error and objective of each row, two arrays of shape (rows,)."""
    table = witnesses.set_index(_GROUP)[["error", "objective"]]
    group = rows.groupby(_GROUP, observed=True, sort=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    keys = pd.MultiIndex.from_frame(rows[_GROUP].iloc[first].astype(object))
    position = table.index.get_indexer(keys)
    if (position < 0).any():
        lost = keys[int(np.argmin(position))]
        raise UserError(
            f"There is no witness for study {lost[0]}, cell {lost[1]}, arm {lost[2]}, draw "
            f"{lost[3]}: witnesses found from the same rows are accepted."
        )
    chosen = table.to_numpy()[position][group]
    return chosen[:, 0], chosen[:, 1]
