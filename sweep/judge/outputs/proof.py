"""`strict` and `cell` for one hidden layer and several outputs: a minimum across the symmetries.

Let θ0 be the point, N as in `sweep.judge.outputs.frame`, whose theorem makes a local minimum of F
on θ0 + range M one of F, M = NVΛ^{−1/2} with the eigenvectors V and eigenvalues Λ of NᵀHN at θ0: in
θ0 + Mw the curvature is 1 every way, so that a soft direction is not measured by a stiff one. (M is
taken as it is stored; its columns, scaled, are those of NV but for rounding, which the frame's
reach has room for.) With g ≥ ‖Mᵀ∇F(θ0)‖ and MᵀHM ≥ μ > 0 for the Hessians H of all ‖w‖ ≤ r, F at
‖w‖ = r exceeds F(θ0) by at least r(μr/2 − g). If that is positive, F, convex there, has a minimum
inside, at ‖w‖ ≤ g/μ.

H is a ball that holds the Hessians of all these θ, rounding included (`sweep.judge.outputs.task`);
μ is the proven least eigenvalue of MᵀHM. For a piecewise-linear σ no unit may reach a kink within
r, and preactivations keep `CLEAR` besides. On a face θ0 is its projection, M has columns on the
face, and both are known within a ball (`sweep.judge.outputs.face`).

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
M, w    coordinates across the symmetries                      (P, ρ), (ρ,)
r       radius in w
g, μ    bounds of the gradient and of the curvature in them
z       preactivations                                        (H, N)
======  ====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.base import CLEAR, Judgement
from sweep.judge.coercive.proof import SLACK, TINY
from sweep.judge.numerics.balls import Ball, contract
from sweep.judge.numerics.proven_eigen import proven_least
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen
from sweep.judge.outputs.face import Face, Space
from sweep.judge.outputs.frame import frame_at
from sweep.judge.outputs.task import OutputsTask, Second
from sweep.judge.smooth.strict_kernels import ROOM
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# The first radii that are tried, in units of g: there μ has to be more than 2/FIRST.
FIRST = (2.5, 4.0)
# Wider ones that are tried in turn.
WIDER = 32.0
TRIES = 8


@dataclass(frozen=True)
class Proof:
    """A minimum lies within the distance `within` of θ0, and at ‖w‖ = `rise_radius` F is higher.

    F across the symmetries is convex on the ball of `radius` in θ. `eigenvalue` is the least of
    NᵀHN, `least` a proven bound of it, `curvature` the proven μ on the widest ball. `clearance` is
    the least distance from a kink relative to 1 or to the unit's largest |z|, infinite for a smooth
    σ; `keeps_class`: no point changes its class on the way to the minimum.
    """

    gradient: float
    eigenvalue: float
    least: float
    curvature: float
    within: float
    radius: float
    rise: float
    rise_radius: float
    symmetries: int
    clearance: float
    keeps_class: bool

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        return {
            "gradient": self.gradient,
            "least_eigenvalue_proven": self.least,
            "curvature_within": self.curvature,
            "within": self.within,
            "rise": self.rise,
            "rise_radius": self.rise_radius,
            "symmetries": self.symmetries,
            "keeps_signs": self.keeps_class,
        }


def prove(task: OutputsTask, theta: np.ndarray, face: Face | None = None) -> Proof | None:
    """The proof at θ (P,), or at its projection onto a face for F there; or None."""
    frame, space = frame_at(task, theta, face), Space() if face is None else face
    if frame is None:
        return None
    clearance, most = room(task, theta, None if face is None else face.held)
    if not clearance >= CLEAR:
        return None
    here = task.second(theta, space.moves(Ball.exact(np.zeros((len(theta), 1))), 0.0))
    values, basis = eigen(_across(Ball.exact(frame.N), here).mid)
    if not values[0] > 0:
        return None
    # The longest and the shortest move of length 1 in w.
    longest, shortest = ROOM / np.sqrt(values[0]), 1 / np.sqrt(values[-1]) / ROOM
    M = space.tangent(frame.N @ (basis / np.sqrt(values)))
    slope = space.gradient(task, theta, here.hessian)
    g = float(ROOM * np.linalg.norm(contract("pa,p->a", M, slope).size))
    if not np.isfinite(g):
        return None
    most = (min(most, frame.reach) - 2 * space.off) / longest
    first, wider = g + TINY, FIRST[-1] * WIDER ** np.arange(1.0, TRIES)
    inner, found = np.inf, None
    for times in (*FIRST, *wider.tolist()):
        r = times * first
        if not r < most:
            break
        mu = _curvature(M, task.second(theta, space.moves(M, r)))
        if SLACK * mu * r > 2 * g:
            inner = min(inner, r)
            found = mu, r
        elif times >= FIRST[-1]:
            break
    if found is None:
        return None
    mu, r = found
    within, radius = float(longest * inner + space.off), float(shortest * r)
    if task.code is None and not radius > within:
        return None  # The ball that is stated would not hold the minimum.
    return Proof(
        gradient=float(np.linalg.norm(contract("pa,p->a", frame.N, slope).size)),
        eigenvalue=float(values[0]),
        least=float(mu * values[0] / ROOM**2),
        curvature=mu,
        within=within,
        radius=radius,
        rise=SLACK * r * (mu * r / 2 - g),
        rise_radius=r,
        symmetries=frame.symmetries,
        clearance=clearance,
        keeps_class=_keeps_class(task, task.second(theta, space.moves(M, inner)).f),
    )


def settle_outputs(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members of one hidden layer and several outputs.

    `certificate_radius` is for `strict` the distance within which the minimum lies, for `cell` that
    of the ball on which F across the symmetries is convex; `certificate_margin` for `strict` the
    proven rise to the sphere of `rise_radius` relative to F, for `cell` the distance from kinks.
    `judged_min_eig` stays null where F has symmetries.
    """
    task = OutputsTask.of(objective)
    if task is None:
        return
    for member in np.flatnonzero(found.open).tolist():
        theta = task.theta(found.params[member])
        proof = prove(task, theta)
        if proof is None:
            continue
        F, smooth = task.value(theta), task.code is not None
        found.flat_dim[member] = proof.symmetries
        if not proof.symmetries:
            found.min_eig[member] = proof.eigenvalue  # Else ∇²F is singular.
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.STRICT if smooth else Certificate.CELL,
            proof.evidence() | {"objective": F},
            radius=proof.within if smooth else proof.radius,
            margin=proof.rise / max(F, TINY) if smooth else proof.clearance,
        )


def _across(M: Ball, second: Second) -> Ball:
    """MᵀHM, symmetric."""
    found = contract("pa,pb->ab", M, contract("pq,qb->pb", second.hessian, M))
    mean = (found.mid + found.mid.T) / 2
    return Ball(mean, ROOM * (found.known + found.known.T) / 2 + UNIT * np.abs(mean))


def _curvature(M: Ball, second: Second) -> float:
    """μ: the least that MᵀHM can be, or what is not above zero."""
    found = _across(M, second)
    if not (np.isfinite(found.mid).all() and np.isfinite(found.known).all()):
        return -np.inf
    return proven_least(found.mid, ROOM * float(np.linalg.norm(found.known)))


def room(
    task: OutputsTask, theta: np.ndarray, held: np.ndarray | None = None
) -> tuple[float, float]:
    """(clearance, radius): how far θ is from where a unit reaches a kink, but the `held` pairs."""
    if task.code is not None:
        return np.inf, np.inf
    W = task.split(theta).W
    z = task.preactivations(W, np.zeros((*W.shape, 1)))
    away = np.abs(z.mid) - ROOM * z.known
    size = np.maximum(1.0, np.abs(z.mid).max(axis=1, keepdims=True))
    if held is not None:
        away = np.where(held, np.inf, away)
    return float((away / size).min()), float((away / task.length).min()) / ROOM


def _keeps_class(task: OutputsTask, f: Ball) -> bool:
    """Whether every point's class stays right, or stays wrong, for all these outputs."""
    if not task.loss.classifies:
        return True
    own = (task.y * f.mid).sum(axis=1, keepdims=True)
    lead = np.where(task.y > 0, np.inf, own - f.mid)
    room = f.known.max(axis=1) * 2 * ROOM + 4 * UNIT * np.abs(f.mid).max(axis=1)
    return bool((np.abs(lead.min(axis=1)) > room).all())
