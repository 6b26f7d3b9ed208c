"""Saddles: stationary points from which F falls at once, however small the step.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
K, T    directions tried, steps along each
h       step lengths, growing                                  (T,)
drop    F(θ) − F(θ + h·direction)                              (K, T)
doubt   what rounding can make of it                           (K, T)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.audit.curvature import curvature
from sweep.audit.findings import Audited
from sweep.audit.first_order import Condition, first_order
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.measures import values
from sweep.audit.nearby import unit_frame
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.seeds import stream

# Steps as shares of 1 + ‖θ‖: from where rounding swamps any descent to where another basin may
# begin. Each is twice the one before.
STEPS = 0.1 * 2.0 ** -np.arange(30.0, -1.0, -1.0)
RANDOM = 32
# a / h² where an added neuron is turned on: the descent wins over λa²/2 where it is small enough.
CURVED = (1.0, 1e-2, 1e-4)
# A descent from the point itself grows like hᵐ. At an affine minimum with a resting exponential
# neuron m = 4 (`_turned_on`); a factor is left to the terms of higher order.
ORDER = 4
FACTOR = 4.0
# ‖∇F‖ of a smooth F relative to 1 + |F|, or the least subgradient relative to Σ|q|‖x̃‖, above which
# nobody calls a point stationary: the judge asks for 1e-8 in other units.
STATIONARY = 1e-6
# A piecewise-linear network whose least subgradient is below this share of Σ|q|‖x̃‖ has no descent.
NO_DESCENT = 1e-8


def check_saddles(points: Points, found: Audited) -> None:
    """The point is stationary, and F falls from it at once."""
    formula = points.formula
    second = curvature(formula, points.theta, points.lam)
    slopes = formula.activation.slopes if isinstance(formula, MlpFormula) else None
    smooth = not (isinstance(formula, MlpFormula) and formula.activation.between)
    for i, where in enumerate(points.where):
        condition = None
        if slopes is not None and isinstance(formula, MlpFormula):
            shallow = len(formula.widths) == 1 and not formula.weight_decay
            condition = first_order(formula, points.theta[i]) if shallow else None
        hessian = np.nan_to_num((second.hessian[i] + second.hessian[i].T) / 2)
        gradient = np.nan_to_num(second.gradient[i])
        steep = float(np.linalg.norm(second.gradient[i]))
        reason = None
        if smooth and not steep <= STATIONARY * (1 + abs(float(points.objective[i]))):
            reason = f"a point that is not stationary: ‖∇F‖ = {steep:.3g}"
        elif condition is not None and condition.residual > STATIONARY * condition.scale:
            share = condition.residual / condition.scale
            reason = f"a point that is not stationary: a slope of {share:.3g} of Σ|q|‖x̃‖"
        elif _is_minimum(formula, condition) or not descends(
            formula, points.theta[i], float(points.lam[i]), gradient, hessian, condition
        ):
            reason = "no step that lowers F"
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)


def _is_minimum(formula: DataFormula | LandscapeFormula, condition: Condition | None) -> bool:
    """Whether the first-order condition, which is exact for such a network, says so."""
    if condition is None or not isinstance(formula, DataFormula):
        return False
    exact = not formula.exponential and not formula.weight_decay
    return exact and condition.residual <= NO_DESCENT * condition.scale


def descends(
    formula: DataFormula | LandscapeFormula,
    point: np.ndarray,
    lam: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
    condition: Condition | None,
) -> bool:
    """Whether F falls from one member's point (P,) at once, by more than rounding.

    Tried are the negative gradient, the directions of least curvature, the units' own steepest
    directions, random ones, and curves that turn an added neuron on. What counts is a fall that
    shrinks with the step like a power of it, so that neither another basin nor the far side of a
    flat valley is taken for one.
    """
    _, vectors = np.linalg.eigh(hessian)
    tries = [-gradient, *vectors.T[:3], *(-vectors.T[:3])]
    rng = stream("audit", "descent", len(point))
    tries += list(rng.standard_normal((RANDOM, len(point))))
    if condition is not None and isinstance(formula, MlpFormula):
        move = np.append(condition.directions.ravel(), condition.bias)
        tries.append(unit_frame(formula, point)[:, : len(move)] @ move)
    ways = np.array([move / size for move in tries if (size := float(np.linalg.norm(move))) > 0])
    steps = STEPS * (1 + float(np.linalg.norm(point)))
    around = point + steps[None, :, None] * ways[:, None, :]
    around = np.concatenate([around, *_turned_on(formula, point, rng)])
    (here,), (here_error,) = values(formula, point[None], np.array([lam]))
    with np.errstate(over="ignore", invalid="ignore"):
        there, there_error = values(
            formula, around.reshape(-1, len(point)), np.full(around[..., 0].size, lam)
        )
        drop = (here - there).reshape(len(around), -1)
        doubt = ROUTES * (here_error + there_error).reshape(len(around), -1)
    return any(falls_at_once(*way) for way in zip(drop, doubt, strict=True))


def _turned_on(
    formula: DataFormula | LandscapeFormula, point: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Curves (K, T, P) that turn an added neuron on with a ~ h² while (w, b) moves by h.

    At an affine minimum with w = 0 nothing of lower order sees the descent: it is a·(w·x)², and
    the neuron's own λa²/2 would outweigh it along a straight line.
    """
    if not isinstance(formula, DataFormula) or formula.layered:
        return []
    size = formula.x.shape[1] + 2
    found = []
    for k in range(formula.n_base, len(point), size):
        if point[k] == 0:
            ways = rng.standard_normal((RANDOM, 1, size - 1))
            for share in (*CURVED, *(-c for c in CURVED)):
                curves = np.broadcast_to(point, (RANDOM, len(STEPS), len(point))).copy()
                curves[:, :, k] = share * STEPS**2
                curves[:, :, k + 1 : k + size] += STEPS[:, None] * ways
                found.append(curves)
    return found


def falls_at_once(drop: np.ndarray, doubt: np.ndarray) -> bool:
    """Whether some step falls beyond doubt, and all shorter ones by their share of it; (T,) each.

    Along a step of half the length a fall of order m is at least 2⁻ᵐ of it.
    """
    for k in np.flatnonzero(drop > doubt).tolist():
        share = (STEPS[:k] / STEPS[k]) ** ORDER / FACTOR
        if (drop[:k] >= share * drop[k] - doubt[:k]).all():
            return True
    return False
