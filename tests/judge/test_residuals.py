from __future__ import annotations

import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.residuals import DIRECTIONS, _directions, add_residuals, lemma_residuals
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.base import Augmentation
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import Data
from sweep.registry import Choice


def objective_of(data: Data, augmentation: Augmentation) -> DataObjective:
    regularizer = Augment() if isinstance(augmentation, ExpSkip) else NoRegularizer()
    model = Mlp(2, Choice("tanh"))
    found = build_objective(data, model, augmentation, HingePower(), regularizer)
    assert isinstance(found, DataObjective)
    return found


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(0)
    return Data(rng.standard_normal((12, 3)), rng.choice([-1.0, 1.0], 12))


def test_the_residual_is_the_sum_of_lemma_1(data: Data) -> None:
    objective = objective_of(data, ExpSkip())
    theta = np.random.default_rng(1).standard_normal((3, objective.n_params)) / 2
    found = lemma_residuals(objective, theta)
    u = _directions(data.x, data.y, data.x.shape[1])
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.ones(DIRECTIONS))
    for point, residuals in zip(theta, found, strict=True):
        W, b, v, c = point[:6].reshape(2, 3), point[6:8], point[8:10], point[10]
        f = np.tanh(data.x @ W.T + b) @ v + c
        slope = 3 * np.maximum(1 - data.y * f, 0) ** 2
        terms = slope * data.y * np.exp(data.x @ point[12:15] + point[15])
        assert residuals["a"] == abs(point[11])
        for p, residual in enumerate(residuals["lemma_1"]):
            sums = [abs((terms * (data.x @ v) ** p).sum()) for v in u]
            sizes = [np.abs(terms * (data.x @ v) ** p).sum() for v in u]
            assert residual == pytest.approx(max(s / t for s, t in zip(sums, sizes, strict=True)))


def test_zero_where_the_data_are_separated_with_margin_and_none_beyond_float64() -> None:
    separated = Data(np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0]))
    objective = objective_of(separated, ExpSkip())
    theta = np.array([[3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    far = theta * np.where(np.arange(10) == 9, np.nan, 1.0)
    found = lemma_residuals(objective, np.vstack([theta, far]))
    assert found == [{"a": 0.0, "lemma_1": [0.0] * 4}, {}]


def test_a_member_has_its_numbers_whatever_its_company(data: Data) -> None:
    objective = objective_of(data, ExpSkip())
    theta = np.random.default_rng(2).standard_normal((70, objective.n_params))
    together = lemma_residuals(objective, theta)
    assert together[41:44] == lemma_residuals(objective, theta[41:44])


def test_residuals_are_merged_into_the_evidence_of_exponential_arms(data: Data) -> None:
    objective = objective_of(data, ExpSkip())
    found = Judgement.unresolved(np.zeros((2, objective.n_params)))
    found.evidence[1]["kept"] = 1
    add_residuals(found, objective)
    assert set(found.evidence[0]) == {"a", "lemma_1"}
    assert set(found.evidence[1]) == {"a", "lemma_1", "kept"}
    plain = objective_of(data, NoAugmentation())
    found = Judgement.unresolved(np.zeros((1, plain.n_params)))
    add_residuals(found, plain)
    assert found.evidence == [{}]
