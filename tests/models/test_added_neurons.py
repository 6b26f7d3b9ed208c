"""Monomial neurons and exponential ones inside the layers: formulas, penalties, paths ([A])."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.judge.exponential.limit_problem import BareOfLayers, BareOfMonomial
from sweep.judge.shedding import scaled
from sweep.models.augmentations import ExpSkip, Monomial
from sweep.models.base import Augmenting
from sweep.models.initialisers import KaimingUniform
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.module import ModuleNetwork
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment
from sweep.problems.base import Data
from sweep.registry import Choice

RNG = np.random.default_rng(7)
DATA = Data(RNG.normal(size=(11, 3)), RNG.choice([-1.0, 1.0], size=11))
CASES: list[tuple[Augmenting, tuple[int, ...]]] = [
    (Monomial(1), (4,)),
    (Monomial(2), (3, 2)),
    (Monomial(5), (2,)),
    (ExpPerLayer(), (3,)),
    (ExpPerLayer(), (2, 3)),
    (ExpPerLayer(), (2, 3, 2)),
]
LAM = 0.3


def objective_of(added: Augmenting, widths: tuple[int, ...]) -> DataObjective:
    model = Mlp(widths, Choice("tanh"))
    found = build_objective(DATA, model, added, HingePower(), Augment())
    assert isinstance(found, DataObjective)
    return found


def points_of(objective: DataObjective, count: int = 4) -> np.ndarray:
    return 0.6 * np.random.default_rng(1).normal(size=(count, objective.n_params))


def parts(theta: np.ndarray, widths: tuple[int, ...]) -> tuple[list[np.ndarray], int]:
    """Layers W1 b1 … v c by hand, and where the augmentation begins."""
    found, at, before = [], 0, DATA.x.shape[1]
    for width in (*widths, 1):
        found += [theta[at : at + width * before].reshape(width, before)]
        at += width * before
        found += [theta[at : at + width]]
        at, before = at + width, width
    return found, at


def test_a_monomial_neuron_stands_beside_the_network() -> None:
    objective = objective_of(Monomial(3), (2,))
    for theta in points_of(objective):
        (W, b, v, c), at = parts(theta, (2,))
        f = np.tanh(DATA.x @ W.T + b) @ v[0] + c
        a, w, bias = theta[at], theta[at + 1 : -1], theta[-1]
        expected = f + a * (DATA.x @ w + bias) ** 3
        base, full = objective.outputs(torch.as_tensor(theta)[:, None])
        np.testing.assert_allclose(base[:, 0], f, rtol=1e-13)
        np.testing.assert_allclose(full[:, 0], expected, rtol=1e-13)
        F = np.maximum(1 - DATA.y * expected, 0) ** 3
        value = objective.measure(theta[None], np.array([[LAM]])).objective[0]
        assert value == pytest.approx(F.sum() + LAM * a**2 / 2, rel=1e-13)


def test_exponential_neurons_stand_inside_the_layers() -> None:
    """[A] eq. 5 with widths 2, 1: layout (w1, b1, to 1 unit + next neuron), (w2, b2, a)."""
    objective = objective_of(ExpPerLayer(), (2, 1))
    for theta in points_of(objective):
        (W1, b1, W2, b2, v, c), at = parts(theta, (2, 1))
        w1, s1, to_unit, to_next, w2, s2, a = np.split(theta[at:], [3, 4, 5, 6, 8, 9])
        h1, e1 = np.tanh(DATA.x @ W1.T + b1), np.exp(DATA.x @ w1 + s1)
        h2 = np.tanh(h1 @ W2.T + b2 + np.outer(e1, to_unit))
        e2 = np.exp(h1 @ w2 + s2 + to_next * e1)
        expected = h2 @ v[0] + c + a * e2
        base, full = objective.outputs(torch.as_tensor(theta)[:, None])
        plain = np.tanh(h1 @ W2.T + b2) @ v[0] + c
        np.testing.assert_allclose(base[:, 0], plain, rtol=1e-12)
        np.testing.assert_allclose(full[:, 0], expected, rtol=1e-12)
        # Eq. 6 with L = 2: the fourth powers of what leaves the neurons.
        penalty = LAM / 2 * (to_unit**4 + to_next**4 + a**4)
        measured = objective.measure(theta[None], np.array([[LAM]]))
        assert measured.objective[0] - measured.loss[0] == pytest.approx(penalty[0], abs=1e-12)
        activity = np.abs(expected - plain).max()
        assert measured.augment_activity is not None
        assert measured.augment_activity[0] == pytest.approx(activity, rel=1e-12)


def shed(objective: DataObjective, points: np.ndarray, s: float) -> np.ndarray:
    """The points at s on the paths of the proofs: the same f̃, a smaller penalty."""
    found, at = points.copy(), objective.n_base
    for piece in objective.extra_pieces:
        some = slice(at, at + piece.size)
        if piece.role == "outgoing":
            found[:, some] *= np.exp(-s)
        elif isinstance(objective.augmentation, Monomial):
            found[:, some] *= np.exp(s / objective.augmentation.p)
        elif piece.role == "bias":
            found[:, some] += s
        at += piece.size
    return found


@pytest.mark.parametrize(("added", "widths"), CASES)
def test_the_penalty_is_shed_at_the_rate_of_the_proof(
    added: Augmenting, widths: tuple[int, ...]
) -> None:
    """Directions (−pa, w, b) and (−w̃, +1): slopes −pλa² and −λL·Σ‖w̃‖^2L, f̃ constant along."""
    objective, L = objective_of(added, widths), len(widths)
    points, lam = points_of(objective), np.full((4, 1), LAM)
    here = objective.measure(points, lam)
    penalty = here.objective - here.loss
    power = 2 * L if isinstance(added, ExpPerLayer) else 2
    direction, at = np.zeros_like(points), objective.n_base
    for piece in objective.extra_pieces:
        some = slice(at, at + piece.size)
        if piece.role == "outgoing":
            speed = added.p if isinstance(added, Monomial) else 1
            direction[:, some] = -speed * points[:, some]
        elif isinstance(added, Monomial):
            direction[:, some] = points[:, some]
        elif piece.role == "bias":
            direction[:, some] = 1.0
        at += piece.size
    _, gradient = objective.value_and_grad(torch.as_tensor(points.T), torch.as_tensor(lam.T))
    slope = (gradient.numpy() * direction.T).sum(axis=0)
    size = (np.abs(gradient.numpy()) * np.abs(direction.T)).sum(axis=0)
    rate = power * (added.p if isinstance(added, Monomial) else 1)
    assert (np.abs(slope + rate * penalty) <= 1e-13 * (size + here.objective)).all()
    for s in (0.5, 3.0):
        there = objective.measure(shed(objective, points, s), lam)
        np.testing.assert_allclose(there.loss, here.loss, rtol=1e-11)
        expected = here.loss + penalty * np.exp(-power * s)
        np.testing.assert_allclose(there.objective, expected, rtol=1e-11)
        full = objective.outputs(torch.as_tensor(points.T))[1]
        grown = objective.outputs(torch.as_tensor(scaled(objective, points, s).T))[1]
        torch.testing.assert_close(grown, np.exp(s / 2) * full, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("added", "widths"), CASES)
def test_the_limit_problem_is_the_loss_and_leads_back(
    added: Augmenting, widths: tuple[int, ...]
) -> None:
    objective = objective_of(added, widths)
    points, lam = points_of(objective), np.full(4, LAM)
    if isinstance(added, Monomial):
        points[:, objective.n_base] = np.abs(points[:, objective.n_base])
        bare: BareOfMonomial | BareOfLayers = BareOfMonomial.of(objective, 1.0)
    else:
        bare = BareOfLayers.of(objective)
    inside = bare.into(points)
    G = bare.objective.measure(inside).objective
    np.testing.assert_allclose(G, objective.measure(points, lam[:, None]).loss, rtol=1e-11)
    back = bare.back(inside, points, G, lam)
    np.testing.assert_allclose(objective.measure(back, lam[:, None]).objective, G, rtol=1e-11)


def test_a_monomial_neuron_starts_where_an_exponential_one_does() -> None:
    first = objective_of(ExpSkip(), (2,)).initial(KaimingUniform(), 0, [3, 8])
    second = objective_of(Monomial(2), (2,)).initial(KaimingUniform(), 0, [3, 8])
    np.testing.assert_array_equal(first, second)


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(UserError, match=r"augment\.p is 0"):
        Monomial(0)
    network = ModuleNetwork.__new__(ModuleNetwork)
    with pytest.raises(UserError, match="'exp_per_layer' adds a neuron to every hidden layer"):
        ExpPerLayer().on(network)
