"""Constructed points of known kind: what is true is confirmed, what is not is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch

from sweep.audit import ArmRows, Finding, audit_arm
from sweep.audit.first_order import Units, first_order, units_of
from sweep.audit.formulas import MlpFormula, formula_of
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.spec import Arm, Cell

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]
Arms = dict[str, Arm]


def two_moons() -> Data:
    data = PROBLEMS.build(Choice("two_moons")).load()
    assert isinstance(data, Data)
    return data


def with_units(theta: np.ndarray, units: Units) -> np.ndarray:
    """θ of a network of width 2 on two inputs, with these units put in."""
    found = theta.copy()
    found[:4], found[4:6] = units.W[:, :-1].ravel(), units.W[:, -1]
    found[6:8], found[8] = units.a, units.c
    return found


def findings(rows: ArmRows, data: Data) -> list[Finding]:
    return audit_arm(rows, data, root=0).findings


def affine_fit(data: Data) -> np.ndarray:
    """The best (w, c) for hinge³, to rounding: Newton on a convex function."""
    x = np.column_stack([data.x, np.ones(len(data.y))])
    w = np.zeros(x.shape[1])
    for _ in range(60):
        u = np.maximum(1 - data.y * (x @ w), 0)
        w -= np.linalg.solve((6 * u * x.T) @ x, x.T @ (-data.y * 3 * u**2))
    return w


def affine_minimum(data: Data, high: float = 10.0) -> np.ndarray:
    """A ReLU network of width 2 that is its best affine fit: both units active on all data."""
    w, c = affine_fit(data)[:-1], affine_fit(data)[-1]
    inner = np.array([0.7 * w, 0.3 * w])
    bias = np.array([high, high])
    return np.concatenate([inner.ravel(), bias, [1.0, 1.0], [c - 2 * high]])


def strict_minimum(formula: MlpFormula, seed: int) -> np.ndarray:
    """A minimum of a smooth objective, by L-BFGS and then Newton to rounding."""
    zero = torch.tensor(0.0, dtype=torch.float64)

    def both(theta: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.tensor(theta, requires_grad=True)
        value = formula.objective(point, zero)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.numpy()

    start = np.random.default_rng(seed).standard_normal(formula.n_params)
    theta: np.ndarray = scipy.optimize.minimize(both, start, jac=True, method="BFGS").x
    for _ in range(8):
        hessian = torch.func.jacrev(torch.func.grad(formula.objective))(
            torch.as_tensor(theta), zero
        ).numpy()
        theta = theta - np.linalg.solve(hessian, both(theta)[1])
    assert np.linalg.eigvalsh(hessian)[0] > 0
    return theta


@pytest.fixture(scope="module")
def moons() -> Data:
    return two_moons()


@pytest.mark.parametrize("certificate", ["cell", "kink", "valley", "affine"])
def test_the_best_affine_fit_is_confirmed_and_a_worse_one_found(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, certificate: str
) -> None:
    cell, point = make_cell(), affine_minimum(moons)
    true = make_rows(
        cell, moons, point[None], "local_minimum", certificate, certificate_radius=[1.0]
    )
    assert findings(true, moons) == []
    worse = point.copy()
    worse[0] += 1e-3
    false = make_rows(
        cell, moons, worse[None], "local_minimum", certificate, certificate_radius=[1.0]
    )
    found = findings(false, moons)
    assert "certificate" in {f.column for f in found}


def test_a_radius_that_reaches_lower_ground_is_found(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    # Both units are off on all data, and switching one on lowers F.
    point = np.array([[0.01, 0.0, 0.0, 0.01, -0.5, -0.5, 1.0, 1.0, 0.0]])
    for radius, columns in ((0.1, []), (2.0, ["certificate_radius"])):
        claim = {"certificate_radius": [radius]}
        rows = make_rows(make_cell(), moons, point, "local_minimum", "cell", **claim)
        assert [f.column for f in findings(rows, moons)] == columns


def test_a_deep_affine_fit_is_confirmed_and_a_kink_in_it_found(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    w, c = affine_fit(moons)[:-1], affine_fit(moons)[-1]
    cell = make_cell(width=[1, 1])
    high = 10.0
    point = np.concatenate([w, [high], [1.0], [high], [1.0], [c - 2 * high]])
    rows = make_rows(cell, moons, point[None], "local_minimum", "affine", certificate_radius=[1e-3])
    assert findings(rows, moons) == []
    kinked = np.concatenate([w, [0.1], [1.0], [high], [1.0], [c - high - 0.1]])
    claim = {"certificate_radius": [1e-4]}
    rows = make_rows(cell, moons, kinked[None], "local_minimum", "affine", **claim)
    assert [f.column for f in findings(rows, moons)][:1] == ["certificate"]


def test_a_layer_that_is_off_leaves_only_the_constant(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    cell = make_cell(width=[1, 1])
    # The first unit has its kink among the data, the second is off on all of them.
    for constant, columns in ((0.0, []), (1e-3, ["certificate"])):
        point = np.array([[1.0, 0.0, 0.0, -1.0, -1.0, 1.0, constant]])
        rows = make_rows(cell, moons, point, "local_minimum", "affine", certificate_radius=[1e-3])
        assert [f.column for f in findings(rows, moons)][:1] == columns


def test_strict_minima_are_confirmed_with_fifty_digits(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    arm = Arm("decayed", weight_decay=0.05)
    cell = make_cell(arm, activation={"name": "tanh"})
    formula = formula_of(cell, arm, moons)
    assert isinstance(formula, MlpFormula)
    points = np.array([strict_minimum(formula, seed) for seed in range(2)])
    zero = torch.tensor(0.0, dtype=torch.float64)
    hessians = [
        torch.func.jacrev(torch.func.grad(formula.objective))(torch.as_tensor(p), zero)
        for p in points
    ]
    eigen = [float(torch.linalg.eigvalsh(h)[0]) for h in hessians]
    claim: dict[str, Any] = {"certificate_radius": [1e-8] * 2, "judged_min_eig": eigen}
    rows = make_rows(cell, moons, points, "local_minimum", "strict", **claim)
    found = audit_arm(rows, moons, root=0)
    assert found.findings == []
    assert found.precise == 2

    moved = points + 1e-3 * np.eye(len(points[0]))[0]
    rows = make_rows(cell, moons, moved, "local_minimum", "strict", **claim)
    assert {f.column for f in findings(rows, moons)} >= {"certificate_radius"}
    assert len({f.where for f in findings(rows, moons)}) == 2

    escaping = make_rows(
        cell,
        moons,
        points,
        "escaping",
        "tail",
        limit_objective=[0.0] * 2,
        limit_error=[0.0] * 2,
        limit_error_base=[0.0] * 2,
    )
    assert {f.column for f in findings(escaping, moons)} == {"verdict"}
    saddle = make_rows(cell, moons, points, "saddle", "descent")
    assert all("no step" in f.recomputed for f in findings(saddle, moons))


def test_a_saddle_is_confirmed_and_is_no_strict_minimum(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data
) -> None:
    cell = make_cell(activation={"name": "tanh"})
    point = np.zeros((1, 9))  # balanced labels: stationary, and a·w turns downhill
    assert moons.y.sum() == 0
    assert findings(make_rows(cell, moons, point, "saddle", "descent"), moons) == []
    rows = make_rows(cell, moons, point, "local_minimum", "strict", certificate_radius=[1e-6])
    assert {f.column for f in findings(rows, moons)} >= {"certificate", "judged_min_eig"}


def test_an_affine_minimum_with_a_resting_exponential_neuron_is_a_saddle(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, arms: Arms
) -> None:
    # With a = 0 and w = 0 second order sees nothing (Σq = Σqx = 0): a generic w shows the descent.
    cell = make_cell(arms["exp"])
    point = np.append(affine_minimum(moons), [0.0, 0.0, 0.0, 0.0])[None]
    assert findings(make_rows(cell, moons, point, "saddle", "descent"), moons) == []
    rows = make_rows(cell, moons, point, "local_minimum", "cell", certificate_radius=[1e-3])
    assert [f.column for f in findings(rows, moons)] == ["verdict"]


def test_escapes_of_the_exponential_neuron(
    make_cell: MakeCell, make_rows: MakeRows, moons: Data, arms: Arms
) -> None:
    cell = make_cell(arms["exp"])
    point = np.append(affine_minimum(moons), [-0.2, 0.5, -0.4, 0.3])[None]
    limits = {"limit_error": [0.25], "limit_error_base": [0.25]}
    true = make_rows(cell, moons, point, "escaping", "chart", limit_objective=[12.0], **limits)
    assert findings(true, moons) == []
    for limit, column in ((1e9, "limit_objective"), (-1.0, "limit_objective")):
        rows = make_rows(cell, moons, point, "escaping", "chart", limit_objective=[limit], **limits)
        assert [f.column for f in findings(rows, moons)] == [column]
    rows = make_rows(cell, moons, point, "escaping", "chart")
    assert {f.column for f in findings(rows, moons)} == {
        "limit_objective",
        "limit_error",
        "limit_error_base",
    }


def test_conflicting_labels_have_a_bound_that_must_be_attained(
    make_cell: MakeCell, make_rows: MakeRows
) -> None:
    # Two labels +1 and one −1 at x = 0: t = (√2−1)/(√2+1), F = 16/(√2+1)² ([A] Prop. 2).
    data = Data(np.zeros((3, 1)), np.array([1.0, 1.0, -1.0]))
    best = (np.sqrt(2) - 1) / (np.sqrt(2) + 1)
    cell = make_cell(activation={"name": "tanh"})
    point = np.array([[0.3, -0.2, 0.0, 0.0, 0.5, 0.5, best]])
    rows = make_rows(cell, data, point, "global_minimum", "lower_bound")
    assert rows.columns["judged_objective"][0] == pytest.approx(16 / (np.sqrt(2) + 1) ** 2)
    assert findings(rows, data) == []
    for radius, columns in ((1e-9, []), (-1.0, ["certificate_radius"])):
        claim = {"certificate_radius": [radius]}
        rows = make_rows(cell, data, point, "global_minimum", "lower_bound", **claim)
        assert [f.column for f in findings(rows, data)] == columns
    point[0, -1] += 1e-3
    rows = make_rows(cell, data, point, "global_minimum", "lower_bound")
    assert [f.column for f in findings(rows, data)] == ["verdict"]


def test_a_slide_towards_an_unattained_bound_is_no_global_minimum(
    make_cell: MakeCell, make_rows: MakeRows
) -> None:
    # Squared loss wants ±1 exactly; tanh alone comes as near as one likes and never arrives.
    data = Data(np.array([[-1.0], [1.0]]), np.array([-1.0, 1.0]))
    cell = make_cell(Arm("plain"), "squared", width=1, activation={"name": "sigmoid"})
    here = np.array([[40.0, 0.0, 2.0, -1.0]])
    rows = make_rows(cell, data, here, "global_minimum", "lower_bound")
    assert rows.columns["judged_objective"][0] < 1e-12
    assert findings(rows, data) == []  # 2σ(40) − 1 is a hair's breadth from (a, c) that is exact
    cell = make_cell(Arm("decayed", weight_decay=1e-20), "squared", width=1)
    rows = make_rows(
        cell, data, here * 0 + [[1.0, 1.0, 1.0, -1.0]], "global_minimum", "lower_bound"
    )
    assert "weight decay" in findings(rows, data)[0].recomputed


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_the_least_subgradient_is_the_steepest_descent(
    make_cell: MakeCell, moons: Data, slope: float
) -> None:
    activation = {"name": "leaky_relu", "negative_slope": slope}
    formula = formula_of(make_cell(activation=activation), Arm("plain"), moons)
    assert isinstance(formula, MlpFormula)
    rng = np.random.default_rng(0)
    kinked = 0
    for _ in range(12):
        theta = rng.standard_normal(9)
        units = units_of(formula, theta)
        for j, i in enumerate(rng.choice(len(moons.y), 2)):
            units.W[j, -1] = -units.W[j, :-1] @ moons.x[i]  # a kink at data point i
        theta = with_units(theta, units)
        condition = first_order(formula, theta)

        def slope_along(move: np.ndarray, bias: float, theta: np.ndarray = theta) -> float:
            t, zero = 1e-6, torch.tensor(0.0, dtype=torch.float64)
            at = units_of(formula, theta)
            at.W[:] += t * move / np.abs(at.a)[:, None]
            moved = with_units(theta, type(at)(at.a, at.W, at.c + t * bias))
            ends = [formula.objective(torch.as_tensor(p), zero) for p in (moved, theta)]
            return float(ends[0] - ends[1]) / t

        unit, residual = condition.directions, condition.residual
        steepest = slope_along(unit / residual, condition.bias / residual)
        assert steepest == pytest.approx(-residual, rel=1e-3)
        for _ in range(200):
            move = rng.standard_normal(7)
            move /= np.linalg.norm(move)
            assert slope_along(move[:-1].reshape(2, 3), move[-1]) >= -residual * (1 + 1e-3)
        kinked += 1
    assert kinked == 12


def graded_labels() -> tuple[Data, np.ndarray]:
    """Labels in shares on a line, and the (c, w, b) of the best c + e^{wx + b} for hinge³.

    At n₊ labels of +1 and n₋ of −1 the best output is (√n₊ − √n₋)/(√n₊ + √n₋): three places and
    three parameters, so all three are reached, and the Hessian there is positive definite.
    """
    counts = [(1, 16), (4, 16), (9, 1)]
    x = np.repeat([0.0, 1.0, 2.0], [sum(count) for count in counts])[:, None]
    y = np.concatenate([[1.0] * plus + [-1.0] * minus for plus, minus in counts])
    low, middle, high = ((p**0.5 - m**0.5) / (p**0.5 + m**0.5) for p, m in counts)
    w = np.log((high - middle) / (middle - low))
    rise = (middle - low) / (np.exp(w) - 1)
    return Data(x, y), np.array([low - rise, w, np.log(rise)])


def test_a_strict_minimum_beside_an_unpenalised_neuron_is_one_across_its_flat_directions(
    make_cell: MakeCell, make_rows: MakeRows
) -> None:
    cell = make_cell(arm=Arm("free", augment=Choice("exp_skip")))
    data, (c, w, b) = graded_labels()
    # Both units are off on all data: only the constant and the neuron are seen.
    a = 0.37
    true = np.array([0.01, -0.01, -0.5, -0.5, 1.0, 1.0, c, a, w, b - np.log(a)])
    claims: dict[str, Any] = {"certificate_radius": [1e-9], "judged_min_eig": [None]}
    row = make_rows(cell, data, true[None], "local_minimum", "strict", **claims)
    assert findings(row, data) == []
    moved = true.copy()
    moved[-1] += 1e-6  # Newton's step is then longer than the radius, and F is lower inside it
    row = make_rows(cell, data, moved[None], "local_minimum", "strict", **claims)
    assert {f.column for f in findings(row, data)} == {"certificate_radius"}
    lit = true.copy()
    lit[2] = 0.5  # a unit that sees the data helps nobody where it is
    row = make_rows(cell, data, lit[None], "local_minimum", "strict", **claims)
    assert findings(row, data)


@pytest.mark.parametrize("certificate", ["cell", "affine"])
@pytest.mark.parametrize(("hair", "found"), [(1e-9, True), (1e-3, False)])
def test_a_unit_beside_a_kink_that_it_should_cross_is_found(
    make_cell: MakeCell,
    make_rows: MakeRows,
    moons: Data,
    certificate: str,
    hair: float,
    found: bool,
) -> None:
    """The second unit is off: a minimum on a ball of the hair's size, and F falls beyond it."""
    fit = affine_fit(moons)
    q = -moons.y * np.maximum(1 - moons.y * (moons.x @ fit[:-1] + fit[-1]), 0) ** 2
    ways = np.random.default_rng(0).standard_normal((100, 2))
    tops = (ways @ moons.x.T).argmax(axis=1)
    best = int(np.abs(q[tops]).argmax())
    way, top = ways[best], tops[best]
    inner, bias = np.array([fit[:-1], way]), np.array([10.0, -moons.x[top] @ way - hair])
    out = np.array([1.0, -np.sign(q[top])])
    point = np.concatenate([inner.ravel(), bias, out, [fit[-1] - 10.0]])
    claim = {"certificate_radius": [hair / 10]}
    rows = make_rows(make_cell(), moons, point[None], "local_minimum", certificate, **claim)
    assert [f.column for f in findings(rows, moons)] == ["certificate"] * found


def test_where_only_rounding_is_left_no_slope_is_a_finding(
    make_cell: MakeCell, make_rows: MakeRows
) -> None:
    """A network that interpolates XOR: what remains of q is rounding, and so is its direction."""
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    data = Data(x, -x[:, 0] * x[:, 1])
    out = 2 / np.array([1.3, 1.2])
    point = np.array([[0.7, -0.7, -0.7, 0.7, -0.1, -0.2, *out, -1.0]])
    cell = make_cell(loss="squared")
    for shift, columns in ((0.0, []), (1e-9, ["certificate"])):
        point[0, -1] += shift
        claim = {"certificate_radius": [1e-3]}
        rows = make_rows(cell, data, point, "local_minimum", "cell", **claim)
        assert [f.column for f in findings(rows, data)][: len(columns) or None] == columns
