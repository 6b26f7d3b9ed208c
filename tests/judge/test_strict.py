from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.kernels import Task, differentiate, outputs, total
from sweep.judge.smooth.polish import pack, plain_task, polish_member, polish_smooth
from sweep.judge.smooth.strict import settle_strict, strict
from sweep.judge.smooth.strict_kernels import second_order, supremum, third_order
from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import INITIALISERS
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream

LOSSES = [HingePower(3), HingePower(4.5), Logistic(), Squared()]


def make(problem: str, activation: str, loss: Any, decay: float) -> DataObjective:
    data = PROBLEMS.build(Choice(problem)).load()
    assert isinstance(data, Data)
    model = Mlp(2, Choice(activation))
    found = build_objective(data, model, NoAugmentation(), loss, NoRegularizer(), decay)
    assert isinstance(found, DataObjective)
    return found


def members(objective: DataObjective, count: int) -> tuple[Task, np.ndarray]:
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    params = objective.initial(init, 5, list(range(count)))
    shallow, task = Shallow.of(objective), plain_task(objective)
    assert shallow is not None and task is not None
    return task, pack(task, shallow.split(params))[0]


def sigma(activation: str, z: Any) -> Any:
    if activation == "tanh":
        return mpmath.tanh(z)
    return 1 / (1 + mpmath.exp(-z)) if activation == "sigmoid" else mpmath.log(1 + mpmath.exp(z))


def ell(loss: Any, z: Any) -> Any:
    if isinstance(loss, HingePower):
        return max(z + 1, mpmath.mpf(0)) ** mpmath.mpf(loss.p)
    return (1 + z) ** 2 if isinstance(loss, Squared) else mpmath.log(1 + mpmath.exp(z), 2)


def exact_value(task: Task, activation: str, loss: Any, theta: list[Any]) -> Any:
    n, size = task.X.shape[1], mpmath.mpf(0)
    for x, y in zip(task.X.tolist(), task.y.tolist(), strict=True):
        f = theta[-1]
        for j in range(len(task.kinds)):
            unit = theta[j * (n + 1) : (j + 1) * (n + 1)]
            z = mpmath.fsum(w * v for w, v in zip(unit[1:], x, strict=True))
            f = f + unit[0] * sigma(activation, z)
        size += ell(loss, -y * f)
    return size + mpmath.mpf(float(task.decays[0])) / 2 * mpmath.fsum(t**2 for t in theta)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_rounding_bounds_hold_against_fifty_digits(activation: str, loss: Any) -> None:
    task, theta = members(make("xor", activation, loss, 1e-2), 1)
    point = 3.0 * theta[0]
    g, e_g, hess, doubt, _, _ = second_order(point, np.zeros(2), task)
    assert max(e_g.max(), doubt.max()) < 1e-12 * np.abs(hess).max()
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(t)) for t in point]
        h = mpmath.mpf(10) ** -18

        def moved(*steps: tuple[int, int]) -> Any:
            there = list(exact)
            for k, times in steps:
                there[k] += times * h
            return exact_value(task, activation, loss, there)

        # Central differences in 60 digits: truncation h² = 1e-36, rounding 1e-60/h² = 1e-24.
        for k in range(len(point)):
            slope = (moved((k, 1)) - moved((k, -1))) / (2 * h)
            assert abs(slope - mpmath.mpf(float(g[k]))) <= e_g[k]
        for s, t in [(0, 0), (1, 0), (1, 2), (3, 7), (4, 5), (8, 1)]:
            corners = moved((s, 1), (t, 1)) - moved((s, 1), (t, -1))
            corners += moved((s, -1), (t, -1)) - moved((s, -1), (t, 1))
            assert abs(corners / (4 * h * h) - mpmath.mpf(float(hess[s, t]))) <= doubt[s, t]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_lipschitz_constant_bounds_the_change_of_the_hessian(activation: str, loss: Any) -> None:
    task, theta = members(make("two_moons", activation, loss, 0.0), 2)
    draw = stream("test", "strict", "ball")
    for point in 2.0 * theta:
        _, _, _, _, f, e_f = second_order(point, np.zeros(2), task)
        for r in (1e-3, 0.3):
            L, _ = third_order(point, np.zeros(2), task, f, e_f, r)
            for _ in range(20):
                ways = draw.normal(size=(2, len(point)))
                ends = point + r * ways / np.linalg.norm(ways, axis=1, keepdims=True)
                one, two = (differentiate(end, np.zeros(2), task)[2] for end in ends)
                change = np.linalg.norm(one - two, 2)
                assert change <= L * np.linalg.norm(ends[0] - ends[1]) + 1e-9


def test_suprema_of_the_derivatives() -> None:
    z = np.linspace(-8, 8, 400001)
    t = np.tanh(z)
    orders = [1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)]
    orders.append(t * (1 - t**2) * (16 - 24 * t**2))
    for order, values in enumerate(orders, start=1):
        largest = np.abs(values).max()
        assert largest <= supremum(0, order) <= largest * 1.001
        assert largest / 2 ** (order + 1) <= supremum(1, order)
        assert order == 4 or largest / 2 ** (order + 1) <= supremum(2, order + 1)


def test_proven_least_eigenvalue_is_below_the_true_one() -> None:
    draw = stream("test", "strict", "eigen")
    for least in (1e-12, 1e-6, 0.3):
        basis, _ = np.linalg.qr(draw.normal(size=(9, 9)))
        values = np.r_[least, draw.uniform(1, 100, 8)]
        hess = (basis * values) @ basis.T
        found = proven_least((hess + hess.T) / 2, 0.0)
        assert found <= least * 1.001 + 1e-13
        assert found > 0.9 * least or least < 1e-9
    assert proven_least(np.diag([1.0, -1e-9]), 0.0) == -np.inf


@pytest.mark.parametrize("problem", ["xor", "two_moons", "iris_pair"])
@pytest.mark.parametrize("decay", [1e-2, 1e-3])
def test_decayed_minima_are_certified_and_hold(problem: str, decay: float) -> None:
    task, theta = members(make(problem, "tanh", HingePower(3), decay), 8)
    draw = stream("test", "strict", problem)
    certified = 0
    for point in theta:
        end = polish_member(task, point, budget=400)
        proof = strict(task, end.theta)
        if proof is None:
            continue
        certified += 1
        assert proof.min_eig <= end.min_eig and proof.radius < 1e-6
        ways = draw.normal(size=(50, len(point)))
        # Far outside the proven sphere rounding does not hide the rise.
        ways *= 1e-3 / np.linalg.norm(ways, axis=1, keepdims=True)
        values = [
            total(end.theta + d, outputs(end.theta + d, np.zeros(2), task), task) for d in ways
        ]
        assert min(values) > end.objective
    assert certified == len(theta)


def test_slides_and_saddles_are_refused() -> None:
    f = make("two_moons", "tanh", HingePower(3), 0.0)
    init = INITIALISERS.build(Choice("kaiming_uniform"))
    found = Judgement.unresolved(f.initial(init, 5, list(range(20))))
    polish_smooth(found, f, None)
    settle_strict(found, f, None)
    assert not (found.verdict == "local_minimum").any()
    # θ = 0 is a saddle where Σ qᵢxᵢ ≠ 0 (on xor it is a minimum: there the sum vanishes).
    task, theta = members(make("two_moons", "tanh", HingePower(3), 1e-3), 1)
    assert strict(task, np.zeros_like(theta[0])) is None
