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
    """
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    distinct, counts = np.unique(np.round(values, _DIGITS), return_counts=True)
    n, shares = len(values), counts / len(values)
    step = max(1, _AT_ONCE // len(distinct))
    means = np.concatenate(
        [
            rng.multinomial(n, shares, size=min(step, resamples - start)) @ distinct / n
            for start in range(0, resamples, step)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(counts @ distinct / n), float(low), float(high)
