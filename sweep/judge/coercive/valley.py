"""`valley` for the coercive networks of [B]: local minima where equal λ leave directions flat.

Neurons of one direction and one sign may share their work in any proportion: f and Σⱼ λ‖zⱼ‖² stay
the same if λ does, so that no Hessian is positive definite. Where all neurons are active, nothing
forces T(q) of `dual.py` below λ either: F may fall far away, but not near the point.

1. Neurons of one sign that serve the same points are taken together, ẑ_k = √(Σ‖zⱼ‖²)·u_k. Of the
   fewer neurons ẑ, `minimum_around` proves a critical point z* of E within ρ and no kink there.
2. Let q* be the slopes there and M_k = −s_k Σ_{i∈K} q*ᵢx̃ᵢx̃ᵢᵀ for the points K that ẑ_k serves.
   ∇E = 0 says M_k z*_k = λz*_k. If M_k has at most one eigenvalue ≥ λ, it is this one, and so
   zᵀM_k z ≤ λ‖z‖² for all z.
3. With the convexity of ℓ, as in `dual.py`, for any neurons zⱼ of these signs that serve the
   same points as now

       E(z) ≥ E(z*) + Σⱼ [λ‖zⱼ‖² + sⱼ Σᵢ q*ᵢ σ(zⱼ·x̃ᵢ)] = E(z*) + Σⱼ [λ‖zⱼ‖² − zⱼᵀM_k zⱼ] ≥ E(z*).

The point θ* with every z*_k shared out as ẑ_k is now has F(θ*) = E(z*), all neurons of θ* are off
their kinks and none is zero: it is a local minimum, with a flat set of others around it.

In step 2, −s_kΣ qᵢx̃ᵢx̃ᵢᵀ − t·uuᵀ of the computed q and any u has its largest eigenvalue where the
second one of the matrix without −t·uuᵀ is, or above; q* changes it by at most Σᵢ dqᵢ‖x̃ᵢ‖².

Symbols as in `sweep.judge.coercive.kernels` and `bounds.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.bounds import Centre
from sweep.judge.coercive.inactive import room
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.polish import all_positive, per_neuron
from sweep.judge.coercive.proof import SLACK, Ball, minimum_around
from sweep.judge.numerics.proven_eigen import positive_definite
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.objective import Objective
from sweep.verdicts import Certificate, Verdict

# How far below λ the second eigenvalues are tried, as shares of λ; a positive one is proven.
LEVELS = (0.5, 0.1, 1e-2, 1e-4, 1e-6)


@dataclass(frozen=True, eq=False)
class Together:
    """Neurons taken together: `z` (k, n), `s` (k,); each neuron's `group` and `share`, (m,)."""

    z: np.ndarray
    s: np.ndarray
    group: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, Z: np.ndarray, s: np.ndarray, X: np.ndarray) -> Together:
        """All neurons z (m, n), s (m,), none of them zero, by sign and by what they serve."""
        serves = np.column_stack([s, Z @ X.T > 0])
        _, group = np.unique(serves, axis=0, return_inverse=True)
        group = group.reshape(-1)
        length = np.linalg.norm(Z, axis=1)
        size = np.sqrt(np.bincount(group, weights=length**2))
        first = [
            int(np.flatnonzero(group == k)[length[group == k].argmax()]) for k in range(len(size))
        ]
        z = Z[first] * (size / length[first])[:, None]
        return cls(z, s[first], group, length / size[group])

    @property
    def apart(self) -> np.ndarray:
        """The neurons shared out again, (m, n)."""
        return np.asarray(self.z[self.group] * self.share[:, None])


@dataclass(frozen=True, eq=False)
class Valley:
    """A local minimum within `radius` of θ, one of a flat set of `flat` dimensions or more.

    `below`: the second eigenvalues are proven to lie below λ by this share of it.
    """

    ball: Ball
    radius: float
    below: float
    flat: int
    keeps_signs: bool


def prove_valley(plain: Coordinates, theta: np.ndarray, lam: float) -> Valley | None:
    """The proof at θ (P,) with one λ for all neurons, or None."""
    Z, s = plain.reduced(theta)
    task = plain.task
    if not task.rectified or not (Z != 0).any(axis=1).all():
        return None
    together = Together.of(Z, s, task.X)
    if len(together.s) == len(s):
        return None
    centre = Centre.of(task, together.z, together.s, np.full(len(together.s), lam))
    ball = None if centre is None else minimum_around(centre)
    if centre is None or ball is None or centre.on(ball.inner)[1]:
        return None
    below = second_below(centre, ball.inner, lam)
    radius = _in_theta(plain, theta, together, centre, ball.inner)
    if below is None or radius is None:
        return None
    keeps = bool((np.abs(centre.f) > centre.changes(ball.inner).phi).all())
    return Valley(ball, radius, below, len(s) - len(together.s), keeps)


def second_below(centre: Centre, inner: float, lam: float) -> float | None:
    """By which share of λ the second eigenvalues of all M_k are proven to lie below it, or None."""
    X, n = centre.task.X, centre.task.X.shape[1]
    dq = centre.changes(inner).dq
    spared = room(centre.q, X, lam) + float(dq @ centre.squares) / SLACK
    matrices = []
    for z, s, t in zip(centre.Z, centre.s, centre.t, strict=True):
        M = -s * (X.T * (centre.q * (t > 0))) @ X
        u = z / np.linalg.norm(z)
        matrices.append((M + M.T) / 2 - 2 * lam * np.outer(u, u))
    for share in LEVELS:
        level = (lam * (1 - share) - spared) * np.eye(n)
        if all(positive_definite(level - M) > -np.inf for M in matrices):
            return share
    return None


def _in_theta(
    plain: Coordinates, theta: np.ndarray, together: Together, centre: Centre, inner: float
) -> float | None:
    """How far θ* can be from θ, as in `proof.py`; the shares of a group are of unit norm."""
    inner = inner * float(np.linalg.norm(centre.S)) / SLACK
    lengths = np.linalg.norm(together.z, axis=1)[together.group] * SLACK - inner
    shortest = float((together.share * lengths).min())
    if not shortest > 0:
        return None
    away = float(np.linalg.norm(plain.balanced(together.apart, together.s[together.group]) - theta))
    away += 16 * UNIT * float(np.linalg.norm(theta))
    return float(away + inner / np.cbrt(shortest) / SLACK)


def settle_valley(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members with equal λ and flat directions that are proved one.

    `certificate_radius` is the distance in θ within which such a minimum lies;
    `certificate_margin` how far below λ, as a share of it, other eigenvalues than the neurons' own
    stay. `flat_dim` counts neurons that share the work of others.
    """
    plain = coordinates_of(objective)
    if plain is None or lam is None:
        return
    for member in np.flatnonzero(found.open & all_positive(lam, len(lam))).tolist():
        strengths = per_neuron(lam[member], plain)
        if not (strengths == strengths[0]).all():
            continue
        valley = prove_valley(plain, found.params[member], float(strengths[0]))
        if valley is None:
            continue
        found.flat_dim[member] = valley.flat
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.VALLEY,
            {
                "keeps_signs": valley.keeps_signs,
                "gradient": valley.ball.gradient,
                "curvature_proven": valley.ball.least,
                "second_below": valley.below,
            },
            radius=valley.radius,
            margin=valley.below,
        )
