"""Local minima: first order at kinks, curvature, points nearby, and a sample with 50 digits."""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np
import torch

from sweep.audit.coercive import check_coercive
from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.convolution import check_convolution
from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.curvature import EIGEN_ROOM, Curvature, curvature
from sweep.audit.findings import Audited
from sweep.audit.first_order import NEAR_KINK, first_order, outer_slopes, units_of
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.lower import PRECISE, check_precisely, nothing_lower
from sweep.audit.outputs import OutputsFormula, one_piece, outputs_slope
from sweep.audit.outputs_minima import check_outputs
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES, trace
from sweep.seeds import stream
from sweep.verdicts import Certificate

BY_UNIT = (Certificate.CELL, Certificate.KINK, Certificate.VALLEY)
# The least subgradient, relative to Σ|q|‖x̃‖, below which a point counts as stationary. The judge's
# polish ends at 1e-12 or better, and what stalls above 1e-8 has not been shown to be anything.
STATIONARY = 1e-8
# How far a stored least eigenvalue may be from this one, relative to the largest.
SAME_EIGEN = 1e-9
# Directions in which a monomial neuron at rest is looked at.
MOMENTS = 32


def check_minima(points: Points, found: Audited) -> None:
    """Check the local minima of one arm."""
    formula = points.formula
    if isinstance(formula, CoerciveFormula):
        check_coercive(points, formula, found)
        return nothing_lower(points, False, np.zeros(len(points)), found)
    if isinstance(formula, ConvolutionFormula) and formula.strength is not None:
        check_convolution(points, formula, found)
        return nothing_lower(points, False, np.zeros(len(points)), found)
    if isinstance(formula, DataFormula):
        _possible(points, formula, found)
    routes = {name.value: _check_by_unit for name in BY_UNIT}
    routes |= {Certificate.AFFINE.value: _check_affine, Certificate.STRICT.value: _check_strict}
    if isinstance(formula, OutputsFormula):
        routes |= {name.value: check_outputs for name in (*BY_UNIT, Certificate.STRICT)}
    for certificate in dict.fromkeys(points.certificate.tolist()):
        some = points.some(points.certificate == certificate)
        if certificate in routes:
            routes[certificate](some, found)
        else:
            for where in some.where:
                found.add(where, "certificate", certificate, "nothing: it has no second route")
    return None


def _possible(points: Points, formula: DataFormula, found: Audited) -> None:
    """Refuse minima that theory excludes: see the three sentences."""
    for i in range(len(points)):
        penalised = formula.penalised and points.lam[i] > 0
        point = torch.as_tensor(points.theta[i])
        margin = formula.y * (formula.base(point) + formula.added(point))
        if penalised and formula.exponential:
            reason = "with an exponential neuron and λ > 0 every local minimum is global"
        elif penalised and formula.sheds and points.theta[i][formula.outgoing].any():
            reason = "the added neurons are not at rest: shedding their penalty lowers F"
        elif (
            formula.loss.name in ("hinge_power", "logistic")
            and not formula.weight_decay
            and not formula.exponential
            and bool((margin > 0).all())
        ):
            reason = "the network separates the data, so scaling it up lowers F"
        else:
            continue
        found.add(points.where[i], "verdict", "local_minimum", reason)


def _check_by_unit(points: Points, found: Audited) -> None:
    formula = points.formula
    if (
        not isinstance(formula, MlpFormula)
        or len(formula.widths) != 1
        or formula.activation.slopes is None
        or formula.weight_decay > 0
    ):
        for i, where in enumerate(points.where):
            found.add(where, "certificate", points.certificate[i], "nothing: not for this network")
        return
    slope = np.zeros(len(points))
    for i, theta in enumerate(points.theta):
        condition = first_order(formula, theta, NEAR_KINK)
        if condition.residual <= STATIONARY * condition.scale + ROUTES * condition.doubt:
            slope[i] = condition.residual
        else:
            share = condition.residual / condition.scale
            reason = f"a first-order descent of {share:.3g} of Σ|q|‖x̃‖"
            found.add(points.where[i], "certificate", points.certificate[i], reason)
    # F is convex in the ball: nothing in it is lower than by slope × radius.
    nothing_lower(points, True, slope * np.nan_to_num(points.radius), found)


def _check_affine(points: Points, found: Audited) -> None:
    """Every unit inside one linear piece, and the best affine function of x."""
    formula = points.formula
    slope = np.zeros(len(points))
    for i, theta in enumerate(points.theta):
        reason: str | None = "nothing: not for this network"
        known: tuple[float, float] | None = None
        if isinstance(formula, OutputsFormula):
            known = outputs_slope(formula, theta)
        elif _may_be_affine(formula):
            known = _affine_slope(formula, theta)
        if known is not None:
            steep, scale = known
            reason = None
            if math.isnan(steep):
                reason = "a hidden unit that is not inside one linear piece for all data"
            elif (
                isinstance(formula, MlpFormula) and (share := _moment(formula, theta)) > STATIONARY
            ):
                reason = f"a monomial of the neuron's degree fits better: {share:.3g} of Σ|q||r|^p"
            elif steep > STATIONARY * scale:
                reason = f"an affine function of x fits better: {steep / scale:.3g} of Σ|q|‖x̃‖"
            else:
                slope[i] = steep
        if reason:
            found.add(points.where[i], "certificate", "affine", reason)
    # f̃ moves by at most the product of the other weights' sizes per unit of one weight.
    lever = np.prod(1 + np.abs(points.theta), axis=1)
    nothing_lower(points, False, slope * lever * np.nan_to_num(points.radius), found)


def _may_be_affine(formula: DataFormula | LandscapeFormula) -> TypeGuard[MlpFormula]:
    return (
        isinstance(formula, MlpFormula)
        and bool(formula.activation.between)
        and formula.weight_decay == 0
        and not formula.exponential
        and not formula.layered
    )


def _moment(formula: MlpFormula, theta: np.ndarray) -> float:
    """The largest |Σ qᵢ rᵢ^p| / Σ|qᵢ rᵢ^p| with r = (u, v)·(x, 1), random (u, v); 0 if no neuron.

    The neuron adds nothing to first order wherever (w, b) is, if and only if all such sums vanish.
    """
    if not formula.degree:
        return 0.0
    x = np.column_stack([formula.x.numpy(), np.ones(len(formula.y))])
    ways = stream("audit", "moments", x.shape[1]).standard_normal((MOMENTS, x.shape[1]))
    terms = outer_slopes(formula, theta)[:, None] * (x @ ways.T) ** formula.degree
    size = np.abs(terms).sum(axis=0)
    share = np.divide(np.abs(terms.sum(axis=0)), size, out=np.zeros_like(size), where=size > 0)
    return float(share.max())


def _affine_slope(formula: MlpFormula, theta: np.ndarray) -> tuple[float, float]:
    """‖Σ qᵢx̃ᵢ‖ and what it may be compared with; NaN where a unit is not inside one piece.

    A layer whose units are all off makes f constant nearby, whatever the other layers do: then
    only Σ qᵢ counts.
    """
    traced = trace(formula, torch.as_tensor(theta))
    each = zip(traced.z, traced.z_errors, strict=True)
    inside, flat = zip(*[one_piece(formula.activation, z, e) for z, e in each], strict=True)
    layers = len(formula.widths)
    constant = any(flat[:layers])
    x = np.column_stack([formula.x.numpy(), np.ones(len(formula.y))])
    q = outer_slopes(formula, theta)
    scale = float(np.abs(q) @ np.linalg.norm(x, axis=1))
    if not all(inside[layers:]) or not (constant or all(inside[:layers])):
        return math.nan, scale
    if constant and not formula.extra:
        return abs(float(q.sum())), scale
    return float(np.linalg.norm(q @ x)), scale


def _check_strict(points: Points, found: Audited) -> None:
    second = curvature(points.formula, points.theta, points.lam)
    by_unit = _radius_by_unit(points.formula)
    for i in range(len(points)):
        reason = _not_strict(points, second, i)
        if reason:
            found.add(points.where[i], "certificate", "strict", reason)
        room = SAME_EIGEN * second.largest[i]
        if by_unit and np.isnan(points.min_eig[i]):
            continue  # ∇²F is singular there, and the row claims no eigenvalue of it
        if not abs(points.min_eig[i] - second.least[i]) <= room:
            found.add(
                points.where[i],
                "judged_min_eig",
                None if np.isnan(points.min_eig[i]) else float(points.min_eig[i]),
                float(second.least[i]),
            )
    nothing_lower(points, by_unit, np.zeros(len(points)), found)
    if isinstance(points.formula, MlpFormula):
        for i in range(min(PRECISE, len(points))):
            found.precise += 1
            check_precisely(points, points.formula, second, i, found)


def _radius_by_unit(formula: DataFormula | LandscapeFormula) -> TypeGuard[MlpFormula]:
    """Whether the radius of `strict` lies in the coordinates of `unit_frame`.

    So it is beside an exponential neuron: nothing else leaves a piecewise-linear network without
    penalty on its weights a minimum that is strict in any coordinates.
    """
    return (
        isinstance(formula, MlpFormula)
        and formula.exponential
        and len(formula.widths) == 1
        and formula.activation.slopes is not None
        and not formula.weight_decay
    )


def _not_strict(points: Points, second: Curvature, i: int) -> str | None:
    least, largest = float(second.least[i]), float(second.largest[i])
    if not least > EIGEN_ROOM * largest:
        return f"least eigenvalue {least!r} beside a largest of {largest!r}"
    if not points.radius[i] > 0:
        return "no radius within which the minimum lies"
    formula = points.formula
    if not isinstance(formula, MlpFormula) or formula.activation.slopes is None:
        return None
    traced = trace(formula, torch.as_tensor(points.theta[i]))
    # w·x + b moves by at most r·‖x̃‖ in a first layer, |a|(w·x + b) where the radius is one of v;
    # deeper layers are only asked for z ≠ 0.
    reach = points.radius[i] * torch.sqrt(1 + (formula.x**2).sum(1, keepdim=True))
    asked = torch.ones(len(formula.y), dtype=torch.bool)
    if _radius_by_unit(formula):
        reach = reach / torch.as_tensor(units_of(formula, points.theta[i]).a).abs()
        # What a point does whose loss is zero around there changes nothing.
        asked = torch.as_tensor(outer_slopes(formula, points.theta[i]) != 0)
    for k, (z, error) in enumerate(zip(traced.z, traced.z_errors, strict=True)):
        near = ROUTES * error + (reach if k == 0 else 0.0)
        if bool((z.abs() <= near)[asked].any()) and formula.activation.slopes[0] != 1.0:
            return "a kink within the radius"
    return None
