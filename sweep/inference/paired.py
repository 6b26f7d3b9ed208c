"""Two arms on the same seeds: difference, test and odds ratio from a 2×2 table of pairs.

======  =================================================================
symbol  meaning
======  =================================================================
e, h    pairs where both members are bad, where neither is
f, g    discordant pairs: bad only in the arm, bad only in the baseline
n       e + f + g + h
D       (f − g)/n, the arm's frequency p₁ minus the baseline's p₂
φ       (eh − fg)/√((e+f)(g+h)(e+g)(f+h)), correlation of the pairs
======  =================================================================

Counts need not be whole. Where an arm has several draws, seed s has the shares x_s, y_s ∈ [0, 1] of
bad members, and its table is that of one draw of either arm picked at random: x_s·y_s, x_s(1−y_s),
(1−x_s)y_s, (1−x_s)(1−y_s). Summed over seeds this is a table of n = seeds, not of networks, whose D
is the difference of the mean shares. Its φ is the covariance of the shares over seeds divided by
√(p₁(1−p₁)p₂(1−p₂)), and since Var x_s ≤ p₁(1−p₁) (Bhatia and Davis 2000), the variance that an
interval takes for D, (p₁(1−p₁) + p₂(1−p₂))/n − 2 Cov/n, is at least the true one whatever the
correlation between the draws. With one draw each it is the plain table of pairs.

Least coverage of the 95 % interval in 10,000 simulated studies (standard error 0.22 points), over
frequencies from 0.001 to 0.87 and correlations from 0 to 0.95: one draw 94.5 % with 100 seeds,
94.9 % with 1,000; four draws 95.6 % and 95.7 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, gammaln
from scipy.stats import norm

from sweep.errors import UserError
from sweep.inference.intervals import check, interval

_BISECTIONS = 60  # of an interval of length 2: the ends are exact to the last bit


@dataclass(frozen=True, eq=False)
class Pairs:
    """2×2 tables of pairs, one table per element of the arrays (float64, of one common shape)."""

    both: np.ndarray
    only_arm: np.ndarray
    only_baseline: np.ndarray
    neither: np.ndarray

    @property
    def n(self) -> np.ndarray:
        """Pairs of each table."""
        return np.asarray(self.both + self.only_arm + self.only_baseline + self.neither)

    @property
    def difference(self) -> np.ndarray:
        """The arm's frequency minus the baseline's; NaN for a table without pairs."""
        n = self.n
        return np.asarray((self.only_arm - self.only_baseline) / np.where(n > 0, n, np.nan))


def pairs(
    both: ArrayLike, only_arm: ArrayLike, only_baseline: ArrayLike, neither: ArrayLike
) -> Pairs:
    """The tables with these counts, broadcast against each other; `UserError` for a negative."""
    given = (np.asarray(cell, dtype=float) for cell in (both, only_arm, only_baseline, neither))
    cells = np.broadcast_arrays(*given)
    if not all((cell >= 0).all() for cell in cells):
        raise UserError("A count of pairs is negative or missing: numbers from 0 on are accepted.")
    return Pairs(*cells)


def newcombe_interval(
    tables: Pairs, confidence: float = 0.95, method: str = "wilson"
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the interval for the difference D, arrays of the tables' shape.

    Newcombe (1998, Statistics in Medicine 17, 2635-2650), method 10: squares and adds the distances
    from p₁ and p₂ to the ends of their own intervals (of this `method`), with φ pulled towards 0 by
    n/2 in its numerator when that is positive. Without pairs it is [−1, 1]. Raises `UserError` as
    `intervals.interval` does.
    """
    n = tables.n
    first, second = tables.both + tables.only_arm, tables.both + tables.only_baseline
    # Rounding of fractional counts must not lift a count over its total.
    low1, high1 = interval(np.minimum(first, n), n, confidence, method)
    low2, high2 = interval(np.minimum(second, n), n, confidence, method)
    safe = np.where(n > 0, n, 1.0)
    p1, p2, phi = first / safe, second / safe, _phi(tables)
    below = _added(p1 - low1, high2 - p2, phi)
    above = _added(high1 - p1, p2 - low2, phi)
    low = np.maximum(p1 - p2 - below, -1.0)
    high = np.minimum(p1 - p2 + above, 1.0)
    return np.where(n > 0, low, -1.0), np.where(n > 0, high, 1.0)


def tango_interval(tables: Pairs, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of Tango's score interval for D, arrays of the tables' shape.

    The Δ that the score test of D = Δ does not reject (Tango 1998, Statistics in Medicine 17,
    891-908, eq. 8), found by bisection. Without pairs it is [−1, 1].
    """
    check(confidence, "wilson")
    z = float(norm.isf((1 - confidence) / 2))
    d = np.where(tables.n > 0, tables.difference, 0.0)
    low = _crossing(tables, np.full(d.shape, -1.0), d, z)
    high = _crossing(tables, d, np.full(d.shape, 1.0), -z)
    some = tables.n > 0
    return np.where(some, low, -1.0), np.where(some, high, 1.0)


def mcnemar(tables: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided exact and mid-p of McNemar's test that D = 0, arrays of the tables' shape.

    Given k = f + g discordant pairs, f is binomial(k, ½): twice the smaller tail, at most 1; mid-p
    takes only half of the probability of what was seen (Fagerland, Lydersen and Laake 2013), but is
    1 at f = g, where theirs is 1 − ½P(f): less than beside it for counts that are not whole. Both
    are 1 without a discordant pair. Counts that are not whole go into the same tails, continued as
    incomplete beta functions: they grow with min(f, g) and fall with max(f, g) alike.
    """
    small = np.minimum(tables.only_arm, tables.only_baseline)
    large = np.maximum(tables.only_arm, tables.only_baseline)
    some = large > 0
    # P(X ≤ small) for X ~ binomial(small + large, ½); large = 0 is outside betainc's domain.
    tail = np.where(some, betainc(np.where(some, large, 1.0), small + 1.0, 0.5), 1.0)
    log_seen = gammaln(small + large + 1) - gammaln(small + 1) - gammaln(large + 1)
    seen = np.exp(log_seen - (small + large) * np.log(2.0))
    mid = np.where(small == large, 1.0, 2 * tail - seen)
    return np.minimum(2 * tail, 1.0), np.clip(mid, 0.0, 1.0)


def odds_ratio(
    tables: Pairs, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matched odds ratio f/g with its exact conditional interval, arrays of the tables' shape.

    The ends are π/(1−π) at the Clopper-Pearson ends of π = f/(f+g) (Breslow and Day 1980, section
    5.2): low 0 at f = 0, high inf at g = 0, and the ratio is NaN without a discordant pair.
    """
    f, k = tables.only_arm, tables.only_arm + tables.only_baseline
    low, high = interval(f, k, confidence, "clopper_pearson")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = f / tables.only_baseline
        return ratio, low / (1 - low), high / (1 - high)


def _phi(tables: Pairs) -> np.ndarray:
    """Newcombe's continuity-corrected φ; 0 where a margin is empty."""
    e, f, g, h = tables.both, tables.only_arm, tables.only_baseline, tables.neither
    numerator = e * h - f * g
    numerator = np.where(numerator > 0, np.maximum(numerator - tables.n / 2, 0.0), numerator)
    denominator = np.sqrt((e + f) * (g + h)) * np.sqrt((e + g) * (f + h))
    some = denominator > 0
    return np.asarray(np.where(some, numerator / np.where(some, denominator, 1.0), 0.0))


def _added(first: np.ndarray, second: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """√(a² − 2φab + b²)."""
    return np.asarray(np.sqrt(np.maximum(first**2 - 2 * phi * first * second + second**2, 0.0)))


def _crossing(tables: Pairs, left: np.ndarray, right: np.ndarray, target: float) -> np.ndarray:
    """Where Tango's score, which falls in Δ, passes `target` between `left` and `right`."""
    for _ in range(_BISECTIONS):
        middle = (left + right) / 2
        above = _score(tables, middle) > target
        left, right = np.where(above, middle, left), np.where(above, right, middle)
    return np.asarray((left + right) / 2)


def _score(tables: Pairs, delta: np.ndarray) -> np.ndarray:
    """(f − g − nΔ)/√(n(2q + Δ(1−Δ))) with q the likeliest share of `only_baseline` given D = Δ."""
    n, f, g = tables.n, tables.only_arm, tables.only_baseline
    a, b = 2 * n, (2 * n - f + g) * delta - f - g
    c = -g * delta * (1 - delta)
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    q = (root - b) / np.where(n > 0, 2 * a, 1.0)
    variance = n * np.maximum(2 * q + delta * (1 - delta), 0.0)
    distance = f - g - n * delta
    # At the ends of [−1, 1] the variance is 0: any distance there is infinitely many errors.
    return np.where(
        variance > 0,
        distance / np.sqrt(np.where(variance > 0, variance, 1.0)),
        np.where(distance == 0, 0.0, np.copysign(np.inf, distance)),
    )
