from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweep.errors import UserError
from sweep.inference.intervals import interval

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


def least_and_mean(method: str, n: int) -> tuple[float, float]:
    """Least and mean coverage over all p in (0, 1), exact.

    Those x whose intervals hold p are neighbours, and P(a ≤ X ≤ b) first rises and then falls in p:
    coverage is least next to an end of some interval, on one of its sides. Its integral over p is
    the sum over x of what a beta(x+1, n−x+1) variable has between the ends, over n + 1.
    """
    x = np.arange(n + 1)
    low, high = interval(x, n, method=method)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    ends, least = np.unique([low, high]), 1.0
    for side in ("left", "right"):
        p = ends[ends > 0] if side == "left" else ends[ends < 1]
        first = np.searchsorted(high, p, side=side)  # the least x that still reaches p
        last = np.searchsorted(low, p, side=side) - 1  # the largest x that does already
        held = stats.binom.cdf(last, n, p) - stats.binom.cdf(first - 1, n, p)
        least = min(least, float(held.min()))
    posterior = stats.beta(x + 1, n - x + 1)
    return least, float((posterior.cdf(high) - posterior.cdf(low)).mean())


# Per cent, least and mean, as in the docstring of the module.
COVERAGE = {
    "wilson": {100: (83.79, 95.11), 1000: (83.81, 95.02), 10_000: (83.82, 95.00)},
    "jeffreys": {100: (88.01, 94.99), 1000: (89.77, 95.00), 10_000: (89.77, 95.00)},
    "clopper_pearson": {100: (95.03, 96.46), 1000: (95.00, 95.53), 10_000: (95.00, 95.18)},
}


@pytest.mark.parametrize("n", [100, 1000, 10_000])
@pytest.mark.parametrize("method", COVERAGE)
def test_least_and_mean_coverage_over_all_p(method: str, n: int) -> None:
    least, mean = least_and_mean(method, n)
    print(f"{method}, n = {n}: least {100 * least:.2f} %, mean {100 * mean:.2f} %")
    assert (100 * least, 100 * mean) == pytest.approx(COVERAGE[method][n], abs=0.006)
    if method == "clopper_pearson":
        assert least >= 0.95


@pytest.mark.parametrize("method", COVERAGE)
def test_the_enumeration_agrees_with_a_grid(method: str) -> None:
    grid = (np.arange(2000) + 0.5) / 2000
    found = np.array([coverage(method, 100, p) for p in grid])
    least, mean = least_and_mean(method, 100)
    assert least <= found.min() < least + 0.01
    assert found.mean() == pytest.approx(mean, abs=1e-4)


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


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'wilson'"):
        interval(1, 2, method="wilsen")
    with pytest.raises(UserError, match="confidence is 95"):
        interval(1, 2, confidence=95)
    with pytest.raises(UserError, match="outside its total"):
        interval(3, 2)
