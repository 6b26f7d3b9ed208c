"""The proof that a place is a local minimum: first order, then a minimum that really exists nearby.

First order. Along a ray that leaves the place, F is convex as long as no concave kink is crossed,
because f is linear between kinks, ℓ is convex, and a convex kink only bends F upwards. If the least
subgradient at the place is ε, then on a ball of radius ρ without concave crossings nothing lies
below F − ερ. Kinks at the place itself are not crossed by a ray; the first-order test is theirs.

Existence. ε > 0 in floating point, so an exact minimum is shown next to the place: on the manifold
of the held kinks F is µ-convex across its flat directions, hence stationary within 4ε/µ of the
place, and on that way the active points stay active, the idle ones idle, and the multipliers move
by less than their distance from 0 and 1. There the first-order test holds exactly. Which directions
are flat is counted in exact arithmetic: with data at 1e6 ± 1, or a column of 1e-13, a direction
that looks like rounding can be one along which F falls.

Axis letters as in `sweep.judge.cells.place`; ρ radius, µ curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import CLEAR
from sweep.judge.cells.corner import inner_multipliers, least_derivative
from sweep.judge.cells.place import Place
from sweep.judge.numerics.exact_rank import exact_rank, product, rank_on_manifold
from sweep.judge.numerics.kernel_losses import HINGE, LOGISTIC, SQUARED
from sweep.judge.numerics.spectra import singular_values

# A residual up to this share of Σ|q_i|‖x̃_i‖ (plus its rounding bound) is taken as stationary. The
# polish reaches 1e-12; what ε > 0 leaves open is closed by the existence proof.
STATIONARY = 1e-11
# Singular values below the first share of the largest are zeros (they round by 1e-15) if the exact
# rank agrees, those above the second are not; in between nothing is claimed.
ZERO, NOT_ZERO = 1e-12, 1e-9
# Where no concave kink is anywhere the ball is the whole space; rows hold finite numbers.
WIDEST = 1e6


@dataclass(frozen=True)
class Proof:
    """The numbers of a certificate.

    `residual` relative to Σ|q_i|‖x̃_i‖; `within` the distance in (V, c) in which the exact minimum
    lies; `radius` ρ; `clearance` the distance to concave kinks in preactivations, relative to each
    unit's `Place.size`; `tau_min`, `tau_max` over the held kinks (0.5 without); `flat_dim` counts
    directions in which no output that matters changes.
    """

    residual: float
    within: float
    radius: float
    clearance: float
    tau_min: float
    tau_max: float
    kinks: int
    flat_dim: int

    @property
    def margin(self) -> float:
        """The smallest slack: τ's distance from 0 and 1, the clearance."""
        return min(self.tau_min, 1 - self.tau_max, self.clearance)


def prove(place: Place) -> Proof | str:
    """The proof, or in a few words what it failed for."""
    if not np.isfinite([place.F, place.scale, place.gradient_doubt]).all():
        return "overflow"
    gradient = float(np.linalg.norm(place.gradient))
    if not gradient <= STATIONARY * place.scale + place.gradient_doubt:
        return "residual"
    epsilon = gradient + place.gradient_doubt
    # A point just at a margin of 1 fails on every ball: no singular values are needed to tell.
    if not _settled(place, 0.0):
        return "curvature"
    radius, clearance = _room(place)
    if not clearance >= CLEAR:
        return "near a kink"
    shape = _shape(place)
    if shape is None:
        return "rank"
    rank, mu, fixed = shape
    within = 4 * epsilon / mu
    if not (np.isfinite(within) and within <= radius / 2 and _settled(place, within)):
        return "curvature"
    drift = epsilon + 2 * within * float(
        (place.r * place.reach) @ (place.setting.steepest * place.setting.length)
    )
    bounds = _multipliers(place, drift, epsilon)
    if isinstance(bounds, str):
        return bounds
    n_params = place.V.size + len(place.V) + 1
    return Proof(
        residual=gradient / place.scale if place.scale > 0 else 0.0,
        within=within,
        radius=min(radius, WIDEST),
        clearance=clearance,
        tau_min=bounds[0],
        tau_max=bounds[1],
        kinks=int(place.on.sum()),
        flat_dim=n_params - rank - fixed,
    )


def _room(place: Place) -> tuple[float, float]:
    """(ρ, clearance): until a kink that is not certainly convex is crossed where its point is felt.

    The clearance does not depend on the scale of a_j.
    """
    setting = place.setting
    lo, hi = setting.slopes
    if not setting.bent:
        return np.inf, WIDEST
    away = np.abs(place.Z)
    # For a unit with a = 0 the same ball is read as one in (w_j, b_j).
    off = place.s == 0
    away[off] = np.abs(place.W[off] @ setting.X.T)
    if setting.code == HINGE:
        quiet = np.maximum(setting.y * place.f - place.doubt - 1, 0.0)
        concave = setting.y * place.s[:, None] * (hi - lo) >= 0
    elif setting.code == LOGISTIC:
        quiet = np.zeros(len(place.f))
        concave = setting.y * place.s[:, None] * (hi - lo) >= 0
    else:
        # q_i = 2(f_i − y_i) keeps its sign until f_i has moved by |f_i − y_i|
        signed = np.abs(place.f - setting.y) - place.doubt
        quiet = np.where(place.kappa > 0, np.maximum(signed, 0.0), 0.0)
        concave = np.ones(place.Z.shape, dtype=bool)
    crossed = concave & ~place.at
    radius = np.maximum(away / setting.length, quiet / place.reach)
    share = np.maximum(away / place.size[:, None], quiet / np.maximum(1.0, np.abs(place.f)))
    radius, clearance = (float(np.where(crossed, k, np.inf).min()) for k in (radius, share))
    return radius, min(clearance, WIDEST)


def _shape(place: Place) -> tuple[int, float, int] | None:
    """(rank of the active outputs on the manifold, µ, dimensions fixed by kinks); None if unclear.

    A unit with a = 0 must not add to the rank: then its own condition Σ q_i σ′ x̃_i = 0 follows
    exactly from the others'.
    """
    setting, active = place.setting, place.r > 0
    columns, idle, fixed = [np.ones((int(active.sum()), 1))], [], 0
    others, held, acting = [], [], []
    for j in range(len(place.V)):
        if place.s[j] == 0:
            up = place.W[j] @ setting.X.T > 0
            if setting.bent and not place.W[j].any():
                return None
            slope = np.where(up, setting.slopes[1], setting.slopes[0])
            idle.append((slope[:, None] * setting.X)[active])
            others.append(product(slope[active, None], setting.X[active]))
            continue
        B, rows = _free(place, j)
        if not np.isfinite(B).all() or exact_rank(rows) != len(B) - B.shape[1]:
            return None
        acting.append(place.slope[j])
        held.append(rows)
        fixed += place.V.shape[1] - B.shape[1]
        columns.append((place.slope[j][:, None] * setting.X)[active] @ B)
    J = np.hstack(columns)
    rank = _rank(J)
    if rank is None or (idle and _rank(np.hstack([J, *idle])) != rank):
        return None
    # No more rows than the rank leave nothing to count.
    if rank < len(J):
        slopes = np.reshape(acting, (len(acting), len(active)))[:, active]
        if rank_on_manifold(slopes, held, setting.X[active], others) != rank:
            return None
    weighted = singular_values(np.sqrt(place.r[active])[:, None] * J)
    # µ rounds by 1e-15 of the largest curvature
    mu = float(weighted[rank - 1] ** 2 - 1e-14 * weighted[0] ** 2)
    return (rank, mu, fixed) if mu > 0 else None


def _free(place: Place, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns (n, ·) of the directions that keep v_j·row for the second's rows (·, n).

    Unit j stays on its kinks there; one on a concave kink is held altogether.
    """
    n = place.V.shape[1]
    if (place.at[j] & (place.kappa[j] < 0)).any():
        return np.zeros((n, 0)), np.eye(n)
    rows = place.setting.X[place.on[j]]
    if not len(rows):
        return np.eye(n), rows
    _, sizes, vectors = np.linalg.svd(rows)
    return np.asarray(vectors[int((sizes > NOT_ZERO * sizes[0]).sum()) :].T), rows


def _rank(J: np.ndarray) -> int | None:
    """The rank, None if a singular value is neither clearly zero nor clearly not."""
    if not len(J):
        return None
    sizes = singular_values(J)
    rank = int((sizes > NOT_ZERO * sizes[0]).sum())
    return rank if (sizes[rank:] <= ZERO * sizes[0]).all() else None


def _settled(place: Place, within: float) -> bool:
    """Whether on a ball of that radius f stays linear, ℓ″ keeps half its size, idle points idle."""
    setting = place.setting
    move = place.reach * within + place.doubt
    # On the way no kink is met that could matter, convex or not: F stays smooth on the manifold.
    met = np.abs(place.Z) <= 2 * within * setting.length
    if (met & ~place.at & (place.r > 0) & (place.s != 0)[:, None]).any() and setting.bent:
        return False
    if setting.code == SQUARED:
        return True
    if setting.code == LOGISTIC:
        # |ℓ‴| ≤ ℓ″: ℓ″ shrinks by no more than e^{−move}
        return bool((move <= 0.5).all())
    u = 1 - setting.y * place.f
    # (1 − x)^{p−2} ≥ 1 − (p−2)x ≥ ½
    felt = u > 0
    return bool(((u >= 2 * (setting.p - 2) * move) | ~felt).all() and (felt | (-u >= move)).all())


def _multipliers(place: Place, drift: float, epsilon: float) -> tuple[float, float] | str:
    """(least, largest) multiplier of the held kinks, if they stay inside (0, 1) under `drift`."""
    low, high = 0.5, 0.5
    for j in np.flatnonzero(place.at.any(axis=1) & (place.s != 0)).tolist():
        felt = place.at[j] & (place.kappa[j] != 0)
        kappa, points = place.kappa[j, felt], place.setting.X[felt]
        if not len(kappa):
            continue
        part = np.where(place.at[j], place.setting.slopes[0], place.slope[j])
        g = place.s[j] * (part * place.q) @ place.setting.X
        if (kappa < 0).any():
            least = least_derivative(g, kappa, points, epsilon)
            if least is None or not least > 2 * drift:
                return "corner"
            low = min(low, least / place.scale)
            continue
        sizes = singular_values(kappa[:, None] * points)
        solid = sizes[sizes > NOT_ZERO * sizes[0]]
        tau: np.ndarray | None = place.tau[j, felt]
        if len(solid) < len(kappa):
            tau = inner_multipliers(g, kappa, points)
        if tau is None:
            return "multipliers"
        low, high = min(low, float(tau.min())), max(high, float(tau.max()))
        miss = float(np.linalg.norm(g + (tau * kappa) @ points))
        if not min(tau.min(), 1 - tau.max()) > 2 * (drift + epsilon + miss) / solid[-1]:
            return "weak"
    return low, high
