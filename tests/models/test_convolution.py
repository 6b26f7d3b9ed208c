"""The convolutional network and regularizer of [B] Theorem 2, against the definitions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.coercive import RequModel
from sweep.models.convolution import Convolution, ConvolutionRegularizer
from sweep.models.losses import Logistic
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data

RNG = np.random.default_rng(4)
N, D, M = 6, 3, 4
DATA = Data(RNG.normal(size=(N, D)), np.sign(RNG.normal(size=N)))
SHAPES = [(1, 3), (2, 1), (2, 2), (3, 4), (4, 2)]
every_shape = pytest.mark.parametrize(("layers", "s"), SHAPES)


def objective(layers: int, s: int) -> DataObjective:
    model, regularizer = Convolution(M, layers, s, 0.2), ConvolutionRegularizer(0.7)
    found = build_objective(DATA, model, NoAugmentation(), Logistic(), regularizer)
    assert isinstance(found, DataObjective)
    return found


def star(v: np.ndarray, h: np.ndarray) -> np.ndarray:
    """v * h as [B] section 2 writes it, index by index."""
    s = len(v)
    padded = np.concatenate([np.zeros(s - 1), h, np.zeros(s - 1)])
    return np.array([sum(v[i] * padded[i + j] for i in range(s)) for j in range(len(h) + s - 1)])


def by_hand(theta: np.ndarray, lam: np.ndarray, layers: int, s: int) -> float:
    """F by [B] eqs. 1 and 6."""
    filters = theta[: (layers - 1) * s].reshape(layers - 1, s)
    seen = D + (layers - 1) * (s - 1)
    rest = theta[(layers - 1) * s :]
    W, b, a = rest[: M * seen].reshape(M, seen), rest[M * seen : -M], rest[-M:]
    total = 0.0
    for x, y in zip(DATA.x, DATA.y, strict=True):
        h = x
        for v in filters:
            z = star(v, h)
            h = np.where(z >= 0, z, 0.2 * z)
        f = a @ np.maximum(W @ h + b, 0) ** 2
        total += np.log2(1 + np.exp(-y * f))
    norms = np.sqrt((W**2).sum(axis=1) + b**2)
    total += (lam * (np.abs(a) ** 3 + 2 * norms**3)).sum() / 3
    return float(total + 0.7 / 4 * (((filters**2).sum(axis=1) - 1) ** 2).sum())


@every_shape
def test_the_objective_is_eqs_1_and_6(layers: int, s: int) -> None:
    f = objective(layers, s)
    theta, lam = RNG.normal(size=(4, f.n_params)), RNG.uniform(0.1, 1, size=(4, M))
    found = f.measure(theta, lam)
    for k in range(4):
        expected = by_hand(theta[k], lam[k], layers, s)
        assert found.objective[k] == pytest.approx(expected, rel=1e-12)


@every_shape
def test_the_gradient_agrees_with_differences(layers: int, s: int) -> None:
    f, step = objective(layers, s), 1e-6
    theta, lam = RNG.normal(size=(f.n_params, 1)), RNG.uniform(0.1, 1, size=(M, 1))
    strengths = torch.as_tensor(lam)
    _, grad = f.value_and_grad(torch.as_tensor(theta), strengths)
    for p in range(f.n_params):
        ends = [theta.copy(), theta.copy()]
        ends[0][p] += step
        ends[1][p] -= step
        up, down = (f.value(torch.as_tensor(end), strengths).item() for end in ends)
        assert grad[p].item() == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-6)


@every_shape
def test_at_any_point_the_filters_pull_is_eq_6s(layers: int, s: int) -> None:
    """∂/∂r of F(θ with v_k → r·v_k) at r = 1; with f = 0 it is λ_c(‖v‖² − 1)‖v‖² alone."""
    f = objective(layers, s)
    theta = RNG.normal(size=(f.n_params, 1))
    theta[-M:] = 0
    _, grad = f.value_and_grad(torch.as_tensor(theta), torch.full((M, 1), 0.2).double())
    for k in range(layers - 1):
        v = theta[k * s : (k + 1) * s, 0]
        slope = float(v @ grad[k * s : (k + 1) * s, 0].numpy())
        size = float(v @ v)
        assert slope == pytest.approx(0.7 * (size - 1) * size, rel=1e-12)


@pytest.mark.parametrize("s", [1, 2, 5])
def test_convolution_with_padding_is_injective(s: int) -> None:
    """[B] Claim 1: its matrix has rank D for any filter but 0."""
    for _ in range(20):
        v = RNG.normal(size=s) * (RNG.random(s) < 0.5)
        v[RNG.integers(s)] = 1.0
        matrix = np.stack([star(v, row) for row in np.eye(D)])
        assert np.linalg.matrix_rank(matrix) == D


def test_one_layer_is_a_requ_network() -> None:
    one = build_objective(DATA, Convolution(M, 1, 3), NoAugmentation(), Logistic(), NoRegularizer())
    two = build_objective(DATA, RequModel(M), NoAugmentation(), Logistic(), NoRegularizer())
    theta = RNG.normal(size=(3, one.n_params))
    np.testing.assert_array_equal(one.measure(theta).objective, two.measure(theta).objective)


def test_a_members_bits_are_its_own() -> None:
    f, lam = objective(3, 2), RNG.uniform(0.1, 1, size=(90, M))
    theta = RNG.normal(size=(90, f.n_params))
    many = f.measure(theta, lam)
    for s in (0, 70, 89):
        alone = f.measure(theta[[s]], lam[[s]])
        assert alone.objective[0] == many.objective[s]
        assert alone.grad_norm[0] == many.grad_norm[s]


def test_other_networks_and_augmentations_are_refused() -> None:
    regularizer = ConvolutionRegularizer()
    with pytest.raises(UserError, match="'convolution'"):
        build_objective(DATA, Mlp(2), NoAugmentation(), Logistic(), regularizer)
    with pytest.raises(UserError, match="'none'"):
        build_objective(DATA, Convolution(), ExpSkip(), Logistic(), regularizer)
    for wrong in ({"layers": 0}, {"filter": 0}, {"width": 0}, {"negative_slope": 1.0}):
        with pytest.raises(UserError, match="model"):
            Convolution(**wrong)  # type: ignore[arg-type]  # on purpose
