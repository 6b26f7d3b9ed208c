from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.proportion import proportion_confint

from sweep.inference.homogeneity import cochran_q, largest_difference, paired_low_ends
from sweep.inference.intervals import interval
from sweep.seeds import stream


def correlated(
    rng: np.random.Generator, shape: tuple[int, ...], p: np.ndarray, shared: float
) -> np.ndarray:
    """Bad or not, shape (…, S, k): a seed's levels share one uniform number with chance `shared`.

    Level j is bad with probability p[j], whatever `shared` is.
    """
    uniform = np.where(
        rng.random((*shape[:-1], 1)) < shared, rng.random((*shape[:-1], 1)), rng.random(shape)
    )
    return np.asarray((uniform < p).astype(np.float64))


@pytest.mark.parametrize("k", [2, 5])
def test_q_is_that_of_statsmodels(k: int) -> None:
    x = correlated(stream("test", "q", k), (200, k), np.linspace(0.1, 0.3, k), 0.7)
    found = cochran_q(x)
    expected = cochrans_q(x)
    assert found.q == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    if k == 2:
        assert found.epsilon == 1.0
        assert found.p_adjusted == found.p


def test_q_of_the_textbook_example() -> None:
    """Siegel and Castellan (1988), three interview styles, 18 housewives each: Q = 50/3."""
    styles = ["000", "110", "010", "000", "100", "110", "110", "010", "100"]
    styles += ["000", "111", "111", "110", "110", "110", "111", "110", "110"]
    table = np.array([[int(one) for one in row] for row in styles], dtype=float)
    assert table.sum(axis=0).tolist() == [13.0, 13.0, 3.0]
    assert cochran_q(table).q == pytest.approx(50 / 3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_levels_that_agree_in_every_seed_have_no_heterogeneity(value: float) -> None:
    mixed = np.repeat([[value], [1 - value]], 4, axis=1)
    for x in (np.full((30, 4), value), mixed):
        assert cochran_q(x) == (0.0, 1.0, 1.0, 1.0)


def test_epsilon_is_that_of_the_eigenvalues() -> None:
    """Box (1954): ε = (Σ λ)² / ((k−1) Σ λ²) over the eigenvalues of the contrasts' covariance."""
    x = correlated(stream("test", "epsilon"), (100, 4), np.array([0.1, 0.2, 0.2, 0.5]), 0.8)
    helmert = np.array([[1, -1, 0, 0], [1, 1, -2, 0], [1, 1, 1, -3]], dtype=float)
    helmert /= np.linalg.norm(helmert, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov((x @ helmert.T).T))
    assert cochran_q(x).epsilon == pytest.approx(values.sum() ** 2 / (3 * (values**2).sum()))


def test_the_same_pattern_in_every_seed_is_the_largest_q() -> None:
    found = cochran_q(np.tile([1.0, 0.0, 0.0], (20, 1)))
    assert found.q == pytest.approx(40.0)
    assert found.epsilon == 1.0
    assert found.p_adjusted == pytest.approx(np.exp(-20))


def test_shares_of_several_draws_follow_the_permutation_moments() -> None:
    """Under exchange of a seed's levels the mean of Q is k − 1: by enumeration over all orders."""
    x = np.array([[0.0, 0.25, 1.0], [0.5, 0.5, 0.75], [0.0, 0.0, 0.25], [1.0, 0.25, 0.5]])
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    every = np.array(np.meshgrid(*[range(6)] * 4)).reshape(4, -1).T
    tables = np.stack([x[s][orders[every[:, s]]] for s in range(4)], axis=1)
    assert cochran_q(tables).q.mean() == pytest.approx(2.0, rel=1e-12)


def test_paired_ends_are_newcombes() -> None:
    """Newcombe (1998b), table II, method 10: a, b, c, d = 36, 12, 2, 0 gives 0.0569 to 0.3404."""
    x = np.array([[1.0, 1.0]] * 36 + [[1.0, 0.0]] * 12 + [[0.0, 1.0]] * 2)
    ends = paired_low_ends(x, x, 0.95)
    assert (ends[0, 1], -ends[1, 0]) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_none_bad_anywhere_still_leaves_room() -> None:
    """With 0 of n everywhere the paired interval is that of one level's upper end, for k pairs."""
    x = np.zeros((100, 3))
    largest, low, high = largest_difference(x, x)
    assert (largest, low) == (0.0, 0.0)
    upper = proportion_confint(0, 100, alpha=0.05 / 3, method="wilson")[1]
    assert high == pytest.approx(upper, rel=1e-12)


def test_unresolved_rows_widen_the_difference_both_ways() -> None:
    low = np.zeros((50, 2))
    low[:10, 0] = 1.0
    high = low.copy()
    high[40:, 1] = 1.0  # these may be bad: the levels may be equal
    assert largest_difference(low, low)[1] > 0
    largest, start, end = largest_difference(low, high)
    assert (largest, start) == (0.2, 0.0)
    assert end >= largest_difference(low, low)[2] > 0.2


REPETITIONS, PARTS, SEEDS = 10_000, 20, 300
"""The simulations are done in parts, to stay small."""

ERROR = 3 * np.sqrt(0.05 * 0.95 / REPETITIONS)
"""Three standard errors of a simulated 5 %: 0.0065."""


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("p", [0.02, 0.1, 0.5])
def test_type_one_errors_and_the_levels_coverage(p: float, shared: float) -> None:
    """Four levels with the same frequency; a seed's levels share their fate with this chance."""
    rng = stream("test", "simulation", str(shared), str(p))
    plain, adjusted, apart, covered, pooled = [], [], [], [], []
    for _ in range(PARTS):
        x = correlated(rng, (REPETITIONS // PARTS, SEEDS, 4), np.full(4, p), shared)
        found = cochran_q(x)
        plain.append(found.p < 0.05)
        adjusted.append(found.p_adjusted < 0.05)
        apart.append(largest_difference(x, x)[1] > 0)
        low, high = interval(x.sum(axis=-2), SEEDS)
        covered.append((low <= p) & (p <= high))
        low, high = interval(x.mean(axis=(-2, -1)) * SEEDS, SEEDS)
        pooled.append((low <= p) & (p <= high))
    means = [float(np.mean(one)) for one in (plain, adjusted, apart, covered, pooled)]
    print(f"p {p}, shared {shared}: Q, adjusted Q, difference reject; level, pooled cover", means)
    # Q is discrete: with some six bad seeds of 300 it rejects a little more or less than 5 %.
    assert max(means[:2]) <= 0.05 + ERROR
    assert means[2] <= 0.05 + ERROR
    size = np.arange(SEEDS + 1)
    low, high = interval(size, np.full(size.shape, SEEDS))
    exact = binom.pmf(size, SEEDS, p)[(low <= p) & (p <= high)].sum()
    assert means[3] == pytest.approx(exact, abs=ERROR)
    assert means[4] >= min(exact, 0.95) - ERROR


@pytest.mark.slow
@pytest.mark.parametrize("k", [4, 8])
@pytest.mark.parametrize("p", [0.05, 0.3])
def test_the_adjusted_test_holds_when_some_levels_are_more_alike(p: float, k: int) -> None:
    """All levels but one alike in every seed: the farthest from levels that may change places."""
    rng = stream("test", "alike", k, str(p))
    plain, adjusted = [], []
    for _ in range(PARTS):
        uniform = rng.random((REPETITIONS // PARTS, SEEDS, k))
        uniform[..., 1:] = uniform[..., 1:2]
        found = cochran_q((uniform < p).astype(float))
        plain.append(found.p < 0.05)
        adjusted.append(found.p_adjusted < 0.05)
    print(f"p {p}, {k} levels: Q {np.mean(plain)}, adjusted {np.mean(adjusted)}")
    assert np.mean(plain) > 0.09
    assert np.mean(adjusted) <= 0.05 + ERROR


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_the_largest_difference_is_covered(shared: float) -> None:
    rng = stream("test", "difference", str(shared))
    p = np.array([0.05, 0.08, 0.1, 0.15])
    covered = []
    for _ in range(PARTS):
        x = correlated(rng, (REPETITIONS // PARTS, SEEDS, 4), p, shared)
        _, low, high = largest_difference(x, x)
        covered.append((low <= 0.1) & (high >= 0.1))
    print(f"shared {shared}: largest difference covered {np.mean(covered)}")
    assert np.mean(covered) >= 0.95 - ERROR
