"""A claim against the rows of its study: holds, does not hold, or undecided.

**Shares have two ends.** A row whose verdict is unresolved may be anything, and so may one whose
training failed, so a share of verdicts, outcomes or certificates lies between k/n and (k+u)/n. Its
interval runs from the low end of the exact (Clopper-Pearson) 95 % interval at the first to the high
end of that at the second. A bound holds when the whole interval keeps it, does not hold when the
whole interval breaks it, and is undecided otherwise. Rows that share a seed are fewer than as many
trials: `sweep.inference.frequencies` says how they are counted.

**A statement on every row** (a share of exactly 0 or 1, a bound on a number) needs no interval: it
does not hold when one row contradicts it, and holds when none does and enough rows speak: at least
`min_rows`, and nine in ten of all. Unresolved and failed rows do not speak; an infinite number
does.

**A difference** of two shares lies between the differences of the ends of two 97.5 % intervals:
both cover at once with 95 %, however the rows are paired.

**A published frequency** agrees unless Fisher's exact test of two samples rejects it: does not
hold when p ≤ 0.01, adjusted after Holm for the published frequencies of the claim, at every count
that the unresolved rows leave open, undecided when at some.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests

from sweep.inference.answers import Finding, Status
from sweep.inference.by_cell import EXAMPLES, together
from sweep.inference.claims import Claim, Expectation
from sweep.inference.intervals import interval
from sweep.inference.selection import fits, numbers, words
from sweep.rows import KEY

CONFIDENCE = 0.95
REJECTED = 0.01
"""Holm-adjusted p at which a published frequency and ours are two different ones."""

SPEAKING = 0.9
"""Share of the rows that must speak for a statement on every row to hold."""

_EXACT = "clopper_pearson"
_JUDGED = ("verdict", "outcome", "certificate")
_SETTLED = ("unresolved", "failed")


@dataclass(frozen=True)
class _Share:
    """k to k+u of n rows, worth `trials` independent ones."""

    count: int
    upper: int
    n: int
    trials: float

    def ends(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The interval around both ends."""
        if self.n == 0:
            return 0.0, 1.0
        counts = np.array([self.count, self.upper]) * self.trials / self.n
        low, high = interval(np.minimum(counts, self.trials), self.trials, confidence, _EXACT)
        return float(low[0]), float(high[1])

    def __str__(self) -> str:
        upper = f" to {self.upper}" if self.upper > self.count else ""
        share = f" ({100 * self.count / self.n:.1f} %)" if self.n else ""
        return f"{self.count}{upper} of {self.n}{share}"


def judge_claim(claim: Claim, rows: pd.DataFrame, lost: int = 0) -> list[Finding]:
    """One finding per expectation, in order; `rows` carry the column `outcome`.

    With `lost` jobs that failed for good nothing holds: what they would have shown is not known.
    The order of the rows plays no part. Raises `UserError` for a column that the rows lack.
    """
    ordered = rows.sort_values([name for name in KEY if name in rows], ignore_index=True)
    found = [_judge(expectation, ordered) for expectation in claim.expect]
    found = _published(found, ordered)
    return [_without(one, lost) for one in found] if lost else found


def _without(one: Finding, lost: int) -> Finding:
    """The same where so many jobs are missing."""
    status = Status.UNDECIDED if one.status is Status.HOLDS else one.status
    return replace(one, status=status, observed=f"{one.observed}, {lost} jobs failed")


def _judge(asked: Expectation, rows: pd.DataFrame) -> Finding:
    if asked.cells is None:
        return _judge_together(asked, rows)
    parts = [_judge_together(asked, part) for _, part in rows.groupby("cell", observed=True)]
    return together(asked, parts)


def _judge_together(asked: Expectation, rows: pd.DataFrame) -> Finding:
    chosen = _chosen(asked, rows)
    if not asked.is_share:
        return _numbers(asked, chosen)
    if asked.published is not None:
        share = _share(asked, chosen)
        return Finding(asked, Status.UNDECIDED, str(share), share.n, *share.ends())
    if asked.versus is not None:
        return _difference(asked, _share(asked, chosen), _share(asked, _chosen(asked, rows, True)))
    if asked.at_most == 0.0 or asked.at_least == 1.0:
        return _every_row(asked, chosen)
    share = _share(asked, chosen)
    return _bounded(asked, str(share), share.n, *share.ends())


def _chosen(asked: Expectation, rows: pd.DataFrame, other: bool = False) -> pd.DataFrame:
    """The rows that are looked at; with `other` those they are compared with."""
    condition = dict(asked.where)
    if asked.arm is not None:
        condition["arm"] = asked.arm
    if other:
        condition |= asked.versus or {}
    return rows.loc[fits(rows, condition)]


def _share(asked: Expectation, rows: pd.DataFrame) -> _Share:
    counted = fits(rows, asked.counted)
    upper = counted | _may_be(asked, rows)
    per_seed = rows.groupby("seed", observed=True).size().to_numpy(dtype=float)
    trials = per_seed.sum() ** 2 / (per_seed**2).sum() if len(rows) else 0.0
    return _Share(int(counted.sum()), int(upper.sum()), len(rows), float(trials))


def _may_be(asked: Expectation, rows: pd.DataFrame) -> np.ndarray:
    """Unresolved rows that a better judge might count, and failed ones, where one is asked for."""
    judged = any(
        name in _JUDGED or name.startswith(("limit_", "evidence."))
        for name in asked.counted
        if asked.counted[name] not in _SETTLED
    )
    # How many are certified is a statement on this judge, not on what a better one might say.
    if asked.measure == "certified" or _SETTLED[1] in map(str, asked.counted.values()):
        return np.zeros(len(rows), dtype=bool)
    return fits(rows, {"verdict": list(_SETTLED) if judged else _SETTLED[1]})


def _every_row(asked: Expectation, rows: pd.DataFrame) -> Finding:
    """A share that must be exactly 0, or exactly 1."""
    counted = fits(rows, asked.counted)
    open_ = _may_be(asked, rows) & ~counted
    wrong = counted if asked.at_most == 0.0 else ~counted & ~open_
    share = _share(asked, rows)
    return _universal(asked, rows, wrong, ~open_, str(share), share.ends())


def _universal(
    asked: Expectation,
    rows: pd.DataFrame,
    wrong: np.ndarray,
    speaks: np.ndarray,
    observed: str,
    ends: tuple[float, float],
) -> Finding:
    status = Status.UNDECIDED
    if wrong.any():
        status = Status.FAILS
    elif speaks.sum() < asked.min_rows:
        observed += f", fewer than {asked.min_rows} rows speak"
    elif asked.is_share and speaks.mean() < SPEAKING:
        observed += ", fewer than nine in ten of the rows speak"
    elif not asked.is_share and (lost := int(fits(rows, {"verdict": _SETTLED[1]}).sum())):
        observed += f", {lost} failed"
    else:
        status = Status.HOLDS
    names = [name for name in KEY if name != "study"]
    examples = rows.loc[wrong, names].head(EXAMPLES).astype(object).to_dict("records")
    keys = tuple({str(k): v for k, v in one.items()} for one in examples)
    return Finding(asked, status, observed, len(rows), *ends, int(wrong.sum()), keys)


def _numbers(asked: Expectation, rows: pd.DataFrame) -> Finding:
    """A bound on a number of every row, or on its spread within groups."""
    assert isinstance(asked.measure, str)
    values = numbers(rows, asked.measure)
    speaks = ~np.isnan(values)
    if asked.statistic == "spread":
        values, speaks = _spreads(asked, rows, values)
    given = values[speaks]
    low, high = (float(given.min()), float(given.max())) if len(given) else (np.nan, np.nan)
    wrong = np.zeros(len(rows), dtype=bool)
    if asked.at_least is not None:
        wrong |= speaks & (values < asked.at_least)
    if asked.at_most is not None:
        wrong |= speaks & (values > asked.at_most)
    name = "spread " if asked.statistic == "spread" else ""
    observed = f"{len(given)} rows, {name}{low:.4g} to {high:.4g}" if len(given) else "no row"
    return _universal(asked, rows, wrong, speaks, observed, (low, high))


def _spreads(
    asked: Expectation, rows: pd.DataFrame, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each row's group's range, and which rows are in a group of at least two."""
    frame = pd.DataFrame({f"by{k}": words(rows, name) for k, name in enumerate(asked.within)})
    keys = list(frame.columns)
    frame["value"] = np.where(np.isfinite(values), values, np.nan)
    groups = frame.groupby(keys, sort=False)["value"]
    largest, least = groups.transform("max").to_numpy(), groups.transform("min").to_numpy()
    speaks = np.isfinite(values) & (groups.transform("count").to_numpy() > 1)
    spread = (largest - least) / np.maximum(1.0, np.maximum(abs(largest), abs(least)))
    return np.asarray(spread), np.asarray(speaks)


def _difference(asked: Expectation, here: _Share, there: _Share) -> Finding:
    confidence = 1 - (1 - CONFIDENCE) / 2
    low, high = here.ends(confidence)
    low_there, high_there = there.ends(confidence)
    observed = f"{here} against {there}"
    return _bounded(asked, observed, min(here.n, there.n), low - high_there, high - low_there)


def _bounded(asked: Expectation, observed: str, n: int, low: float, high: float) -> Finding:
    """Whether the interval [low, high] keeps the bounds."""
    at_least = -np.inf if asked.at_least is None else asked.at_least
    at_most = np.inf if asked.at_most is None else asked.at_most
    status = Status.UNDECIDED
    if n and (high < at_least or low > at_most):
        status = Status.FAILS
    elif n >= asked.min_rows and low >= at_least and high <= at_most:
        status = Status.HOLDS
    return Finding(asked, status, observed, n, low, high)


def _published(found: list[Finding], rows: pd.DataFrame) -> list[Finding]:
    """The findings with those on published frequencies settled, all of the claim together."""
    places = [k for k, one in enumerate(found) if one.expectation.published is not None]
    if not places:
        return found
    tested = [_tested(found[k].expectation, rows) for k in places]
    most, least = (_holm([pair[end] for pair in tested]) for end in (1, 0))
    for k, high, low in zip(places, most, least, strict=True):
        status = Status.UNDECIDED
        if found[k].rows and high <= REJECTED:
            status = Status.FAILS
        elif _trials(found[k], rows) >= _enough(found[k].expectation) and low > REJECTED:
            status = Status.HOLDS
        one = found[k]
        text = f"p = {low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"p = {low:.2g} to {high:.2g}"
        found[k] = Finding(
            one.expectation, status, f"{one.observed}, {text}", one.rows, one.low, one.high
        )
    return found


def _trials(found: Finding, rows: pd.DataFrame) -> float:
    """Independent trials that speak: rows that share a seed are fewer."""
    asked = found.expectation
    return float(_share(asked, _chosen(asked, rows)).trials) if found.rows else 0.0


def _enough(asked: Expectation) -> float:
    assert asked.published is not None
    return max(asked.min_rows, asked.published.total / 10)


def _tested(asked: Expectation, rows: pd.DataFrame) -> tuple[float, float]:
    """Least and largest p over the counts that the unresolved rows leave open."""
    share, known = _share(asked, _chosen(asked, rows)), asked.published
    assert known is not None
    # Rows that share a seed are fewer trials than rows: the counts shrink with them.
    n = int(share.trials)
    there = [known.count, known.total - known.count]
    p = []
    for k in _ends_and_nearest(share, known.count / known.total):
        bad = round(k * n / share.n) if share.n else 0
        p.append(float(fisher_exact([[bad, n - bad], there]).pvalue))
    return min(p), max(p)


def _ends_and_nearest(share: _Share, frequency: float) -> set[int]:
    """The counts at which p is least (an end) and largest (next to the published frequency)."""
    expected = share.n * frequency
    near = {
        int(np.clip(k, share.count, share.upper)) for k in (np.floor(expected), np.ceil(expected))
    }
    return {share.count, share.upper, *near}


def _holm(p: list[float]) -> list[float]:
    adjusted: np.ndarray = multipletests(p, method="holm")[1]
    return [float(value) for value in adjusted]
