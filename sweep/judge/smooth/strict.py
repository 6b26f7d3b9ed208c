"""`strict`: a true local minimum lies within a proven radius of the point.

With g ≥ ‖∇F‖, λ ≤ λ_min(∇²F) and L a Lipschitz constant of ∇²F on the ball of radius r, F on the
sphere exceeds F at the centre by at least r·(λr/2 − Lr²/6 − g). If that is positive, the minimum of
F over the ball lies inside it. Symbols as in `strict_kernels.py`; all of g, λ, L are bounds with
rounding accounted for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.spectra import least_eigenvalue
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.kernels import PLAIN, Task, outputs, total
from sweep.judge.smooth.polish import pack, plain_task
from sweep.judge.smooth.strict_kernels import ROOM, second_order, third_order
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# The inequality itself is evaluated with a handful of roundings; this much slack clears them.
SLACK = 1e-9


@dataclass(frozen=True)
class Strict:
    """A proof: a minimum lies within `radius` (in the coordinates of the kernels).

    F rises by at least `rise` from the centre to the sphere of radius `rise_radius`. `gradient`,
    `min_eig` and `lipschitz` are the proven g, λ, L; `eigenvalue` is λ_min(∇²F) as computed.
    `keeps_signs`: within `radius` no output changes its sign, so the minimum has the error of the
    centre.
    """

    radius: float
    rise: float
    rise_radius: float
    gradient: float
    min_eig: float
    eigenvalue: float
    lipschitz: float
    keeps_signs: bool

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        return {
            "gradient": self.gradient,
            "least_eigenvalue_proven": self.min_eig,
            "lipschitz": self.lipschitz,
            "rise": self.rise,
            "rise_radius": self.rise_radius,
            "keeps_signs": self.keeps_signs,
        }


def strict(task: Task, theta: np.ndarray, shifts: np.ndarray | None = None) -> Strict | None:
    """The proof at θ (P,), or None. Chart units are taken at η = 0 and as exponential neurons."""
    if shifts is None:
        shifts = np.zeros(len(task.kinds))
    g, e_g, hess, doubt, f, e_f = second_order(theta, shifts, task)
    free = coordinates(task)
    hess, doubt = hess[np.ix_(free, free)], doubt[np.ix_(free, free)]
    if not (np.isfinite(hess).all() and np.isfinite(doubt).all()):
        return None
    slope = ROOM * (float(np.linalg.norm(g[free])) + float(np.linalg.norm(e_g[free])))
    least = proven_least(hess, ROOM * float(np.linalg.norm(doubt)))
    if not least > 0:
        return None

    def third(r: float) -> tuple[float, float]:
        L, worst = third_order(theta, shifts, task, f, e_f, r)
        return float(L), float(worst)

    radius = 0.0
    for _ in range(6):
        L, worst = third(radius)
        if rise_at(least, L, slope, radius) > SLACK * slope * radius:
            break
        wider = rising_radius(least, L, slope)
        if wider is None:
            return None
        radius = wider
    else:
        return None
    wide, rise = _widest(least, slope, third, radius)
    computed = least_eigenvalue(hess)
    return Strict(radius, rise, wide, slope, least, computed, L, worst < 1.0)


def settle_strict(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members that are strict, of smooth one-hidden-layer networks.

    `certificate_radius` is the distance within which the minimum lies, `certificate_margin` the
    proven rise of F to the sphere of `rise_radius`, relative to F.
    """
    task, shallow = plain_task(objective), Shallow.of(objective)
    if task is None or shallow is None:
        return
    for member in np.flatnonzero(found.open).tolist():
        theta, shifts = pack(task, shallow.split(found.params[member : member + 1]))
        proof = strict(task, theta[0], shifts[0])
        if proof is None:
            continue
        F = float(total(theta[0], outputs(theta[0], shifts[0], task), task))
        found.min_eig[member] = proof.eigenvalue
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.STRICT,
            proof.evidence() | {"objective": F},
            radius=proof.radius,
            margin=proof.rise / max(F, np.finfo(float).tiny),
        )


def coordinates(task: Task) -> np.ndarray:
    """Indices of the parameters that are coordinates of the proof: all but η of chart units."""
    n = task.X.shape[1]
    etas = np.flatnonzero(task.kinds != PLAIN) * (n + 1) + n
    return np.setdiff1d(np.arange(len(task.decays)), etas)


def rise_at(least: float, L: float, slope: float, r: float) -> float:
    """By how much F on the sphere of radius r exceeds F at its centre, at least; λ, L, g given."""
    return r * (least * r / 2 - L * r * r / 6 - slope)


def rising_radius(least: float, L: float, slope: float) -> float | None:
    """Hardly more than the least radius at which `rise_at` is positive; None if it never is."""
    inner = least**2 / 4 - 2 * L * slope / 3
    return 1.001 * 2 * slope / (least / 2 + math.sqrt(inner)) if inner > 0 else None


def _widest(least: float, slope: float, third: Any, inner: float) -> tuple[float, float]:
    """A large radius on whose sphere F is proven higher, and by how much."""
    r = least / max(third(inner)[0], 1e-300)
    while r > inner:
        rise = rise_at(least, third(r)[0], slope, r)
        if rise > 0:
            return r, rise
        r /= 4
    return inner, rise_at(least, third(inner)[0], slope, inner)
