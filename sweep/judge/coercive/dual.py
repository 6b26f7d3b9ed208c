"""`lower_bound` for the coercive networks of [B]: a dual bound of F over all θ, and F at it.

With E ≤ F of `sweep.judge.coercive.kernels`, λ̲ the least of the λⱼ and any numbers q (N,), let
T(q) = max_{‖u‖=1} |Σᵢ qᵢ σ(u·x̃ᵢ)|. σ is of degree 2, so that for all z and signs s

    Σᵢ qᵢ fᵢ + Σⱼ λⱼ‖zⱼ‖² = Σⱼ [λⱼ‖zⱼ‖² + sⱼ Σᵢ qᵢ σ(zⱼ·x̃ᵢ)] ≥ Σⱼ (λ̲ − T(q))‖zⱼ‖²,

which is not negative if T(q) ≤ λ̲. Then, for any number of neurons,

    F ≥ E = Σᵢ [ℓ(−yᵢfᵢ) − qᵢfᵢ] + Σᵢ qᵢfᵢ + Σⱼ λⱼ‖zⱼ‖² ≥ D(q) = Σᵢ inf_t [ℓ(−yᵢt) − qᵢt].

With rᵢ = −yᵢqᵢ the infimum is that of ℓ(z) − rᵢz over z, minus the conjugate of ℓ at r:

    hinge_power  r − (p−1)·(r/p)^{p/(p−1)}                        r ≥ 0
    logistic     −[t ln t + (1−t) ln(1−t)]/ln 2, t = r ln 2       0 ≤ t ≤ 1
    squared      r − r²/4

q is that of the point, qᵢ = ∂ℓᵢ/∂fᵢ, for which every infimum is at t = fᵢ. At rest Σᵢ qᵢfᵢ is
−Σⱼ λⱼ‖zⱼ‖², and an active neuron's zⱼ is an eigenvector of −sⱼΣ_{i on} qᵢx̃ᵢx̃ᵢᵀ with the eigenvalue
λⱼ. So T(q) ≥ λⱼ, and the bound is reached only where all active neurons have the least λ. Where T
exceeds λ̲ = λⱼ by rounding alone, q/ρ with ρ = T/λ̲ serves, and costs (ρ − 1)Σⱼλⱼ‖zⱼ‖².

T is bounded from above to the last digits: on the set of points that an active neuron serves, by
the largest eigenvalue of its matrix, which bounds the sum wherever that set dominates; elsewhere
the search of the sphere has room to spare. F is coercive, so its minimum exists, and lies no lower
than D: a point whose F is within rounding of D is at it.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
M       sign·Σ_{i∈K} qᵢx̃ᵢx̃ᵢᵀ of a set K of points                  (n, n)
κ       Σᵢ |qᵢ|‖x̃ᵢ‖², what rounding is relative to
======  =========================================================  ==========

Other symbols as in `sweep.judge.coercive.kernels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.inactive import BUDGET, MOST_DIMENSIONS, room
from sweep.judge.coercive.kernels import Task, activations, loss_rows, outputs
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.polish import all_positive, per_neuron
from sweep.judge.coercive.sphere import BELOW, search
from sweep.judge.numerics.kernel_losses import HINGE, LN2, LOGISTIC
from sweep.judge.numerics.proven_eigen import positive_definite
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import least_eigenvalue
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# A preactivation of this share of ‖z‖‖x̃‖ is on neither side.
ON_KINK = 1e-12
# A sphere maximum that exceeds λ̲ by more is not rounding, and needs no search.
EXCESS = 1e-6


@dataclass(frozen=True, eq=False)
class Bound:
    """A proven lower bound of F, and a proven upper bound of T(q)/λ̲ for the q it rests on."""

    value: float
    excess: float


def dual_value(q: np.ndarray, task: Task) -> float:
    """D(q) for q (N,) with r ≥ 0 in the loss's range, less what its rounding can be."""
    r = -task.y * q
    if task.loss == HINGE:
        spent = (task.p - 1) * (r / task.p) ** (task.p / (task.p - 1))
        parts = np.stack([r, -spent])
    elif task.loss == LOGISTIC:
        t = np.clip(r * LN2, 0.0, 1.0)
        within = (t > 0) & (t < 1)
        safe = np.where(within, t, 0.5)
        terms = np.stack([-safe * np.log(safe), -(1 - safe) * np.log1p(-safe)]) / LN2
        parts = np.where(within, terms, 0.0)
    else:
        parts = np.stack([r, -(r**2) / 4])
    # Each part has some ten roundings, the argument of the logarithm one more of t itself.
    doubt = UNIT * (32 + len(r)) * float((np.abs(parts).sum(axis=0) + np.abs(r)).sum())
    return math.fsum(parts.ravel().tolist()) - doubt


def served(z: np.ndarray, q: np.ndarray, X: np.ndarray) -> np.ndarray:
    """The points (N,) that count at the direction z (n,) for q (N,); on a kink those with q > 0."""
    t = X @ z
    near = np.abs(t) <= ON_KINK * float(np.linalg.norm(z)) * np.linalg.norm(X, axis=1)
    return np.asarray(np.where(near, q > 0, t > 0))


def largest(q: np.ndarray, X: np.ndarray) -> float:
    """An upper bound of the largest eigenvalue of Σᵢ qᵢx̃ᵢx̃ᵢᵀ, exact to its rounding; or inf."""
    N, n = X.shape
    M = (X.T * q) @ X
    kappa = float(np.abs(q) @ (X**2).sum(axis=1))
    # Forming M, its eigenvalue, and the diagonal below; Rump's bound is counted on its own.
    found = -least_eigenvalue(-(M + M.T) / 2) + (N + 8 * n + 8) * UNIT * kappa
    proof = float(positive_definite(found * np.eye(n) - (M + M.T) / 2))
    return found - proof + (N + 8) * UNIT * kappa if proof > -np.inf else math.inf


def sphere_maximum(q: np.ndarray, s: np.ndarray, Z: np.ndarray, task: Task, lam: float) -> float:
    """A proven upper bound of max(T(q), λ), tight where active z (k, n), s (k,) reach λ; or inf."""
    X = task.X
    if not task.rectified:
        return max(lam, largest(q, X), largest(-q, X))
    if X.shape[1] > MOST_DIMENSIONS:
        return math.inf
    top, sets = lam, {}
    for sign in (1.0, -1.0):
        # A neuron of sign s serves where −s·Σ qσ is at its greatest.
        masks = [served(z, sign * q, X) for z in Z[s == -sign]]
        known = np.unique(np.array(masks, dtype=bool).reshape(-1, len(q)), axis=0)
        sets[sign] = known
        top = max(top, *[largest(sign * q * mask, X) for mask in known], 0.0)
    if not top <= lam * (1 + EXCESS):
        return math.inf
    spare = room(q, X, top)
    for sign, known in sets.items():
        if search(sign * q, X, top - spare, BUDGET, known, top + spare)[0] != BELOW:
            return math.inf
    return top


def dual_bound(plain: Coordinates, theta: np.ndarray, lam: np.ndarray) -> Bound | None:
    """The bound that the point θ (P,) with λ (m,) gives, or None if T(q) exceeds λ̲ there."""
    task, least = plain.task, float(lam.min())
    Z, s = plain.reduced(theta)
    q = loss_rows(outputs(activations(Z, task), s), task)[1]
    if not np.isfinite(q).all():
        return None
    active = (Z != 0).any(axis=1)
    top = sphere_maximum(q, s[active], Z[active], task, least)
    if not math.isfinite(top):
        return None
    # q/ρ is rounded itself.
    top += 4 * UNIT * float(np.abs(q) @ (task.X**2).sum(axis=1))
    excess = top / least * (1 + 4 * UNIT)
    return Bound(dual_value(q / excess, task), excess)


def settle_dual(
    found: Judgement, objective: Objective, lam: np.ndarray | None, tolerance: float
) -> None:
    """Write `global_minimum` for open members of coercive networks whose F is at its dual bound.

    At it: not above by more than `tolerance`, relative to max(1, bound), as for every lower bound.
    `certificate_margin` is what is left of that. In the evidence: `bound`, `gap` = F − bound and
    `sphere_maximum` = T(q)/λ̲.
    """
    plain = coordinates_of(objective)
    if plain is None or lam is None or not found.open.any():
        return
    members = np.flatnonzero(found.open & all_positive(lam, len(lam)))
    value = objective.measure(found.params, lam).objective
    for member in members.tolist():
        bound = dual_bound(plain, found.params[member], per_neuron(lam[member], plain))
        if bound is None:
            continue
        gap, F = float(value[member]) - bound.value, float(value[member])
        allowed = tolerance * max(1.0, bound.value)
        if gap <= allowed:
            found.settle(
                member,
                Verdict.GLOBAL_MINIMUM,
                Certificate.LOWER_BOUND,
                {
                    "bound": bound.value,
                    "objective": F,
                    "gap": gap,
                    "sphere_maximum": bound.excess,
                },
                margin=allowed - gap,
            )
