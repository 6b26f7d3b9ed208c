"""What the paired intervals cover and how often the tests reject, by simulation.

10,000 repetitions: the standard error of a coverage near 95 % is 0.22 points, that of a rate of 5 %
likewise. Three of them are allowed for below.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sweep.inference.paired import Pairs, mcnemar, newcombe_interval, tango_interval
from sweep.seeds import stream

pytestmark = pytest.mark.slow
REPETITIONS = 10_000
NOISE = 3 * (0.05 * 0.95 / REPETITIONS) ** 0.5

# Frequencies of arm and baseline. Differences of 0 and large ones, rare and common.
FREQUENCIES = [(0.002, 0.002), (0.001, 0.02), (0.01, 0.05), (0.1, 0.1), (0.1, 0.87), (0.5, 0.4)]


def shares(
    rng: np.random.Generator, p: float, draws: int, correlation: float, seeds: np.ndarray
) -> np.ndarray:
    """Share of bad rows of every seed, the shape of `seeds` (latent numbers of the seeds).

    A row follows its seed with probability `correlation`, itself otherwise.
    """
    count = np.zeros(seeds.shape)
    for _ in range(draws):
        follows = rng.random(seeds.shape, dtype=np.float32) < correlation
        own = rng.random(seeds.shape, dtype=np.float32)
        count += np.where(follows, seeds, own) < p
    return count / draws


def table(x: np.ndarray, y: np.ndarray) -> Pairs:
    both = (x * y).sum(axis=1)
    first, second = x.sum(axis=1) - both, y.sum(axis=1) - both
    return Pairs(both, first, second, x.shape[1] - both - first - second)


def simulated(p: tuple[float, float], n: int, draws: int, correlation: float) -> Pairs:
    """Tables of `REPETITIONS` studies of n seeds; the baseline has one draw."""
    rng = stream("test", "contrast", str(p), n, draws, str(correlation))
    parts = []
    for _ in range(REPETITIONS // 1000):
        seeds = rng.random((1000, n), dtype=np.float32)
        x = shares(rng, p[0], draws, correlation, seeds)
        y = shares(rng, p[1], 1, correlation, seeds)
        parts.append(table(x, y))
    return Pairs(
        *(
            np.concatenate([getattr(part, cell) for part in parts])
            for cell in ("both", "only_arm", "only_baseline", "neither")
        )
    )


def covered(tables: Pairs, p: tuple[float, float]) -> tuple[float, float]:
    """Coverage of Newcombe's and of Tango's interval."""
    truth = p[0] - p[1]
    found = []
    for low, high in (newcombe_interval(tables), tango_interval(tables)):
        found.append(float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean()))
    return found[0], found[1]


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("n", [100, 1000])
def test_difference_intervals_cover_whatever_the_correlation(
    n: int, draws: int, correlation: float
) -> None:
    found = []
    for p in FREQUENCIES:
        found.append(covered(simulated(p, n, draws, correlation), p))
        said = f"{draws} draws, n = {n}, p = {p}, correlation {correlation}"
        print(f"{said}: {found[-1][0]:.4f}, Tango {found[-1][1]:.4f}")
    # The interval is approximate: one point below its level is allowed for.
    assert min(newcombe for newcombe, _ in found) >= 0.94 - NOISE


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("draws", [1, 4])
@pytest.mark.parametrize("p", [0.005, 0.05, 0.4])
def test_adjusted_contrasts_reject_a_true_null_in_at_most_5_of_100_studies(
    p: float, draws: int, correlation: float
) -> None:
    n, family = 200, 6
    rng = stream("test", "family", str(p), draws, str(correlation))
    rejected = 0
    for _ in range(REPETITIONS // 1000):
        seeds = rng.random((1000, n), dtype=np.float32)
        y = shares(rng, p, 1, correlation, seeds)
        exact = np.array(
            [mcnemar(table(shares(rng, p, draws, correlation, seeds), y))[0] for _ in range(family)]
        ).T
        for one in exact[exact.min(axis=1) <= 0.05]:
            rejected += multipletests(one, method="holm")[1].min() <= 0.05
    print(f"p = {p}, {draws} draws, correlation {correlation}: {rejected / REPETITIONS:.4f}")
    assert rejected / REPETITIONS <= 0.05 + NOISE


@pytest.mark.parametrize("expected", [0.5, 2.0, 5.0, 20.0])
def test_a_seed_with_one_bad_draw_of_four_counts_a_quarter(expected: float) -> None:
    """Equal frequencies, but the arm's bad rows are spread over four times as many seeds.

    Flipping the signs of the seeds' differences at random takes them for symmetric and rejects far
    too often while the baseline's few bad seeds are absent; the table of shares does not.
    """
    n = 200
    rng = stream("test", "spread", str(expected))
    y = rng.random((REPETITIONS, n)) < expected / n
    some = rng.random((REPETITIONS, n)) < 4 * expected / n
    exact, mid = mcnemar(table(some / 4.0, y.astype(float)))
    f, g = (some & ~y).sum(axis=1) / 4.0, (y & ~some).sum(axis=1).astype(float)
    g += 0.75 * (y & some).sum(axis=1)
    signs = np.where(g == 0, stats.binom.cdf(0, 4 * f, 0.5) * 2, 1.0)
    print(f"{expected}: {(exact <= 0.05).mean():.4f}, {(mid <= 0.05).mean():.4f}")
    assert (exact <= 0.05).mean() <= 0.05 + NOISE
    if expected == 2.0:
        assert (signs <= 0.05).mean() > 0.1
