"""The second route's formulas equal the first's, and its rounding bounds hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from sweep.audit.elementwise import NoSecondRouteError
from sweep.audit.formulas import MlpFormula, formula_of
from sweep.audit.measures import measure, values
from sweep.audit.precise import Precise
from sweep.job import arm_objective
from sweep.models.activations import ACTIVATIONS
from sweep.models.base import AUGMENTATIONS
from sweep.models.losses import LOSSES
from sweep.models.objective import DataObjective
from sweep.models.regularizers import REGULARIZERS
from sweep.problems import Data
from sweep.registry import Choice
from sweep.spec import Arm, Cell

MakeCell = Callable[..., Cell]
# Activations whose layers have a second route as models of their own (`requ`, `quadratic`) only.
SQUARES = ("requ", "square")
ARMS = [
    Arm("plain"),
    Arm("decayed", weight_decay=0.01),
    Arm("exp", Choice("exp_skip"), Choice("augment"), 0.02, Choice("fixed", {"value": 0.3})),
    Arm("extra", Choice("extra_neuron", {"k": 2}), weight_decay=0.01),
    Arm(
        "cubic",
        Choice("monomial", {"p": 3}),
        Choice("augment"),
        0.02,
        Choice("fixed", {"value": 0.3}),
    ),
    Arm(
        "layers", Choice("exp_per_layer"), Choice("augment"), 0.02, Choice("fixed", {"value": 0.3})
    ),
]


def some_data(n: int = 17, d: int = 3) -> Data:
    rng = np.random.default_rng(1)
    return Data(rng.standard_normal((n, d)), rng.choice([-1.0, 1.0], n))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@pytest.mark.parametrize("loss", [n for n in LOSSES.names() if n != "cross_entropy"])
@pytest.mark.parametrize("activation", [n for n in ACTIVATIONS.names() if n not in SQUARES])
def test_both_routes_measure_the_same(
    make_cell: MakeCell, arm: Arm, loss: str, activation: str
) -> None:
    cell = make_cell(arm, loss, width=[3, 2], activation={"name": activation})
    data = some_data()
    objective = arm_objective(cell, arm, data)
    assert isinstance(objective, DataObjective)
    params = np.random.default_rng(2).standard_normal((5, objective.n_params)) * 1.5
    if arm.name == "layers":
        params[:, objective.network.n_params :] /= 3  # exponentials of exponentials
    lam = None if arm.lam is None else np.full((5, 1), 0.3)
    first = objective.measure(params, lam)
    second = measure(formula_of(cell, arm, data), params, np.full(5, 0.3))
    pairs = {
        "judged_loss": first.loss,
        "judged_objective": first.objective,
        "judged_grad_norm": first.grad_norm,
        "param_norm": first.param_norm,
        "judged_error": first.error,
        "judged_error_base": first.error_base,
        "dead_units": first.dead_units,
    }
    if first.augment_activity is not None:
        pairs["augment_activity"] = first.augment_activity
    assert set(pairs) == set(second)
    for name, value in pairs.items():
        assert value is not None
        assert (second[name].low <= value).all() and (value <= second[name].high).all(), name
    for name in ("judged_objective", "judged_grad_norm"):
        width = second[name].high - second[name].low
        assert (width < 1e-9 * second[name].value).all()


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "softplus"])
@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_rounding_bounds_hold_against_fifty_digits(
    make_cell: MakeCell, arm: Arm, activation: str, scale: float
) -> None:
    cell = make_cell(arm, "logistic", activation={"name": activation}, width=[2, 2])
    formula = formula_of(cell, arm, some_data(6, 2))
    assert isinstance(formula, MlpFormula)
    params = np.random.default_rng(3).standard_normal((4, formula.n_params)) * scale
    if formula.exponential:
        params[:, -3:] /= scale
    if formula.layered:
        params[:, formula.n_base :] /= max(1.0, scale) ** 2
    value, error = values(formula, params, np.full(4, 0.3))
    for theta, near, room in zip(params, value, error, strict=True):
        exact = Precise(formula, 0.3).objective([mpmath.mpf(float(t)) for t in theta])
        assert abs(float(exact - float(near))) <= room


def test_a_gradient_with_fifty_digits_is_that_of_autograd(make_cell: MakeCell) -> None:
    cell = make_cell(ARMS[2], activation={"name": "tanh"})
    formula = formula_of(cell, ARMS[2], some_data(6, 2))
    assert isinstance(formula, MlpFormula)
    theta = np.random.default_rng(4).standard_normal(formula.n_params) / 2
    exact = Precise(formula, 0.3).gradient([mpmath.mpf(float(t)) for t in theta])
    found = torch.func.grad(formula.objective)(
        torch.as_tensor(theta), torch.tensor(0.3, dtype=torch.float64)
    )
    np.testing.assert_allclose(np.array([float(g) for g in exact]), found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (AUGMENTATIONS.names(), {"none", "exp_skip", "exp_per_layer", "monomial", "extra_neuron"}),
        # Those of [B] are part of the formulas of their networks.
        (REGULARIZERS.names(), {"none", "augment", "coercive", "convolution"}),
    ],
)
def test_no_part_is_registered_that_the_second_route_was_not_told_of(
    names: list[str], known: set[str]
) -> None:
    assert set(names) == known


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "mystery"},
        {"activation": {"name": "mystery"}},
        {"arm": "augment"},
    ],
)
def test_an_unknown_part_is_refused(make_cell: MakeCell, change: dict[str, Any]) -> None:
    arm = Arm("new", augment=Choice("mystery")) if "arm" in change else Arm("plain")
    settings = {name: value for name, value in change.items() if name != "arm"}
    with pytest.raises(NoSecondRouteError, match="no second route"):
        formula_of(make_cell(arm, **settings), arm, some_data())
