"""The dual bound of coercive networks, by another route: for all of space, or beside a point.

For any q with |Σᵢ qᵢ σ(u·x̃ᵢ)| ≤ λ, u of length one, F ≥ Σᵢ min_z [ℓ(z) + yᵢqᵢz]. Here T, the
maximum over u, is sought by ascents and confined by boxes (`sweep.audit.sphere`), q = ∂ℓᵢ/∂fᵢ of
the point is shrunk by T/λ, and the minima are evaluated where ℓ′(z) = −yᵢqᵢ. Beside a point that
has no neuron at zero and none on a kink only directions of its own neurons count: there T is the
largest eigenvalue of −sⱼ Σᵢ qᵢx̃ᵢx̃ᵢᵀ over the points that a neuron j serves.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
q       ∂ℓᵢ/∂fᵢ                                                (N,)
r       −yᵢqᵢ, the slope of ℓ                                  (N,)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.elementwise import Loss
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.audit.sphere import below, greatest

# By how much T may exceed λ: rounding; and by how much the boxes may leave it open.
EXCESS, OPEN = 1e-9, 1e-4
# Members per arm whose sphere is covered by boxes.
COVERED = 2
# Terms of the bound are rounded, relative to their sizes.
ROUNDING = 1e-14


def not_at_bound(
    points: Points, i: int, formula: CoerciveFormula, value: float, error: float
) -> str | None:
    """Why F = `value` of point i is not shown to be at the dual bound; None if it is."""
    lam = np.broadcast_to(points.lam[i], formula.width)
    if not formula.regularised or formula.weight_decay or not (lam > 0).all():
        return "nothing: no dual bound without the regularizer"
    q, level, X = slopes(formula, points.theta[i]), float(lam.min()), lifted(formula)
    highest = greatest(q, X, formula.rectified)
    if highest > level * (1 + EXCESS):
        return f"a direction with |Σ q σ(u·x)| = {highest!r}, above λ = {level!r}"
    if i < COVERED and below(q, X, formula.rectified, level * (1 + OPEN)) is False:
        return f"|Σ q σ(u·x)| exceeds λ = {level!r}"
    return _above(formula, q, highest / level, value, error, points.tolerance)


def not_at_local_bound(
    points: Points, i: int, formula: CoerciveFormula, value: float, error: float
) -> str | None:
    """Why no point near point i is shown to be as low as it; None if that is shown."""
    lam, radius = np.broadcast_to(points.lam[i], formula.width), float(points.radius[i])
    if not formula.regularised or formula.weight_decay or not (lam > 0).all():
        return "nothing: no dual bound without the regularizer"
    if not (lam == lam[0]).all():
        return "a flat set, with different λ"
    theta, X = points.theta[i], lifted(formula)
    a, v = (part.numpy() for part in formula.parts(torch.as_tensor(theta)))
    if not (a != 0).all() or not (v != 0).any(axis=1).all():
        return "a neuron at zero"
    t = v @ X.T
    if (np.abs(t) <= 2 * radius * np.linalg.norm(X, axis=1)).any():
        return "a kink within the radius"
    q, highest = slopes(formula, theta), 0.0
    for own, served in zip(a, t > 0, strict=True):
        M = -np.sign(own) * (X.T * (q * (served | (not formula.rectified)))) @ X
        highest = max(highest, float(np.linalg.eigvalsh(M)[-1]))
    if highest > lam[0] * (1 + EXCESS):
        return f"a direction beside a neuron with |Σ q σ(u·x)| = {highest!r}, above its λ"
    return _above(formula, q, highest / float(lam[0]), value, error, points.tolerance)


def _above(
    formula: CoerciveFormula,
    q: np.ndarray,
    excess: float,
    value: float,
    error: float,
    tolerance: float,
) -> str | None:
    bound = dual_value(formula, q / max(1.0, excess))
    room = tolerance * max(1.0, bound) + ROUNDING * (1 + bound) * len(q) + ROUTES * error
    if not value <= bound + room:
        return f"F = {value!r} above the dual bound {bound!r}"
    return None


def dual_value(formula: CoerciveFormula, q: np.ndarray) -> float:
    """Σᵢ min_z [ℓ(z) − rᵢz]."""
    r = -formula.y.numpy() * q
    z = _where_steep(formula.loss, r)
    loss = formula.loss.value(torch.as_tensor(z)).numpy()
    return float(np.sum(loss - r * z))


def _where_steep(loss: Loss, r: np.ndarray) -> np.ndarray:
    """The z (N,) with ℓ′(z) = r."""
    if loss.name == "hinge_power":
        return np.asarray((r / loss.power) ** (1 / (loss.power - 1)) - 1)
    if loss.name == "logistic":
        share = np.clip(r * np.log(2), 1e-300, 1 - 1e-16)
        return np.asarray(np.log(share) - np.log1p(-share))
    return np.asarray(r / 2 - 1)


def slopes(formula: CoerciveFormula, theta: np.ndarray) -> np.ndarray:
    """∂ℓᵢ/∂fᵢ at θ (P,), (N,)."""
    y = formula.y
    output = formula.base(torch.as_tensor(theta))
    return np.asarray((-y * formula.loss.slope(-y * output)).numpy())


def lifted(formula: CoerciveFormula) -> np.ndarray:
    """The data with a last column of ones, (N, D+1)."""
    return np.column_stack([formula.x.numpy(), np.ones(len(formula.y))])
