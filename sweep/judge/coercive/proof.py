"""`inactive` and `strict` for the coercive networks of [B].

The proof is one in the reduced coordinates of `sweep.judge.coercive.kernels`, where F(θ) ≥ E(z(θ))
with equality at balanced points: if z* is a local minimum of E for either sign of the neurons that
are zero there, its balanced θ* is one of F.

1. Active neurons. In the coordinates w of `bounds.py`, z + Sw, let g ≥ ‖∇E‖ at the centre and
   let every curvature of E for ‖w‖ ≤ r be at least μ > 0 (kinks counted; ∇E is continuous across
   them). E at ‖w‖ = r exceeds E at the centre by at least r(μr/2 − g). If that is positive, E,
   convex there, has its one minimum z* inside, at ‖w‖ ≤ ρ = g/μ.
2. Inactive neurons. ℓ is convex, so with active neurons at z* + δ and any zⱼ of the others
   E ≥ E_active(z* + δ) + Σⱼ [λⱼ‖zⱼ‖² ± Σᵢ qᵢ(δ) σ(zⱼ·x̃ᵢ)], where σ is of degree 2. If
   max_{‖u‖=1} |Σᵢ qᵢ σ(u·x̃ᵢ)| < λⱼ at δ = 0, the brackets are not negative for small δ, and
   E ≥ E_active(z* + δ) ≥ E(z*). `inactive.py` proves it at the centre, against λⱼ less what
   q can change within ρ, Σᵢ dqᵢ‖x̃ᵢ‖².

Where every neuron is active, the first half alone is `strict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.bounds import Centre
from sweep.judge.coercive.inactive import against
from sweep.judge.coercive.kernels import energy, loss_rows, outputs
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.polish import all_positive, per_neuron
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import least_eigenvalue
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# Radii that are tried, from the largest on; in w a curvature of 1 is that at the centre.
RADII = 0.25 ** np.arange(1.0, 26.0)
# The inequalities themselves are evaluated with a handful of roundings.
SLACK = 1 - 1e-9
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class Ball:
    """The first half of the proof: g, μ within the radius `outer`, ρ = `inner`, and the `rise`.

    `least` is the proven curvature at the centre, kinks within reach counted; `kinks`: there are
    some.
    """

    gradient: float
    least: float
    curvature: float
    outer: float
    inner: float
    rise: float
    kinks: bool

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        return {
            "gradient": self.gradient,
            "curvature_proven": self.least,
            "curvature_within": self.curvature,
            "rise": self.rise,
            "rise_radius": self.outer,
            "kinks_within": self.kinks,
        }


class Surroundings(Protocol):
    """What is known around a centre; see `coercive_bounds.Centre` for the four bounds."""

    def gradient(self) -> float:
        """An upper bound of ‖∇E‖ at the centre."""
        ...

    def on(self, r: float) -> tuple[np.ndarray, bool]:
        """The pattern of second derivatives that makes ∇²E least within r; whether kinks are."""
        ...

    def least(self, on: np.ndarray) -> float:
        """A lower bound of the curvature at the centre with that pattern."""
        ...

    def curvature_change(self, r: float) -> float:
        """How far below that the curvature can be within r."""
        ...


def minimum_around(centre: Surroundings) -> Ball | None:
    """The largest of the tried neighbourhoods in which E has its minimum; None if there is none."""
    g = centre.gradient()
    known: dict[bytes, float] = {}
    for radius in RADII.tolist():
        on, kinks = centre.on(radius)
        change = centre.curvature_change(radius)
        if not change < 1:
            continue
        key = on.tobytes()
        if key not in known:
            known[key] = centre.least(on)
        mu = SLACK * (known[key] - change)
        if mu * radius * SLACK > 2 * g:
            rise = SLACK * radius * (mu * radius / 2 - g)
            return Ball(g, known[key], mu, radius, g / mu / SLACK, rise, kinks)
        if radius < 2 * g:
            return None
    return None


@dataclass(frozen=True, eq=False)
class Proof:
    """A local minimum of F within `radius` of θ. `inactive` neurons are zero there.

    `level` is the least λ among them less what q can change, `keeps_signs` whether no output
    changes its sign on the way to the minimum. Without active neurons there is no `ball`.
    """

    ball: Ball | None
    radius: float
    inactive: int
    level: float
    keeps_signs: bool

    def evidence(self) -> dict[str, Any]:
        """The numbers for the row, JSON-ready."""
        found: dict[str, Any] = {"keeps_signs": self.keeps_signs}
        if self.ball is not None:
            found |= self.ball.evidence()
        if self.inactive:
            found["sphere_below"] = self.level
        return found


def prove(plain: Coordinates, theta: np.ndarray, lam: np.ndarray) -> Proof | None:
    """The proof at θ (P,) with λ (m,), or None."""
    a, v = plain.split(theta)
    idle = (a == 0) & (v == 0).all(axis=1)
    Z, s = plain.reduced(theta)
    task, active = plain.task, np.flatnonzero(~idle)
    if not (Z[active] != 0).any(axis=1).all():
        return None
    if not len(active):
        # At θ = 0 nothing is rounded: f = 0 and q is as good as the loss's derivative.
        f = np.zeros(len(task.y))
        q = loss_rows(f, task)[1]
        level = SLACK * float(lam.min())
        return Proof(None, UNIT, plain.m, level, False) if against(q, task, level).below else None
    centre = Centre.of(task, np.ascontiguousarray(Z[active]), s[active], lam[active])
    ball = None if centre is None else minimum_around(centre)
    if centre is None or ball is None:
        return None
    radius = _in_theta(plain, theta, centre, ball.inner)
    reach = centre.changes(ball.inner)
    level = np.inf
    if idle.any():
        level = SLACK * float(lam[idle].min()) - float(reach.dq @ centre.squares) / SLACK
        if not against(centre.q, task, level).below:
            return None
    if radius is None:
        return None
    keeps = bool((np.abs(centre.f) > reach.phi).all())
    return Proof(ball, radius, int(idle.sum()), level, keeps)


def _in_theta(plain: Coordinates, theta: np.ndarray, centre: Centre, inner: float) -> float | None:
    """How far the balanced θ* can be from θ; None if a neuron might vanish on the way."""
    moved = stretched(centre.Z, inner * float(np.linalg.norm(centre.S)))
    if moved is None:
        return None
    away = float(np.linalg.norm(plain.balanced(*plain.reduced(theta)) - theta))
    away += 16 * UNIT * float(np.linalg.norm(theta))
    return float(away + moved)


def stretched(Z: np.ndarray, moved: float) -> float | None:
    """How far balanced neurons can move when their z (k, n) do so by `moved`; None to zero.

    z ↦ ‖z‖^{−1/3}z and its length have derivatives up to ‖z‖^{−1/3}·(1, ⅔) across and along z:
    together they stretch by at most ‖z‖^{−1/3}.
    """
    moved = moved / SLACK
    shortest = float(np.linalg.norm(Z, axis=1).min()) * SLACK - moved
    return float(moved / np.cbrt(shortest) / SLACK) if shortest > 0 else None


def settle_coercive(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members of coercive networks that are proved to be one.

    `certificate_radius` is the distance in θ within which the minimum lies; `certificate_margin`
    the proven rise of E to the sphere of `rise_radius`, relative to F. `judged_min_eig` is that of
    F's Hessian with respect to the active neurons, null if there are none.
    """
    plain = coordinates_of(objective)
    if plain is None or lam is None:
        return
    for member in np.flatnonzero(found.open & all_positive(lam, len(lam))).tolist():
        theta, strengths = found.params[member], per_neuron(lam[member], plain)
        proof = prove(plain, theta, strengths)
        if proof is None:
            continue
        Z, s = plain.reduced(theta)
        F = float(energy(Z, s, strengths, plain.task))
        if proof.ball is not None:
            curvature = active_hessian(plain, theta, strengths)
            found.min_eig[member] = least_eigenvalue(curvature)
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.INACTIVE if proof.inactive else Certificate.STRICT,
            proof.evidence() | {"objective": F},
            radius=proof.radius,
            margin=np.nan if proof.ball is None else proof.ball.rise / max(F, TINY),
        )


def active_hessian(plain: Coordinates, theta: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """∇²F with respect to (v_j, a_j) of the active neurons, neuron by neuron."""
    a, v = plain.split(theta)
    keep = np.flatnonzero(a)
    a, v, lam, (X, y) = a[keep], v[keep], lam[keep], (plain.task.X, plain.task.y)
    t = v @ X.T
    h = np.maximum(t, 0.0) if plain.task.rectified else t
    _, q, c = loss_rows(outputs(h, a), plain.task)
    k, n = v.shape
    rows = np.concatenate([2 * (a[:, None] * h)[:, None] * X.T, (h**2)[:, None]], axis=1)
    rows = rows.reshape(k * (n + 1), len(y))
    found = (rows * c) @ rows.T
    for j in range(k):
        on = (h[j] > 0) | (not plain.task.rectified)
        length = np.linalg.norm(v[j])
        own = np.zeros((n + 1, n + 1))
        own[:n, :n] = 2 * a[j] * (X.T * (q * on)) @ X
        own[:n, :n] += 2 * lam[j] * (length * np.eye(n) + np.outer(v[j], v[j]) / length)
        own[:n, n] = own[n, :n] = 2 * X.T @ (q * h[j])
        own[n, n] = 2 * lam[j] * abs(a[j])
        place = slice(j * (n + 1), (j + 1) * (n + 1))
        found[place, place] += own
    return np.asarray(found)
