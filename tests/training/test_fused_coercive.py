"""The fused trainer on the networks of [B]: against the torch trainer, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import sweep.training  # noqa: F401  (fills the registries)
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.training.base import Ending, Standard
from sweep.training.batched import train_batched
from sweep.training.batches import BatchOrder
from sweep.training.fused.cpu import train_fused
from sweep.training.fused.scheme import FirstOrder, fused_parts
from sweep.training.optimizers import GradientDescent

MEMBERS = 11
GD = GradientDescent(5e-3)  # a hundred steps then amplify no rounding
COERCIVE, FREE = Coercive(), NoRegularizer()


@dataclass(frozen=True)
class Case:
    """A configuration, small enough that a hundred steps do not amplify rounding."""

    optimizer: FirstOrder
    model: Any
    loss: Loss
    regularizer: Any = COERCIVE
    shared: bool = False
    n: int = 9
    d: int = 3

    @property
    def objective(self) -> Objective:
        rng = np.random.default_rng(self.n)
        data = Data(rng.normal(size=(self.n, self.d)), np.sign(rng.normal(size=self.n)))
        model, loss = self.model, self.loss
        return build_objective(data, model, NoAugmentation(), loss, self.regularizer, 0.0)

    @property
    def lam(self) -> np.ndarray | None:
        if isinstance(self.regularizer, NoRegularizer):
            return None
        columns = 1 if self.shared else self.objective.n_lambda
        return np.random.default_rng(1).uniform(0.01, 1, size=(MEMBERS, columns))

    def train(self, steps: int, torch_trainer: bool) -> Ending:
        objective, rule = self.objective, Standard(max_steps=steps, gradient=0)
        start = objective.initial(KaimingUniform(), 12, range(MEMBERS))
        start[3] = 0  # neurons at rest stay there: the norm of 0 has no direction
        order = BatchOrder(12, range(MEMBERS))
        if torch_trainer:
            return train_batched(objective, start, self.lam, self.optimizer, rule, order)
        parts = fused_parts(objective, self.optimizer)
        assert parts is not None
        return train_fused(parts, start, self.lam, rule, order)


CASES = {
    "requ": Case(GD, RequModel(6), Logistic()),
    "requ, one strength for all": Case(GD, RequModel(1), Logistic(), shared=True),
    "requ, wide, shared": Case(GD, RequModel(9), Logistic(), shared=True, n=22, d=1),
    "requ, free": Case(GD, RequModel(4), Logistic(), FREE),
    "quadratic": Case(GradientDescent(1e-4), QuadraticModel(5), HingePower()),
    "quadratic, free": Case(
        GradientDescent(1e-4), QuadraticModel(2), HingePower(), NoRegularizer()
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("steps", [1, 100])
def test_it_goes_where_the_torch_trainer_goes(case: Case, steps: int) -> None:
    found, expected = case.train(steps, False), case.train(steps, True)
    assert found.steps.tolist() == expected.steps.tolist()
    assert found.stop.tolist() == expected.stop.tolist()
    size = np.abs(expected.params).max(axis=1, keepdims=True)
    assert np.all(np.abs(found.params - expected.params) <= 1e-12 * np.maximum(size, 1e-300))


def test_where_training_ends_eq_9_holds() -> None:
    """|aⱼ| = ‖(wⱼ, bⱼ)‖ at critical points; the rest is the gradient that was left."""
    case = Case(GradientDescent(0.05), RequModel(6), Logistic(), n=5, d=2)
    objective, lam = case.objective, np.full((MEMBERS, 6), 0.05) * np.arange(1, 7)
    start = objective.initial(KaimingUniform(), 12, range(MEMBERS))
    parts = fused_parts(objective, case.optimizer)
    assert parts is not None
    ending = train_fused(parts, start, lam, Standard(max_steps=40_000, gradient=1e-10))
    theta = ending.params
    norms = np.sqrt((theta[:, :12].reshape(-1, 6, 2) ** 2).sum(axis=2) + theta[:, 12:18] ** 2)
    a = np.abs(theta[:, 18:])
    # Neurons that go to rest do so slowly: F is of third order there.
    active = a > 0.05
    assert active.sum() >= MEMBERS
    np.testing.assert_allclose(a[active], norms[active], rtol=1e-4)
    assert np.abs(a - norms).max() < 0.02
