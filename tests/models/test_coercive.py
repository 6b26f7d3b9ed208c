"""ReQU and quadratic networks with the regularizer of [B] eq. 4, against formulas by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.base import Augmentation, Model
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice

RNG = np.random.default_rng(8)
N, D, M = 7, 3, 4
DATA = Data(RNG.normal(size=(N, D)), np.sign(RNG.normal(size=N)))
MODELS = {"requ": RequModel(M), "quadratic": QuadraticModel(M)}
every_model = pytest.mark.parametrize("name", MODELS)


def objective(name: str, regularizer: Any = None) -> DataObjective:
    chosen = Coercive() if regularizer is None else regularizer
    found = build_objective(DATA, MODELS[name], NoAugmentation(), Logistic(), chosen)
    assert isinstance(found, DataObjective)
    return found


def by_hand(name: str, theta: np.ndarray, lam: np.ndarray) -> tuple[float, np.ndarray]:
    """F and ∇F of one member in the layout W row by row, b, a; [B] eqs. 4, 7 and 8."""
    W, b, a = theta[: M * D].reshape(M, D), theta[M * D : M * D + M], theta[M * D + M :]
    X = np.hstack([DATA.x, np.ones((N, 1))])
    Z = X @ np.hstack([W, b[:, None]]).T
    u = np.maximum(Z, 0) if name == "requ" else Z
    f = u**2 @ a
    q = -DATA.y / (1 + np.exp(DATA.y * f)) / np.log(2)
    norms = np.sqrt((W**2).sum(axis=1) + b**2)
    value = np.log2(1 + np.exp(-DATA.y * f)).sum()
    value += (lam * (np.abs(a) ** 3 + 2 * norms**3)).sum() / 3
    outer = u**2
    d_a = outer.T @ q + lam * np.abs(a) * a
    d_w = 2 * a[:, None] * ((q[:, None] * u).T @ X)
    d_w += 2 * (lam * norms)[:, None] * np.hstack([W, b[:, None]])
    return float(value), np.concatenate([d_w[:, :D].ravel(), d_w[:, D], d_a])


@every_model
def test_the_objective_and_its_gradient_are_eqs_4_7_and_8(name: str) -> None:
    f = objective(name)
    assert f.n_params == M * (D + 2)
    theta, lam = RNG.normal(size=(5, f.n_params)), RNG.uniform(0.1, 1, size=(5, M))
    theta[4, : D * 2] = 0
    value, grad = f.value_and_grad(torch.as_tensor(theta.T), torch.as_tensor(lam.T))
    for s in range(5):
        expected, slope = by_hand(name, theta[s], lam[s])
        assert value[s].item() == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(grad[:, s], slope, rtol=1e-12, atol=1e-13)


@every_model
def test_one_strength_for_all_neurons_is_equal_strengths(name: str) -> None:
    f, theta = objective(name), RNG.normal(size=(6, M * (D + 2)))
    lam = RNG.uniform(0.1, 1, size=(6, 1))
    shared, equal = f.measure(theta, lam), f.measure(theta, np.repeat(lam, M, axis=1))
    np.testing.assert_array_equal(shared.objective, equal.objective)
    np.testing.assert_array_equal(shared.grad_norm, equal.grad_norm)


@every_model
def test_the_second_derivative_at_an_inactive_neuron_is_zero(name: str) -> None:
    """F there is of third order ([B] Lemma 1); autograd must not see a 0/0."""
    f, lam = objective(name), torch.full((M, 1), 0.3, dtype=torch.float64)
    theta = torch.as_tensor(RNG.normal(size=M * (D + 2)))
    last = [*range((M - 1) * D, M * D), M * D + M - 1, M * D + 2 * M - 1]
    theta[last] = 0

    def value(point: torch.Tensor) -> torch.Tensor:
        return f.value(point[:, None], lam)[0]

    hessian = torch.autograd.functional.hessian(value, theta)
    assert torch.isfinite(hessian).all()
    assert torch.equal(hessian[last], torch.zeros_like(hessian[last]))
    others = [i for i in range(len(theta)) if i not in last]
    step = 1e-5
    for i in others:
        here = torch.zeros_like(theta)
        here[i] = step
        grads = [f.value_and_grad((theta + s * here)[:, None], lam)[1][:, 0] for s in (1, -1)]
        difference = (grads[0] - grads[1]) / (2 * step)
        np.testing.assert_allclose(hessian[others, i], difference[others], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("m", [1, 2, 7, 30])
def test_the_objective_is_coercive(m: int) -> None:
    """F ≥ λ_min/(3√(2m))·‖θ‖³, an equality for the regularizer where all 2m norms are equal."""
    f = build_objective(DATA, RequModel(m), NoAugmentation(), HingePower(), Coercive())
    size = m * (D + 2)
    scale = 10 ** RNG.uniform(-3, 6, size=(300, 1))
    theta = RNG.normal(size=(300, size)) * scale * (RNG.random((300, size)) < 0.5)
    lam = RNG.uniform(0.01, 1, size=(300, m))
    found = f.measure(theta, lam)
    bound = lam.min(axis=1) / (3 * np.sqrt(2 * m)) * found.param_norm**3
    assert np.all(found.objective >= bound * (1 - 1e-12))
    even = np.concatenate([np.zeros(m * D), -np.ones(m), -np.ones(m)])[None] * 1e5
    alike = f.measure(even, np.full((1, 1), 0.5))
    penalty = alike.objective - alike.loss
    bound = 0.5 / (3 * np.sqrt(2 * m)) * alike.param_norm**3
    # |aⱼ|³ + 2‖(wⱼ, bⱼ)‖³ counts the second norm twice.
    np.testing.assert_allclose(penalty, 1.5 * bound, rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "augmentation", "words"),
    [
        (Mlp(3), NoAugmentation(), ["'coercive'", "'requ'", "'quadratic'"]),
        (Mlp(3, Choice("requ")), NoAugmentation(), ["'coercive'", "'requ'"]),
        (RequModel(3), ExpSkip(), ["'coercive'", "'none'"]),
        (QuadraticModel(3), ExtraNeuron(), ["'coercive'", "'none'"]),
    ],
)
def test_other_networks_are_refused(
    model: Model, augmentation: Augmentation, words: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        build_objective(DATA, model, augmentation, Logistic(), Coercive())
    assert all(word in str(refused.value) for word in words)


@every_model
def test_without_a_regularizer_the_output_layer_scales(name: str) -> None:
    f = objective(name, NoRegularizer())
    theta = RNG.normal(size=(1, f.n_params))
    twice = theta.copy()
    twice[:, M * D + M :] *= 2
    outputs = [f.outputs(torch.as_tensor(t.T))[0] for t in (theta, twice)]
    np.testing.assert_allclose(outputs[1], 2 * outputs[0], rtol=1e-14)


@pytest.mark.parametrize("width", [0, -1, 5000])
def test_a_width_out_of_range_is_refused(width: int) -> None:
    for model in (RequModel, QuadraticModel):
        with pytest.raises(UserError, match=r"model\.width"):
            model(width)
