"""`kink`, `inactive` and `strict` for one convolution below ReQU neurons ([B] Theorem 2).

Theorem. Let p* = (z*, v*) have every active neuron ≠ 0, let T be the face of v*, so that a row that
vanishes at v* vanishes on all of T (such rows are *held*), and

1. E, restricted to the active neurons and to T near v*, have a strict minimum at p*;
2. D(u) > 0 for every u ≠ 0 in T⊥, D the one-sided derivative of E along u at p*;
3. max_{‖u‖=1} |Σᵢ qᵢ max(u·gᵢ, 0)²| < λⱼ for every inactive neuron j.

Then the balanced θ* of p*, its inactive neurons zero, is a local minimum of F. Proof.

*Off the face.* Near v* the rows that are not held keep their signs, and at v_T + u, v_T ∈ T and
u ∈ T⊥, the held ones have those that they have at u. So they cut T⊥ into finitely many closed
cones, and above each h is linear in v and E is C¹ in (z, v) near p*, ReQU and ℓ being C¹. D is
linear on each cone and continuous, hence D ≥ κ‖u‖ with κ > 0. The segment from (z, v_T) to
(z, v_T + u) stays above one cone; as the gradients there, finitely many, are continuous at p*, the
derivative along it is at least (κ − o(1))‖u‖ all the way: E(z, v_T + u) ≥ E(z, v_T) ≥ E(p*). The
filter's own term has no share in D, since its slope λ_c(‖v‖² − 1)v·u vanishes on T.

*Other neurons on*, of either sign sⱼ, each: ℓ is convex, so E(z, v) is at least that of the active
neurons at the same (z, v), which is no less than E(p*), plus Σⱼ [λⱼ‖zⱼ‖² + sⱼ Σᵢ qᵢ max(zⱼ·gᵢ, 0)²]
with q and g there. The maximum of 3. is continuous in q and g: near p* no bracket is negative.

*In θ.* θ ↦ (z, v) is continuous, active aⱼ keep their signs near θ*, and F(θ) ≥ E(z(θ), v), with
equality at θ*. ∎

1. is proved as in `coercive`: a bound g of ‖∇E‖ and μ > 0 of the curvature in a ball of the
face around the computed point give one minimum p*, within ρ = g/μ. `FaceCentre.inside` proves that
all of that ball is in the face: no row but the held ones vanishes there, which also refuses a row
that depends on held ones without being one. 2. and 3. must hold *at p**: they are computed at the
centre, and what they can change within ρ is taken off. On a cone u is a sum of its rays, of length
one, with weights that add up to at least ‖u‖, so that the least of D at all rays is such a κ
(`Filtered.rays`). z* ≠ 0 as no neuron is shorter than z can move (`stretched`).

How far around θ* F is no lower is not said, except on the face: nearby means as near as κ and what
3. leaves of λⱼ demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.coercive.bounds import ROOM
from sweep.judge.coercive.inactive import against
from sweep.judge.coercive.proof import SLACK, Ball, minimum_around, stretched
from sweep.judge.convolution.bounds import FaceCentre
from sweep.judge.convolution.local import Local
from sweep.judge.convolution.plain import Filtered
from sweep.judge.numerics.roundoff import UNIT
from sweep.verdicts import Certificate


@dataclass(frozen=True, eq=False)
class FaceProof:
    """A local minimum of F within `radius` of θ, with `held` rows of the filter at zero.

    `across` is the proven least slope off the face (inf if nothing is held), `inactive` the number
    of neurons at zero, `level` what the sphere stays below, `keeps_signs` whether no output changes
    its sign on the way to the minimum.
    """

    ball: Ball
    radius: float
    held: int
    across: float
    inactive: int
    level: float
    keeps_signs: bool

    @property
    def certificate(self) -> Certificate:
        """The kind of proof."""
        if self.held:
            return Certificate.KINK
        return Certificate.INACTIVE if self.inactive else Certificate.STRICT

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        found = self.ball.evidence() | {
            "keeps_signs": self.keeps_signs,
            "filter_kinks": self.held,
            "inactive": self.inactive,
        }
        if self.held:
            found["slope_across"] = self.across
        if self.inactive:
            found["sphere_below"] = self.level
        return found


def prove(plain: Filtered, theta: np.ndarray, lam: np.ndarray) -> FaceProof | None:
    """The proof at θ (P,) with λ (m,), or None."""
    v, Z, s = plain.split(theta)
    a, inner = plain.last.split(theta[plain.length :])
    idle = (a == 0) & (inner == 0).all(axis=1)
    active, face = np.flatnonzero(~idle), plain.face(v)
    if face is None or not len(active) or not (Z[active] != 0).any(axis=1).all():
        return None
    at = Local.at(plain, face, Z[active], s[active], lam[active], face.B.T @ v)
    centre = FaceCentre.of(at)
    ball = None if centre is None else minimum_around(centre)
    if centre is None or ball is None:
        return None
    radius = _in_theta(plain, theta, centre, ball.inner)
    across = slope_across(centre, ball.inner)
    if radius is None or not across > 0:
        return None
    level = np.inf
    if idle.any():
        level = SLACK * float(lam[idle].min()) - idle_change(centre, ball.inner)
        if not against(at.q, at.task, level).below:
            return None
    keeps = bool((np.abs(at.f) > centre.reach(ball.inner).phi).all())
    return FaceProof(ball, radius, int(face.held.sum()), across, int(idle.sum()), level, keeps)


def slope_across(centre: FaceCentre, inner: float) -> float:
    """A lower bound of D(u)/‖u‖ off the face within `inner`; inf without held rows, 0 unknown.

    D is Lipschitz in u with Σ‖pᵢ‖‖Cᵢ‖, p = ∂E/∂h, for errors of the rays, and in p with Σ‖Cᵢ‖.
    """
    at, plain = centre.at, centre.at.plain
    rays = plain.rays(at.face)
    if rays is None:
        return 0.0
    if not len(rays):
        return np.inf
    slopes = plain.slopes_across(at.face, at.Z, at.s, at.tau, rays)
    far, lengths = centre.reach(inner), np.linalg.norm(at.Z, axis=1)[:, None]
    moved = ROOM * centre.S_z[:, None] * inner
    q, dq = np.abs(at.q), far.dq
    change = (dq * at.h + (q + dq) * far.dt) * lengths + (q + dq) * (at.h + far.dt) * moved
    rows = np.linalg.norm(plain.C, axis=(1, 2))
    sizes = (q * at.h * lengths).sum(axis=0)
    terms = 8 * (at.face.tilt + (plain.C.size + at.Z.size + 16) * UNIT)
    doubt = ROOM * 2 * float(rows @ (change.sum(axis=0) + terms * sizes))
    return SLACK * float(slopes.min()) - doubt


def idle_change(centre: FaceCentre, inner: float) -> float:
    """By how much |Σᵢ qᵢ max(u·gᵢ, 0)²|, u of length one, can be larger within `inner`."""
    at, far = centre.at, centre.reach(inner)
    sizes = np.linalg.norm(at.task.X, axis=1)
    own, tau = np.linalg.norm(at.face.A, axis=(1, 2)), float(np.linalg.norm(at.tau))
    rounding = (at.plain.length + 8) * UNIT * own * tau
    dg = ROOM * ((own + centre.e_h) * centre.S_tau * inner + centre.e_h * tau + rounding)
    bound = far.dq * (sizes + dg) ** 2 + np.abs(at.q) * dg * (2 * sizes + dg)
    return float(ROOM * bound.sum())


def _in_theta(plain: Filtered, theta: np.ndarray, centre: FaceCentre, inner: float) -> float | None:
    """How far the balanced θ* can be from θ; None if a neuron might vanish on the way."""
    at, tau = centre.at, float(np.linalg.norm(centre.at.tau))
    moved = stretched(at.Z, inner * float(np.linalg.norm(centre.S)))
    if moved is None:
        return None
    v, Z, s = plain.split(theta)
    away = float(np.linalg.norm(plain.balanced(v, Z, s) - theta))
    away += float(np.linalg.norm(v - at.face.B @ at.tau)) + 2 * at.face.tilt * tau
    away += centre.S_tau * inner + 16 * UNIT * float(np.linalg.norm(theta))
    return (away + moved) / SLACK
