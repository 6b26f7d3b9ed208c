"""Several outputs and kinks anywhere: the second route confirms what is true, finds what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweep.audit import ArmRows, audit_arm
from sweep.constructions import Constructed
from sweep.job import arm_objective
from sweep.judge.affine.verdicts import settle_affine
from sweep.judge.base import Judgement
from sweep.judge.outputs.polish import polish_outputs
from sweep.judge.outputs.proof import settle_outputs
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


@pytest.mark.parametrize(("loss", "activation"), [("squared", "leaky_relu"), ("squared", "relu")])
def test_minima_across_symmetries_are_confirmed_and_points_beside_them_found(
    make_cell: MakeCell, make_rows: MakeRows, loss: str, activation: str
) -> None:
    data = PROBLEMS.build(Choice("clouds")).load()
    cell = make_cell(loss=loss, width=2, activation={"name": activation}, outputs=3)
    objective = arm_objective(cell, cell.arms[0], data)
    start = np.random.default_rng(3).normal(size=(60, objective.n_params))
    found = Judgement.unresolved(start)
    polish_outputs(found, objective, None)
    settle_outputs(found, objective, None)
    members = np.flatnonzero(found.certificate == "cell")[:5]
    assert len(members)

    def findings(theta: np.ndarray, least: list[float | None], flat: np.ndarray) -> set[str]:
        rows = make_rows(
            cell,
            data,
            theta,
            "local_minimum",
            "cell",
            certificate_radius=found.certificate_radius[members].tolist(),
            judged_min_eig=least,
            flat_dim=flat.tolist(),
        )
        return {finding.column for finding in audit_arm(rows, data, root=0).findings}

    points, flat = found.params[members], found.flat_dim[members]
    none: list[float | None] = [None] * len(members)
    assert np.isnan(found.min_eig[members]).all()
    assert findings(points, none, flat) == set()
    assert findings(points, [1e-3] * len(members), flat) == {"judged_min_eig"}
    assert findings(points, none, flat + 1) == {"flat_dim"}
    beside = points + 1e-4 * np.random.default_rng(0).normal(size=points.shape)
    assert {"certificate", "certificate_radius"} <= findings(beside, none, flat)
