from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from sweep.judge.bounds import cheapest, proven_bound
from sweep.models.losses import LOSSES, HingePower, Logistic, Loss, Squared, VectorLoss

ALL = [HingePower(3), HingePower(4), HingePower(7.5), HingePower(60), Logistic(), Squared()]


def loss_at(loss: Loss, z: Any) -> Any:
    return loss(torch.as_tensor(z, dtype=torch.float64)).numpy()


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize(("plus", "minus"), [(1, 1), (2, 1), (1, 5), (40, 3), (1, 1000)])
def test_the_cheapest_output_is_scipys(loss: Loss, plus: int, minus: int) -> None:
    value, t = cheapest(loss, plus, minus)

    def cost(s: float) -> float:
        return float(plus * loss_at(loss, -s) + minus * loss_at(loss, s))

    found = minimize_scalar(cost, bounds=(-9, 9), method="bounded", options={"xatol": 1e-12})
    assert value == pytest.approx(found.fun, rel=1e-10)
    assert cost(t) == pytest.approx(value, rel=1e-12)


def test_hinge_cubed_has_the_closed_form_of_the_paper() -> None:
    value, _ = cheapest(HingePower(3), 5, 2)
    assert value == pytest.approx(8 * 5 * 2 / (math.sqrt(5) + math.sqrt(2)) ** 2, rel=1e-14)


def test_points_without_conflict_cost_nothing_and_say_what_they_need() -> None:
    assert cheapest(Squared(), 3, 0) == (0.0, 1.0)
    assert cheapest(Squared(), 0, 2) == (0.0, -1.0)
    assert math.isnan(cheapest(HingePower(3), 0, 2)[1])
    assert cheapest(Logistic(), 4, 0) == (0.0, math.inf)


def data_with_conflicts() -> tuple[np.ndarray, np.ndarray]:
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [3.0, 3.0]])
    return x, np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_no_outputs_whatever_cost_less_than_the_bound(loss: Loss) -> None:
    """Free outputs per distinct point, minimised by scipy: the bound, never below it."""
    x, y = data_with_conflicts()
    bound = proven_bound(loss, x, y)
    group = np.array([0, 0, 1, 0, 1, 2])

    def cost(t: np.ndarray) -> float:
        return float(loss_at(loss, -y * t[group]).sum())

    found = minimize(cost, np.array([0.1, 0.5, -0.5]), method="Nelder-Mead", tol=1e-12)
    assert bound.value <= found.fun * (1 + 1e-12)
    tolerance = 1e-3 if isinstance(loss, Logistic) else 1e-6
    assert bound.value == pytest.approx(found.fun, abs=tolerance)
    assert len(bound.first) == 3 and bound.conflicts
    assert bound.attainable is not isinstance(loss, Logistic)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_without_conflicts_the_bound_is_zero(loss: Loss) -> None:
    x = np.arange(6.0).reshape(3, 2)
    bound = proven_bound(loss, x, np.array([1.0, -1.0, 1.0]))
    assert bound.value == 0.0 and not bound.conflicts


def test_every_registered_loss_has_a_valid_bound() -> None:
    x, y = data_with_conflicts()
    rng = np.random.default_rng(0)
    for name in LOSSES.names():
        loss = LOSSES.entry(name)()
        if isinstance(loss, VectorLoss):
            continue
        bound = proven_bound(loss, x, y)
        outputs = rng.standard_normal((2000, 3))[:, [0, 0, 1, 0, 1, 2]] * 3
        assert (loss_at(loss, -y * outputs).sum(1) >= bound.value * (1 - 1e-12)).all()
