"""Polish and certificate of the teacher-student objective; symbols as in `derivatives.py`.

The polish is Newton's method in a trust region on the closed Hessian, never uphill beyond rounding.
Where a student with n ≥ k units has come close to the teacher it is set to the teacher itself:
beyond n = k the global minima are degenerate (F grows with the third power of the distance where
two units share a teacher's direction), and descent alone would need many steps for the last digits.

The certificate is `strict` (`sweep.judge.smooth.strict`): g, λ and L are those of `derivatives.py`
with their rounding, and F on a sphere exceeds F at its centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sweep.judge.base import Judgement
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen, least_eigenvalue
from sweep.judge.population.derivatives import SecondOrder, gradient, lipschitz, second_order
from sweep.judge.smooth.polish import FIRST_RADIUS, move
from sweep.judge.smooth.strict import SLACK, rise_at, rising_radius
from sweep.judge.smooth.trust_region import WIDEST, trust_step
from sweep.models.landscape import LandscapeObjective
from sweep.models.objective import Objective
from sweep.problems.teacher_student import TeacherStudentLandscape
from sweep.verdicts import Certificate, Verdict

BUDGET = 200
# F below which the teacher itself is tried: every local minimum that was ever seen lies above 1e-3.
NEAR = 1e-4
# F there is a sum of k² numbers near 1 and should be 0.
NOTHING = 1e-12
# ‖g‖ at this share of the bound of its rounding is as good as zero: the bound is generous.
FLAT = 0.25
SMALLEST_RADIUS = 1e-13
ROOM = 1.0 + 1e-6


def population(objective: Objective) -> TeacherStudentLandscape | None:
    """The landscape of a teacher-student objective; None for any other."""
    if not isinstance(objective, LandscapeObjective):
        return None
    found = objective.landscape
    return found if isinstance(found, TeacherStudentLandscape) else None


def polish_population(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move every open member of a teacher-student objective downhill, in place."""
    landscape = population(objective)
    if landscape is None:
        return
    shape = landscape.n, landscape.k
    for member in np.flatnonzero(found.open).tolist():
        end, steps = descend(found.params[member].reshape(shape))
        move(found, member, end.reshape(-1))
        found.polish_steps[member] += steps


def settle_population(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members of a teacher-student objective that are strict.

    `certificate_radius` is the distance within which the minimum lies, `certificate_margin` the
    proven rise of F to the sphere of `rise_radius`, relative to F.
    """
    landscape = population(objective)
    if landscape is None:
        return
    shape = landscape.n, landscape.k
    for member in np.flatnonzero(found.open).tolist():
        W = found.params[member].reshape(shape)
        here = second_order(W)
        if here is None:
            continue
        found.min_eig[member] = least_eigenvalue(here.hessian)
        proof = enclose(W, here)
        if proof is None:
            continue
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.STRICT,
            {
                "gradient": proof.gradient,
                "least_eigenvalue_proven": proof.least,
                "lipschitz": proof.lipschitz,
                "rise": proof.rise,
                "rise_radius": proof.rise_radius,
                "objective": here.value,
            },
            radius=proof.radius,
            margin=proof.rise / max(here.value, np.finfo(float).tiny),
        )


@dataclass(frozen=True)
class Enclosure:
    """A minimum lies within `radius`; F rises by `rise` to the sphere of `rise_radius`.

    `gradient`, `least` and `lipschitz` are the proven g, λ and L.
    """

    radius: float
    rise: float
    rise_radius: float
    gradient: float
    least: float
    lipschitz: float


def enclose(W: np.ndarray, here: SecondOrder) -> Enclosure | None:
    """The proof at the weights (n, k), or None."""
    slope = ROOM * (float(np.linalg.norm(here.gradient)) + here.gradient_doubt)
    least = proven_least(here.hessian, ROOM * here.hessian_doubt)
    if not (least > 0 and math.isfinite(slope)):
        return None
    # L on a wide ball serves every smaller one; where that fails, a smaller ball is tried.
    wide = 0.1 * float(np.sqrt(np.square(W).sum(axis=1)).min())
    for _ in range(12):
        L = lipschitz(W, wide)
        radius = rising_radius(least, L, slope)
        if radius is not None:
            rise_radius = min(wide, least / L)
            rise = rise_at(least, L, slope, rise_radius)
            if radius <= wide and rise_at(least, L, slope, radius) > SLACK * slope * radius:
                return Enclosure(radius, rise, rise_radius, slope, least, L)
        wide /= 4
    return None


def descend(W: np.ndarray) -> tuple[np.ndarray, int]:
    """Weights (n, k) at the end of the descent from W, and its steps."""
    radius = FIRST_RADIUS * (1 + float(np.linalg.norm(W)))
    for step in range(BUDGET):
        there = _teacher(W)
        if there is not None:
            return there, step
        here = second_order(W)
        if here is None:
            return W, step
        d, gain = _step(here, radius)
        if d is None:
            return W, step
        W, radius = _tried(W, here, d.reshape(W.shape), gain, radius)
        if radius < SMALLEST_RADIUS:
            return W, step + 1
    return W, BUDGET


def _step(here: SecondOrder, radius: float) -> tuple[np.ndarray | None, float]:
    """A step (P,) within the radius and the decrease that the model promises; None at the end."""
    g, flat = here.gradient, float(np.linalg.norm(here.gradient)) <= FLAT * here.gradient_doubt
    try:
        factor = cho_factor(here.hessian, check_finite=False)
        if flat:
            return None, 0.0
        d = -cho_solve(factor, g, check_finite=False)
        if float(np.linalg.norm(d)) <= radius:
            return d, -0.5 * float(g @ d)
    except LinAlgError:
        pass
    values, basis = eigen(here.hessian)
    if np.isnan(values[0]) or (flat and values[0] >= -here.hessian_doubt):
        return None, 0.0
    turned, gain = trust_step(values, basis.T @ g, radius)
    return basis @ turned, float(gain)


def _tried(
    W: np.ndarray, here: SecondOrder, d: np.ndarray, gain: float, radius: float
) -> tuple[np.ndarray, float]:
    """Where the member stands after the trial of a step, and its next radius."""
    value, g = gradient(W + d)
    length = float(np.linalg.norm(d))
    noise = _noise(W)
    falls = float(np.linalg.norm(g)) < 0.9 * float(np.linalg.norm(here.gradient))
    blind = gain <= noise
    if blind and falls and value <= here.value + noise:
        return W + d, radius
    if not blind and here.value - value >= 1e-4 * gain:
        if here.value - value > 0.5 * gain and length > 0.9 * radius:
            radius = min(2 * radius, WIDEST * (1 + float(np.linalg.norm(W))))
        return W + d, radius
    # Where only rounding is left the gradient no longer falls: that is the end.
    return W, 0.0 if blind else 0.25 * min(radius, length)


def _noise(W: np.ndarray) -> float:
    """What F may err by: a sum over pairs, of at most the square of all lengths together."""
    return 8 * UNIT * float(np.sqrt(np.square(W).sum(axis=1)).sum() + W.shape[1]) ** 2


def _teacher(W: np.ndarray) -> np.ndarray | None:
    """The global minimum next to the weights (n, k): each unit's share of the teacher it follows.

    None unless F is below NEAR at W, all k teachers are followed, and F there is zero to rounding.
    """
    n, k = W.shape
    if n < k or gradient(W)[0] >= NEAR:
        return None
    follows = W.argmax(axis=1)
    shares = np.zeros_like(W)
    shares[np.arange(n), follows] = np.maximum(W.max(axis=1), 0.0)
    total = shares.sum(axis=0)
    if not (total > 0).all():
        return None
    there = shares / total
    return there if gradient(there)[0] <= NOTHING else None
