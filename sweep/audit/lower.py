"""Points around a certified minimum, and a sample of them with 50 digits: none may be lower."""

from __future__ import annotations

import mpmath
import numpy as np

from sweep.audit.curvature import Curvature
from sweep.audit.findings import Audited
from sweep.audit.formulas import MlpFormula
from sweep.audit.measures import values
from sweep.audit.nearby import deepest
from sweep.audit.outputs import OutputsFormula
from sweep.audit.points import Points
from sweep.audit.precise import Precise, PreciseOutputs
from sweep.audit.rounding import ROUTES
from sweep.seeds import stream

# Strict minima per arm that are looked at again with 50 digits: about 0.2 s each.
PRECISE = 4
# Directions on the certified sphere in that sample, besides ±∇F and ± the softest direction.
SPHERE = 4


def nothing_lower(points: Points, by_unit: bool, allowed: np.ndarray, found: Audited) -> None:
    """Random points within the certified radius: none may be lower by more than `allowed` (S,)."""
    known = np.isfinite(points.radius) & (points.radius > 0)
    if not known.any():
        return
    some, room = points.some(known), allowed[known]
    # Where a claimed ball is vast, F overflows inside it, and that is a finding below.
    with np.errstate(over="ignore", invalid="ignore"):
        drop, doubt = deepest(some.formula, some.theta, some.lam, some.radius, by_unit)
    for i in np.flatnonzero(~np.isfinite(drop)):
        inside = "a point within it where F is not finite"
        found.add(some.where[i], "certificate_radius", float(some.radius[i]), inside)
    for i in np.flatnonzero(drop > ROUTES * doubt + room):
        inside = f"a point within it whose F is lower by {drop[i]:.3g}"
        found.add(some.where[i], "certificate_radius", float(some.radius[i]), inside)


def check_precisely(
    points: Points,
    formula: MlpFormula | OutputsFormula,
    second: Curvature,
    i: int,
    found: Audited,
    on: np.ndarray | None = None,
) -> None:
    """With 50 digits: F as stored, Newton's step within the radius, F higher on its sphere.

    With several outputs F is that on the face of the kinks that the pairs `on` (N, H) are on.
    """
    theta, radius = points.theta[i], float(points.radius[i])
    exact = (
        PreciseOutputs(formula, on)
        if isinstance(formula, OutputsFormula)
        else Precise(formula, float(points.lam[i]))
    )
    here = exact.objective(exact.moved(theta, np.zeros_like(theta)))
    _, error = values(formula, theta[None], points.lam[i : i + 1])
    if abs(float(here) - points.objective[i]) > ROUTES * error[0]:
        stored = float(points.objective[i])
        digits = f"{mpmath.nstr(here, 20)} with 50 digits"
        found.add(points.where[i], "judged_objective", stored, digits)
    gradient = np.array([float(g) for g in exact.gradient(exact.moved(theta, 0 * theta))])
    frame = second.frames[i]
    along = frame.T @ gradient
    if second.least[i] > 0:
        hessian = frame.T @ second.hessian[i] @ frame
        within = float(np.linalg.norm(along)) / float(second.least[i])
        step = float(np.linalg.norm(np.linalg.solve(hessian, along)))
        if min(step, within) > radius:
            found.add(points.where[i], "certificate_radius", radius, f"a Newton step of {step:.3g}")
    rng = stream("audit", "sphere", len(theta))
    moves = [along, -along, second.softest[i], -second.softest[i]]
    moves += list(rng.standard_normal((SPHERE, frame.shape[1])))
    for move in moves:
        length = float(np.linalg.norm(move))
        there = frame @ (move * (radius / max(length, 1e-300)))
        if length > 0 and exact.objective(exact.moved(theta, there)) <= here:
            reason = "a point of its sphere, no higher than the centre (50 digits)"
            found.add(points.where[i], "certificate_radius", radius, reason)
            return
