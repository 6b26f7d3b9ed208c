"""Minima called escapes or saddles, limits that no escape has, and descents that are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sweep.audit import ArmRows, Finding, audit_arm
from sweep.audit.saddles import ORDER, STEPS, falls_at_once
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.spec import Arm, Cell

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]
HERE = {"limit_error": [0.0], "limit_error_base": [0.0], "limit_objective": [0.0]}


@pytest.fixture(scope="module")
def moons() -> Data:
    data = PROBLEMS.build(Choice("two_moons")).load()
    assert isinstance(data, Data)
    return data


def findings(rows: ArmRows, data: Data) -> list[Finding]:
    return audit_arm(rows, data, root=0).findings


def line() -> Data:
    return Data(np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0]))


@pytest.mark.parametrize("certificate", ["ray", "chart", "tail"])
@pytest.mark.parametrize("loss", ["hinge_power", "squared"])
def test_no_plain_piecewise_linear_network_escapes(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, certificate: str, loss: str
) -> None:
    point = np.random.default_rng(0).standard_normal((1, 9))
    rows = make_rows(make_cell(loss=loss), moons, point, "escaping", certificate, **HERE)
    (found,) = findings(rows, moons)
    assert "attains its least value" in found.recomputed


@pytest.mark.parametrize(
    ("activation", "certificate", "columns"),
    [("relu", "tail", ["verdict"]), ("tanh", "chart", ["verdict"]), ("relu", "ray", [])],
)
def test_certificates_fit_the_network(
    make_cell: MakeCell,
    make_rows: MakeRows,
    activation: str,
    certificate: str,
    columns: list[str],
) -> None:
    # Under logistic loss a network that separates is scaled up for ever, and nothing else.
    cell = make_cell(loss="logistic", width=1, activation={"name": activation})
    point = np.array([[1.0, 1.0, 1.0, -0.5]])
    rows = make_rows(cell, line(), point, "escaping", certificate, **HERE)
    assert [f.column for f in findings(rows, line())] == columns


def test_a_ray_needs_a_network_that_separates(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    point = np.random.default_rng(1).standard_normal((1, 9))
    rows = make_rows(make_cell(loss="logistic"), moons, point, "escaping", "ray", **HERE)
    assert "does not separate" in findings(rows, moons)[0].recomputed


def test_a_saturating_unit_under_squared_loss_slides_without_being_scaled_up(
    make_cell: MakeCell, make_rows: MakeRows
) -> None:
    # One tanh on three places: both ends want to saturate, and the place between keeps its loss.
    data = Data(np.array([[-1.0], [0.0], [1.0]]), np.array([-1.0, 1.0, 1.0]))
    cell = make_cell(loss="squared", width=1, activation={"name": "tanh"})
    point = np.array([[4.0, 2.0, 1.0, 0.0]])
    rows = make_rows(cell, data, point, "escaping", "ray", **HERE)
    assert findings(rows, data) == []


def test_a_global_minimum_is_no_escape(make_cell: MakeCell, make_rows: MakeRows) -> None:
    cell = make_cell(width=1, activation={"name": "tanh"})
    point = np.array([[1.0, 0.0, 4.0, 0.0]])
    rows = make_rows(cell, line(), point, "escaping", "ray", **HERE)
    assert [f.column for f in findings(rows, line())] == ["verdict"]


def test_no_exponential_neuron_escapes_to_where_it_makes_more_errors(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, arms: dict[str, Arm]
) -> None:
    rng = np.random.default_rng(2)
    point = np.append(0.1 * rng.standard_normal(9), [0.5, 0.1, 0.1, 0.2])[None]
    cell = make_cell(arms["exp"])
    penalty = 0.1 * 0.5**2 / 2
    above = make_rows(cell, moons, point, "escaping", "chart", **HERE)
    here = above.columns["judged_objective"][0]
    error = above.columns["judged_error"][0]
    limits = {"limit_error": [error], "limit_error_base": [0.5]}
    for limit, share, columns in (
        (here - penalty, error, []),
        (here - penalty / 2, error, ["limit_objective"]),
        (here - penalty, 0.0, ["limit_error"]),
        (3.0, 0.1, ["limit_error"]),
        (3.0, 0.051, ["limit_error"]),
    ):
        claim = limits | {"limit_objective": [limit], "limit_error": [share]}
        rows = make_rows(cell, moons, point, "escaping", "chart", **claim)
        assert [f.column for f in findings(rows, moons)] == columns


def test_another_basin_and_the_far_side_of_a_flat_are_no_descent() -> None:
    doubt = np.full(len(STEPS), 1e-15)
    for order in (1, 2, 3, ORDER):
        assert falls_at_once(STEPS**order, doubt)
    assert not falls_at_once(-(STEPS**2), doubt)
    assert not falls_at_once(np.where(STEPS > 1e-2, 1.0, -(STEPS**2)), doubt)
    assert not falls_at_once(np.maximum(STEPS - 1e-3, 0.0), doubt)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_point_on_a_slope_is_no_saddle(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, activation: str
) -> None:
    cell = make_cell(activation={"name": activation})
    rows = make_rows(cell, moons, np.full((1, 9), 0.3), "saddle", "descent")
    assert "not stationary" in findings(rows, moons)[0].recomputed


def test_a_minimum_at_the_edge_of_a_flat_is_no_saddle(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    # Both units are off on all data, and switching one on lowers F.
    point = np.array([[0.01, 0.0, 0.0, 0.01, -0.05, -0.05, 1.0, 1.0, 0.0]])
    for width in (2, [1, 2]):
        if width == [1, 2]:
            # Deep: the first layer is off, so that only the constant is left.
            point = np.array([[0.01, 0.0, -0.05, 1.0, 1.0, -0.01, -0.01, 1.0, 1.0, 0.0]])
        rows = make_rows(make_cell(width=width), moons, point, "saddle", "descent")
        assert "no step" in findings(rows, moons)[0].recomputed
