"""λ₀ of [B]: every bound is reached by an explicit network, recomputed here from its numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import sweep.problems  # noqa: F401  (fills the registry)
from sweep.errors import UserError
from sweep.models.filters import _unit, cover, features, filter_strength_bound, first_boxes
from sweep.models.losses import HingePower, Logistic, Loss, Squared
from sweep.models.margins import interpolating_chain, largest_margin
from sweep.models.strengths import rounded_down, strength_bound
from sweep.problems.base import PROBLEMS, Data
from sweep.registry import Choice


def data(name: str, **settings: Any) -> Data:
    found = PROBLEMS.build(Choice(name, settings)).load()
    assert isinstance(found, Data)
    return found


def recomputed(found: Any, x: np.ndarray, y: np.ndarray, kind: str) -> float:
    """minᵢ yᵢ p(xᵢ)/‖ρ‖³ from the stored numbers, point by point."""
    stored = found.derivation()
    alpha, omega = stored["alpha"], stored["omega"]
    square = sum(a * a for a in alpha) + sum(w * w for row in omega for w in row)
    margins = []
    for point, label in zip(x, y, strict=True):
        z = [sum(w * v for w, v in zip(row, [*point, 1.0], strict=True)) for row in omega]
        z = [max(t, 0.0) for t in z] if kind == "requ" else z
        margins.append(label * sum(a * t * t for a, t in zip(alpha, z, strict=True)))
    return float(min(margins)) / square**1.5


CASES = [
    ("requ", "xor", {}, 0.12),
    ("requ", "two_moons", {"n": 20}, 0.012),
    ("requ", "random_labels", {"n": 20, "d": 5}, 0.02),
    ("requ", "simplex", {"n": 6, "positive": 3}, 0.1),
    ("square", "xor", {}, 0.27),
    ("square", "shells", {"n": 30}, 0.01),
    ("square", "shells", {"n": 20, "d": 4}, 0.01),
]


@pytest.mark.parametrize("loss", [Logistic(), HingePower(4)], ids=["logistic", "hinge"])
@pytest.mark.parametrize(("kind", "name", "settings", "least"), CASES)
def test_the_bound_is_reached_by_its_network(
    kind: Any, name: str, settings: dict[str, Any], least: float, loss: Loss
) -> None:
    problem = data(name, **settings)
    found = strength_bound(kind, problem, loss)
    reached = recomputed(found, problem.x, problem.y, kind)
    epsilon = 1 / (2 * math.log(2)) if isinstance(loss, Logistic) else 4.0
    assert found.epsilon == pytest.approx(epsilon, rel=1e-15)
    assert found.value <= epsilon * reached <= found.value * (1 + 2e-5)
    assert reached >= least
    assert found.separator.norm == pytest.approx(1, rel=1e-12)
    again = strength_bound(kind, problem, loss)
    assert again.derivation() == found.derivation()


def test_the_theorems_inequality_follows_from_the_bound() -> None:
    """|Σqᵢφ(u·x̃ᵢ)| < λ₀ for all unit u gives Σℓ′ᵢ < ε: here q with Σ|q| = ε must break it."""
    problem, rng = data("random_labels", n=12, d=3), np.random.default_rng(0)
    bound = strength_bound("requ", problem, Logistic())
    X = np.hstack([problem.x, np.ones((12, 1))])
    omega = bound.separator.omega
    u = omega / np.linalg.norm(omega, axis=1, keepdims=True)
    for _ in range(200):
        slopes = rng.dirichlet(np.full(12, 0.3)) * bound.epsilon
        pulls = np.abs((slopes * problem.y) @ np.maximum(X @ u.T, 0) ** 2)
        assert pulls.max() > bound.value


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_the_chain_of_appendix_i_separates_any_labels(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        z, y = rng.normal(size=n), rng.choice([-1.0, 1.0], size=n)
        thresholds, c = interpolating_chain(z, y)
        p = np.maximum(z[:, None] - thresholds, 0) ** 2 @ c
        assert np.all(y * p > 0)


def test_more_neurons_find_more_than_appendix_i_and_less_than_the_data_allow() -> None:
    """One point on its own: max of αφ(ω·x̃) at ‖ρ‖ = 1 is (2/3√3)‖x̃‖², reached by ω ∥ x̃."""
    for kind in ("requ", "square"):
        one = Data(np.array([[3.0, -1.0]]), np.array([-1.0]))
        found = largest_margin(kind, one.x, one.y)  # type: ignore[arg-type]  # one of two words
        assert found is not None
        X = np.hstack([one.x, np.ones((1, 1))])
        assert found.margin(X, one.y) == pytest.approx(2 / (3 * math.sqrt(3)) * 11, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "problem", "loss", "words"),
    [
        ("requ", Data(np.zeros((2, 1)), np.array([1.0, -1.0])), Logistic(), "distinct"),
        ("square", data("two_moons", n=20), Logistic(), "quadratic network"),
        ("requ", data("xor"), Squared(), "non-decreasing"),
    ],
)
def test_what_theory_does_not_speak_about_is_refused(
    kind: Any, problem: Data, loss: Loss, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        strength_bound(kind, problem, loss)


def test_rounding_goes_down_and_keeps_six_digits() -> None:
    assert rounded_down(0.123456789) == 0.123456
    assert rounded_down(9.9999999e-7) == 9.99999e-7
    assert rounded_down(1234567.8) == 1234560.0
    assert rounded_down(0.5) <= 0.5


@pytest.mark.parametrize(("length", "filters"), [(1, 2), (2, 1), (3, 1), (2, 2)])
def test_the_first_boxes_cover_every_unit_filter(length: int, filters: int) -> None:
    boxes, rng = list(first_boxes(filters, length)), np.random.default_rng(length)
    centres = np.array([np.concatenate(box.filters(length)) for box in boxes])
    assert np.allclose((centres**2).sum(axis=1), filters)
    radius = (length - 1) * boxes[0].radius
    for _ in range(200):
        v = [rng.normal(size=length) for _ in range(filters)]
        v = [own / np.linalg.norm(own) for own in v]
        moved = (centres - np.concatenate(v)).reshape(len(boxes), filters, length)
        assert np.linalg.norm(moved, axis=2).max(axis=1).min() <= radius + 1e-12


@pytest.mark.parametrize("filters", [1, 2])
def test_in_a_box_the_margin_stays_above_its_bound(filters: int) -> None:
    """Random filters of the box: the centre's network keeps at least the margin claimed."""
    problem, rng = data("random_labels", n=6, d=3), np.random.default_rng(1)
    boxes = list(first_boxes(filters, 2))
    for k in rng.integers(len(boxes), size=3):
        box = next(iter(next(iter(boxes[k].halves())).halves()))
        found = cover(box, 2, 0.1, problem)
        assert found.bound < found.margin
        for _ in range(50):
            angles = [own[0] + rng.uniform(-1, 1) * box.radius for own in box.centre]
            scale = 1 + rng.exponential(size=filters)
            h, _ = features([_unit((a,)) for a in angles], 0.1, problem.x, 0.0)
            H = np.hstack([h, np.ones((6, 1))])
            assert found.separator.margin(H, problem.y) >= found.bound
            # A longer filter is served by ω/r, which is shorter.
            longer = [r * _unit((a,)) for r, a in zip(scale, angles, strict=True)]
            far, _ = features(longer, 0.1, problem.x, 0.0)
            np.testing.assert_allclose(far, h * np.prod(scale), rtol=1e-12, atol=1e-12)


def test_without_filters_the_bound_is_theorem_1s() -> None:
    found = filter_strength_bound(0, 2, 0.1, data("xor"), Logistic())
    assert found.value == strength_bound("requ", data("xor"), Logistic()).value


@pytest.mark.slow
def test_the_bound_over_all_filters_is_below_that_of_any() -> None:
    problem, rng = data("xor"), np.random.default_rng(2)
    found = filter_strength_bound(1, 2, 0.1, problem, HingePower())
    assert found.value > 0
    for _ in range(100):
        v = _unit((rng.uniform(0, 2 * math.pi),))
        h, _ = features([v], 0.1, problem.x, 0.0)
        own = largest_margin("requ", h, problem.y)
        assert own is not None
        assert own.margin(np.hstack([h, np.ones((4, 1))]), problem.y) >= found.margin
