"""The objective's value and measures against formulas written out by hand in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice

RNG = np.random.default_rng(3)
DATA = Data(RNG.normal(size=(7, 2)), np.array([1.0, -1, 1, -1, 1, 1, -1]))


def by_hand(theta: np.ndarray, width: int) -> np.ndarray:
    """Output (N,) of a one-hidden-layer ReLU network from the documented parameter layout."""
    w1 = theta[: 2 * width].reshape(width, 2)
    b1 = theta[2 * width : 3 * width]
    v, c = theta[3 * width : 4 * width], theta[4 * width]
    hidden = np.maximum(DATA.x @ w1.T + b1, 0)
    return np.asarray(hidden @ v + c)


def test_exp_skip_objective_is_eq_4_with_weight_decay_on_the_base_alone() -> None:
    objective = build_objective(DATA, Mlp(3), ExpSkip(), HingePower(), Augment(), 0.2)
    theta = RNG.normal(size=(5, objective.n_params))
    lam = RNG.uniform(0.1, 1, size=(5, 1))
    found = objective.measure(theta, lam)
    for s, t in enumerate(theta):
        a, w, b = t[13], t[14:16], t[16]
        added = a * np.exp(DATA.x @ w + b)
        base = by_hand(t[:13], 3)
        loss = np.sum(np.maximum(1 - DATA.y * (base + added), 0) ** 3)
        penalty = lam[s, 0] * a**2 / 2 + 0.1 * np.sum(t[:13] ** 2)
        assert found.loss[s] == pytest.approx(loss, rel=1e-13)
        assert found.objective[s] == pytest.approx(loss + penalty, rel=1e-13)
        assert found.augment_activity is not None
        assert found.augment_activity[s] == pytest.approx(np.abs(added).max(), rel=1e-13)
        assert found.error is not None and found.error_base is not None
        assert found.error[s] == np.mean(DATA.y * (base + added) <= 0)
        assert found.error_base[s] == np.mean(DATA.y * base <= 0)
        assert found.param_norm[s] == pytest.approx(np.linalg.norm(t), rel=1e-14)


def test_extra_neurons_equal_a_wider_network() -> None:
    narrow = build_objective(DATA, Mlp(1), ExtraNeuron(k=2), Logistic(), NoRegularizer(), 0.1)
    wide = build_objective(DATA, Mlp(3), NoAugmentation(), Logistic(), NoRegularizer(), 0.1)
    theta = RNG.normal(size=(4, 13))
    w, b, v, c = theta[:, :6], theta[:, 6:9], theta[:, 9:12], theta[:, 12:]
    own = [w[:, :2], b[:, :1], v[:, :1], c]
    added = [part for j in (1, 2) for part in (v[:, [j]], w[:, 2 * j : 2 * j + 2], b[:, [j]])]
    found = narrow.measure(np.hstack([*own, *added]))
    expected = wide.measure(theta)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-13)
    np.testing.assert_allclose(found.grad_norm, expected.grad_norm, rtol=1e-13)


def test_squared_loss_is_the_square_of_the_residual() -> None:
    objective = build_objective(DATA, Mlp(2), NoAugmentation(), Squared(), NoRegularizer())
    theta = RNG.normal(size=(1, 9))
    expected = np.sum((DATA.y - by_hand(theta[0], 2)) ** 2)
    assert objective.measure(theta).loss[0] == pytest.approx(expected, rel=1e-13)


def test_logistic_loss_is_exact_far_from_zero() -> None:
    z = torch.tensor([-800.0, -50.0, 0.0, 30.0, 800.0], dtype=torch.float64)
    expected = np.logaddexp(0, z.numpy()) / np.log(2)
    np.testing.assert_allclose(Logistic()(z).numpy(), expected, rtol=1e-15)


def test_a_zero_output_is_an_error_and_all_units_of_a_zero_network_are_dead() -> None:
    objective = build_objective(DATA, Mlp((3, 2)), NoAugmentation(), HingePower(), NoRegularizer())
    found = objective.measure(np.zeros((2, objective.n_params)))
    assert found.error is not None and found.dead_units is not None
    assert found.error.tolist() == [1.0, 1.0]
    assert found.dead_units.tolist() == [5, 5]
    assert found.augment_activity is None
    assert found.objective.tolist() == [7.0, 7.0]


def test_tanh_units_with_weights_are_never_dead() -> None:
    model = Mlp(3, Choice("tanh"))
    objective = build_objective(DATA, model, NoAugmentation(), HingePower(), NoRegularizer())
    found = objective.measure(RNG.normal(size=(4, objective.n_params)))
    assert found.dead_units is not None
    assert found.dead_units.tolist() == [0, 0, 0, 0]


def test_a_members_measures_are_the_same_bits_in_any_company() -> None:
    data = Data(RNG.normal(size=(97, 13)), np.sign(RNG.normal(size=97)))
    objective = build_objective(data, Mlp(7, Choice("tanh")), ExpSkip(), Logistic(), Augment())
    theta = RNG.normal(size=(300, objective.n_params))
    lam = RNG.uniform(0, 1, size=(300, 1))
    many = objective.measure(theta, lam)
    for s in (0, 70, 299):
        alone = objective.measure(theta[[s]], lam[[s]])
        for name, column in vars(many).items():
            assert column is not None
            assert getattr(alone, name)[0] == column[s], name


def test_an_empty_batch_has_empty_measures() -> None:
    objective = build_objective(DATA, Mlp(2), ExpSkip(), HingePower(), Augment())
    found = objective.measure(np.zeros((0, objective.n_params)), np.zeros((0, 1)))
    assert all(len(column) == 0 for column in vars(found).values())


def test_float32_is_computed_in_float32() -> None:
    objective = build_objective(
        DATA, Mlp(2), NoAugmentation(), HingePower(), NoRegularizer(), dtype=torch.float32
    )
    assert isinstance(objective, DataObjective)
    value, grad = objective.value_and_grad(torch.randn(9, 64, generator=torch.manual_seed(0)))
    assert value.dtype == grad.dtype == torch.float32


class Valley:
    """A landscape: F = Σ θ² with a known gradient."""

    n_params = 3
    lower_bound: float | None = 0.0
    digest = "valley"

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """Σ θ²."""
        return theta.square().sum(0)


def test_a_landscape_has_no_errors() -> None:
    objective = build_objective(Valley(), Mlp(2), ExpSkip(), HingePower(), NoRegularizer())
    theta = RNG.normal(size=(6, 3))
    found = objective.measure(theta)
    assert found.error is None and found.error_base is None and found.dead_units is None
    np.testing.assert_allclose(found.objective, np.sum(theta**2, axis=1), rtol=1e-14)
    np.testing.assert_allclose(found.grad_norm, 2 * np.linalg.norm(theta, axis=1), rtol=1e-14)
    assert objective.lower_bound == 0.0


def test_the_augmentations_regularizer_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match="exp_skip"):
        build_objective(DATA, Mlp(2), ExtraNeuron(), HingePower(), Augment())
