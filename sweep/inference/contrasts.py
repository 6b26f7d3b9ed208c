"""Every arm against the baseline, seed by seed.

All arms of a seed share data and base initialisation, so arm and baseline are compared on the seeds
that both have; other seeds are left out. A `failed` member is not bad and stays in the denominator.

**Levels.** "draw": one λ draw of an arm. "cell": all its draws, each seed with the share of its
rows that are bad; the table counts seeds (`sweep.inference.paired`), so interval and test hold
whatever the correlation between draws. A baseline that has draws of its own is paired with the same
draw where the cell has it, and else, as at level "cell", with the mean over its draws; an arm
without λ always with that mean.

**Unresolved members.** The difference has two ends: none of the arm's and all of the baseline's
unresolved members are bad, and the reverse. Intervals cover those at both ends. The p-values are
those of the least favourable completion: McNemar's p grows with the smaller discordant count and
falls with the larger, so this is the end nearer to 0, and p = 1 where the ends lie on both sides.
A small p is therefore safe. The counts of the table are those of certified bad minima.

**Family.** p_exact is adjusted over all contrasts of one level in the study.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from sweep.errors import unknown
from sweep.inference.bootstrap import mean_interval
from sweep.inference.canonical import canonical
from sweep.inference.intervals import check
from sweep.inference.paired import mcnemar, newcombe_interval, odds_ratio, tango_interval
from sweep.inference.pairing import POOLED, Paired, members, paired, pooled
from sweep.seeds import stream

Adjustment = Literal["holm", "benjamini_hochberg"]
Score = Literal["newcombe", "tango"]

CONTRAST_COLUMNS = ("outcome", "lam", "final_error")
"""Columns of the rows that `contrasts` reads, besides the key."""

DEFAULT_BASELINE = "plain"

_STATSMODELS = {"holm": "holm", "benjamini_hochberg": "fdr_bh"}
_ORDER = [
    *("level", "study", "cell", "arm", "draw", "lam", "baseline", "n_pairs"),
    *("both_bad", "only_arm", "only_baseline", "neither"),
    *("difference", "difference_upper", "interval_low", "interval_high"),
    *("p_exact", "p_mid", "p_adjusted", "adjustment", "family_size"),
    *("odds_ratio", "odds_low", "odds_high", "error_difference", "error_low", "error_high"),
]


def choose_baseline(arms: Iterable[str], given: str | None) -> str:
    """The arm that others are compared with: `given`, or else "plain", or else the first by name.

    Raises `UserError` when `given` is not among the arms.
    """
    names = sorted(arms)
    if given is None:
        return DEFAULT_BASELINE if DEFAULT_BASELINE in names else names[0]
    if given not in names:
        raise unknown("baseline", given, names)
    return given


def contrasts(
    rows: pd.DataFrame,
    baseline: str | None = None,
    confidence: float = 0.95,
    method: str = "wilson",
    *,
    score: str = "newcombe",
    adjustment: str = "holm",
) -> pd.DataFrame:
    """Paired contrasts with the baseline (`choose_baseline`) of rows that carry `outcome`.

    One row per study × cell × arm × draw (level "draw") and per study × cell × arm (level "cell";
    draw and `lam` null), without those that share no seed with the baseline. `n_pairs` seeds;
    `both_bad only_arm only_baseline neither` pairs, whole unless draws are averaged; `difference`
    to `difference_upper` of the frequencies, arm minus baseline, as shares, with the interval
    `score` ("newcombe" of the marginal `method`, or "tango"); two-sided McNemar `p_exact`, `p_mid`
    and `p_adjusted` (of `p_exact`; "holm" or "benjamini_hochberg") over `family_size` contrasts;
    the matched odds ratio; `error_difference`, the mean difference of the final training error
    over seeds where both are finite, with a bootstrap interval clustered by seed. Sorted, whatever
    the order of `rows`. Raises `UserError` for an unknown word or a row without an outcome.
    """
    check(confidence, method)
    _known("interval of a difference", score, get_args(Score))
    _known("adjustment", adjustment, get_args(Adjustment))
    found = canonical(rows, CONTRAST_COLUMNS)
    arms = found["arm"].cat.categories.to_numpy(dtype=object)
    chosen = choose_baseline(arms, baseline)
    cells, everybody = members(found)
    is_base = everybody.arm == int(np.flatnonzero(arms == chosen)[0])
    others, base = everybody.at(~is_base), everybody.at(is_base)
    parts = []
    for level, some in (("draw", others), ("cell", pooled(others))):
        pairs = paired(some, base)
        named = _named(pairs, cells, arms).assign(level=level, baseline=chosen)
        tabled = named.assign(**_tabled(pairs, confidence, method, score))
        parts.append(_adjusted(tabled.assign(**_errors(pairs, named, confidence)), adjustment))
    return _typed(pd.concat(parts, ignore_index=True))


def _known(kind: str, given: str, accepted: tuple[str, ...]) -> None:
    if given not in accepted:
        raise unknown(kind, given, accepted)


def _named(pairs: Paired, cells: pd.DataFrame, arms: np.ndarray) -> pd.DataFrame:
    """Where each contrast belongs: `study cell arm draw lam`."""
    one = pairs.arm.at(pairs.first)
    found = cells.iloc[one.cell].reset_index(drop=True)
    return found.assign(arm=arms[one.arm], draw=one.draw, lam=one.lam)


def _tabled(pairs: Paired, confidence: float, method: str, score: str) -> dict[str, np.ndarray]:
    """Counts, difference, interval, p-values and odds ratio of every contrast."""
    arm, base = pairs.arm, pairs.base
    certified = pairs.table(arm.low, base.low)
    ends = [pairs.table(arm.low, base.high), pairs.table(arm.high, base.low)]
    if score == "tango":
        intervals = [tango_interval(end, confidence) for end in ends]
    else:
        intervals = [newcombe_interval(end, confidence, method) for end in ends]
    ratios = [odds_ratio(end, confidence) for end in ends]
    exact, mid = zip(*(mcnemar(end) for end in ends), strict=True)
    decided = ends[0].difference * ends[1].difference > 0
    return {
        "n_pairs": np.bincount(pairs.group, minlength=len(pairs.first)),
        "both_bad": certified.both,
        "only_arm": certified.only_arm,
        "only_baseline": certified.only_baseline,
        "neither": certified.neither,
        "difference": ends[0].difference,
        "difference_upper": ends[1].difference,
        "interval_low": np.minimum(intervals[0][0], intervals[1][0]),
        "interval_high": np.maximum(intervals[0][1], intervals[1][1]),
        "p_exact": np.where(decided, np.maximum(*exact), 1.0),
        "p_mid": np.where(decided, np.maximum(*mid), 1.0),
        "odds_ratio": odds_ratio(certified, confidence)[0],
        "odds_low": ratios[0][1],
        "odds_high": ratios[1][2],
    }


def _errors(pairs: Paired, named: pd.DataFrame, confidence: float) -> dict[str, np.ndarray]:
    """Mean difference of the final training error of every contrast, with its interval."""
    distance = pairs.arm.error - pairs.base.error
    known = np.isfinite(distance)
    order = np.argsort(pairs.group[known], kind="stable")
    counts = np.bincount(pairs.group[known], minlength=len(named))
    values = np.split(distance[known][order], np.cumsum(counts))[: len(named)]
    keys = named[["level", "study", "cell", "arm", "draw", "baseline"]]
    found = [
        mean_interval(some, stream("bootstrap", *map(str, key)), confidence)
        for some, key in zip(values, keys.itertuples(index=False, name=None), strict=True)
    ]
    columns = np.array(found).reshape(-1, 3).T
    return dict(zip(("error_difference", "error_low", "error_high"), columns, strict=True))


def _adjusted(part: pd.DataFrame, adjustment: str) -> pd.DataFrame:
    """With the p-values of each study's family, adjusted for its size."""
    p, size = np.ones(len(part)), np.zeros(len(part), dtype=np.int64)
    for place in part.groupby("study").indices.values():
        given = part["p_exact"].to_numpy()[place]
        p[place] = multipletests(given, method=_STATSMODELS[adjustment])[1]
        size[place] = len(place)
    return part.assign(p_adjusted=p, family_size=size, adjustment=adjustment)


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    for name in ("level", "study", "cell", "arm", "baseline", "adjustment"):
        found[name] = found[name].astype("string")
    draw = found["draw"].astype("Int64")
    found["draw"] = draw.mask(draw == POOLED)
    return found[_ORDER]
