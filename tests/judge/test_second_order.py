"""F, ∇F and ∇²F on lanes against torch.

The three smooth activations with every augmentation, every loss, and one kinked activation; other
activations differ by their formulas alone, whose derivatives `tests/formulas` compares one by one.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from sweep.judge.smooth.second_order import gradient_and_hessian, served
from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.base import Augmentation
from sweep.models.losses import LOSSES
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice

AUGMENTATIONS: tuple[Augmentation, ...] = (NoAugmentation(), ExpSkip(), ExtraNeuron(2))
SMOOTH = ("tanh", "sigmoid", "softplus")


def objective_of(
    activation: str,
    loss: str,
    added: Augmentation,
    widths: tuple[int, ...] = (3,),
    decay: float = 0.0,
) -> DataObjective:
    draw = np.random.default_rng(3)
    x, y = draw.standard_normal((10, 2)), draw.choice([-1.0, 1.0], 10)
    return DataObjective(
        Data(x, y),
        MlpNetwork(2, widths, ACTIVATIONS.build(Choice(activation))),
        added,
        LOSSES.build(Choice(loss)),
        Augment() if isinstance(added, ExpSkip) else NoRegularizer(),
        decay,
        "cpu",
        torch.float64,
    )


def points_of(objective: DataObjective, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    draw = np.random.default_rng(5)
    params = draw.standard_normal((count, objective.n_params))
    return params, draw.random((count, 1)) if objective.n_lambda else None


def assert_like_torch(objective: DataObjective, count: int) -> None:
    params, lam = points_of(objective, count)

    def value(theta: torch.Tensor, strength: torch.Tensor | None) -> torch.Tensor:
        return objective.value(theta, strength).sum()

    F, g, H = gradient_and_hessian(objective, params, lam)
    for k in range(count):
        theta = torch.tensor(params[k : k + 1].T)
        strength = None if lam is None else torch.tensor(lam[k : k + 1].T)

        def here(point: torch.Tensor, strength: torch.Tensor | None = strength) -> torch.Tensor:
            return value(point.unsqueeze(1), strength)

        flat = theta[:, 0]
        gradient = torch.func.grad(here)(flat)
        hessian = torch.func.jacrev(torch.func.grad(here))(flat)
        assert F[k] == pytest.approx(float(here(flat)), rel=1e-12)
        np.testing.assert_allclose(g[k], gradient, rtol=1e-12, atol=1e-12 * float(gradient.norm()))
        np.testing.assert_allclose(H[k], hessian, rtol=1e-12, atol=1e-12 * float(hessian.norm()))


@pytest.mark.parametrize("activation", SMOOTH)
def test_every_smooth_activation_with_every_augmentation(activation: str) -> None:
    for added in AUGMENTATIONS:
        assert_like_torch(objective_of(activation, "hinge_power", added), 3)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_every_loss(loss: str) -> None:
    for added in AUGMENTATIONS[:2]:
        assert_like_torch(objective_of("tanh", loss, added), 3)


def test_kinks_have_no_curvature() -> None:
    assert_like_torch(objective_of("leaky_relu", "squared", NoAugmentation(), (3, 2)), 3)


def test_any_depth_with_weight_decay() -> None:
    depths = ((4, 2), (2, 3, 3), (3, 1, 2, 2))
    for widths, added in product(depths, AUGMENTATIONS):
        assert_like_torch(objective_of("tanh", "hinge_power", added, widths, 0.3), 2)


def test_a_members_bits_depend_on_it_alone() -> None:
    objective = objective_of("tanh", "hinge_power", ExpSkip(), (3, 2))
    params, lam = points_of(objective, 70)
    assert lam is not None
    together = gradient_and_hessian(objective, params, lam)
    for k in (0, 9, 69):
        alone = gradient_and_hessian(objective, params[k : k + 1], lam[k : k + 1])
        for all_of, one in zip(together, alone, strict=True):
            assert (all_of[k] == one[0]).all()


def test_what_is_served() -> None:
    assert served(objective_of("tanh", "squared", ExpSkip()))
    unknown = objective_of("tanh", "hinge_power", NoAugmentation())
    unknown.loss = LOSSES.build(Choice("hinge_power", {"p": 3.5}))
    assert not served(unknown)
    for name in ("two_piece", "piecewise_linear"):
        assert not served(objective_of(name, "hinge_power", NoAugmentation()))
