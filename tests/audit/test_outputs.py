"""Several outputs and kinks anywhere: the second route confirms what is true, finds what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweep.audit import ArmRows, audit_arm
from sweep.constructions import Constructed
from sweep.job import arm_objective
from sweep.judge.affine import settle_affine
from sweep.judge.base import Judgement
from sweep.problems import PROBLEMS
from sweep.registry import Choice
from sweep.spec import Cell

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]
HARD = {"name": "piecewise_linear"}
TWO = {"name": "two_piece", "negative_slope": -2.0, "positive_slope": 0.5}
CASES = [
    ("two_moons", "hinge_power", [3, 2], HARD, 1),
    ("clouds", "cross_entropy", [4, 4], TWO, 3),
    ("planar_map", "squared", 4, HARD, 2),
]


@pytest.mark.parametrize(("problem", "loss", "width", "activation", "outputs"), CASES)
def test_affine_minima_are_confirmed_and_points_beside_them_found(
    make_cell: MakeCell,
    make_rows: MakeRows,
    problem: str,
    loss: str,
    width: Any,
    activation: dict[str, Any],
    outputs: int,
) -> None:
    data = PROBLEMS.build(Choice(problem)).load()
    model = {"width": width, "activation": activation, "outputs": outputs}
    cell = make_cell(loss=loss, **model)
    objective = arm_objective(cell, cell.arms[0], data)
    points = objective.initial(Constructed(5), 0, range(6))
    found = Judgement.unresolved(points)
    settle_affine(found, objective, None)
    radius = found.certificate_radius

    def findings(theta: np.ndarray) -> set[str]:
        rows = make_rows(
            cell, data, theta, "local_minimum", "affine", certificate_radius=radius.tolist()
        )
        return {finding.column for finding in audit_arm(rows, data, root=0).findings}

    assert findings(points) == set()
    off = points.copy()
    off[:, -1] += 1e-3
    assert "certificate" in findings(off)
    # Random points: every measured column agrees, and none is an affine minimum.
    anywhere = np.random.default_rng(0).normal(size=points.shape)
    assert findings(anywhere) <= {"certificate", "certificate_radius"}
