"""Every loss × activation × augmentation: autograd against central differences in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import sweep.models  # noqa: F401  (fills the registries)
from sweep.models.activations import ACTIVATIONS
from sweep.models.base import AUGMENTATIONS
from sweep.models.losses import LOSSES
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice

STEP = 1e-6  # central differences: error about STEP² + rounding/STEP, some 1e-10 relative
DATA = Data(
    np.random.default_rng(5).normal(size=(9, 3)),
    np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0]),
)
UNIVARIATE = [name for name in LOSSES.names() if name != "cross_entropy"]
CASES = [
    *itertools.product(UNIVARIATE, ACTIVATIONS.names(), AUGMENTATIONS.names(), [4]),
    *itertools.product(UNIVARIATE, ["tanh", "leaky_relu"], AUGMENTATIONS.names(), [(4, 3)]),
]


@pytest.mark.parametrize(("loss", "activation", "augmentation", "width"), CASES)
def test_gradient_agrees_with_central_differences(
    loss: str, activation: str, augmentation: str, width: int | tuple[int, ...]
) -> None:
    added = AUGMENTATIONS.build(Choice(augmentation))
    objective = build_objective(
        DATA,
        Mlp(width=width, activation=Choice(activation)),
        added,
        LOSSES.build(Choice(loss)),
        Augment() if added.penalised else NoRegularizer(),
        weight_decay=0.3,
    )
    rng = np.random.default_rng(1)
    theta = torch.as_tensor(0.7 * rng.normal(size=(objective.n_params, 3)))
    lam = torch.as_tensor(rng.uniform(0.1, 1, size=(1, 3)))
    _, grad = objective.value_and_grad(theta, lam)
    for i in range(objective.n_params):
        shift = torch.zeros_like(theta)
        shift[i] = STEP
        difference = objective.value(theta + shift, lam) - objective.value(theta - shift, lam)
        torch.testing.assert_close(grad[i], difference / (2 * STEP), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("p", [3, 3.5, 5])
def test_hinge_power_gradient_for_every_kind_of_power(p: float) -> None:
    z = torch.tensor([-3.0, -1.0, -0.5, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    value = LOSSES.build(Choice("hinge_power", {"p": p}))(z)
    (grad,) = torch.autograd.grad(value.sum(), z)
    expected = np.maximum(z.detach().numpy() + 1, 0)
    np.testing.assert_allclose(value.detach().numpy(), expected**p, rtol=1e-14)
    np.testing.assert_allclose(grad.numpy(), p * expected ** (p - 1), rtol=1e-14)
