"""`strict` and `cell` for one hidden layer and several outputs: a minimum across the symmetries.

Let θ0 be the point, N and Ψ as in `sweep.judge.outputs_frame`, whose theorem makes a local minimum
of F on θ0 + range N one of F. With g ≥ ‖Nᵀ∇F(θ0)‖ and NᵀHN ≥ μ > 0 for the Hessians H of all
points of θ0 + range N within r, F at the distance r exceeds F(θ0) by at least r(μr/2 − g). If that
is positive, F, convex there, has a minimum inside, and it lies within g/μ of θ0.

H is a ball around the Hessian at θ0 that holds those of a whole neighbourhood, rounding included
(`sweep.judge.outputs_task`); μ is the proven least eigenvalue of NᵀHN. For a piecewise-linear σ no
unit may reach a kink within r, and preactivations keep `CLEAR` besides.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
r       radius of the ball about θ0
g, μ    bounds of the gradient and of the curvature in it
z       preactivations                                        (H, N)
======  ====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.balls import Ball, contract
from sweep.judge.base import CLEAR, Judgement
from sweep.judge.coercive_proof import SLACK
from sweep.judge.outputs_frame import Frame, frame_at
from sweep.judge.outputs_gradient import gradient
from sweep.judge.outputs_task import OutputsTask, Second
from sweep.judge.roundoff import UNIT
from sweep.judge.spectra import least_eigenvalue
from sweep.judge.strict_eigen import proven_least
from sweep.judge.strict_kernels import ROOM
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# The first radii that are tried, in units of g/λ: there μ has to be more than 2/FIRST of λ.
FIRST = (2.5, 4.0)
# Wider balls that are tried in turn.
WIDER = 8.0
TRIES = 12


@dataclass(frozen=True)
class Proof:
    """A minimum lies `within` of θ0; F across the symmetries is convex on the ball of `radius`.

    On the sphere of radius `inner` F is higher than at θ0, too.

    `clearance` is the least distance from a kink relative to 1 or to the unit's largest |z|,
    infinite for a smooth σ; `keeps_class`: no point changes its class on the way to the minimum.
    """

    gradient: float
    eigenvalue: float
    curvature: float
    within: float
    inner: float
    radius: float
    rise: float
    symmetries: int
    clearance: float
    keeps_class: bool

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        return {
            "gradient": self.gradient,
            "least_eigenvalue_proven": self.curvature,
            "within": self.within,
            "rise": self.rise,
            "rise_radius": self.radius,
            "symmetries": self.symmetries,
            "keeps_signs": self.keeps_class,
        }


def prove(task: OutputsTask, theta: np.ndarray) -> Proof | None:
    """The proof at θ (P,), or None."""
    frame = frame_at(task, theta)
    if frame is None:
        return None
    clearance, most = _room(task, theta)
    if not clearance >= CLEAR:
        return None
    here = task.second(theta, 0.0)
    g = float(ROOM * np.linalg.norm(contract("pa,p->a", frame.N, gradient(task, theta)).size))
    eigenvalue = least_eigenvalue(_across(frame, here).mid)
    if not eigenvalue > 0 or not np.isfinite(g):
        return None
    most = min(most, frame.reach)
    first = g / eigenvalue + float(np.finfo(float).tiny)
    within, inner, found = np.inf, np.inf, None
    for times in (*FIRST, *(FIRST[-1] * WIDER ** np.arange(1.0, TRIES)).tolist()):
        radius = times * first
        if not radius < most:
            break
        mu = _curvature(frame, task.second(theta, ROOM * radius))
        if SLACK * mu * radius > 2 * g:
            within, inner = min(within, g / mu / SLACK), min(inner, radius)
            found = mu, radius, SLACK * radius * (mu * radius / 2 - g)
        elif times >= FIRST[-1]:
            break
    if found is None:
        return None
    mu, radius, rise = found
    keeps = _keeps_class(task, task.second(theta, ROOM * within).f)
    symmetries = frame.symmetries
    return Proof(g, eigenvalue, mu, within, inner, radius, rise, symmetries, clearance, keeps)


def settle_outputs(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members of one hidden layer and several outputs.

    `certificate_radius` is for `strict` the distance within which the minimum lies, for `cell` that
    of the ball on which F across the symmetries is convex; `certificate_margin` for `strict` the
    proven rise to the sphere of `rise_radius` relative to F, for `cell` the distance from kinks.
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
        found.min_eig[member] = proof.eigenvalue
        if not smooth:
            found.flat_dim[member] = proof.symmetries
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.STRICT if smooth else Certificate.CELL,
            proof.evidence() | {"objective": F},
            radius=proof.inner if smooth else proof.radius,
            margin=proof.rise / max(F, np.finfo(float).tiny) if smooth else proof.clearance,
        )


def _across(frame: Frame, second: Second) -> Ball:
    """NᵀHN, symmetric."""
    found = contract("pa,pb->ab", frame.N, contract("pq,qb->pb", second.hessian, frame.N))
    mean = (found.mid + found.mid.T) / 2
    return Ball(mean, ROOM * (found.known + found.known.T) / 2 + UNIT * np.abs(mean))


def _curvature(frame: Frame, second: Second) -> float:
    """μ: the least that NᵀHN can be, or what is not above zero."""
    found = _across(frame, second)
    if not (np.isfinite(found.mid).all() and np.isfinite(found.known).all()):
        return -np.inf
    return proven_least(found.mid, ROOM * float(np.linalg.norm(found.known)))


def _room(task: OutputsTask, theta: np.ndarray) -> tuple[float, float]:
    """(clearance, radius): how far θ is from where a unit reaches a kink."""
    if task.code is not None:
        return np.inf, np.inf
    z = task.preactivations(task.split(theta).W, 0.0)
    away = np.abs(z.mid) - ROOM * z.known
    size = np.maximum(1.0, np.abs(z.mid).max(axis=1, keepdims=True))
    return float((away / size).min()), float((away / task.length).min()) / ROOM


def _keeps_class(task: OutputsTask, f: Ball) -> bool:
    """Whether every point's class stays right, or stays wrong, for all these outputs."""
    if not task.loss.classifies:
        return True
    own = (task.y * f.mid).sum(axis=1, keepdims=True)
    lead = np.where(task.y > 0, np.inf, own - f.mid)
    room = f.known.max(axis=1) * 2 * ROOM + 4 * UNIT * np.abs(f.mid).max(axis=1)
    return bool((np.abs(lead.min(axis=1)) > room).all())
