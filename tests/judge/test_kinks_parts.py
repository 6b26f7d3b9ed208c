"""The pieces of the kink polish against slow, obvious twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from sweep.judge.kinks.corner import corner_direction, derivative
from sweep.judge.kinks.geometry import basis, bounded_least_squares, project
from sweep.judge.kinks.search import Line, Task, along, walk
from sweep.judge.kinks.step import Point, line_of, look
from sweep.judge.numerics.kernel_losses import code_of, loss_terms
from sweep.models.losses import HingePower, Logistic, Loss, Squared

LOSSES: list[Loss] = [HingePower(3), HingePower(3.5), HingePower(5), Squared(), Logistic()]


def a_task(rng: np.random.Generator, H: int, loss: Loss, lo: float = 0.0) -> Task:
    kernel = code_of(loss)
    assert kernel is not None
    X = np.c_[rng.standard_normal((12, 2)), np.ones(12)]
    s = np.sign(rng.standard_normal(H))
    return Task(X, np.sign(rng.standard_normal(12)), s, lo, 1.0, *kernel)


def objective(V: np.ndarray, c: float, task: Task) -> float:
    Z = V @ task.X.T
    f = task.s @ np.where(Z > 0, task.hi * Z, task.lo * Z) + c
    return float(
        sum(loss_terms(task.code, task.p, -y * t)[0] for y, t in zip(task.y, f, strict=True))
    )


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_kernels_losses_are_the_models_losses(loss: Loss) -> None:
    kernel = code_of(loss)
    assert kernel is not None
    for value in (-50.0, -1.0 - 1e-9, -0.3, 0.0, 0.7, 4.0, 35.0):
        z = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(loss(z), z, create_graph=True)[0]
        second = torch.autograd.grad(first, z)[0]
        expected = [loss(z).item(), first.item(), second.item()]
        # torch takes sigmoid·(1 − sigmoid), which is 1e-16 at best
        np.testing.assert_allclose(loss_terms(*kernel, value), expected, rtol=2e-13, atol=2e-16)


def test_bounded_least_squares_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    for K in (1, 2, 3, 5, 8):
        for _ in range(40):
            A = rng.standard_normal((3, K)) * 10.0 ** rng.integers(-3, 3, K)
            b = A @ rng.uniform(-0.5, 1.5, K) + rng.standard_normal(3) * (rng.random() < 0.5)
            tau, r = rng.uniform(0, 1, K), np.empty(3)
            size = bounded_least_squares(A, -b, tau, r)
            best = lsq_linear(A, b, (0, 1), method="bvls", tol=1e-15)
            assert (tau >= 0).all() and (tau <= 1).all()
            np.testing.assert_allclose(r, A @ tau - b, atol=1e-12)
            assert size <= np.sqrt(2 * best.cost) * (1 + 1e-9) + 1e-12


def test_the_basis_spans_what_the_held_kinks_leave_free() -> None:
    rng = np.random.default_rng(1)
    X = np.c_[rng.standard_normal((6, 3)), np.ones(6)]
    held = np.zeros((3, 6), dtype=bool)
    held[0, :2], held[1, :5] = True, True  # unit 1 is held to v = 0, unit 2 is free
    B, first = basis(held, X, 1)
    assert B.shape == (13, 2 + 0 + 4 + 1) and first.tolist() == [0, 2, 2, 6]
    np.testing.assert_allclose(B.T @ B, np.eye(7), atol=1e-14)
    np.testing.assert_allclose(X[:2] @ B[:4], 0, atol=1e-14)
    assert not B[4:8].any()
    v = rng.standard_normal(4)
    project(v, X, held[0])
    np.testing.assert_allclose(X[:2] @ v, 0, atol=1e-15)
    project(v, X, held[1])
    assert not v.any()


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("lo", [0.0, 0.3, -0.5])
def test_f_along_a_line_is_f_and_the_walk_ends_at_its_first_minimum(loss: Loss, lo: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        task = a_task(rng, 3, loss, lo)
        V, d = rng.standard_normal((3, 3)), rng.standard_normal(10)
        held = np.zeros((3, 12), dtype=bool)
        point = Point(V, 0.2)
        line = line_of(point, look(point, held, task), d, held, task)
        if along(line, 0.0, task, True)[1] > 0:
            line = line_of(point, look(point, held, task), -d, held, task)
            d = -d

        def value(t: float, V: np.ndarray = V, d: np.ndarray = d, task: Task = task) -> float:
            return objective(V + t * d[:9].reshape(3, 3), 0.2 + t * d[9], task)

        for t in (0.1, 0.9, 2.0):
            F, slope = along(line, t, task, True)
            assert value(t) == pytest.approx(F, rel=1e-12)
            difference = (value(t + 1e-6) - value(t - 1e-6)) / 2e-6
            assert slope == pytest.approx(difference, rel=1e-5, abs=1e-4)
        t, _ = walk(line, task, held, 3.0, 4, True)
        grid = [value(u) for u in np.linspace(0, t, 200)]
        assert (np.diff(grid) <= 1e-12 * grid[0]).all()
        assert t == 3.0 or value(t + 1e-4) >= value(t) - 1e-12 * grid[0]
        t, _ = walk(line, task, held, 3.0, 4, False)
        assert t == 3.0 or min(value(t + 1e-4), value(t - 1e-4)) >= value(t) - 1e-12 * grid[0]


def test_the_walk_lands_on_the_kink_that_turns_it_back() -> None:
    """One point, f = relu(t − 1)·s from below: F falls no further than to the kink at t = 1."""
    kernel = code_of(Squared())
    assert kernel is not None
    task = Task(np.array([[1.0]]), np.array([-1.0]), np.ones(1), -1.0, 1.0, *kernel)
    line = Line(np.array([[-1.0]]), np.array([[1.0]]), 0.0, 0.0)
    t, pair = walk(line, task, np.zeros((1, 1), dtype=bool), 4.0, 4, True)
    assert (t, pair) == (1.0, 0)


def test_a_corner_is_left_where_a_random_search_would_leave_it() -> None:
    rng = np.random.default_rng(3)
    found = missed = 0
    for _ in range(60):
        task = a_task(rng, 1, Squared())
        at = np.ones(12, dtype=bool)
        point = Point(np.zeros((1, 3)), rng.standard_normal())
        seen = look(point, np.zeros((1, 12), dtype=bool), task)
        kappa, down = seen.q * task.s[0], np.empty(3)
        delta, slope = corner_direction(seen, 0, at, task)
        some = rng.standard_normal((2000, 3))
        some /= np.linalg.norm(some, axis=1)[:, None]
        lowest = (np.maximum(some @ task.X.T, 0) @ kappa).min()
        if slope < 0:
            assert derivative(delta, np.zeros(3), kappa, task.X, down) == pytest.approx(slope)
        found += slope < 0
        missed += slope >= 0 and lowest < -1e-9
    assert found > 40 and missed <= 1
