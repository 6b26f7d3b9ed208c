"""`kink`, `inactive` and `strict` for two or more convolutions below ReQU neurons ([B] Theorem 2).

Let p* = (z*, v*) have every active neuron ≠ 0, let some places be held (zero at v*) and no others
be zero there, and let zᵢ be the held ones' preactivations with zero handed on at all held places:
polynomials in v. Let g be some of these, G = ∂g/∂v, M = {v near v* : g(v) = 0}, Q constant with GQ
invertible, and

0. every held place vanish on M;
1. E, restricted to the active neurons and to M, have a local minimum at p*;
2. D(u) > 0 for every u ≠ 0, D the one-sided derivative of E at p* along v + tQu;
3. max_{‖u‖=1} |Σᵢ qᵢ max(u·gᵢ, 0)²| < λⱼ for every inactive neuron j (gᵢ = (hᵢ, 1) here).

Then the balanced θ* of p*, its inactive neurons zero, is a local minimum of F. Proof.

*A chart.* M is a manifold, as G has full rank; let V(τ) be its smooth coordinates. As GV̇ = 0, and
GQu̇ = 0 for u̇ = 0 alone, (τ, u) ↦ v = V(τ) + Qu is a chart near v*, in which M = {u = 0}.

*Off M.* Give every held place a side σ, that is a slope, 1 or α. With these slopes, and those that
the other places keep, zᵢ and E are smooth functions zᵢ^σ and E^σ (once continuously differentiable)
of (z, τ, u); on M they are the same for all σ, since there zero is handed on, and zᵢ^σ = 0. Along a
segment t ↦ (z, τ, tu), 0 ≤ t ≤ 1, all zᵢ are piecewise polynomial, so that on finitely many pieces
E = E^σ with the sides σ that are taken, and dE/dt = ∂_uE^σ·u. Suppose there are points x = (z, τ,
tu) → p*, u ≠ 0, with dE/dt ≤ 0; of their finitely many σ take one that occurs forever, and let
u/‖u‖ → û. As zᵢ^σ is zero at t = 0, zᵢ^σ(x) = t ∂_uzᵢ^σ·u at a point between, and has the sign of
its side: so ∂_uzᵢ^σ(p*)·û has it too, or is zero. Layer by layer the one-sided derivatives along û
are therefore those with the sides σ (where ∂_uzᵢ^σ·û = 0 both sides hand on zero), and D(û) =
∂_uE^σ(p*)·û = lim ∂_uE^σ(x)·u/‖u‖ ≤ 0, against 2. So near p* E grows along all these segments:
E(z, τ, u) ≥ E(z, τ, 0) ≥ E(p*).

*Other neurons on*, and *in θ*: as in `proof.py`. ∎

0. is counted exactly by `stack_exact.py`. 1. comes from L = E on M (`stack_bounds.py`): in the ball
‖w‖ ≤ r around the computed point let its curvature be ≥ μ, 0 < μ ≤ 1.1, and ‖Sᵀ∇L‖ ≤ g at the
centre; let M have a point x₀ at ‖w‖ ≤ ε, up to which the curvature is ≤ C, C ≥ 2. If 2g′ < μr, g′ =
g + Cε, then E on M at ‖w‖ = r is at least L(0) + r(μr/2 − g) > L(0) + gε + Cε²/2 ≥ E(x₀): E has a
least value on M in the ball, and takes it inside, at a p* with μ‖w‖²/2 − g‖w‖ ≤ gε + Cε²/2. This
leaves ‖w‖ ≤ ρ = 2g′/μ, where the left side is 2g′Cε/μ already. No other place vanishes on M within
the ball (`StackCentre.inside`), GQ is invertible (`crosses`), and 2. and 3. are shown for every
point of the box around ‖w‖ ≤ ρ at once, so also for p*: `stack_cones.py`, and q and g as balls.

How far around θ* F is no lower is not said, as in `proof.py`.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.coercive.bounds import ROOM
from sweep.judge.coercive.inactive import against
from sweep.judge.coercive.proof import SLACK, minimum_around, stretched
from sweep.judge.convolution.proof import FaceProof
from sweep.judge.convolution.stack_bounds import StackCentre
from sweep.judge.convolution.stack_cones import across
from sweep.judge.convolution.stack_exact import vanish_together
from sweep.judge.convolution.stack_local import StackLocal
from sweep.judge.convolution.stack_plain import Stacked
from sweep.judge.numerics.balls import Ball
from sweep.judge.numerics.roundoff import UNIT

# Curvature in w is near one; the proof needs to know that it is not far above.
MOST_CURVATURE = 1.1


def prove_stack(plain: Stacked, theta: np.ndarray, lam: np.ndarray) -> FaceProof | None:
    """The proof at θ (P,) with λ (m,), or None."""
    v, Z, s = plain.split(theta)
    a, inner = plain.last.split(theta[plain.n_filters :])
    idle = (a == 0) & (inner == 0).all(axis=1)
    active, there = np.flatnonzero(~idle), plain.placed(v)
    if there is None or not len(active) or not (Z[active] != 0).any(axis=1).all():
        return None
    face, on_face = there
    at = StackLocal.at(
        plain, face, Ball.exact(Z[active]), s[active], lam[active], Ball.exact(on_face)
    )
    centre = StackCentre.of(at)
    ball = None if centre is None else minimum_around(centre)
    if centre is None or ball is None or not ball.curvature <= MOST_CURVATURE:
        return None
    rho = 2 * ball.inner
    radius = _in_theta(plain, theta, centre, rho)
    here = centre.box(rho)
    if radius is None or not rho < ball.outer or not centre.crosses(rho):
        return None
    apart = centre.apart(rho)
    if apart is None or not vanish_together(plain, face, centre.held.places, apart):
        return None
    off = across(here, centre.Q)
    if off is None or not off.least > 0:
        return None
    level = np.inf
    if idle.any():
        level = SLACK * float(lam[idle].min()) - _idle_change(at, here)
        if not against(at.q.mid, at.task, level).below:
            return None
    keeps = bool((np.abs(here.f.mid) > ROOM * here.f.known).all())
    return FaceProof(ball, radius, face.kinks, off.least, int(idle.sum()), level, keeps)


def _idle_change(at: StackLocal, here: StackLocal) -> float:
    """By how much |Σᵢ qᵢ max(u·gᵢ, 0)²|, u of length one, can be larger on the box `here`."""
    sizes = np.linalg.norm(at.g.mid, axis=1)
    dg = ROOM * np.linalg.norm(here.g.known, axis=1)
    bound = here.q.known * (sizes + dg) ** 2 + np.abs(at.q.mid) * dg * (2 * sizes + dg)
    return float(ROOM * bound.sum())


def _in_theta(plain: Stacked, theta: np.ndarray, centre: StackCentre, rho: float) -> float | None:
    """How far the balanced θ* can be from θ; None if a neuron might vanish on the way."""
    size = centre.at.Z.mid.size
    moved = stretched(centre.at.Z.mid, rho * float(np.linalg.norm(centre.S[:size])))
    if moved is None:
        return None
    v, Z, s = plain.split(theta)
    away = float(np.linalg.norm(plain.balanced(v, Z, s) - theta))
    away += float(np.linalg.norm(v - centre.at.v.mid)) + 16 * UNIT * float(np.linalg.norm(theta))
    away += ROOM * rho * float(np.linalg.norm(centre.S[size:]))
    return (away + moved) / SLACK
