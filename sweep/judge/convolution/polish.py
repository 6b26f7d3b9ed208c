"""The polish of convolutions below ReQU neurons: downhill from face to face, never up.

With the filters fixed the last layer is a network of `sweep.judge.coercive.polish`, which takes it
to rest, dead neurons out and new ones in. Newton's steps then move neurons and filters together
inside the face: as far as the first kink, which the face of lower dimension holds if E is lower
there. A face is left along a ray on which E falls. What lies below
the last layer is one filter (`plain.py`) or several (`stack_polish.py`); symbols as there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.newton import NOISE, without
from sweep.judge.coercive.polish import RISE, all_positive, per_neuron, polish_member
from sweep.judge.convolution.stack_polish import Below, Rest, below
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen
from sweep.models.objective import Objective

# Steps of a member, faces and new neurons counted; some thirty are usual.
BUDGET = 300
# A step changes z and τ by at most this share of themselves (or of 1, if that is less).
LONGEST = 0.5
# Rows that a step reaches together with the first.
TOGETHER = 1e-9
# Curvature below minus this share of the largest is negative beyond rounding, and less than this
# share counts as much when a step divides by it.
CONCAVE = 1e-10
HALVINGS = 40
# ‖∇E‖ at this share of its terms' sizes is its own rounding.
FLOOR = 8 * UNIT


@dataclass(frozen=True, eq=False)
class Place:
    """A point on its way down: z (m, n), s (m,), the filters, their face, the `value` of E."""

    Z: np.ndarray
    s: np.ndarray
    v: np.ndarray
    # Of the filter's or the filters' own kind.
    face: Any
    value: float

    @property
    def active(self) -> np.ndarray:
        """Indices of the neurons that are not zero."""
        return np.flatnonzero((self.Z != 0).any(axis=1))

    def local(self, plain: Below, lam: np.ndarray) -> Rest:
        """Derivatives at the active neurons."""
        k = self.active
        return plain.local(self.face, self.Z[k], self.s[k], lam[k], self.v)


def place_at(
    plain: Below,
    Z: np.ndarray,
    s: np.ndarray,
    v: np.ndarray,
    lam: np.ndarray,
    near: float,
    held: np.ndarray | None = None,
) -> Place | None:
    """The place at z, s and v, moved onto the kinks that it is near and those of `held`."""
    found = plain.placed(v, near, held)
    if found is None:
        return None
    face, v = found
    return Place(Z, s, v, face, plain.energy(Z, s, v, lam))


def polish_filter(
    plain: Below, Z: np.ndarray, s: np.ndarray, v: np.ndarray, lam: np.ndarray
) -> tuple[Place | None, int]:
    """One member downhill from z (m, n), s (m,), v (s,): where it ends and after how many steps."""
    place, steps = place_at(plain, Z, s, v, lam, TOGETHER), 0
    if place is None:
        return None, 0
    place = settled(plain, place, lam)
    while steps < BUDGET:
        steps += 1
        local = place.local(plain, lam)
        g = local.gradient()
        following = None
        if np.linalg.norm(g) > FLOOR * np.linalg.norm(local.gradient_sizes()):
            following = newton(plain, place, local, g, lam)
        if following is None:
            following = elsewhere(plain, place, local, lam)
        if following is None:
            break
        place = following
    return place, steps


def settled(plain: Below, place: Place, lam: np.ndarray) -> Place:
    """The last layer at rest while the filter stays."""
    end = polish_member(plain.task(place.face, place.v), place.Z, place.s, lam)
    value = plain.energy(end.Z, end.s, place.v, lam)
    return replace(place, Z=end.Z, s=end.s, value=value) if value < place.value else place


def newton(plain: Below, place: Place, local: Rest, g: np.ndarray, lam: np.ndarray) -> Place | None:
    """A step down by |∇²E|⁻¹, or None where there is none."""
    values, basis = eigen(local.hessian(local.t > 0)[0])
    if not np.isfinite(values).all():
        return None
    stiff = np.maximum(np.abs(values), CONCAVE * np.abs(values).max())
    return along(plain, place, -basis @ ((basis.T @ g) / stiff), lam, float(np.linalg.norm(g)))


def along(
    plain: Below, place: Place, step: np.ndarray, lam: np.ndarray, slope: float
) -> Place | None:
    """The first of ever shorter steps (P,) on the face that lowers E, or at rounding halves ∇E.

    Where the step leads past a kink, the point on that kink if E is lower there.
    """
    k, n = place.active, place.Z.shape[1]
    dz, dv = step[: len(k) * n].reshape(len(k), n), place.face.B @ step[len(k) * n :]
    noise = NOISE * abs(place.value)

    def tried(share: float, held: np.ndarray | None = None) -> Place | None:
        Z = place.Z.copy()
        Z[k] += share * dz
        found = place_at(plain, Z, place.s, place.v + share * dv, lam, TOGETHER, held)
        if found is None or found.value < place.value - noise:
            return found
        if found.value > place.value + noise or (found.face.held != place.face.held).any():
            return None
        flatter = float(np.linalg.norm(found.local(plain, lam).gradient()))
        return found if flatter < 0.5 * slope else None

    limits = [
        LONGEST * min(1.0, float(np.linalg.norm(here))) / max(float(np.linalg.norm(move)), 1e-300)
        for here, move in ((place.Z, dz), (place.v, dv))
        if move.size and here.any()
    ]
    share = min([1.0, *limits])
    kink = plain.next_kink(place.face, place.v, dv, share)
    at_kink = None if kink is None else tried(*kink)
    beyond = (tried(share * 0.5**halving) for halving in range(HALVINGS))
    ends = [end for end in (at_kink, next((end for end in beyond if end), None)) if end]
    return _without_dead(plain, min(ends, key=lambda end: end.value), lam) if ends else None


def _without_dead(plain: Below, place: Place, lam: np.ndarray) -> Place:
    k = place.active
    task = plain.task(place.face, place.v)
    kept = without(place.Z[k], place.s[k], lam[k], task)
    if kept.all():
        return place
    Z = place.Z.copy()
    Z[k[~kept]] = 0.0
    value = plain.energy(Z, place.s, place.v, lam)
    return replace(place, Z=Z, value=value) if value <= place.value * (1 + NOISE) else place


def elsewhere(plain: Below, place: Place, local: Rest, lam: np.ndarray) -> Place | None:
    """From a point at rest on its face: off the face, along negative curvature, or a new neuron."""
    noise = NOISE * abs(place.value)
    k = place.active
    rays, down = plain.downhill(place.face, place.Z[k], place.s[k], lam[k], place.v)
    for ray in rays[np.argsort(down)][: int((down < 0).sum())]:
        for halving in range(HALVINGS):
            v = place.v + LONGEST * 0.5**halving * float(np.linalg.norm(place.v)) * ray
            found = place_at(plain, place.Z, place.s, v, lam, TOGETHER)
            if found is not None and found.value < place.value - noise:
                return found
    values, basis = eigen(local.hessian(local.t > 0)[0])
    if values[0] < -CONCAVE * np.abs(values).max():
        for way in (basis[:, 0], -basis[:, 0]):
            found = along(plain, place, way, lam, 0.0)
            if found is not None:
                return found
    found = settled(plain, place, lam)
    return found if found.value < place.value - noise else None


def polish_convolution(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move open members of such networks downhill, in place, and balance their neurons.

    Nothing is done to members with some λ ≤ 0.
    """
    plain = below(objective)
    members = np.flatnonzero(found.open & all_positive(lam, len(found.params)))
    if plain is None or lam is None or not len(members):
        return
    points, steps = found.params[members].copy(), np.zeros(len(members), dtype=np.int64)
    for k, member in enumerate(members.tolist()):
        v, Z, s = plain.split(points[k])
        end, steps[k] = polish_filter(plain, Z, s, v, per_neuron(lam[member], plain.last))
        if end is not None:
            points[k] = plain.balanced(end.v, end.Z, end.s)
    before = objective.measure(found.params[members], lam[members]).objective
    after = objective.measure(points, lam[members]).objective
    for k in np.flatnonzero(after <= before * (1 + RISE)).tolist():
        found.params[members[k]] = points[k]
        found.polish_steps[members[k]] += steps[k]
