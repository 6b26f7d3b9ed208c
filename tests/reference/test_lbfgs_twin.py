"""Batched L-BFGS against a plain one-member version in numpy, iterate by iterate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.mlp import Mlp
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.base import Standard
from sweep.training.batched import train_batched as train
from sweep.training.lbfgs import C_CURVATURE, C_DECREASE, Lbfgs
from sweep.verdicts import Stop

RNG = np.random.default_rng(8)
DATA = Data(RNG.normal(size=(30, 2)), np.sign(RNG.normal(size=30)))


def evaluate(objective: Objective, theta: np.ndarray) -> tuple[float, np.ndarray]:
    value, grad = objective.value_and_grad(torch.as_tensor(theta).unsqueeze(1))
    return float(value), grad[:, 0].numpy()


def plain_direction(grad: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """−H·g with H built as a matrix from the pairs: no recursion, no cleverness."""
    if not pairs:
        return -grad / max(1.0, float(np.linalg.norm(grad)))
    s, y = pairs[-1]
    h = np.eye(len(grad)) * (s @ y) / (y @ y)
    for s, y in pairs:
        left = np.eye(len(grad)) - np.outer(s, y) / (s @ y)
        h = left @ h @ left.T + np.outer(s, s) / (s @ y)
    return -h @ grad


def plain_lbfgs(
    objective: Objective, start: np.ndarray, settings: Lbfgs, steps: int
) -> list[np.ndarray]:
    """Iterates 0, 1, …; shorter when the line search fails along the gradient."""
    theta, path = start, [start]
    value, grad = evaluate(objective, theta)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    while len(path) <= steps:
        direction = plain_direction(grad, pairs)
        slope, tau, low, high = direction @ grad, settings.lr, 0.0, np.inf
        best = None
        for _ in range(settings.max_line_search):
            f, g = evaluate(objective, theta + tau * direction)
            if not (f <= value + C_DECREASE * tau * slope and f < value):
                high = tau
            else:
                low, best = tau, (f, g)
                if g @ direction >= C_CURVATURE * slope:
                    break
            tau = 2 * low if high == np.inf else (low + high) / 2
        if best is None:
            if not pairs:
                return path
            pairs = []
            continue
        step, change = low * direction, best[1] - grad
        if step @ change > np.finfo(float).eps * (change @ change):
            pairs = [*pairs, (step, change)][-settings.memory :]
        theta, (value, grad) = theta + step, best
        path.append(theta)
    return path


@pytest.mark.parametrize("loss", [HingePower(), Logistic()])
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_iterates_agree_with_the_plain_version(loss: Loss, activation: str) -> None:
    model = Mlp(3, Choice(activation))
    objective = build_objective(DATA, model, NoAugmentation(), loss, NoRegularizer(), 0.1)
    start = objective.initial(KaimingUniform(), 0, range(3))
    settings = Lbfgs(memory=4)
    paths = [plain_lbfgs(objective, s, settings, 12) for s in start]
    for steps in (0, 1, 2, 3, 5, 8, 12):
        found = train(objective, start, None, settings, Standard(max_steps=steps, gradient=0))
        assert found.steps.tolist() == [steps] * 3
        expected = np.array([path[steps] for path in paths])
        # Quasi-Newton steps amplify rounding, here by less than 1e4 within 12 steps.
        np.testing.assert_allclose(found.params, expected, rtol=1e-10, atol=1e-11)


def test_a_strongly_convex_valley_is_solved_to_the_gradient_tolerance() -> None:
    class Valley:
        n_params = 6
        lower_bound: float | None = 0.0
        digest = "valley"

        def value(self, theta: torch.Tensor) -> torch.Tensor:
            scale = 4.0 ** torch.arange(6, dtype=theta.dtype).unsqueeze(1)
            return (scale * (theta - 1).square()).sum(0) + theta[0].cosh()

    objective = build_objective(Valley(), Mlp(2), NoAugmentation(), HingePower(), NoRegularizer())
    start = np.random.default_rng(0).normal(size=(20, 6))
    found = train(objective, start, None, Lbfgs(), Standard(max_steps=300, gradient=1e-6))
    assert set(found.stop) == {Stop.GRADIENT}
    assert (objective.measure(found.params).grad_norm <= 1e-6).all()
    assert found.steps.max() < 100


def test_a_member_no_step_can_move_counts_as_having_used_all_its_steps() -> None:
    class Kink:
        n_params = 2
        lower_bound: float | None = 0.0
        digest = "kink"

        def value(self, theta: torch.Tensor) -> torch.Tensor:
            return theta.abs().sum(0) + 1.0

    objective = build_objective(Kink(), Mlp(2), NoAugmentation(), HingePower(), NoRegularizer())
    start = np.array([[0.3, -0.7], [2.0, 1.0]])
    found = train(objective, start, None, Lbfgs(), Standard(max_steps=5000))
    assert found.stop.tolist() == [Stop.STEPS, Stop.STEPS]
    assert found.steps.tolist() == [5000, 5000]
    assert (objective.measure(found.params).objective < 1 + 1e-6).all()
