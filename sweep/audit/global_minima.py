"""Global minima: F at a bound that is proven and attained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sweep.audit.bounds import lower_bound
from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.dual import not_at_bound
from sweep.audit.findings import Audited
from sweep.audit.formulas import DataFormula
from sweep.audit.measures import Columns, over_members, values
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES, trace
from sweep.verdicts import Certificate

# A solution that Newton's first step puts within this share of 1 + ‖θ‖ is taken to exist. On a
# slide to infinity the step is as long as the slide is slow: of the size of 1.
SOLUTION_WITHIN = 1e-4
# The numerical minimum of a smooth function of one number is exact to about 1e-15 of its size.
BOUND_ROOM = 1e-13


def check_global_minima(points: Points, found: Audited) -> None:
    """F at a bound that is proven and attained."""
    formula = points.formula
    value, error = values(formula, points.theta, points.lam)
    if not isinstance(formula, DataFormula):
        bound = formula.landscape.lower_bound
        for i in range(len(points)):
            room = points.tolerance * max(1.0, abs(bound or 0.0)) + ROUTES * error[i]
            if bound is None or value[i] > bound + room:
                found.add(points.where[i], "verdict", "global_minimum", f"F = {value[i]!r}")
        return
    if isinstance(formula, CoerciveFormula) and formula.regularised:
        for i in range(len(points)):
            reason = not_at_bound(points, i, formula, float(value[i]), float(error[i]))
            if points.certificate[i] != Certificate.LOWER_BOUND:
                reason = "nothing: scaling costs"
            if reason:
                claim = f"global_minimum by {points.certificate[i]}"
                found.add(points.where[i], "verdict", claim, reason)
        return
    if isinstance(formula, ConvolutionFormula) and formula.strength is not None:
        for where in points.where:
            found.add(where, "verdict", "global_minimum", "nothing: its regularizer has no bound")
        return
    bound, wanted = lower_bound(formula)
    least = margins(formula, points)
    for i in range(len(points)):
        reason = _doubt(points, i, formula, bound, wanted, float(value[i]), float(error[i]), least)
        if reason:
            claim = f"global_minimum by {points.certificate[i]}"
            found.add(points.where[i], "verdict", claim, reason)


def attained(points: Points) -> np.ndarray:
    """Members (S,) on data at which F is at a lower bound that is attained: it falls no further."""
    formula = points.formula
    assert isinstance(formula, DataFormula)
    if formula.loss.name == "logistic":
        return np.zeros(len(points), dtype=bool)  # never where a place has one label only
    as_bound = replace(points, certificate=np.full(len(points), Certificate.LOWER_BOUND.value))
    bound, wanted = lower_bound(formula)
    value, error = values(formula, points.theta, points.lam)
    least = margins(formula, points)
    doubts = [
        _doubt(as_bound, i, formula, bound, wanted, float(value[i]), float(error[i]), least)
        for i in range(len(points))
    ]
    return np.array([doubt is None for doubt in doubts])


def _doubt(
    points: Points,
    i: int,
    formula: DataFormula,
    bound: float,
    wanted: dict[int, float],
    value: float,
    error: float,
    least: dict[str, np.ndarray],
) -> str | None:
    """Why point i is not shown to be a global minimum; None if it is."""
    if formula.weight_decay > 0:
        return "weight decay lifts F above the bound everywhere"
    room = points.tolerance * max(1.0, bound) + BOUND_ROOM * (1 + bound) + ROUTES * error
    if not value <= bound + room:
        return f"F = {value!r} above the bound {bound!r}"
    resting = not points.theta[i][formula.outgoing].any()
    if not resting and formula.penalised and points.lam[i] > 0:
        return "the added neurons are not at rest: shedding their penalty lowers F"
    if points.certificate[i] == Certificate.SEPARATES:
        if formula.loss.name != "hinge_power" or not resting:
            return "scaling proves nothing for this loss, or the added neuron is not at rest"
        return None if least["base"][i] > 0 else "the base network does not separate the data"
    if formula.loss.name == "hinge_power" and not wanted:
        return None if least["full"][i] > 0 else "the network does not separate the data"
    step = _to_solution(formula, points.theta[i], wanted)
    if step > SOLUTION_WITHIN * (1 + float(np.linalg.norm(points.theta[i]))):
        return f"the outputs that the bound needs are a Newton step of {step:.3g} away"
    return None


def margins(formula: DataFormula, points: Points) -> dict[str, np.ndarray]:
    """Min over the data of y·f and y·f̃, less what rounding can make of them, (S,) each."""

    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        traced = trace(formula, point)
        return {
            "base": (formula.y * traced.base - ROUTES * traced.base_error).amin(),
            "full": (formula.y * traced.full - ROUTES * traced.error).amin(),
        }

    return over_members(formula, one, points.theta, points.lam)


def _to_solution(formula: DataFormula, theta: np.ndarray, wanted: dict[int, float]) -> float:
    """Length of Newton's step to outputs that reach the bound; infinite if they are infinite."""
    point = torch.as_tensor(theta)
    output = (formula.base(point) + formula.added(point)).numpy()
    y = formula.y.numpy()
    _, first = np.unique(formula.x.numpy() + 0.0, axis=0, return_index=True)
    missing, rows = [], []
    for i in first.tolist():
        if i in wanted:
            missing.append(wanted[i] - output[i])
        elif formula.loss.name != "hinge_power":
            return np.inf
        elif y[i] * output[i] < 1:
            missing.append(y[i] - output[i])
        else:
            continue
        rows.append(i)
    derivative = torch.func.jacrev(lambda t: formula.base(t) + formula.added(t))(point).numpy()
    step, *_ = np.linalg.lstsq(derivative[rows], np.array(missing), rcond=1e-14)
    left = np.linalg.norm(derivative[rows] @ step - missing)
    # The equations must be solvable, not only nearly so.
    solvable = left <= 1e-8 * np.linalg.norm(missing) + 1e-12
    return float(np.linalg.norm(step)) if solvable else np.inf
