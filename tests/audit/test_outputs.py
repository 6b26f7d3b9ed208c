"""Several outputs and kinks anywhere: the second route confirms what is true, finds what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sweep.audit import ArmRows, audit_arm
from sweep.constructions import Constructed
from sweep.job import arm_objective
from sweep.judge.affine.verdicts import settle_affine
from sweep.judge.base import Judgement
from sweep.judge.escapes.scaling import settle_scaling
from sweep.judge.outputs.polish import polish_outputs
from sweep.judge.outputs.proof import settle_outputs
from sweep.judge.readings import leads
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.spec import Arm, Cell

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


@pytest.mark.parametrize("width", [16, [6, 16]], ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_classes_told_for_ever_are_confirmed_and_wrong_rows_found(
    make_cell: MakeCell, make_rows: MakeRows, activation: str, width: Any
) -> None:
    rng = stream("test", "told", activation)
    data = Data(rng.normal(size=(9, 2)), np.eye(3)[np.arange(9) % 3])
    model = {"width": width, "activation": {"name": activation}, "outputs": 3}
    cell = make_cell(loss="cross_entropy", **model)
    objective = arm_objective(cell, cell.arms[0], data)
    points = rng.normal(size=(40, objective.n_params))
    for point in points:
        h = objective.network.hidden(torch.as_tensor(point)[:, None], objective.x)[-1][:, :, 0]
        fit = np.linalg.lstsq(np.column_stack([h.numpy().T, np.ones(9)]), data.y, rcond=None)[0]
        point[-51:] = np.concatenate([fit[:-1].T.ravel(), fit[-1]])
    points = points[leads(objective, points)[0] > 1e-3][:8]
    found = Judgement.unresolved(points)
    settle_scaling(found, objective, None)
    assert (found.verdict == "escaping").all()
    margin, zeros = found.certificate_margin, [0.0] * 8
    limits = ("limit_objective", "limit_error", "limit_error_base")

    def findings(theta: np.ndarray, cell: Cell = cell, name: str = "ray", **columns: Any) -> Any:
        given = dict.fromkeys(limits, zeros) | {"certificate_margin": margin.tolist()} | columns
        rows = make_rows(cell, data, theta, "escaping", name, **given)
        where = [(finding.where, finding.column) for finding in audit_arm(rows, data, 0).findings]
        return {column for _, column in where}, len({row for row, _ in where})

    assert findings(points) == (set(), 0)
    assert findings(points, name="tail") == ({"certificate"}, 8)
    for limit in limits:
        assert findings(points, **{limit: [1 / 9] * 8}) == ({limit}, 8)
        assert findings(points, **{limit: [None] * 8}) == ({limit}, 8)
    for wrong in (1.01 * margin, -margin, 0 * margin):
        assert findings(points, certificate_margin=wrong.tolist())[0] == {"certificate_margin"}
    # Two outputs tied but for the last digit; a class that is no longer told; squared outputs.
    tied = points.copy()
    tied[:, -19:-3] = tied[:, -35:-19]
    tied[:, -1] = np.nextafter(tied[:, -2], np.inf)
    assert findings(tied) == ({"certificate", "certificate_margin"}, 8)
    wrong = points.copy()
    wrong[:, -1] += 3.0
    assert findings(wrong) == ({"certificate", "certificate_margin"}, 8)
    squared = make_cell(loss="squared", **model)
    assert "certificate" in findings(points, squared)[0]
    held = make_cell(Arm("held", weight_decay=1e-9), loss="cross_entropy", **model)
    assert "certificate" in findings(points, held)[0]
