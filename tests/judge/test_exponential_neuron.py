from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from sweep.judge.exponential.charts import bend, rename, vanish
from sweep.judge.exponential.neuron import (
    EXP,
    FLAT,
    GONE,
    QUAD,
    add_bend,
    flat_terms,
    neuron,
    neuron_row,
    neuron_slope,
    seen_by,
)
from sweep.judge.exponential.step import Place, Scene, look
from sweep.judge.kinks.search import Task

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("t", [0.0, 1e-9, -1e-3, 0.2, -0.299, 0.3, -0.31, 2.0, -5.0])
def test_the_flat_terms_are_exact_through_zero(t: float) -> None:
    """Against their power series in exact arithmetic."""
    exact, x = [Fraction(0)] * 3, Fraction(t)
    for k in range(60):
        term = x**k
        exact[0] += term / math.factorial(k + 1)
        exact[1] += term * (k + 1) / math.factorial(k + 2)
        exact[2] += term * (k + 1) * (k + 2) / math.factorial(k + 3)
    for found, value in zip(flat_terms(t), exact, strict=True):
        assert found == pytest.approx(float(value), rel=2e-13)


def output(chart: int, sigma: float, parameters: np.ndarray, x: np.ndarray) -> float:
    """The neuron with (ω) or (v, ε) as one vector."""
    omega, eps = parameters.copy(), 0.0
    if chart != EXP:
        omega[-1] = 0.0
        eps = float(parameters[-1]) if chart == FLAT else 0.0
    r = float(seen_by(chart, omega, x[None])[0])
    return float(neuron(chart, sigma, r, eps))


@pytest.mark.parametrize("chart", [EXP, FLAT, QUAD, GONE])
@pytest.mark.parametrize("sigma", [1.0, -1.0])
def test_gradient_and_hessian_are_those_of_the_output(chart: int, sigma: float) -> None:
    x = np.append(RNG.standard_normal(3), 1.0)
    at = RNG.standard_normal(4) * 0.7
    if chart == FLAT:
        at[-1] = sigma * 0.4
    omega, eps = at.copy(), float(at[-1]) if chart == FLAT else 0.0
    if chart != EXP:
        omega[-1] = 0.0
    r = float(seen_by(chart, omega, x[None])[0])
    row, bent = np.zeros(4), np.zeros((4, 4))
    neuron_row(chart, sigma, r, eps, x, row)
    add_bend(chart, sigma, r, eps, x, 1.0, bent)
    h, axes = 1e-5, np.eye(4)
    used = 4 if chart in (EXP, FLAT) else 3
    for i in range(used):
        up, down = (
            output(chart, sigma, at + h * axes[i], x),
            output(chart, sigma, at - h * axes[i], x),
        )
        assert row[i] == pytest.approx((up - down) / (2 * h), rel=1e-7, abs=1e-8)
        for j in range(used):
            step = [
                output(chart, sigma, at + a * h * axes[i] + b * h * axes[j], x) * a * b
                for a in (1, -1)
                for b in (1, -1)
            ]
            assert bent[i, j] == pytest.approx(sum(step) / (4 * h * h), abs=2e-5)
    d = RNG.standard_normal(2)
    slope = neuron_slope(chart, sigma, r, d[0], eps, d[1] if chart == FLAT else 0.0)
    deps = h * d[1] if chart == FLAT else 0.0
    change = neuron(chart, sigma, r + h * d[0], eps + deps)
    change -= neuron(chart, sigma, r - h * d[0], eps - deps)
    assert slope == pytest.approx(change / (2 * h), rel=1e-7, abs=1e-8)


def scene(sigma: float, s: np.ndarray, y: np.ndarray | None = None) -> Scene:
    x = np.hstack([RNG.standard_normal((12, 2)) + 3.0, np.ones((12, 1))])
    mean = x.mean(axis=0) * np.array([1, 1, 0])
    y = np.where(RNG.random(12) > 0.5, 1.0, -1.0) if y is None else y
    return Scene(Task(x, y, s, 0.0, 1.0, 0, 3.0), x - mean, sigma)


def place(chart: int, omega: np.ndarray, eps: float, V: np.ndarray, c: float = 0.3) -> Place:
    return Place(V, c, chart, omega, eps, False, -1, np.ones(12, np.bool_), False)


@pytest.mark.parametrize("sigma", [1.0, -1.0])
def test_flat_and_exp_name_one_function(sigma: float) -> None:
    V, s = RNG.standard_normal((2, 3)), np.array([1.0, -1.0])
    on = np.zeros((2, 12), np.bool_)
    here = scene(sigma, s)
    narrow = place(EXP, np.array([0.05, -0.02, 1.0]), 0.0, V)
    flat = rename(narrow, look(narrow, on, here), here)
    assert flat.chart == FLAT and np.sign(flat.eps) == sigma
    np.testing.assert_allclose(look(flat, on, here).f, look(narrow, on, here).f, rtol=1e-13)
    wide = place(FLAT, np.array([4.0, -3.0, 0.0]), sigma * 0.9, V)
    back = rename(wide, look(wide, on, here), here)
    assert back.chart == EXP
    np.testing.assert_allclose(look(back, on, here).f, look(wide, on, here).f, rtol=1e-12)


def test_a_neuron_vanishes_only_beyond_the_other_label() -> None:
    s, V = np.array([1.0]), np.array([[0.1, 0.2, 0.0]])
    here = scene(1.0, s)
    order = np.argsort(here.centred[:, 0])
    y = np.ones(12)
    y[order[:9]] = -1.0
    here = scene_with(here, y)
    steep = place(EXP, np.array([40.0, 0.0, 0.0]), 0.0, V, -0.5)
    front = here.centred[order[8], 0]
    omega = np.array([40.0, 0.0, -40.0 * front - 8.0])
    steep = steep._replace(omega=omega)
    seen = look(steep, np.zeros((1, 12), np.bool_), here)
    gone = vanish(steep, seen, here)
    assert gone.chart == GONE
    np.testing.assert_array_equal(np.flatnonzero(~gone.live), np.sort(order[9:]))
    assert look(gone, np.zeros((1, 12), np.bool_), here).F <= seen.F
    loud = steep._replace(omega=omega + np.array([0.0, 0.0, 9.0]))
    seen = look(loud, np.zeros((1, 12), np.bool_), here)
    assert vanish(loud, seen, here).chart == EXP


def scene_with(here: Scene, y: np.ndarray) -> Scene:
    return here._replace(task=here.task._replace(y=y))


def test_a_unit_and_the_neuron_bend_into_a_quadratic() -> None:
    """v ↦ √|ε|v with the slope cancelled: the outputs barely change, and F not upwards."""
    here = scene(1.0, np.array([1.0]))
    v, eps = np.array([60.0, -40.0, 0.0]), 1e-4
    V = np.array([[-60.0 + 0.2, 40.0 + 0.1, 900.0]])
    start = place(FLAT, v, eps, V, -900.0 + 100.0)
    on = np.zeros((1, 12), np.bool_)
    seen = look(start, on, here)
    assert (seen.Z > 0).all()
    f = look(start._replace(eps=0.0), on, here).f
    labels = np.where(f > 0, 1.0, -1.0)
    here = scene_with(here, labels)
    seen = look(start, on, here)
    bent = bend(start, seen, here)
    if bent.chart == QUAD:
        after = look(bent, on, here)
        assert after.F <= seen.F
        np.testing.assert_allclose(after.f, seen.f, atol=0.3)
    else:
        assert bent.chart == FLAT
