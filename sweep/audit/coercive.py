"""`inactive`, `strict` and `valley` of the coercive networks of [B], by another route.

In θ itself: neurons that are not zero are balanced and their Hessian, by autograd, is positive
definite; for those that are zero, max_{‖u‖=1} |Σᵢ qᵢ σ(u·x̃ᵢ)| stays below their λ, for every member
from below and for a sample from above (`sweep.audit.sphere`). With 50 digits, for the same sample:
F as stored, Newton's step within the radius, F higher on its sphere.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
k       active neurons                                         a (k,), v (k, D+1)
q       ∂ℓᵢ/∂fᵢ                                                (N,)
======  =====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mpmath
import numpy as np
import torch

from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.curvature import EIGEN_ROOM
from sweep.audit.dual import lifted, not_at_local_bound, slopes
from sweep.audit.findings import Audited
from sweep.audit.measures import values
from sweep.audit.points import Points
from sweep.audit.precise import DIGITS, Number, Precise, cubes, loss_at
from sweep.audit.rounding import ROUTES
from sweep.audit.sphere import below, greatest
from sweep.seeds import stream
from sweep.verdicts import Certificate

# How far a stored least eigenvalue may be from this one, relative to the largest.
SAME_EIGEN = 1e-12
# |a| and ‖v‖ of a balanced neuron differ by rounding, and by twice the radius at most.
BALANCED = 1e-12
# Members per arm that are looked at with 50 digits and whose sphere is covered: some seconds each.
SAMPLE = 2
SPHERE = 4


@dataclass(frozen=True, eq=False)
class Active:
    """The neurons that are not zero: which (k,), F's gradient and Hessian in them, its spectrum."""

    index: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray
    eigenvalues: np.ndarray


def check_coercive(points: Points, formula: CoerciveFormula, found: Audited) -> None:
    """Check the local minima of one arm of such a network."""
    flat = points.certificate == Certificate.VALLEY.value
    _check_valleys(points.some(flat), formula, found)
    points = points.some(~flat)
    for i, where in enumerate(points.where):
        theta, lam = points.theta[i], np.broadcast_to(points.lam[i], formula.width)
        reason = _unlikely(formula, theta, lam, str(points.certificate[i]), points.radius[i])
        if reason is None:
            active = _active(formula, theta, lam)
            reason = _not_a_minimum(formula, theta, lam, active, points.radius[i])
            _same_eigenvalue(points, i, active, found)
        if reason is None and i < SAMPLE:
            reason = _not_below(formula, theta, lam)
            _check_precisely(points, formula, i, active, lam, found)
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)


def _check_valleys(points: Points, formula: CoerciveFormula, found: Audited) -> None:
    """Flat local minima: nothing beside them is lower, and no Hessian is claimed."""
    if not len(points):
        return
    value, error = values(formula, points.theta, points.lam)
    for i, where in enumerate(points.where):
        reason = None if points.radius[i] > 0 else "no radius within which the minimum lies"
        reason = reason or not_at_local_bound(points, i, formula, float(value[i]), float(error[i]))
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)
        if not np.isnan(points.min_eig[i]):
            least = float(points.min_eig[i])
            found.add(where, "judged_min_eig", least, "null: the Hessian is singular")


def _unlikely(
    formula: CoerciveFormula, theta: np.ndarray, lam: np.ndarray, certificate: str, radius: float
) -> str | None:
    """What rules the certificate out at first sight."""
    if not formula.regularised or formula.weight_decay or not (lam > 0).all():
        return "nothing: the objective is not known to be coercive"
    a, v = (part.numpy() for part in formula.parts(torch.as_tensor(theta)))
    lengths = np.linalg.norm(v, axis=1)
    idle = (a == 0) & (lengths == 0)
    if (certificate == Certificate.INACTIVE) != bool(idle.any()):
        return f"another certificate, with {int(idle.sum())} inactive neurons"
    if not radius > 0:
        return "no radius within which the minimum lies"
    apart = np.abs(np.abs(a) - lengths)
    if not (apart <= BALANCED * lengths + 2 * radius).all():
        return f"|a| and ‖(w, b)‖ of a neuron that differ by {float(apart.max())!r}"
    return None


def _active(formula: CoerciveFormula, theta: np.ndarray, lam: np.ndarray) -> Active:
    a, v = formula.parts(torch.as_tensor(theta))
    index = np.flatnonzero(a.numpy())
    k, strengths = len(index), torch.as_tensor(lam[index].copy())
    if not k:
        none = np.zeros(0)
        return Active(index, none, none.reshape(0, 0), none)

    def restricted(flat: torch.Tensor) -> torch.Tensor:
        own_a, own_v = flat[:k], flat[k:].reshape(k, -1)
        loss = formula.losses(formula.output(own_a, own_v)).sum()
        return loss + formula.penalty_of(own_a, own_v, strengths)

    flat = torch.cat([a[index], v[index].reshape(-1)])
    gradient = torch.func.grad(restricted)(flat).numpy()
    hessian = torch.func.jacrev(torch.func.grad(restricted))(flat).numpy()
    hessian = (hessian + hessian.T) / 2
    return Active(index, gradient, hessian, np.linalg.eigvalsh(hessian))


def _idle_level(formula: CoerciveFormula, theta: np.ndarray, lam: np.ndarray) -> float:
    a, _ = formula.parts(torch.as_tensor(theta))
    idle = a.numpy() == 0
    return float(lam[idle].min()) if idle.any() else np.inf


def _not_a_minimum(
    formula: CoerciveFormula, theta: np.ndarray, lam: np.ndarray, active: Active, radius: float
) -> str | None:
    if len(active.index):
        least, largest = float(active.eigenvalues[0]), float(np.abs(active.eigenvalues).max())
        if not least > EIGEN_ROOM * largest:
            return f"least eigenvalue {least!r} beside a largest of {largest!r}"
        step = float(np.linalg.norm(np.linalg.solve(active.hessian, active.gradient)))
        if not step <= 2 * radius:
            return f"a Newton step of {step:.3g}, longer than the radius"
    level = _idle_level(formula, theta, lam)
    highest = greatest(slopes(formula, theta), lifted(formula), formula.rectified)
    if highest >= level:
        return f"a direction with |Σ q σ(u·x)| = {highest!r}, not below λ = {level!r}"
    return None


def _not_below(formula: CoerciveFormula, theta: np.ndarray, lam: np.ndarray) -> str | None:
    level = _idle_level(formula, theta, lam)
    q = slopes(formula, theta)
    if np.isfinite(level) and below(q, lifted(formula), formula.rectified, level) is False:
        return f"|Σ q σ(u·x)| reaches λ = {level!r}"
    return None


def _same_eigenvalue(points: Points, i: int, active: Active, found: Audited) -> None:
    stored = float(points.min_eig[i])
    if not len(active.index):
        if not np.isnan(stored):
            found.add(points.where[i], "judged_min_eig", stored, "null: no neuron is active")
        return
    least, room = float(active.eigenvalues[0]), SAME_EIGEN * float(np.abs(active.eigenvalues).max())
    if not abs(stored - least) <= room:
        found.add(points.where[i], "judged_min_eig", None if np.isnan(stored) else stored, least)


class CoercivePrecise(Precise):
    """One member's objective with 50 digits; θ in the row's order."""

    def __init__(self, formula: CoerciveFormula, lam: np.ndarray) -> None:
        self.formula_of_squares = formula
        self.strengths: list[float] = lam.tolist()
        self.x = formula.x.tolist()
        self.y = formula.y.tolist()

    def objective(self, theta: Sequence[Number]) -> Number:
        """F."""
        formula = self.formula_of_squares
        m, d = formula.width, formula.x.shape[1]
        with mpmath.workdps(DIGITS):
            w = [theta[j * d : (j + 1) * d] for j in range(m)]
            b, a = theta[m * d : m * d + m], theta[m * d + m :]
            total = mpmath.mpf(0)
            for x, y in zip(self.x, self.y, strict=True):
                t = [mpmath.fdot(w[j], x) + b[j] for j in range(m)]
                f = sum(a[j] * t[j] ** 2 for j in range(m) if t[j] > 0 or not formula.rectified)
                total += loss_at(formula.loss, -y * f)
            return total + cubes(self.strengths, w, b, a)


def _check_precisely(
    points: Points,
    formula: CoerciveFormula,
    i: int,
    active: Active,
    lam: np.ndarray,
    found: Audited,
) -> None:
    """F as stored, Newton's step within the radius, F no lower on its sphere, inactive ones too."""
    found.precise += 1
    theta, radius = points.theta[i], float(points.radius[i])
    exact = CoercivePrecise(formula, lam)
    here = exact.objective(exact.moved(theta, np.zeros_like(theta)))
    _, error = values(formula, theta[None], points.lam[i : i + 1])
    if abs(float(here) - points.objective[i]) > ROUTES * error[0]:
        digits = f"{mpmath.nstr(here, 20)} with 50 digits"
        found.add(points.where[i], "judged_objective", float(points.objective[i]), digits)
    m, d = formula.width, formula.x.shape[1]
    places = _places(active.index, m, d)
    if len(places):
        gradient = np.array([float(g) for g in exact.gradient(exact.moved(theta, 0 * theta))])[
            places
        ]
        step = float(np.linalg.norm(np.linalg.solve(active.hessian, gradient)))
        if step > radius:
            found.add(points.where[i], "certificate_radius", radius, f"a Newton step of {step:.3g}")
    rng = stream("audit", "coercive sphere", len(theta))
    for k in range(SPHERE):
        move = rng.standard_normal(len(theta))
        if k % 2 and len(places):
            move[np.setdiff1d(np.arange(len(theta)), places)] = 0.0
        move *= radius / np.linalg.norm(move)
        if exact.objective(exact.moved(theta, move)) <= here:
            reason = "a point of its sphere, no higher than the centre (50 digits)"
            found.add(points.where[i], "certificate_radius", radius, reason)
            return


def _places(index: np.ndarray, m: int, d: int) -> np.ndarray:
    """Where a (k,) and then v (k, D+1) of some neurons stand in θ."""
    rows = [[*range(j * d, (j + 1) * d), m * d + j] for j in index.tolist()]
    inner = np.array(rows, dtype=np.int64).reshape(-1)
    return np.concatenate([m * d + m + index, inner])
