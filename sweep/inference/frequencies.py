"""How often each outcome occurs, per cell, arm and λ draw, and pooled.

======  ================================================================
symbol  meaning
======  ================================================================
n       rows of a group; failed members are among them, always
m_s     rows of seed s in the group (draws × cells)
n_eff   (Σ m_s)² / Σ m_s², the sample size that the interval is given
======  ================================================================

**Two ends.** While some verdicts are unresolved, the bad-minimum frequency lies between bad/n and
(bad+unresolved)/n. The interval runs from the low end of the interval at the first to the high end
of the interval at the second, so it covers both.

**Pooled draws.** Rows of one seed share their base initialisation and data, so n rows are fewer
than n independent trials. The interval counts seeds: it is that of n_eff trials, which is the
number of seeds when all of them have equally many rows (Kish's n_eff otherwise). That is the safe
end: the number b_s of bad rows of a seed lies in [0, m_s], so Var b_s ≤ m_s² p(1−p) whatever the
correlation within the seed (Bhatia and Davis 2000), with equality when all its rows share one fate.
For an arm with one draw and one cell, n_eff = n.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import canonical, floats
from sweep.inference.intervals import check, interval
from sweep.verdicts import Outcome

OUTCOMES = tuple(str(name) for name in Outcome)
"""The count columns, in the order of the vocabulary."""

LEVELS = {
    "draw": ["study", "cell", "arm", "draw"],
    "cell": ["study", "cell", "arm"],
    "arm": ["study", "arm"],
}
"""Value of the column `level` → what a row of the frame stands for."""

FREQUENCY_COLUMNS = ("outcome", "lam", "final_error")
"""Columns of the rows that `frequencies` reads, besides the key."""


def frequencies(
    rows: pd.DataFrame, confidence: float = 0.95, method: str = "wilson"
) -> pd.DataFrame:
    """Counts and bad-minimum frequencies of rows that carry `outcome`.

    `level` says what a row stands for: "draw" (cell × arm × draw, with its `lam`), "cell" (cell ×
    arm, all draws), "arm" (all cells and draws). What does not apply is null. Further columns: `n`,
    `n_seeds`, `n_effective`; one count per outcome; `bad_minimum_frequency` = bad/n and
    `bad_minimum_frequency_upper` = (bad+unresolved)/n with `interval_low` and `interval_high`
    around both, `confidence`, `method`; `n_finite` members whose training ended with a finite
    error, `mean_final_error` over those, and `zero_error_share` = members that ended with error 0
    over n. Sorted by level, study, cell, arm, draw, whatever the order of `rows`.
    """
    check(confidence, method)
    members = canonical(rows, FREQUENCY_COLUMNS)
    if members.empty:
        raise UserError("There are no rows to summarise: at least one finished job is needed.")
    members = _indicators(members)
    found = pd.concat([_level(members, level) for level in LEVELS], ignore_index=True)
    found = _with_interval(found, confidence, method)
    for name in ("study", "cell", "arm", "method", "level"):
        found[name] = found[name].astype("string")
    found["draw"] = found["draw"].astype("Int64")
    return found[_ORDER]


def outcome_codes(members: pd.DataFrame) -> np.ndarray:
    """The place of each member's `outcome` in `OUTCOMES`, (rows,); `UserError` if it has none."""
    codes = pd.Categorical(members["outcome"].astype(object), OUTCOMES).codes
    if (codes < 0).any():
        raise UserError("A row has no outcome: rows judged against their witnesses are accepted.")
    return np.asarray(codes)


def two_ends(
    count: np.ndarray,
    upper: np.ndarray,
    n: np.ndarray,
    n_effective: np.ndarray,
    *,
    confidence: float,
    method: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The shares count/n and upper/n, and the interval of n_eff trials around both, (groups,)."""
    least, most = count / n, upper / n
    low = interval(least * n_effective, n_effective, confidence, method)[0]
    high = interval(most * n_effective, n_effective, confidence, method)[1]
    return least, most, low, high


_ORDER = [
    *("level", "study", "cell", "arm", "draw", "lam", "n", "n_seeds", "n_effective"),
    *OUTCOMES,
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
    *("confidence", "method", "n_finite", "mean_final_error", "zero_error_share"),
]


def _indicators(members: pd.DataFrame) -> pd.DataFrame:
    """One numeric column per thing that is counted or summed."""
    error = floats(members["final_error"])
    finite = np.isfinite(error)
    codes = outcome_codes(members)
    found = members[["study", "cell", "arm", "draw", "seed"]].copy()
    found["lam"] = floats(members["lam"])
    for code, name in enumerate(OUTCOMES):
        found[name] = (codes == code).astype(np.int64)
    found["n_finite"] = finite.astype(np.int64)
    found["error_sum"] = np.where(finite, error, 0.0)
    found["zeros"] = (error == 0).astype(np.int64)
    return found


def _level(members: pd.DataFrame, level: str) -> pd.DataFrame:
    """Counts of every group of a level; one row per group, sorted."""
    by = LEVELS[level]
    groups = members.groupby(by, observed=True, sort=True)
    found = groups[[*OUTCOMES, "n_finite", "error_sum", "zeros"]].sum()
    found["n"] = groups.size()
    per_seed = members.groupby([*by, "seed"], observed=True, sort=True).size()
    seeds = per_seed.groupby(level=by, observed=True, sort=True)
    found["n_seeds"] = seeds.size()
    found["n_effective"] = found["n"] ** 2 / (per_seed**2).groupby(level=by, observed=True).sum()
    found["lam"] = groups["lam"].first() if level == "draw" else np.nan
    found = found.reset_index().assign(level=level)
    for name in ("cell", "draw"):
        if name not in found:
            found[name] = pd.NA
    return found.astype({"cell": object, "draw": object})


def _with_interval(found: pd.DataFrame, confidence: float, method: str) -> pd.DataFrame:
    bad, n, n_finite = (found[name].to_numpy() for name in ("bad_minimum", "n", "n_finite"))
    may_be = bad + found["unresolved"].to_numpy()
    lower, upper, low, high = two_ends(
        bad, may_be, n, found["n_effective"].to_numpy(), confidence=confidence, method=method
    )
    return found.assign(
        bad_minimum_frequency=lower,
        bad_minimum_frequency_upper=upper,
        interval_low=low,
        interval_high=high,
        confidence=confidence,
        method=method,
        # 0/0 is null: nobody ended with a finite error.
        mean_final_error=found["error_sum"] / np.where(n_finite > 0, n_finite, np.nan),
        zero_error_share=found["zeros"].to_numpy() / n,
    )
