"""exp, tanh, sigmoid and softplus on vectors against fifty digits, over all of float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import njit

from sweep.kernels import elementary
from sweep.kernels.memory import load, store
from sweep.kernels.vectors import LANES

#: Bounds of the error in units in the last place of the result, denormals included. The largest
#: seen, over these and millions of others: exp 0.96, tanh 2.61, sigmoid 2.39, softplus 3.46.
ULPS = {"exp": 1.0, "tanh": 2.7, "sigmoid": 2.6, "softplus": 3.7}
EXACT: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp,
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
}


@njit
def apply(function: Any, arguments: np.ndarray, results: np.ndarray) -> None:
    for i in range(len(arguments)):
        store(results, i, function(load(arguments, i)))


def on_vectors(name: str, z: np.ndarray) -> np.ndarray:
    rows = np.zeros((-(-len(z) // LANES), LANES))
    rows.ravel()[: len(z)] = z
    results = np.zeros_like(rows)
    apply(getattr(elementary, name), rows, results)
    return results.ravel()[: len(z)]


def around(points: np.ndarray, steps: int = 2) -> np.ndarray:
    """The points and their nearest neighbours among floats."""
    found = [points]
    for direction in (-np.inf, np.inf):
        near = points
        for _ in range(steps):
            near = np.nextafter(near, direction)
            found.append(near)
    return np.concatenate(found)


def arguments() -> np.ndarray:
    """Every binade, the range where results are ordinary, and both sides of every switch."""
    rng = np.random.default_rng(5)
    binades = np.ldexp(rng.uniform(1, 2, size=2098), np.arange(-1074, 1024))
    tiny = np.array([5e-324, 2.2250738585072014e-308, 1.7976931348623157e308])
    # n changes at odd multiples of ln 2/2 for e^z and of half that for tanh.
    halves = (np.arange(0, 2200) + 0.5) * np.log(2)
    switches = np.array([elementary.SATURATED, elementary.FAR, 1022 * np.log(2), 36.7, 40.0])
    edges = np.array([709.782712893384, 745.1332191019411, 708.3964185322641])
    far = around(np.concatenate([switches, edges, halves[:1100], halves[:70] / 2]))
    near = np.concatenate([rng.uniform(0, 2, 2000), rng.uniform(0, 40, 2000)])
    worst = np.array([3.439656913864037, 0.5233525625266984, 1.2650531883928804])
    positive = np.concatenate([binades, tiny, far, near, worst, rng.uniform(0, 750, 2000)])
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize("name", EXACT)
def test_a_few_units_in_the_last_place(name: str) -> None:
    z = arguments()
    found = on_vectors(name, z)
    rounded, error = np.empty_like(z), np.zeros_like(z)
    with mpmath.workprec(200):
        for i, argument in enumerate(z):
            # Beyond ±1200 these are 0, 1, ∞ or, softplus, z itself; there mpmath would not return.
            near = min(max(argument, -1200.0), 1200.0)
            exact = EXACT[name](mpmath.mpf(near))
            if name == "softplus" and argument > near:
                exact = mpmath.mpf(argument)
            rounded[i] = exact
            if np.isfinite(rounded[i]) and np.isfinite(found[i]):
                unit = np.spacing(min(abs(rounded[i]), 1e308))  # numpy's of the largest is ∞
                error[i] = abs(found[i] - exact) / unit
    assert np.array_equal(found[~np.isfinite(rounded)], rounded[~np.isfinite(rounded)])
    assert np.isfinite(found[np.isfinite(rounded)]).all()
    worst = error.argmax()
    assert error[worst] <= ULPS[name], f"{error[worst]:.3f} ulp at {z[worst]!r}"


# ln 2 within one unit in the last place.
LN2 = 0.6931471805599452
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp", [1.0, 1.0, np.inf, 0.0, np.nan]),
        ("tanh", [0.0, 0.0, 1.0, -1.0, np.nan]),
        ("sigmoid", [0.5, 0.5, 1.0, 0.0, np.nan]),
        ("softplus", [LN2, LN2, np.inf, 0.0, np.nan]),
        ("positive_part", [0.0, 0.0, np.inf, 0.0, np.nan]),
    ],
)
def test_zero_infinity_and_not_a_number(name: str, expected: list[float]) -> None:
    assert np.array_equal(on_vectors(name, SPECIAL), expected, equal_nan=True)


def test_tanh_is_odd_bounded_and_keeps_tiny_numbers() -> None:
    z = arguments()
    found = on_vectors("tanh", z)
    assert np.array_equal(on_vectors("tanh", -z), -found)
    assert np.abs(found).max() == 1.0
    tiny = np.abs(z) < 2.0**-54
    assert np.array_equal(found[tiny], z[tiny])


def test_sigmoid_stays_a_probability_and_positive_part_is_exact() -> None:
    z = arguments()
    found = on_vectors("sigmoid", z)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert np.array_equal(on_vectors("positive_part", z), np.maximum(z, 0.0))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_whole_powers_are_products(n: int) -> None:
    u = np.random.default_rng(n).uniform(0, 20, 64)
    raised = njit(lambda z: elementary.power(z, n))
    rows, results = u.reshape(-1, LANES), np.zeros((64 // LANES, LANES))
    apply(raised, rows, results)
    product = u
    for _ in range(n - 1):
        product = product * u
    assert np.array_equal(results.ravel(), product)
    np.testing.assert_allclose(product, u**n, rtol=n * 2.0**-53)
