"""Escapes: the network has such a way to infinity, F falls on it, and it leads where the row says.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members                                                θ (S, P), λ (S,)
s, t    how far along a path                                   ()
w̃       what leaves the added neurons, 2L its power in their penalty
======  =====================================================  ==========
"""

from __future__ import annotations

import math

import numpy as np
import torch

from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.curvature import curvature
from sweep.audit.descent import descended
from sweep.audit.findings import Audited
from sweep.audit.first_order import first_order
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.global_minima import attained, margins
from sweep.audit.limits import check_limits
from sweep.audit.measures import values
from sweep.audit.outputs import OutputsFormula
from sweep.audit.outputs_escapes import check_outputs_escapes
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.audit.saddles import descends
from sweep.verdicts import Certificate

# Places along the added neurons' own escape, F(w̃e^{−s}, …) = F − penalty·(1−e^{−2Ls}).
PATH = (0.25, 1.0, 4.0, 16.0)
# Powers of two by which a network that separates is scaled up: the last makes of a margin of 1e-12
# one of 1e7, beyond which every loss here is zero.
DOUBLINGS = (1, 4, 16, 32, 64)
# A minimum attracts Newton's step: it is then as short as the polish is good. On a slide to
# infinity the step is of the size of 1, because gradient and curvature fall off together.
NO_SLIDE = 1e-3
# Members whose curvature is looked at: largest number of parameters for which that is cheap.
SMALL = 64
# A limit below F by more than this share of 1 + |F| is a fall that small steps must show; steps
# that end below the limit by more than this have left for somewhere else.
VISIBLE = 1e-7
# Losses that fall towards zero for ever as correct outputs grow.
SCALED = ("hinge_power", "logistic")
SATURATING = ("tanh", "sigmoid")


def check_escapes(points: Points, found: Audited) -> None:
    """Every way that a row may claim, and what says that its point is a minimum instead."""
    formula = points.formula
    possible = np.ones(len(points), dtype=bool)
    if isinstance(formula, OutputsFormula):
        check_outputs_escapes(points, found)
        return
    if not isinstance(formula, DataFormula):
        for i, where in enumerate(points.where):
            found.add(where, "certificate", points.certificate[i], "nothing: there are no data")
        return
    if _grows(formula):
        for i, where in enumerate(points.where):
            grows = "nothing: F grows to infinity in every direction"
            found.add(where, "certificate", points.certificate[i], grows)
        return
    least = margins(formula, points)["full"]
    on_path = (points.lam > 0) & (points.theta[:, formula.outgoing] != 0).any(axis=1)
    on_path &= formula.sheds and formula.penalised
    scaled = (points.certificate == Certificate.RAY.value) & (least > 0)
    scaled &= formula.loss.name in SCALED
    done = attained(points)
    for i, where in enumerate(points.where):
        reason = _impossible(points, formula, i, bool(scaled[i]), bool(on_path[i]))
        if reason is None and done[i]:
            reason = "a global minimum: F is at a bound that is attained"
        if reason:
            possible[i] = False
            found.add(where, "verdict", f"escaping by {points.certificate[i]}", reason)
    check_limits(points, scaled, on_path, found)
    _check_path(points.some(on_path), formula, found)
    if isinstance(formula, MlpFormula | CoerciveFormula | ConvolutionFormula):
        _check_scaling(points.some(scaled & possible), formula, found)
    _check_fall(points.some(possible & ~on_path & ~scaled), formula, found)


def _grows(formula: DataFormula) -> bool:
    """Whether a regularizer of [B] lets F grow to infinity in every direction."""
    if isinstance(formula, ConvolutionFormula):
        return formula.strength is not None
    return isinstance(formula, CoerciveFormula) and formula.regularised


def _impossible(
    points: Points, formula: DataFormula, i: int, scaled: bool, on_path: bool
) -> str | None:
    """Why point i has no way to infinity along which F falls, or not one of this certificate."""
    shallow = isinstance(formula, MlpFormula) and len(formula.widths) == 1
    linear = isinstance(formula, MlpFormula) and formula.activation.slopes is not None
    smooth = isinstance(formula, MlpFormula) and formula.activation.name in SATURATING
    bends = formula.loss.name in ("hinge_power", "squared")
    if formula.weight_decay > 0 and not formula.sheds:
        return "weight decay keeps F from falling towards infinity"
    if shallow and linear and bends and not formula.sheds:
        return "F is convex on finitely many pieces and attains its least value on each"
    saturates = shallow and smooth and not formula.weight_decay
    certificate = points.certificate[i]
    if certificate == Certificate.CHART and not formula.sheds:
        return "no chart: there is no added neuron that sheds a penalty"
    if certificate == Certificate.TAIL and not saturates:
        return "no tail: no unit saturates, or a penalty holds it"
    if certificate == Certificate.RAY and not saturates:
        if not scaled:
            return "no ray: no unit saturates, and the network does not separate the data"
        if formula.weight_decay or not (formula.loss.name == "logistic" or on_path):
            return "no ray: scaling up does not lower F for ever"
    if scaled and formula.loss.name == "hinge_power" and not on_path:
        return "a network that separates the data, so that scaling it up reaches F = 0"
    return None


def _check_path(points: Points, formula: DataFormula, found: Audited) -> None:
    """With λ > 0 and w̃ ≠ 0 the formula of the path holds, whatever the network."""
    if not len(points):
        return
    here, here_error = values(formula, points.theta, points.lam)
    power = formula.penalty_power
    penalty = points.lam * (points.theta[:, formula.outgoing] ** power).sum(axis=1) / 2
    for s in PATH:
        moved = shed(formula, points.theta, math.exp(-s), s, s)
        there, there_error = values(formula, moved, points.lam)
        expected = here + penalty * math.expm1(-power * s)
        doubt = ROUTES * (here_error + there_error) + 2e-14 * penalty
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, and that is a difference
            apart = ~(np.abs(there - expected) <= doubt)
        for i in np.flatnonzero(apart):
            wanted = f"F = {float(there[i])!r} at s = {s} of the path, not {float(expected[i])!r}"
            found.add(points.where[i], "certificate", points.certificate[i], wanted)


def shed(
    formula: DataFormula, theta: np.ndarray, factor: float, top: float, inside: float
) -> np.ndarray:
    """Points (S, P) with w̃ times `factor`, and the neurons themselves times e^top or e^inside.

    `top` is for those that lead into the output, `inside` for those that lead into a hidden layer.
    """
    moved = theta.copy()
    moved[:, formula.outgoing] *= factor
    if formula.degree:
        moved[:, formula.n_base + 1 :] *= math.exp(top / formula.degree)
    elif isinstance(formula, MlpFormula) and formula.layered:
        *hidden, last = formula.inside.biases
        moved[:, hidden] += inside
        moved[:, last] += top
    else:
        moved[:, -1] += top
    return moved


def _check_scaling(
    points: Points, formula: MlpFormula | CoerciveFormula | ConvolutionFormula, found: Audited
) -> None:
    """A network that separates, scaled up: F falls at every doubling, and to zero.

    What added neurons with a penalty send on is scaled by themselves alone while w̃ shrinks.
    """
    if not len(points):
        return
    before, before_error = values(formula, points.theta, points.lam)
    falls = np.ones(len(points), dtype=bool)
    last = formula.widths[-1] + 1 if isinstance(formula, MlpFormula) else formula.width
    for k in DOUBLINGS:
        moved = points.theta.copy()
        moved[:, formula.n_base - last : formula.n_base] *= 2.0**k
        if formula.sheds:
            logarithm = k * math.log(2.0)
            moved = shed(formula, moved, 2.0**-k, 2 * logarithm, logarithm)
        else:
            moved[:, formula.outgoing] *= 2.0**k
        there, there_error = values(formula, moved, points.lam)
        falls &= there <= before + ROUTES * (before_error + there_error)
        before, before_error = there, there_error
    for i in np.flatnonzero(~(falls & (before <= VISIBLE))):
        reason = f"F = {float(before[i])!r} after {DOUBLINGS[-1]} doublings of the output"
        found.add(points.where[i], "certificate", points.certificate[i], reason)


def _check_fall(points: Points, formula: DataFormula, found: Audited) -> None:
    """Small steps fall from the point, and not below the limit; Newton's step finds no minimum."""
    if not len(points):
        return
    here, here_error = values(formula, points.theta, points.lam)
    end = descended(formula, points.theta, points.lam)
    there, there_error = values(formula, end, points.lam)
    limit = points.limits["limit_objective"]
    room = VISIBLE * (1 + np.abs(here)) + ROUTES * (here_error + there_error)
    short = np.zeros(len(points), dtype=bool)
    if _has_curvature(formula):
        newton = curvature(formula, points.theta, points.lam).newton
        short = newton < NO_SLIDE
    for i, where in enumerate(points.where):
        reason = None
        if short[i]:
            reason = f"a strict minimum within a Newton step of {newton[i]:.3g}"
        elif limit[i] < here[i] - room[i] and not (there[i] < here[i] or _falls(points, i)):
            reason = f"F = {float(here[i])!r}, from which no small step falls"
        elif there[i] < limit[i] - room[i]:
            reason = f"small steps fall below its limit, to F = {float(there[i])!r}"
        if reason:
            found.add(where, "verdict", "escaping", reason)


def _falls(points: Points, i: int) -> bool:
    """Whether F falls at once along a direction that is no gradient: the point may sit on kinks.

    The units' steepest directions keep to the right sides, and moving the added neuron alone
    crosses no kink.
    """
    formula, theta, lam = points.formula, points.theta[i], float(points.lam[i])
    if not isinstance(formula, MlpFormula):
        return False
    strength = torch.as_tensor(lam, dtype=torch.float64)
    gradient = torch.func.grad(formula.objective)(torch.as_tensor(theta), strength).numpy().copy()
    gradient[: formula.n_base] = 0.0
    shallow = len(formula.widths) == 1 and formula.activation.slopes is not None
    condition = first_order(formula, theta) if shallow else None
    return descends(formula, theta, lam, gradient, np.eye(len(theta)), condition)


def _has_curvature(formula: DataFormula | LandscapeFormula) -> bool:
    """Whether F has a second order across its flat directions that tells a minimum."""
    if not isinstance(formula, MlpFormula) or formula.n_params > SMALL:
        return False
    bent_at_zero, smooth = formula.activation.slopes is not None, not formula.activation.between
    return smooth or (bent_at_zero and formula.exponential and len(formula.widths) == 1)
