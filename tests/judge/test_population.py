"""Teacher and student: formulas against independent ones, verdicts against truths."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from sweep.judge.base import JUDGES, Judgement
from sweep.judge.population.derivatives import gradient, lipschitz, second_order
from sweep.judge.population.stages import descend, enclose
from sweep.models.landscape import LandscapeObjective
from sweep.problems import PROBLEMS
from sweep.problems.teacher_student import TeacherStudentLandscape
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.verdicts import Stop


def landscape(k: int, extra: int = 0) -> TeacherStudentLandscape:
    found = PROBLEMS.build(Choice("teacher_student", {"k": k, "extra": extra})).load()
    assert isinstance(found, TeacherStudentLandscape)
    return found


def judged(k: int, points: list[np.ndarray]) -> Judgement:
    """The judge's verdicts on weights (n, k) each."""
    n = len(points[0])
    objective = LandscapeObjective(landscape(k, n - k), "cpu", torch.float64)
    params = np.array([point.reshape(-1) for point in points])
    stop = np.full(len(points), Stop.GRADIENT.value, dtype=object)
    ended = SimpleNamespace(params=params, stop=stop)
    return JUDGES.build(Choice("standard")).judge(objective, ended, None)


def descended(k: int, n: int, count: int) -> list[np.ndarray]:
    """Where gradient descent from N(0, 1/k) has come to after a fixed number of steps."""
    found = landscape(k, n - k)
    start = stream("test", "population", k, n).standard_normal((n * k, count)) / math.sqrt(k)
    theta = torch.as_tensor(start)
    for _ in range(800):
        theta = theta - 0.3 * found.value_and_gradient(theta)[1]
    return [point.reshape(n, k) for point in theta.numpy().T]


@pytest.fixture(scope="module")
def ends() -> Judgement:
    return judged(8, descended(8, 8, 64))


def overlap(w: np.ndarray, v: np.ndarray) -> float:
    """E relu(w·x) relu(v·x) by quadrature over the angle of x in the plane of w and v.

    In polar coordinates the radius integrates to ∫ r³ exp(−r²/2) dr = 2.
    """
    angle = math.acos(np.clip(w @ v / np.linalg.norm(w) / np.linalg.norm(v), -1, 1))
    # Both factors are positive for angles between t − π/2 and π/2.
    area = quad(lambda a: math.cos(a) * math.cos(a - angle), angle - math.pi / 2, math.pi / 2)[0]
    return float(np.linalg.norm(w) * np.linalg.norm(v) * 2 * area / (2 * math.pi))


def test_the_objective_is_the_expected_square() -> None:
    W, V = stream("test", "overlap").standard_normal((3, 4)), np.eye(4)
    sums = [
        sum(overlap(a, b) for a in left for b in right) for left, right in ((W, W), (W, V), (V, V))
    ]
    expected = sums[0] / 2 - sums[1] + sums[2] / 2
    found = landscape(4, -1)
    theta = torch.as_tensor(W.reshape(-1, 1))
    assert float(found.value(theta)) == pytest.approx(expected, abs=1e-12)
    assert float(found.value_and_gradient(theta)[0]) == pytest.approx(expected, abs=1e-12)
    assert gradient(W)[0] == pytest.approx(expected, abs=1e-12)


def nearly_parallel(k: int, gap: float) -> np.ndarray:
    """Weights whose first row is `gap` away from the direction of the second and of a teacher."""
    W = stream("test", "parallel", k).standard_normal((k, k))
    W[1] = 2 * np.eye(k)[0]
    W[0] = np.eye(k)[0] + gap * np.eye(k)[1]
    return W


@pytest.mark.parametrize("gap", [1.0, 1e-3, 1e-5, 0.0])
def test_closed_derivatives_are_those_of_autograd(gap: float) -> None:
    W, found = nearly_parallel(4, gap), landscape(4)
    theta = torch.as_tensor(W.reshape(-1))

    def value(point: torch.Tensor) -> torch.Tensor:
        return found.value(point.unsqueeze(-1))[0]

    here = second_order(W)
    assert here is not None
    slope = torch.func.grad(value)(theta).numpy()
    np.testing.assert_allclose(here.gradient, slope, atol=1e-14)
    np.testing.assert_allclose(
        here.gradient, found.value_and_gradient(theta.unsqueeze(1))[1][:, 0].numpy(), atol=1e-14
    )
    hessian = torch.func.jacrev(torch.func.grad(value))(theta).numpy()
    # Autograd knows a sine only to the root of rounding, and so its share of the Hessian.
    np.testing.assert_allclose(here.hessian, hessian, atol=3e-8)


def test_gradients_are_finite_at_zero_and_at_opposite_units() -> None:
    found = landscape(3)
    for W in (np.zeros((3, 3)), np.vstack([np.eye(3)[0], -np.eye(3)[0], np.eye(3)[1]])):
        theta = torch.as_tensor(W.reshape(-1, 1)).requires_grad_()
        (slope,) = torch.autograd.grad(found.value(theta).sum(), theta)
        closed = found.value_and_gradient(theta.detach())[1]
        assert bool(torch.isfinite(slope).all()) and bool(torch.isfinite(closed).all())
        torch.testing.assert_close(slope, closed, atol=1e-14, rtol=0)


def test_the_hessian_changes_no_faster_than_the_bound() -> None:
    rng = stream("test", "lipschitz")
    for trial in range(200):
        n, k = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        W = rng.standard_normal((n, k)) * rng.uniform(0.3, 2)
        if trial % 2:
            W[0] = W[1] * rng.uniform(0.5, 2)  # the way leads through a parallel pair
        move = rng.standard_normal((n, k))
        move *= rng.uniform(0.01, 0.5) * np.linalg.norm(W, axis=1).min() / np.linalg.norm(move)
        one, other = second_order(W - move), second_order(W + move)
        assert one is not None and other is not None
        change = np.abs(np.linalg.eigvalsh(one.hessian - other.hessian)).max()
        radius = float(np.linalg.norm(move))
        assert change <= lipschitz(W, radius) * 2 * radius


def test_the_brackets_of_the_third_derivative_are_as_large_as_stated() -> None:
    # Squares of the coordinates of unit vectors.
    one, two, rest = stream("test", "brackets").dirichlet(np.ones(3), 200_000).T
    assert (two * (2 * two + 3 * rest) ** 2 + 9 * one * (2 * two + rest) ** 2).max() <= 27 / 4
    inside = two + rest > 0
    x = two[inside] / (two + rest)[inside]
    assert (np.square(1 + x) + 4 * x * (1 - x)).max() <= 4


def test_a_student_near_its_teacher_is_global() -> None:
    rng = stream("test", "teacher")
    permuted = np.eye(6)[rng.permutation(6)]
    near = permuted + 0.05 * rng.standard_normal((6, 6))
    split = np.vstack([np.eye(5)[:4], 0.3 * np.eye(5)[4], 0.7 * np.eye(5)[4]])
    found = judged(6, [permuted, near])
    assert list(found.certificate) == ["lower_bound"] * 2
    np.testing.assert_array_equal(found.params[1].reshape(6, 6), permuted)
    beside = judged(5, [split + 0.03 * rng.standard_normal((6, 5))])
    assert list(beside.verdict) == ["global_minimum"]


def test_descent_at_eight_units_ends_global_or_in_the_known_family(ends: Judgement) -> None:
    objective = LandscapeObjective(landscape(8), "cpu", torch.float64)
    levels = objective.measure(ends.params).objective
    bad = ends.verdict == "local_minimum"
    assert set(ends.verdict) == {"global_minimum", "local_minimum"}
    assert (ends.certificate[bad] == "strict").all()
    # One family up to permutations: 0.0215, the same to many more than four digits.
    assert bad.any() and np.ptp(levels[bad]) < 1e-12
    assert levels[bad][0] == pytest.approx(0.0215, abs=5e-5)


def test_a_strict_minimum_lies_lower_than_the_sphere_around_it(ends: Judgement) -> None:
    member = int(np.flatnonzero(ends.verdict == "local_minimum")[0])
    W = ends.params[member].reshape(8, 8)
    here = second_order(W)
    assert here is not None
    proof = enclose(W, here)
    assert proof is not None and proof.rise > 0
    rng = stream("test", "sphere")
    for _ in range(50):
        d = rng.standard_normal(W.shape)
        around = gradient(W + d * proof.rise_radius / np.linalg.norm(d))[0]
        assert around >= here.value + proof.rise * (1 - 1e-9) - 1e-13


def test_the_polish_leaves_a_saddle() -> None:
    # Two equal units: by symmetry descent cannot part them.
    equal = np.vstack([np.full((2, 3), 0.3), np.eye(3)[2]])
    theta = torch.as_tensor(equal.reshape(-1, 1))
    found = landscape(3)
    for _ in range(3000):
        theta = theta - 0.3 * found.value_and_gradient(theta)[1]
    symmetric = theta.numpy().reshape(3, 3)
    np.testing.assert_array_equal(symmetric[0], symmetric[1])
    end, _ = descend(symmetric)
    assert gradient(end)[0] < 0.9 * gradient(symmetric)[0]


def test_verdicts_do_not_depend_on_neighbours(ends: Judgement) -> None:
    points = descended(8, 8, 64)[3:5]
    again = judged(8, points)
    np.testing.assert_array_equal(again.params, ends.params[3:5])
    assert again.evidence == ends.evidence[3:5]
