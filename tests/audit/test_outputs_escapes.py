"""Audit of `ray` with several outputs: leads, limits, saturating units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sweep.audit import ArmRows, audit_arm
from sweep.job import arm_objective
from sweep.judge.base import Judgement
from sweep.judge.escapes.scaling import settle_scaling
from sweep.judge.outputs.escapes import settle_outputs_escapes
from sweep.judge.outputs.polish import polish_outputs
from sweep.judge.readings import leads
from sweep.problems import Data
from sweep.seeds import stream
from sweep.spec import Arm, Cell

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]


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
    points = rng.normal(size=(20, objective.n_params))
    for point in points:
        h = objective.network.hidden(torch.as_tensor(point)[:, None], objective.x)[-1][:, :, 0]
        fit = np.linalg.lstsq(np.column_stack([h.numpy().T, np.ones(9)]), data.y, rcond=None)[0]
        point[-51:] = np.concatenate([fit[:-1].T.ravel(), fit[-1]])
    points = points[leads(objective, points)[0] > 1e-3][:4]
    found = Judgement.unresolved(points)
    settle_scaling(found, objective, None)
    assert (found.verdict == "escaping").all()
    margin, zeros = found.certificate_margin, [0.0] * 4
    limits = ("limit_objective", "limit_error", "limit_error_base")

    def findings(theta: np.ndarray, cell: Cell = cell, name: str = "ray", **columns: Any) -> Any:
        given = dict.fromkeys(limits, zeros) | {"certificate_margin": margin.tolist()} | columns
        rows = make_rows(cell, data, theta, "escaping", name, **given)
        where = [(finding.where, finding.column) for finding in audit_arm(rows, data, 0).findings]
        return {column for _, column in where}, len({row for row, _ in where})

    assert findings(points) == (set(), 0)
    assert findings(points, name="tail") == ({"certificate"}, 4)
    for limit in limits:
        assert findings(points, **{limit: [1 / 9] * 4}) == ({limit}, 4)
        assert findings(points, **{limit: [None] * 4}) == ({limit}, 4)
    for wrong in (1.01 * margin, -margin, 0 * margin):
        assert findings(points, certificate_margin=wrong.tolist())[0] == {"certificate_margin"}
    # Two outputs tied but for the last digit; a class that is no longer told; squared outputs.
    tied = points.copy()
    tied[:, -19:-3] = tied[:, -35:-19]
    tied[:, -1] = np.nextafter(tied[:, -2], np.inf)
    # (A unit of theirs may saturate instead, but not towards F = 0.)
    named = {"certificate", *limits}
    assert findings(tied)[0] <= named
    assert findings(tied)[1] == 4
    wrong = points.copy()
    wrong[:, -1] += 3.0
    assert findings(wrong)[0] <= named
    assert findings(wrong)[1] == 4
    # A lead that rounding can have made.
    near = points.copy()
    f = objective.outputs(torch.as_tensor(np.ascontiguousarray(points.T))).numpy()
    ahead = np.where(data.y.T[2, :, None] > 0, np.inf, (f * data.y.T[:, :, None]).sum(0) - f[2])
    near[:, -1] += ahead.min(axis=0) - 2e-15
    assert (leads(objective, near)[0] > 0).any()
    assert findings(near)[1] == 4
    assert findings(near)[0] <= named
    squared = make_cell(loss="squared", **model)
    assert "certificate" in findings(points, squared)[0]
    held = make_cell(Arm("held", weight_decay=1e-9), loss="cross_entropy", **model)
    assert "certificate" in findings(points, held)[0]


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_units_that_saturate_are_confirmed_and_wrong_rows_found(
    make_cell: MakeCell, make_rows: MakeRows, loss: str, activation: str
) -> None:
    rng = stream("test", "clusters")
    side, label = np.arange(24) % 2, np.arange(24) // 2 % 3
    x = np.column_stack([(2 * side - 1) * rng.uniform(0.8, 2.2, size=24), rng.normal(size=24)])
    # The points next to the gap are of one class each.
    label = np.where(np.abs(x[:, 0]) < 1.6, 2 * side, label)
    data = Data(x, np.eye(3)[label])
    cell = make_cell(loss=loss, width=1, activation={"name": activation}, outputs=3)
    objective = arm_objective(cell, cell.arms[0], data)
    found = Judgement.unresolved(2 * rng.normal(size=(12, objective.n_params)))
    polish_outputs(found, objective, None)
    settle_outputs_escapes(found, objective, None)
    out = found.verdict == "escaping"
    assert out.sum() >= 4
    points, count = found.params[out], int(out.sum())
    shares: list[Any] = found.limit_error[out].tolist() if loss != "squared" else [None] * count
    right = {
        "limit_objective": found.limit_objective[out].tolist(),
        "limit_error": shares,
        "limit_error_base": shares,
    }

    def findings(theta: np.ndarray, **columns: Any) -> set[str]:
        rows = make_rows(cell, data, theta, "escaping", "ray", **(right | columns))
        return {finding.column for finding in audit_arm(rows, data, root=0).findings}

    assert findings(points) == set()
    for off in (-1e-3, 1e-3):
        limits = (found.limit_objective[out] + off).tolist()
        assert findings(points, limit_objective=limits) == {"limit_objective"}
    for share in (1 / 24, 1.0, None) if loss != "squared" else (0.0,):
        wrong = [share] * count
        assert findings(points, limit_error=wrong, limit_error_base=wrong) == {
            "limit_error",
            "limit_error_base",
        }
    # The unit's outgoing weights turned about: saturating raises F.
    turned = points.copy()
    turned[:, 3:6] *= -1
    assert "certificate" in findings(turned)
    moved = points.copy()
    moved[:, 3] += 1.0
    assert findings(moved) & {"certificate", "limit_objective"}
