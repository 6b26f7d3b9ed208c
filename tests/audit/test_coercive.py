"""Coercive networks by the second route: judged points are confirmed, altered rows are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from sweep.audit import ArmRows, Finding, audit_arm
from sweep.audit.sphere import below, greatest
from sweep.job import arm_lambdas, arm_objective
from sweep.judge import StandardJudge
from sweep.models.losses import Logistic
from sweep.models.simplex_minimum import simplex_minimum
from sweep.problems import Data
from sweep.problems.simplex import Simplex
from sweep.registry import Choice
from sweep.spec import Arm, Cell
from sweep.verdicts import Stop

MakeCell = Callable[..., Cell]
MakeRows = Callable[..., ArmRows]

COERCIVE = Arm(
    "coercive",
    regularizer=Choice("coercive"),
    lam=Choice("uniform_per_neuron", {"high": 0.02, "draws": 1}),
)
BARE = Arm("bare")


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


def some_data(n: int = 8, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    return Data(rng.normal(size=(n, 2)), np.where(np.arange(n) % 2 == 0, 1.0, -1.0))


def judged(
    make_cell: MakeCell, make_rows: MakeRows, data: Data, arm: Arm, model: str, loss: str
) -> ArmRows:
    """Rows of random points after the judge."""
    width = len(data.y) + 2
    cell = replace(make_cell(arm, loss), model=Choice(model, {"width": width}))
    objective = arm_objective(cell, arm, data)
    start = np.random.default_rng(1).normal(size=(6, objective.n_params))
    lambdas = arm_lambdas(arm, 0, objective.n_lambda)
    lam = None if lambdas is None else np.repeat(lambdas, len(start), axis=0)
    ended = Ended(start, np.full(len(start), Stop.STEPS.value, dtype=object))
    found = StandardJudge().judge(objective, ended, lam)
    columns: dict[str, Any] = {
        "certificate_radius": found.certificate_radius,
        "judged_min_eig": found.min_eig,
        "limit_objective": found.limit_objective,
        "limit_error": found.limit_error,
        "limit_error_base": found.limit_error_base,
    }
    columns = {k: [None if np.isnan(x) else float(x) for x in v] for k, v in columns.items()}
    if lam is not None:
        columns |= {"lam": lam.mean(axis=1).tolist()}
        if lam.shape[1] > 1:
            columns["lam_vector"] = lam.tolist()
    rows = make_rows(cell, data, found.params, "unresolved", "none", **columns)
    words = {"verdict": list(found.verdict), "certificate": list(found.certificate)}
    return replace(rows, columns={**rows.columns, **words})


def findings(rows: ArmRows, data: Data) -> list[Finding]:
    return audit_arm(rows, data, root=0).findings


@pytest.mark.parametrize("model", ["requ", "quadratic"])
@pytest.mark.parametrize("loss", ["logistic", "hinge_power"])
def test_judged_minima_are_confirmed(make_cell, make_rows, model, loss):
    data = some_data()
    rows = judged(make_cell, make_rows, data, COERCIVE, model, loss)
    assert set(rows.columns["certificate"]) == {"inactive"}
    audited = audit_arm(rows, data, root=0)
    assert audited.findings == []
    assert audited.precise > 0


@pytest.mark.parametrize("loss", ["logistic", "hinge_power"])
def test_without_regularizer_what_separates_is_confirmed(make_cell, make_rows, loss):
    data = some_data(5)
    rows = judged(make_cell, make_rows, data, BARE, "requ", loss)
    assert {"separates", "lower_bound", "ray"} & set(rows.columns["certificate"])
    assert findings(rows, data) == []


def altered(rows: ArmRows, name: str, value: Any) -> ArmRows:
    """The rows with one column of the first one changed."""
    columns = {key: list(values) for key, values in rows.columns.items()}
    columns[name][0] = value
    return replace(rows, columns=columns)


def test_alterations_are_found(make_cell, make_rows):
    data = some_data()
    rows = judged(make_cell, make_rows, data, COERCIVE, "requ", "logistic")
    first = {name: values[0] for name, values in rows.columns.items()}
    params = np.array(first["params"])
    width = len(data.y) + 2
    idle = int(np.flatnonzero(params[-width:] == 0)[0])
    # An inactive neuron that is nearly so, an active one out of balance.
    awake, unbalanced = params.copy(), params.copy()
    awake[[idle * 2, 2 * width + idle, 3 * width + idle]] = 1e-4
    unbalanced[-width + int(np.argmax(np.abs(params[-width:])))] *= 1 + 1e-6
    changed = {
        "certificate": "strict",
        "certificate_radius": 1e-30,
        "judged_min_eig": first["judged_min_eig"] * (1 + 1e-6),
        "judged_objective": first["judged_objective"] * (1 + 1e-12),
        "lam": first["lam"] * (1 + 1e-12),
        "lam_vector": first["lam_vector"][::-1],
        "dead_units": first["dead_units"] + 1,
    }
    for name, value in changed.items():
        assert findings(altered(rows, name, value), data), name
    for moved in (awake, unbalanced):
        assert findings(altered(rows, "params", moved.tolist()), data)


def test_a_direction_above_the_level_is_found():
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.normal(size=(12, 2)), np.ones(12)])
    for _ in range(5):
        q = rng.normal(size=12)
        for rectified in (True, False):
            best = greatest(q, X, rectified)
            u = rng.normal(size=(20_000, 3))
            u /= np.linalg.norm(u, axis=1, keepdims=True)
            t = u @ X.T
            seen = np.abs((np.maximum(t, 0) if rectified else t) ** 2 @ q).max()
            assert seen <= best * (1 + 1e-9)
            assert below(q, X, rectified, best * (1 + 1e-4)) is True
            assert below(q, X, rectified, best * (1 - 1e-4)) is False


EQUAL = Arm(
    "equal",
    regularizer=Choice("coercive"),
    lam=Choice("uniform_shared", {"high": 0.02, "draws": 1}),
)


@pytest.mark.parametrize(("model", "loss"), [("requ", "hinge_power"), ("quadratic", "logistic")])
def test_global_minima_by_duality_are_confirmed(make_cell, make_rows, model, loss):
    data = some_data()
    rows = judged(make_cell, make_rows, data, EQUAL, model, loss)
    assert set(rows.columns["certificate"]) == {"lower_bound"}
    assert findings(rows, data) == []
    for name, value in {
        "certificate": "separates",
        "params": (1 + 1e-5) * np.array(rows.columns["params"][0]),
    }.items():
        assert findings(altered(rows, name, value), data), name


def test_a_bound_of_another_point_is_refused(make_cell, make_rows):
    """A local minimum under different λ is none under the dual bound of the least of them."""
    data = some_data()
    rows = judged(make_cell, make_rows, data, COERCIVE, "requ", "logistic")
    words = {
        "verdict": ["global_minimum"] * len(rows),
        "certificate": ["lower_bound"] * len(rows),
    }
    claimed = replace(rows, columns={**rows.columns, **words})
    assert len(findings(claimed, data)) >= len(rows)


def test_flat_minima_are_confirmed_and_others_refused(make_cell, make_rows):
    n, m = 6, 4
    data = Simplex(n, m).load()
    lam = float(arm_lambdas(EQUAL, 0, 1)[0, 0])
    whole = simplex_minimum(data, Logistic(), np.full(m, lam))
    D = data.x.shape[1]
    parts = np.split(whole, [m * D, m * D + m])
    point = np.concatenate([np.tile(part, 2) * 0.5 ** (1 / 3) for part in parts])
    cell = replace(make_cell(EQUAL, "logistic"), model=Choice("requ", {"width": 2 * m}))
    found = {"lam": [lam], "certificate_radius": [1e-9], "judged_min_eig": [None]}

    def said(theta: np.ndarray, **changed: Any) -> list[Finding]:
        columns = {**found, **changed}
        rows = make_rows(cell, data, theta[None], "local_minimum", "valley", **columns)
        return findings(rows, data)

    assert said(point) == []
    assert said(point, certificate_radius=[10.0])
    assert said(point, judged_min_eig=[1.0])
    assert said(point + 1e-4 * np.random.default_rng(0).normal(size=len(point)))
    resting = np.concatenate([np.concatenate([part, 0 * part]) for part in parts])
    assert said(resting)
