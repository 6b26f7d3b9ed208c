"""The catalogue of certified minima: which loss levels there are, and how often each is reached.

Networks that are equal up to a symmetry (units in another order, a rescaled homogeneous unit), and
all points of one valley, have the same objective, so merging by loss level merges them too. Minima
that differ but share a loss are one line.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical, floats
from sweep.verdicts import Certificate, Outcome, Verdict

MINIMA_COLUMNS = (
    *("outcome", "verdict", "certificate", "judged_objective", "judged_error"),
    *("judged_min_eig", "flat_dim"),
)
"""Columns of the rows that `minima` reads, besides the key."""

LEVEL_TOLERANCE = 1e-9
"""Sorted objectives closer than this, relative to max(1, |F|), are one level. Among 56,157
certified minima of 412 groups (plain, exponential, coercive, affine and other networks) no gap lay
between 1e-13, which is rounding, and 3.8e-8, the closest pair of different levels."""

_GROUP = ["study", "cell", "arm", "draw"]
_CERTIFICATES = np.array(sorted(str(name) for name in Certificate), dtype=object)


def minima(rows: pd.DataFrame, tolerance: float = LEVEL_TOLERANCE) -> pd.DataFrame:
    """One row per study × cell × arm × draw and loss level, sorted, of rows that carry `outcome`.

    Members whose verdict is a local or global minimum count. `level` is the smallest judged
    objective of the level, `spread` how far its largest lies above; `n` members reached it, `n_bad`
    as a bad minimum and `n_global` certified global. `error` and `error_high` are the smallest and
    largest judged error, `smallest_eigenvalue` the least `judged_min_eig` where one was taken,
    `flat_dim` and `flat_dim_high` the smallest and largest dimension of the flat set (null if not
    known). `certificates` joins the kinds of proof, and `example_seed` is the smallest seed, to
    replay.
    """
    members = canonical(rows, MINIMA_COLUMNS)
    certified = members["verdict"].isin([Verdict.LOCAL_MINIMUM, Verdict.GLOBAL_MINIMUM])
    members = members[certified.to_numpy()].reset_index(drop=True)
    if members.empty:
        return _typed(pd.DataFrame(columns=_ORDER))
    level = _levels(members, tolerance)
    by = _measures(members).groupby(level, sort=True)
    lowest, highest, sums = by.min(), by.max(), by.sum()
    first = np.unique(level, return_index=True)[1]
    found = members.loc[first, _GROUP].reset_index(drop=True)
    found = found.assign(
        level=lowest["objective"],
        spread=highest["objective"] - lowest["objective"],
        n=by.size(),
        n_bad=sums["bad"],
        n_global=sums["global"],
        error=lowest["error"],
        error_high=highest["error"],
        smallest_eigenvalue=lowest["eigenvalue"],
        flat_dim=lowest["flat_dim"],
        flat_dim_high=highest["flat_dim"],
        certificates=_joined(members["certificate"], level),
        example_seed=lowest["seed"],
    )
    return _typed(found)


_ORDER = [
    *(*_GROUP, "level", "spread", "n", "n_bad", "n_global", "error", "error_high"),
    *("smallest_eigenvalue", "flat_dim", "flat_dim_high", "certificates", "example_seed"),
]


def _measures(members: pd.DataFrame) -> pd.DataFrame:
    """What is summed up over the members of a level, as numbers."""
    return pd.DataFrame(
        {
            "objective": floats(members["judged_objective"]),
            "error": floats(members["judged_error"]),
            "eigenvalue": floats(members["judged_min_eig"]),
            "flat_dim": floats(members["flat_dim"]),
            "seed": members["seed"],
            "bad": (members["outcome"] == Outcome.BAD_MINIMUM).astype("int64"),
            "global": (members["verdict"] == Verdict.GLOBAL_MINIMUM).astype("int64"),
        }
    )


def _levels(members: pd.DataFrame, tolerance: float) -> np.ndarray:
    """The number of each member's level, (rows,): 0, 1, … by group, then by objective."""
    group = members.groupby(_GROUP, observed=True, sort=True).ngroup().to_numpy()
    objective = floats(members["judged_objective"])
    order = np.lexsort((objective, group))
    value, group = objective[order], group[order]
    with np.errstate(invalid="ignore"):  # two infinite ones are no level
        gap = value[1:] - value[:-1]
    # Values without an objective sort last and, as no comparison with NaN holds, stay apart.
    near = gap <= tolerance * np.maximum(1.0, np.abs(value[1:]))
    same = near & (group[1:] == group[:-1])
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.concatenate([[0], np.cumsum(~same)])
    return found


def _joined(certificates: pd.Series, level: np.ndarray) -> list[str]:
    """The kinds of certificate at each level, in alphabetical order, joined by ", "."""
    kind = pd.Categorical(certificates, _CERTIFICATES).codes
    none = int(np.flatnonzero(_CERTIFICATES == Certificate.NONE)[0])
    kind = np.where(kind < 0, none, kind)
    there = np.zeros((level.max() + 1, len(_CERTIFICATES)), dtype=bool)
    there[level, kind] = True
    return [", ".join(_CERTIFICATES[one]) for one in there]


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    for name in ("study", "cell", "arm", "certificates"):
        found[name] = found[name].astype("string")
    for name in ("draw", "flat_dim", "flat_dim_high"):
        found[name] = found[name].astype("Int64")
    for name in ("n", "n_bad", "n_global", "example_seed"):
        found[name] = found[name].astype("int64")
    for name in ("level", "spread", "error", "error_high", "smallest_eigenvalue"):
        found[name] = found[name].astype("float64")
    return found[_ORDER]
