"""Several outputs and kinks anywhere: the second route confirms what is true, finds what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sweep.audit import ArmRows, audit_arm
from sweep.audit.outputs import outputs_formula
from sweep.constructions import Constructed
from sweep.job import arm_objective
from sweep.judge.affine.verdicts import settle_affine
from sweep.judge.base import Judgement
from sweep.judge.outputs.kinks import settle_output_kinks
from sweep.judge.outputs.polish import polish_outputs
from sweep.judge.outputs.proof import settle_outputs
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream
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


@pytest.mark.parametrize(("loss", "activation"), [("squared", "leaky_relu"), ("squared", "relu")])
def test_minima_on_kinks_are_confirmed_and_points_beside_them_found(
    make_cell: MakeCell, make_rows: MakeRows, loss: str, activation: str
) -> None:
    data = PROBLEMS.build(Choice("clouds")).load()
    cell = make_cell(loss=loss, width=2, activation={"name": activation}, outputs=3)
    objective = arm_objective(cell, cell.arms[0], data)
    rng = stream("controls", "test", "audit", "kinks")
    found = Judgement.unresolved(rng.normal(size=(14, objective.n_params)))
    settle_output_kinks(found, objective, None)
    members = np.flatnonzero(found.certificate == "kink")[:4]
    assert len(members) >= 3
    points, radius = found.params[members], found.certificate_radius[members]
    flat = found.flat_dim[members]
    none: list[float | None] = [None] * len(members)

    def findings(theta: np.ndarray, name: str = "kink", **given: Any) -> list[set[str]]:
        """The columns found of every row."""
        columns = {"certificate_radius": radius, "flat_dim": flat, "judged_min_eig": none}
        columns = {k: list(v) for k, v in (columns | given).items()}
        rows = make_rows(cell, data, theta, "local_minimum", name, **columns)
        seen: list[set[str]] = [set() for _ in theta]
        for finding in audit_arm(rows, data, root=0).findings:
            seen[int(finding.where.split("seed ")[1])].add(finding.column)
        return seen

    assert findings(points) == [set()] * len(members)
    assert findings(points, judged_min_eig=[1e-3] * len(members)) == [{"judged_min_eig"}] * len(
        members
    )
    assert findings(points, flat_dim=flat + 1) == [{"flat_dim"}] * len(members)
    assert all("certificate" in seen for seen in findings(points, "cell"))
    # Within a ball as wide as this there is something lower than some of them.
    assert {"certificate_radius"} in findings(points, certificate_radius=0 * flat + 2)
    beside = points + 1e-4 * rng.normal(size=points.shape)
    assert all("certificate" in seen for seen in findings(beside))
    # Beside them on their face, where only c moves.
    beside = points.copy()
    beside[:, -1] += 1e-4
    assert all("certificate" in seen for seen in findings(beside))


def _on_two_kinks(data: Data, t: float, pull: float) -> tuple[Data, np.ndarray]:
    """Targets for which one ReLU on two kinks is stationary with multipliers t; its parameters.

    They are y = f − q/2 with Jᵀq = 0, in which the held pairs have the slope t.
    """
    rng, held = stream("controls", "test", "audit", "designed"), [3, 17]
    x = np.column_stack([data.x, np.ones(len(data.x))])
    a, c = rng.normal(size=3), rng.normal(size=3)
    w = np.cross(x[held[0]], x[held[1]])
    slope = (x @ w > 0).astype(float)
    slope[held] = 0.0
    h = slope * (x @ w)
    slope[held] = t
    J = np.concatenate(
        [
            h[:, None, None] * np.eye(3),
            np.broadcast_to(np.eye(3), (len(x), 3, 3)),
            a[:, None] * (slope[:, None] * x)[:, None],
        ],
        axis=2,
    )
    rows = np.vstack([J.reshape(-1, 9).T, np.zeros((2, 3 * len(x)))])
    for row, i in zip(rows[9:], held, strict=True):
        row[3 * i : 3 * i + 3] = a
    q = 0.1 * rng.normal(size=3 * len(x))
    wanted = np.append(np.zeros(9), [pull, pull])
    q += np.linalg.lstsq(rows, wanted - rows @ q, rcond=None)[0]
    y = h[:, None] * a + c - q.reshape(-1, 3) / 2
    return replace(data, y=y), np.concatenate([w, a, c])[None]


@pytest.mark.parametrize(
    ("t", "pull", "reason"),
    [
        (0.3, 0.1, ""),
        (1.2, 0.1, "multipliers of unit 0 from 1.2 to 1.2"),
        (-0.2, 0.1, "multipliers of unit 0 from -0.2 to -0.2"),
        (1e-8, 0.1, "multipliers"),
        (0.3, -0.1, "a kink of unit 0 that is not convex"),
    ],
)
def test_multipliers_are_looked_at(
    make_cell: MakeCell, make_rows: MakeRows, t: float, pull: float, reason: str
) -> None:
    data, point = _on_two_kinks(PROBLEMS.build(Choice("clouds")).load(), t, pull)
    cell = make_cell(loss="squared", width=1, activation={"name": "relu"}, outputs=3)
    rows = make_rows(
        cell, data, point, "local_minimum", "kink", certificate_radius=[1e-6], flat_dim=[1]
    )
    found = audit_arm(rows, data, root=0).findings
    if not reason:
        assert not found
    else:
        assert any(f.column == "certificate" and reason in f.recomputed for f in found)


def test_a_kink_at_the_origin_is_one(make_cell: MakeCell, make_rows: MakeRows) -> None:
    data = PROBLEMS.build(Choice("clouds")).load()
    x = data.x.copy()
    x[3] = 0
    data, point = _on_two_kinks(replace(data, x=x), 0.3, 0.1)
    assert point[0, 2] == 0
    point[0, 2] = 1e-79  # z is all bias there, and rounding of the weights' size.
    cell = make_cell(loss="squared", width=1, activation={"name": "relu"}, outputs=3)
    given: dict[str, Any] = {"certificate_radius": [1e-6], "flat_dim": [1]}
    rows = make_rows(cell, data, point, "local_minimum", "kink", **given)
    assert not audit_arm(rows, data, root=0).findings


@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_minima_of_badly_scaled_data_are_confirmed(
    make_cell: MakeCell, make_rows: MakeRows, scale: float
) -> None:
    # The curvature differs by twelve digits between directions, and ∇F off the face is not small.
    rng, vee = stream("controls", "test", "audit", "scaled"), TWO | {"negative_slope": -0.5}
    data = Data(scale * rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    cell = make_cell(loss="squared", width=1, activation=vee, outputs=2)
    objective = arm_objective(cell, cell.arms[0], data)
    starts = rng.normal(size=(60, objective.n_params))
    starts[:, :2] /= scale
    found = Judgement.unresolved(starts)
    settle_output_kinks(found, objective, None)
    members = np.flatnonzero(found.certificate == "kink")
    assert len(members) >= 2
    given: dict[str, Any] = {"certificate_radius": found.certificate_radius[members].tolist()}
    given |= {"flat_dim": found.flat_dim[members].tolist(), "judged_min_eig": [None] * len(members)}
    rows = make_rows(cell, data, found.params[members], "local_minimum", "kink", **given)
    assert not audit_arm(rows, data, root=0).findings


def test_the_side_of_a_kink_is_no_difference_between_two_gradients(make_cell: MakeCell) -> None:
    data, points = _on_two_kinks(PROBLEMS.build(Choice("clouds")).load(), 0.3, 0.1)
    cell = make_cell(loss="squared", width=1, activation={"name": "relu"}, outputs=3)
    formula = outputs_formula(cell, cell.arms[0], data)
    x = np.column_stack([data.x, np.ones(len(data.x))])[[3, 17]]
    way = np.append(np.linalg.pinv(x) @ np.ones(2), np.zeros(6))

    def gradient(size: float) -> torch.Tensor:
        at = torch.as_tensor(points[0] + size * way)
        return torch.func.grad(formula.objective)(at, torch.zeros(()))

    apart = float((gradient(1e-15) - gradient(-1e-15)).norm())
    doubt = float(formula.gradient_doubt(torch.as_tensor(points[0])))
    assert 0.1 * doubt < apart <= doubt
    assert float(formula.gradient_doubt(torch.as_tensor(points[0] + 1e-3 * way))) == 0
