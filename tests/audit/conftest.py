from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweep.audit import ArmRows
from sweep.job import arm_lambdas, arm_objective
from sweep.problems import Data
from sweep.registry import Choice
from sweep.spec import Arm, Cell

PLAIN = Arm("plain")
EXP = Arm(
    "exp",
    augment=Choice("exp_skip"),
    regularizer=Choice("augment"),
    lam=Choice("fixed", {"value": 0.1}),
)
MEASURED = {
    "judged_error": "error",
    "judged_error_base": "error_base",
    "judged_loss": "loss",
    "judged_objective": "objective",
    "judged_grad_norm": "grad_norm",
    "param_norm": "param_norm",
    "augment_activity": "augment_activity",
    "dead_units": "dead_units",
}

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]


def build_cell(arm: Arm = PLAIN, loss: str = "hinge_power", **model: Any) -> Cell:
    settings = {"width": 2, "activation": {"name": "relu"}, **model}
    idle = Choice("none")
    return Cell(
        id="c00000000",
        axes={},
        problem=Choice("made"),
        model=Choice("mlp", settings),
        loss=Choice(loss, {"p": 3} if loss == "hinge_power" else {}),
        init=idle,
        optimizer=idle,
        stopping=Choice("standard", {"max_steps": 10, "gradient": 0.0, "loss": -1.0}),
        judge=Choice("standard", {"tolerance": 1e-12}),
        arms=(arm,),
        data_digest="",
    )


def build_rows(
    cell: Cell, data: Data, params: np.ndarray, verdict: str, certificate: str, **columns: Any
) -> ArmRows:
    """Rows as a job would write them: measured by the first route at these points (S, P)."""
    (arm,) = cell.arms
    objective = arm_objective(cell, arm, data)
    count = len(params)
    lambdas = arm_lambdas(arm, 0, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas[:1], count, axis=0)
    measures = objective.measure(params, lam)
    found: dict[str, list[Any]] = {
        "study": ["s"] * count,
        "cell": [cell.id] * count,
        "arm": [arm.name] * count,
        "draw": [0] * count,
        "seed": list(range(count)),
        "lam": [None] * count if lam is None else lam[:, 0].tolist(),
        "verdict": [verdict] * count,
        "certificate": [certificate] * count,
        "params": params.tolist(),
    }
    for name in ("certificate_radius", "judged_min_eig", "limit_error", "limit_error_base"):
        found[name] = [None] * count
    for name in ("limit_objective", "certificate_margin", "flat_dim", "lam_vector"):
        found[name] = [None] * count
    plain = {"evidence": "{}", "trainer": "torch", "stop": "steps", "steps": 10}
    for name, value in (plain | {"polish_steps": 0, "moved": 0.0}).items():
        found[name] = [value] * count
    for column, name in MEASURED.items():
        values = getattr(measures, name)
        found[column] = [None] * count if values is None else values.tolist()
        found[column.replace("judged", "final")] = found[column]
    for name, value in columns.items():
        found[name] = list(value)
    return ArmRows(cell, arm, {}, found)


@pytest.fixture
def make_cell() -> MakeCell:
    return build_cell


@pytest.fixture
def make_rows() -> MakeRows:
    return build_rows


@pytest.fixture
def arms() -> dict[str, Arm]:
    return {"plain": PLAIN, "exp": EXP}
