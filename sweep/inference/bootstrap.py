"""Bootstrap of a mean over seeds, clustered by seed, from the counts of its distinct values."""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000

_DIGITS = 12
"""Values are differences of shares count/N: what differs less is one value, rounded twice."""

_AT_ONCE = 4_000_000  # counts held in memory: 32 MB


def mean_interval(
    values: np.ndarray,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float, float]:
    """Mean of one value per seed, with the ends of its percentile interval; NaN without values.

    A resample draws as many seeds with replacement (Efron and Tibshirani 1993, section 13.3). The
    mean needs only how often it drew each distinct value, which is multinomial: the order of
    `values`, (seeds,), plays no part, and few distinct values make it fast.

    Equal values have nothing to resample, and a point is no interval: as differences of shares lie
    in [−1, 1], seeds of which none of n deviates (at most 1 − (1 − confidence)^(1/n) of all) may
    lift or lower the mean by so much of the way to the ends. Of few seeds that differ the interval
    is too narrow: about 40 % coverage with 5 and 70 % with 10 for values that are mostly 0.
    """
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    distinct, counts = np.unique(np.round(values, _DIGITS), return_counts=True)
    n, shares = len(values), counts / len(values)
    if len(distinct) == 1:
        value, others = float(distinct[0]), -np.expm1(np.log1p(-confidence) / n)
        return value, value - others * (1 + value), value + others * (1 - value)
    step = max(1, _AT_ONCE // len(distinct))
    means = np.concatenate(
        [
            rng.multinomial(n, shares, size=min(step, resamples - start)) @ distinct / n
            for start in range(0, resamples, step)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(counts @ distinct / n), float(low), float(high)
