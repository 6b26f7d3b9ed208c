"""Paired tables against published numbers, scipy, statsmodels and plain formulas.

Published intervals: Newcombe (1998) for (20, 12, 2, 16); Fagerland, Lydersen and Laake (2014) for
(1, 1, 7, 12), with the exact and mid-p values and the odds ratio of their 2013 and 2014 papers, and
(59, 6, 16, 80) from their book (2017, chapter 8); M.-L. Tang et al. (2010) for (8, 3, 1, 2); Chang
et al. (2024) for (7, 25, 2, 68); Tango (1998) for (4, 9, 3, 16) and, with two empty cells at 90 %,
(43, 0, 1, 0); Agresti and Min (2005) for (53, 16, 8, 9).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from sweep.errors import UserError
from sweep.inference.paired import (
    Pairs,
    mcnemar,
    newcombe_interval,
    odds_ratio,
    pairs,
    tango_interval,
)

Z = 1.959963984540054
SMALL = [cells for cells in itertools.product(range(8), repeat=4) if sum(cells) == 7]
LARGE = [(0, 868, 0, 132), (0, 0, 20_000, 0), (1000, 0, 0, 0), (0, 0, 0, 1000), (3, 40, 41, 9916)]


def stacked(tables: list[tuple[int, int, int, int]]) -> Pairs:
    return pairs(*np.array(tables).T)


@pytest.mark.parametrize(
    ("table", "low", "high", "digits"),
    [
        ((20, 12, 2, 16), 0.0562, 0.3292, 4),
        ((1, 1, 7, 12), -0.507, -0.026, 3),
        ((59, 6, 16, 80), -0.1186, -0.0046, 4),
        ((8, 3, 1, 2), -0.1574, 0.4136, 4),
        ((7, 25, 2, 68), 0.133, 0.318, 3),
    ],
)
def test_newcombe_agrees_with_what_was_published(
    table: tuple[int, int, int, int], low: float, high: float, digits: int
) -> None:
    found = newcombe_interval(pairs(*table))
    assert [round(float(end), digits) for end in found] == [low, high]


@pytest.mark.parametrize(
    ("table", "confidence", "low", "high", "digits"),
    [
        ((4, 9, 3, 16), 0.95, -0.027, 0.390, 3),
        ((43, 0, 1, 0), 0.90, -0.096, 0.037, 3),
        ((53, 16, 8, 9), 0.95, -0.020, 0.207, 3),
        ((1, 1, 7, 12), 0.95, -0.517, -0.026, 3),
        ((8, 3, 1, 2), 0.95, -0.1670, 0.4327, 4),
        ((7, 25, 2, 68), 0.95, 0.139, 0.321, 3),
    ],
)
def test_tango_agrees_with_what_was_published(
    table: tuple[int, int, int, int], confidence: float, low: float, high: float, digits: int
) -> None:
    found = tango_interval(pairs(*table), confidence)
    assert [round(float(end), digits) for end in found] == [low, high]


def newcombe_by_hand(e: int, f: int, g: int, h: int) -> tuple[float, float]:
    """Method 10 with its own Wilson intervals, one table at a time."""

    def wilson(x: int, n: int) -> tuple[float, float]:
        centre, half = x + Z * Z / 2, Z * math.sqrt(x * (n - x) / n + Z * Z / 4)
        return (centre - half) / (n + Z * Z), (centre + half) / (n + Z * Z)

    n = e + f + g + h
    (l1, u1), (l2, u2), d = wilson(e + f, n), wilson(e + g, n), (f - g) / n
    p1, p2 = (e + f) / n, (e + g) / n
    product = (e + f) * (g + h) * (e + g) * (f + h)
    top = e * h - f * g
    phi = (max(top - n / 2, 0) if top > 0 else top) / math.sqrt(product) if product else 0.0
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return max(d - math.sqrt(below), -1), min(d + math.sqrt(above), 1)


def test_newcombe_of_every_table_of_seven_pairs_and_of_extreme_ones() -> None:
    tables = [*SMALL, *LARGE]
    low, high = newcombe_interval(stacked(tables))
    expected = np.array([newcombe_by_hand(*table) for table in tables])
    assert np.allclose(np.column_stack([low, high]), expected, rtol=0, atol=1e-12)


def test_tango_ends_are_where_the_score_test_just_rejects() -> None:
    # The restricted likelihood is maximised numerically here, without the closed form of q.
    for e, f, g, h in [(1, 1, 7, 12), (0, 3, 0, 9), (5, 2, 2, 40)]:
        n = e + f + g + h
        for end in tango_interval(pairs(e, f, g, h)):
            d = float(end)
            q = np.linspace(max(0.0, -d), (1 - d) / 2, 2_000_001)[1:-1]
            cells = ((f, q + d), (g, q), (e + h, 1 - 2 * q - d))
            # A cell that nothing was seen in says nothing, also where its probability is 0.
            terms = [seen * np.log(np.maximum(p, 1e-300)) for seen, p in cells if seen]
            likelihood = np.add.reduce(terms)
            best = q[np.argmax(likelihood)]
            score = (f - g - n * d) / math.sqrt(n * (2 * best + d * (1 - d)))
            assert abs(score) == pytest.approx(Z, abs=2e-4)


def test_intervals_mirror_when_the_arms_change_places() -> None:
    there, back = stacked(SMALL), stacked([(e, g, f, h) for e, f, g, h in SMALL])
    for low_high in (newcombe_interval, tango_interval):
        low, high = low_high(there)
        other_low, other_high = low_high(back)
        assert np.allclose(low, -other_high, atol=1e-12)
        assert np.allclose(high, -other_low, atol=1e-12)
        assert ((low <= there.difference) & (there.difference <= high)).all()


def test_exact_mcnemar_against_scipy_and_statsmodels() -> None:
    tables = [*SMALL, (0, 12, 3, 5), (0, 150, 101, 0), *LARGE]
    exact, mid = mcnemar(stacked(tables))
    for (e, f, g, h), p, half in zip(tables, exact, mid, strict=True):
        k = f + g
        expected = stats.binomtest(f, k, 0.5).pvalue if k else 1.0
        assert p == pytest.approx(expected, rel=1e-9, abs=1e-300)
        if k:
            table = [[e, f], [g, h]]
            assert p == pytest.approx(
                min(statsmodels_mcnemar(table, exact=True).pvalue, 1.0), rel=1e-9, abs=1e-300
            )
        # Half of what was seen, in both tails.
        tail = stats.binom.cdf(min(f, g), k, 0.5) - stats.binom.pmf(min(f, g), k, 0.5) / 2
        assert half == pytest.approx(2 * tail if k else 1.0, rel=1e-9, abs=1e-300)


def test_mcnemar_agrees_with_what_was_published() -> None:
    exact, mid = mcnemar(pairs(1, 1, 7, 12))
    assert (round(float(exact), 4), round(float(mid), 4)) == (0.0703, 0.0391)


def test_mcnemar_of_fractional_counts_grows_with_the_smaller_and_falls_with_the_larger() -> None:
    f = np.linspace(0, 12, 121)
    exact, mid = mcnemar(pairs(0, f[:, None], f[None, :], 0))
    below = f[:, None] <= f[None, :] + 1e-9
    for p in (exact, mid):
        # Along each row only_arm is fixed: where it is the smaller, p falls in only_baseline.
        assert (np.diff(p, axis=1)[below[:, :-1] & below[:, 1:]] <= 1e-12).all()
        assert (np.diff(p, axis=0)[below[:-1] & below[1:]] >= -1e-12).all()
        assert np.array_equal(p, p.T)
    assert exact[::10, ::10].max() == 1.0
    assert (mid <= exact).all()


def test_matched_odds_ratio_against_published_and_scipy() -> None:
    ratio, low, high = (float(value) for value in odds_ratio(pairs(1, 1, 7, 12)))
    assert ratio == pytest.approx(1 / 7)
    assert (round(low, 3), round(high, 3)) == (0.003, 1.112)
    for f, g in [(5, 9), (0, 4), (6, 0), (868, 0), (40, 41)]:
        ends = stats.binomtest(f, f + g).proportion_ci(0.99, method="exact")
        _, low, high = (float(value) for value in odds_ratio(pairs(3, f, g, 8), 0.99))
        assert low == pytest.approx(ends.low / (1 - ends.low), rel=1e-9)
        assert high == (np.inf if g == 0 else pytest.approx(ends.high / (1 - ends.high), rel=1e-9))


def test_empty_discordant_cells_leave_the_ends_open() -> None:
    ratio, low, high = odds_ratio(pairs(2, [0, 0, 4], [0, 4, 0], 3))
    assert np.array_equal(ratio, [np.nan, 0.0, np.inf], equal_nan=True)
    assert list(low[:2]) == [0.0, 0.0]
    assert [high[0], high[2]] == [np.inf, np.inf]
    assert 0 < high[1] == pytest.approx(1 / low[2])


def test_no_pairs_say_nothing() -> None:
    none = pairs(0, 0, 0, 0)
    assert np.isnan(none.difference)
    for interval in (newcombe_interval, tango_interval):
        assert [float(end) for end in interval(none)] == [-1.0, 1.0]
    assert [float(p) for p in mcnemar(none)] == [1.0, 1.0]


def test_negative_counts_are_refused() -> None:
    with pytest.raises(UserError, match="negative or missing"):
        pairs(1, -1, 0, 0)
    with pytest.raises(UserError, match="negative or missing"):
        pairs(1, np.nan, 0, 0)
