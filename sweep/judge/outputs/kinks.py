"""`kink` for one hidden layer and several outputs: a minimum on a face off which F only rises.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
K       held pairs (j, i), w_j·x̃_i = 0 on the face M           (H, N)
X_j     rows x̃_i that unit j holds, independent                (m_j, n)
s       slopes in force, s₋ and s₊ on the two sides of a kink  (H, N)
q_i     ∂ℓ/∂f_i                                               (N, C)
κ_ji    q_i·a_j                                               (H, N)
τ_j     −(X_j⁺)ᵀ Σ_{i not held} κ_ji s_ji x̃_i                   (m_j,)
B       a ball in θ about p0 = π(θ0), the projection onto M
t_ji    (τ − κs₋)/(κs₊ − κs₋): which share of the jump of slopes is used
======  ====================================================  ==========

κ and τ are taken at whatever point θ of B is meant, on M or off it.

Theorem. Let no other pair change its side on B, and let for every θ in B and every held pair
τ − κs₋ > 0 and κs₊ − τ > 0. A local minimum p* inside B of F on M is one of F.
Proof. Let θ be so near p* that it and π(θ) lie in a smaller ball about p* within B. π changes w_j
alone, by a combination of the rows of X_j; so on the way p(u) from π(θ) to θ, 0 ≤ u ≤ 1, held
preactivations are u·z_ji with z those at θ, on one side each, and w_j moves by u·X_j⁺z_j. F is
differentiable there, as the objective with the slopes of these sides is:
dF/du = Σ_j (X_j⁺z_j)·Σ_{i not held} κ_ji s_ji x̃_i + Σ_K κ_ji s(z_ji) z_ji
= Σ_K [κ_ji s(z_ji) − τ_ji] z_ji with κ, τ at p(u). Every term is ≥ 0: for z > 0 it is (κs₊ − τ)z,
for z < 0 it is (τ − κs₋)|z|. So F(θ) ≥ F(π(θ)), and F(π(θ)) ≥ F(p*) as π(θ) lies on M and near
p*. ∎

The two inequalities have the sum κ(s₊ − s₋) > 0: the kinks are convex, and 0 < t < 1. At a
stationary point τ = κ·s′ with the one s′ at which Σ κ s x̃ vanishes for unit j, the t are the
multipliers of the first-order test. That F on M has a minimum p* near p0, across the symmetries, is
what `sweep.judge.outputs.proof` shows on a face, with the same B about it.

Everything is a ball over B, rounding included. A multiplier keeps `CLEAR` from both its ends, and
κ(s₊ − s₋) is no less than that share of what it could be: what is nearer is not told from a point
that training leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.affine.outputs import derivatives
from sweep.judge.base import CLEAR, Judgement
from sweep.judge.numerics.balls import Ball, contract
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.outputs.active import descend_over_kinks
from sweep.judge.outputs.face import Face, FaceTask, face_of
from sweep.judge.outputs.proof import Proof, prove, room
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.polish import move
from sweep.judge.smooth.strict_kernels import ROOM
from sweep.judge.smooth.trust_region import NOISE
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# B, and the ball that is stated, are this much wider than the minimum's distance; B is tried ever
# wider by the second factor.
INSIDE = 4.0
WIDER = 8.0
# How far θ0 may be from the face, beside 1 + ‖θ0‖: its rounding, which held rows may make larger.
ROUNDED = 1e-11


@dataclass(frozen=True)
class Rise:
    """On a ball about θ0 F rises off the face; `least` and `largest` bound t, and hold ½."""

    radius: float
    least: float
    largest: float


@dataclass(frozen=True)
class KinkProof:
    """What is shown of a minimum on kinks: on the face, and off it; `kinks` are how many."""

    on: Proof
    off: Rise
    kinks: int

    @property
    def radius(self) -> float:
        """Of a ball on which F is convex on the face, across the symmetries, and rises off it."""
        return min(self.on.radius, self.off.radius)

    @property
    def margin(self) -> float:
        """The smallest slack: the multipliers' distance from 0 and 1, the clearance."""
        return min(self.off.least, 1 - self.off.largest, self.on.clearance)

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready; `tau` are the multipliers t, as for one output."""
        return self.on.evidence() | {
            "kinks": self.kinks,
            "tau_min": self.off.least,
            "tau_max": self.off.largest,
            "clearance": self.on.clearance,
            "rises_within": self.off.radius,
        }


def prove_kink(task: OutputsTask, theta: np.ndarray, held: np.ndarray) -> KinkProof | None:
    """The proof at θ (P,) with the pairs (H, N) on their kinks, or None."""
    if task.code is not None or not held.any():
        return None
    face = face_of(task, theta, held)
    if face is None or not face.off <= ROUNDED * (1 + float(np.linalg.norm(theta))):
        return None
    slope = task.slope(task.split(theta).W @ task.X.T)
    on = prove(FaceTask.with_slopes(task, np.where(held, 0.0, slope)), theta, face)
    if on is None:
        return None
    off = _rise(task, face, on.within)
    proof = None if off is None else KinkProof(on, off, face.count)
    return proof if proof is not None and proof.radius > INSIDE * on.within else None


def settle_output_kinks(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Follow open members of one hidden layer and several outputs over kinks, to a proof or back.

    Who ends at a proven minimum, on kinks or between them, is a `local_minimum` there; who does not
    stays where it was. `certificate_radius` is that of a ball in θ on which F, on the face and
    across the symmetries, is convex, and rises off the face; `certificate_margin` the multipliers'
    least distance from 0 and 1, or the distance from other kinks where that is less.
    """
    task = OutputsTask.of(objective)
    if task is None or task.code is not None:
        return
    for member in np.flatnonzero(found.open).tolist():
        start = task.theta(found.params[member])
        theta, held, steps = descend_over_kinks(task, start)
        before, F = task.value(start), task.value(theta)
        if not before - F >= -NOISE * before:
            continue
        kink = prove_kink(task, theta, held)
        cell = None if held.any() else prove(task, theta)
        proof = kink.on if kink is not None else cell
        if proof is None:
            continue
        move(found, member, task.params(theta))
        found.polish_steps[member] += steps
        found.flat_dim[member] = proof.symmetries
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.CELL if kink is None else Certificate.KINK,
            (proof if kink is None else kink).evidence() | {"objective": F},
            radius=(proof if kink is None else kink).radius,
            margin=proof.clearance if kink is None else kink.margin,
        )


def _rise(task: OutputsTask, face: Face, within: float) -> Rise | None:
    """The proof off the face, on a ball that holds all points within that distance of θ0."""
    _, most = room(task, face.theta, face.held)
    most -= 2 * face.off
    radius, found = INSIDE * within + np.finfo(float).tiny, None
    while radius < most:
        t = _multipliers(task, face, radius)
        if t is None:
            break
        found = Rise(radius, *(t if found is None else (found.least, found.largest)))
        radius *= WIDER
    return found


def _multipliers(task: OutputsTask, face: Face, radius: float) -> tuple[float, float] | None:
    """Bounds of all t on the ball about θ0, or None if they are not clear of 0 and 1."""
    assert task.slopes is not None
    lo, hi = task.slopes
    at, n, held = task.split(face.theta), task.X.shape[1], face.held
    P, H, C = len(face.theta), task.width, task.y.shape[1]
    wide = np.full(P, ROOM * radius)
    A, c = Ball(at.A, wide[: C * H].reshape(C, H)), Ball(at.c, wide[C * H : C * H + C])
    z = Ball(at.W @ task.X.T)
    # Each w_j moves by the radius at most.
    rounds = (n + 2) * UNIT * (np.abs(at.W) @ np.abs(task.X).T)
    z = Ball(z.mid, ROOM * (rounds + radius * task.length))
    slope = task.slope(z.mid)
    # On their kinks pairs have any slope between the two.
    mean, half = (lo + hi) / 2, abs(hi - lo) / 2
    mid = np.where(held, mean, slope)
    rad = np.where(held, ROOM * half + 2 * UNIT * abs(mean), 0.0)
    f = contract("ch,hi->ic", A, Ball(mid, rad) * z) + c[None, :]
    found = derivatives(task.loss, task.y, f.mid, f.known)
    q = Ball(found.slope, found.slope_error)
    kappa = contract("ic,ch->hi", q, A)
    inner = kappa * np.where(held, 0.0, slope)
    pulled = contract("hi,ik->hk", inner, task.X)
    largest = float(np.linalg.norm(q.size, axis=1).max()) * np.linalg.norm(A.size, axis=0)
    least, most = 0.5, 0.5
    for j in face.units:
        tau, own = -_solved(face, j, pulled[j]), kappa[j, held[j]]
        down, up = tau - own * lo, own * hi - tau
        jump = own * (hi - lo)
        low, high = down.low, up.low
        clear = (low > 0) & (high > 0) & (jump.low >= CLEAR * abs(hi - lo) * largest[j])
        if not clear.all():
            return None
        least = min(least, float((low / (low + up.size)).min()) / ROOM)
        most = max(most, 1 - float((high / (high + down.size)).min()) / ROOM)
    return (least, most) if min(least, 1 - most) >= CLEAR else None


def _solved(face: Face, j: int, target: Ball) -> Ball:
    """(X_j⁺)ᵀ·target: the coefficients of its part in the span of unit j's held rows.

    With the stored Y of X_j⁺ and any S: ‖X_j⁺ − Y‖ ≤ ‖X_j⁺(1 − X_jY)‖ + ‖Y − X_jᵀS‖, because
    X_j⁺X_jY is the nearest to Y in the span of the rows.
    """
    rows, Y = Ball.exact(face.rows[j]), Ball.exact(face.inverses[j])
    found = contract("nm,n->m", Y, target)
    wrong = (contract("mn,nk->mk", rows, Y) - np.eye(rows.shape[0])).size
    beside = (Y - contract("mn,mk->nk", rows, Y.mid.T @ Y.mid)).size
    off = float(np.linalg.norm(wrong)) / face.least[j] + float(np.linalg.norm(beside))
    return found.widened(np.full(rows.shape[0], ROOM * off * float(np.linalg.norm(target.size))))
