"""The confidence sequence against its definition, its theory, and simulated paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from sweep.errors import UserError
from sweep.inference.intervals import interval
from sweep.inference.sequence import MIXTURE, sequence
from sweep.seeds import stream


def martingale(p: mpmath.mpf, total: float, n: int) -> mpmath.mpf:
    """M_n(p) with 50 digits, as the docstring of the module writes it."""
    a, b = MIXTURE
    mixture = mpmath.beta(total + a, n - total + b) / mpmath.beta(a, b)
    return mixture / (p**total * (1 - p) ** (n - total))


@pytest.mark.parametrize(
    ("total", "n"), [(0, 1), (0, 1000), (7, 7), (1, 50), (3, 1000), (500, 1000), (2.75, 40)]
)
def test_the_ends_are_where_the_martingale_reaches_one_over_alpha(total: float, n: int) -> None:
    with mpmath.workdps(50):
        (low, high) = (mpmath.mpf(float(end)) for end in sequence(total, n, 0.95))
        tiny = mpmath.mpf("1e-12")
        for end, inwards in ((low, tiny), (high, -tiny)):
            if 0 < end < 1:
                assert martingale(end, total, n) >= mpmath.mpf(1) / mpmath.mpf("0.05") * (1 - tiny)
                assert martingale(end + inwards, total, n) < 20
        assert low == 0 if total == 0 else low < mpmath.mpf(total) / n
        assert high == 1 if total == n else high > mpmath.mpf(total) / n


def test_the_ends_at_none_and_at_all_have_closed_forms() -> None:
    n = np.array([1, 10, 100, 10_000, 1_000_000])
    a, b = MIXTURE
    for confidence in (0.9, 0.95, 0.999):
        none = [
            float(1 - (mpmath.beta(a, b + m) / mpmath.beta(a, b) * (1 - confidence)) ** (1 / m))
            for m in map(mpmath.mpf, n.tolist())
        ]
        low, high = sequence(np.zeros(len(n)), n, confidence)
        assert (low == 0).all()
        np.testing.assert_allclose(high, none, rtol=1e-9)
        every = [
            float((mpmath.beta(a + m, b) / mpmath.beta(a, b) * (1 - confidence)) ** (1 / m))
            for m in map(mpmath.mpf, n.tolist())
        ]
        low, high = sequence(n, n, confidence)
        assert (high == 1).all()
        np.testing.assert_allclose(low, every, rtol=1e-9)
    assert [float(end) for end in sequence(0, 0)] == [0.0, 1.0]


def test_the_mixture_is_the_integral_that_it_stands_for() -> None:
    p, total, n = 0.3, 2.5, 8
    a, b = MIXTURE

    def integrand(q: float) -> float:
        ratio = (q / p) ** total * ((1 - q) / (1 - p)) ** (n - total)
        return float(ratio * beta.pdf(q, a, b))

    found, _ = quad(integrand, 0, 1, epsabs=1e-12)
    assert float(martingale(mpmath.mpf(p), total, n)) == pytest.approx(found, rel=1e-9)


def test_shares_bet_no_better_than_coins() -> None:
    """The chord inequality of the proof: each factor is at most its share of two coins."""
    x, q, p = np.meshgrid(np.linspace(0, 1, 41), *[np.linspace(0.01, 0.99, 50)] * 2)
    factor = (q / p) ** x * ((1 - q) / (1 - p)) ** (1 - x)
    assert (factor <= x * q / p + (1 - x) * (1 - q) / (1 - p) + 1e-12).all()


def test_both_ends_grow_with_the_total() -> None:
    for n in (1, 9, 1000):
        low, high = sequence(np.linspace(0, n, 201), n)
        assert (np.diff(low) >= 0).all()
        assert (np.diff(high) >= 0).all()
        assert ((low <= np.linspace(0, 1, 201)) & (np.linspace(0, 1, 201) <= high)).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((1, 2, 1.0), "confidence is 1.0"), ((3, 2), "A total"), ((-1, 2), "A total")],
)
def test_bad_input(arguments: tuple[float, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sequence(*arguments)


PATHS, LONGEST, BLOCK, HALF_WIDTH = 10_000, 5_000, 100, 0.02


def covering_totals(p: float, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """For n = 1 … LONGEST the least and the largest total, in 1/parts, whose interval holds p.

    Both ends grow with the total (tested above), so a bisection over totals finds them.
    """
    n = np.arange(1, LONGEST + 1)
    least = first_true(lambda total: sequence(total / parts, n)[1] >= p, n * parts)
    largest = first_true(lambda total: sequence(total / parts, n)[0] > p, n * parts) - 1
    return least, largest


def first_true(grows: Callable[[np.ndarray], np.ndarray], largest: np.ndarray) -> np.ndarray:
    """The first whole number from 0 at which a condition holds, largest + 1 where it never does."""
    low, high = np.zeros_like(largest), largest + 1
    while (low < high).any():
        middle = np.minimum((low + high) // 2, largest)
        holds = grows(middle)
        low, high = (
            np.where(holds, low, np.minimum(middle + 1, high)),
            np.where(holds, np.minimum(middle, high), high),
        )
    return high


def coverage(steps: Iterator[np.ndarray], p: float, parts: int) -> tuple[float, float, float]:
    """Shares of paths that hold p at every n; at the block where they stop; Wilson's there."""
    least, largest = covering_totals(p, parts)
    n = np.arange(BLOCK, LONGEST + 1, BLOCK)
    whole, stopped, naive = [], [], []
    for step in steps:
        totals = np.cumsum(step, axis=1, dtype=np.int16)
        whole.append(((least <= totals) & (totals <= largest)).all(axis=1))
        at_blocks = totals[:, BLOCK - 1 :: BLOCK] / parts
        for ends, found in (sequence(at_blocks, n), stopped), (interval(at_blocks, n), naive):
            narrow = ends[1] - ends[0] <= 2 * HALF_WIDTH
            stop = np.where(narrow.any(axis=1), narrow.argmax(axis=1), len(n) - 1)
            low, high = (np.take_along_axis(end, stop[:, None], 1)[:, 0] for end in ends)
            found.append((low <= p) & (p <= high))
    return tuple(float(np.concatenate(found).mean()) for found in (whole, stopped, naive))


@pytest.mark.slow  # 10,000 paths of 5,000 seeds each
@pytest.mark.parametrize("p", [0.0, 0.001, 0.01, 0.1, 0.5])
def test_coverage_along_the_whole_path(p: float) -> None:
    """Uniform coverage ≥ 95 %, hence ≥ 95 % at the block where the interval is first narrow."""
    rng = stream("test", "sequence", int(1e6 * p))
    steps = (rng.random((1000, LONGEST), dtype=np.float32) < p for _ in range(PATHS // 1000))
    held, stopped, naive = coverage(steps, p, 1)
    print(f"p {p}: whole path {held:.2%}, stopped at ±2 % {stopped:.2%} (Wilson: {naive:.2%})")
    assert held >= 0.95
    assert stopped >= held


@pytest.mark.slow  # 10,000 paths of 5,000 seeds each
@pytest.mark.parametrize("shared", [False, True])
def test_coverage_for_shares_of_four_draws(shared: bool) -> None:
    """A seed's share of bad draws: draws that are independent, or nearly of one fate."""
    p, rng = 0.05, stream("test", "sequence", int(shared))

    def shares() -> np.ndarray:
        own = rng.random((1000, LONGEST, 4), dtype=np.float32) < p
        fate = rng.random((1000, LONGEST, 1), dtype=np.float32) < p
        follows = rng.random((1000, LONGEST, 4), dtype=np.float32) < (0.9 if shared else 0.0)
        return np.where(follows, fate, own).sum(axis=2)

    held, stopped, naive = coverage((shares() for _ in range(PATHS // 1000)), p, 4)
    print(f"shares, shared {shared}: {held:.2%}, stopped {stopped:.2%} (Wilson: {naive:.2%})")
    assert held >= 0.95
    assert stopped >= held
