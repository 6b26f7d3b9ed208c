"""Escapes and saddles: what their rows claim, checked against the point itself."""

from __future__ import annotations

import math

import numpy as np

from sweep.audit.bounds import lower_bound
from sweep.audit.curvature import curvature
from sweep.audit.findings import Audited
from sweep.audit.first_order import first_order
from sweep.audit.formulas import DataFormula, MlpFormula
from sweep.audit.measures import values
from sweep.audit.nearby import descends
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES

# Places along the exponential neuron's own escape, F(ae^{−s}, b+s) = F − λa²(1−e^{−2s})/2.
PATH = (0.25, 1.0, 4.0, 16.0)
# A minimum attracts Newton's step: it is then as short as the polish is good. On a slide to
# infinity the step is of the size of 1, because gradient and curvature fall off together.
NO_SLIDE = 1e-3
# Members whose curvature is looked at: largest number of parameters for which that is cheap.
SMALL = 64


def check_escapes(points: Points, found: Audited) -> None:
    """F falls towards the limit; nothing says that the point is a minimum."""
    formula = points.formula
    _check_limits(points, found)
    if isinstance(formula, DataFormula) and formula.exponential and formula.penalised:
        _check_path(points, formula, found)
    smooth = isinstance(formula, MlpFormula) and formula.activation.slopes is None
    if not smooth or formula.n_params > SMALL:
        return
    second = curvature(formula, points.theta, points.lam)
    for i in np.flatnonzero(second.newton < NO_SLIDE):
        reason = f"a strict minimum within a Newton step of {second.newton[i]:.3g}"
        found.add(points.where[i], "verdict", "escaping", reason)


def _check_limits(points: Points, found: Audited) -> None:
    formula = points.formula
    value, error = values(formula, points.theta, points.lam)
    bound = lower_bound(formula)[0] if isinstance(formula, DataFormula) else -math.inf
    for i, where in enumerate(points.where):
        limit = float(points.limits["limit_objective"][i])
        # Far out on a slide F no longer moves in float64, so that the limit may equal it.
        highest = float(value[i]) + ROUTES * float(error[i])
        if not bound - 1e-12 * (1 + abs(bound)) <= limit <= highest:
            stored = None if math.isnan(limit) else limit
            wanted = f"between the bound {bound!r} and F = {float(value[i])!r}"
            found.add(where, "limit_objective", stored, wanted)
        if not isinstance(formula, DataFormula):
            continue
        for name in ("limit_error", "limit_error_base"):
            share = float(points.limits[name][i])
            counted = share * len(formula.y)
            if not (0 <= share <= 1 and abs(counted - round(counted)) < 1e-9):
                found.add(where, name, None if math.isnan(share) else share, "a share of the data")


def _check_path(points: Points, formula: DataFormula, found: Audited) -> None:
    """With λ > 0 and a ≠ 0 the formula of the path holds, whatever the network."""
    chosen = points.some((points.lam > 0) & (points.theta[:, formula.n_base] != 0))
    if not len(chosen):
        return
    here, here_error = values(formula, chosen.theta, chosen.lam)
    a = chosen.theta[:, formula.n_base]
    for s in PATH:
        moved = chosen.theta.copy()
        moved[:, formula.n_base] *= math.exp(-s)
        moved[:, -1] += s
        there, there_error = values(formula, moved, chosen.lam)
        expected = here + chosen.lam * a**2 * math.expm1(-2 * s) / 2
        doubt = ROUTES * (here_error + there_error) + 1e-14 * chosen.lam * a**2
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, and that is a difference
            apart = ~(np.abs(there - expected) <= doubt)
        for i in np.flatnonzero(apart):
            wanted = f"F = {float(there[i])!r} at s = {s} of the path, not {float(expected[i])!r}"
            found.add(chosen.where[i], "certificate", chosen.certificate[i], wanted)


def check_saddles(points: Points, found: Audited) -> None:
    """A step that lowers F exists."""
    formula = points.formula
    second = curvature(formula, points.theta, points.lam)
    one_layer = (
        isinstance(formula, MlpFormula)
        and len(formula.widths) == 1
        and formula.activation.slopes is not None
    )
    for i, where in enumerate(points.where):
        condition = None
        if one_layer and isinstance(formula, MlpFormula):
            condition = first_order(formula, points.theta[i])
        hessian = np.nan_to_num((second.hessian[i] + second.hessian[i].T) / 2)
        gradient = np.nan_to_num(second.gradient[i])
        if not descends(
            formula, points.theta[i], float(points.lam[i]), gradient, hessian, condition
        ):
            found.add(where, "certificate", points.certificate[i], "no step that lowers F")
