from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweep.errors import UserError
from sweep.inference.intervals import interval, rule_of_three

COUNTS = [(0, 1), (1, 1), (0, 20), (1, 20), (10, 20), (19, 20), (20, 20), (3, 20_000), (0, 20_000)]


def coverage(method: str, n: int, p: float) -> float:
    low, high = interval(np.arange(n + 1), n, method=method)
    inside = (low <= p) & (p <= high)
    return float(stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum())


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("wilson", [92.0, 96.4, 94.9, 94.6]),
        ("jeffreys", [98.1, 94.5, 94.9, 94.6]),
        ("clopper_pearson", [98.1, 97.6, 95.5, 95.4]),
    ],
)
def test_exact_coverage_at_a_thousand(method: str, expected: list[float]) -> None:
    found = [100 * coverage(method, 1000, p) for p in (0.001, 0.01, 0.1, 0.5)]
    assert found == pytest.approx(expected, abs=0.05)


def test_clopper_pearson_covers_everywhere() -> None:
    # Its guarantee, on a grid of p that avoids no awkward place.
    assert min(coverage("clopper_pearson", 100, p) for p in np.linspace(0.001, 0.999, 333)) >= 0.95


@pytest.mark.parametrize(("x", "n"), COUNTS)
def test_wilson_against_scipy_and_the_formula(x: int, n: int) -> None:
    low, high = interval(x, n)
    reference = stats.binomtest(x, n).proportion_ci(0.95, method="wilson")
    assert (float(low), float(high)) == pytest.approx((reference.low, reference.high), abs=1e-12)
    z = stats.norm.ppf(0.975)
    centre = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(x * (n - x) / n + z * z / 4)
    assert (float(low), float(high)) == pytest.approx((centre - half, centre + half), abs=1e-12)


@pytest.mark.parametrize(("x", "n"), COUNTS)
def test_clopper_pearson_against_scipy(x: int, n: int) -> None:
    low, high = interval(x, n, 0.99, "clopper_pearson")
    reference = stats.binomtest(x, n).proportion_ci(0.99, method="exact")
    assert (float(low), float(high)) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("x", "n"), [(1, 20), (10, 20), (19, 20), (3, 20_000)])
def test_jeffreys_is_the_posterior_of_its_prior(x: int, n: int) -> None:
    low, high = interval(x, n, method="jeffreys")
    posterior = stats.beta(x + 0.5, n - x + 0.5)
    assert posterior.cdf(float(low)) == pytest.approx(0.025, abs=1e-10)
    assert posterior.sf(float(high)) == pytest.approx(0.025, abs=1e-10)


@pytest.mark.parametrize("method", ["wilson", "jeffreys", "clopper_pearson"])
@pytest.mark.parametrize("n", [1, 7, 1000, 123_457])
def test_ends_are_exact_at_none_and_all(method: str, n: int) -> None:
    low, high = interval([0, n], n, method=method)
    assert low[0] == 0.0
    assert high[1] == 1.0
    assert 0 < high[0] < 1
    assert high[0] == pytest.approx(1 - low[1], abs=1e-12)


def test_nothing_seen_says_nothing() -> None:
    assert [float(end) for end in interval(0, 0)] == [0.0, 1.0]


def test_vectorised_equals_one_by_one() -> None:
    x, n = np.array([[0, 2.5], [3, 40]]), np.array([10.0, 40.0])
    low, high = interval(x, n)
    assert low.shape == high.shape == (2, 2)
    for i in range(2):
        for j in range(2):
            assert (low[i, j], high[i, j]) == tuple(float(e) for e in interval(x[i, j], n[j]))


def test_rule_of_three_is_just_above_the_exact_end() -> None:
    n = np.array([30, 1000, 20_000])
    exact = stats.binomtest(0, 1000, alternative="less").proportion_ci(0.95).high
    found = rule_of_three(n)
    assert found == pytest.approx(3 / n, rel=2e-3)
    assert exact < found[1] < 1.002 * exact
    assert float(rule_of_three(0)) == 1.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'wilson'"):
        interval(1, 2, method="wilsen")
    with pytest.raises(UserError, match="confidence is 95"):
        interval(1, 2, confidence=95)
    with pytest.raises(UserError, match="outside its total"):
        interval(3, 2)
