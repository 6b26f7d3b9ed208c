"""`strict` and `kink` for the exponential arm without a regularizer: minima at finite α and w.

On the manifold M of the held kinks F is smooth, and after dropping the directions in which no
misfit point's output changes (dead units, doubled ones) its Hessian A can be positive definite. In
coordinates that make A the identity, with g the gradient and L a bound of the third derivative on
the ball of radius r,

    r·λ/2 − L·r²/6 − ‖g‖ > 0

proves a minimum of F on M within r (see `sweep.judge.smooth.strict`). It is one of F
in all directions: at fixed (c, w, β) F is convex in V around there, for every kink it meets is
held and convex, and the multipliers, strictly inside (0, 1) by more than they can change within r,
give a subgradient without a part normal to M. So F(V) ≥ F(projection of V on M).

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
m       misfit points, ℓ′ ≠ 0                                      (N,) bool
p       coordinates of (V, c) that the misfit points see           (k,)
x       (p, ω), all coordinates                                    (k+n,)
T       x = T·whitened coordinates                                 (k+n, k+n)
n_i     the neuron's output σ·e^{ω·x̃_i}                            (N,)
h, G    sup |δω·x̃_i| and |δf_i| per unit length, whitened          (N,)
u       1 − y f for hinge_power                                    (N,)
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import CLEAR
from sweep.judge.exponential.limit import Limit
from sweep.judge.exponential.manifold import GAP, Manifold
from sweep.judge.exponential.neuron import EXP, FLAT, GONE, QUAD
from sweep.judge.exponential.step import Place
from sweep.judge.numerics.kernel_losses import HINGE, LOGISTIC, loss_rows
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen, least_squares, singular_values

# λ after whitening is 1 up to rounding; what is measured and bounded must stay below this.
BLUR = 0.05
NEWTON_STEPS = 6
# A least eigenvalue below this share of the largest is rounding (Weyl; some ten parameters).
POSITIVE = 1e-13
# sup |ℓ‴| of log₂(1+e^z): √3/18/ln 2 = 0.1389.
THIRD_LOGISTIC = 0.14


@dataclass(frozen=True, eq=False)
class Minimum:
    """A proven minimum: within `radius` of `place` in (V, c, w, β).

    `margin`: what is left of the multipliers' distance to 0 and 1 (1 without kinks). `flat`:
    dimensions in which F is constant there. The other numbers are those of the proof.
    """

    place: Place
    radius: float
    margin: float
    flat: int
    evidence: dict[str, float | int]


def prove_minimum(limit: Limit) -> Minimum | None:
    """The proof for a limit problem that ended at finite α and w; None where it fails."""
    place = limit.place
    if place.chart in (QUAD, GONE) or (place.chart == FLAT and place.eps == 0):
        return None
    norms = np.linalg.norm(place.V, axis=1)
    if not limit.stationary or (limit.start.s == 0).any() or (norms == 0).any():
        return None
    around = Manifold(limit)
    if not around.clear or not around.misfit.any():
        return None
    A = _refined(around)
    values, U = eigen(A)
    if not values[0] > POSITIVE * values[-1]:
        return None
    found = _prove_whitened(around, A, U / np.sqrt(values))
    if found is None:
        return None
    r, margin, evidence = found
    least = float(values[0])
    # From whitened lengths to lengths, and the rounding of v = |a|(w, b) in a stored point.
    radius = r / np.sqrt(least) + 8 * UNIT * float(np.linalg.norm(around.V))
    there = place._replace(
        V=around.V, c=float(around.c), chart=EXP, omega=around.omega, eps=0.0, pinned=False
    )
    flat = around.rows.shape[1] - around.W.shape[1]
    numbers = evidence | {"kinks": int(around.on.sum()), "least_eigenvalue": least}
    return Minimum(there, float(radius), margin, flat, numbers)


def _prove_whitened(
    around: Manifold, A: np.ndarray, T: np.ndarray
) -> tuple[float, float, dict[str, float | int]] | None:
    """(r, margin, numbers) in the coordinates that make the Hessian A the identity."""
    J = around.jacobian() @ T
    blur = float(np.abs(T.T @ A @ T - np.eye(len(A))).sum()) + _doubt_of_hessian(around, J)
    gradient = T.T @ (around.jacobian().T @ around.q)
    slope = float(np.linalg.norm(gradient)) + _doubt_of_gradient(around, J)
    least = 1 - blur
    if blur > BLUR or not np.isfinite(slope):
        return None
    r = 4 * slope / least
    third = _third(around, J, T, r)
    if not (r * least / 2 - third * r * r / 6 - slope > 0 and r * third < least):
        return None
    margin = _undisturbed(around, J, T, r)
    if margin is None:
        return None
    return r, margin, {"whitened_gradient": slope, "whitened_third": third}


def _refined(around: Manifold) -> np.ndarray:
    """Newton to the floor of rounding; the Hessian at the last point."""
    J = around.jacobian()
    A = around.hessian(J)
    for _ in range(NEWTON_STEPS):
        before = J.T @ around.q
        held = around.V.copy(), around.c, around.omega.copy()
        around.step(-least_squares(A, before))
        J = around.jacobian()
        if not np.linalg.norm(J.T @ around.q) < np.linalg.norm(before):
            around.V, around.c, around.omega = held
            around.evaluate()
            break
        A = around.hessian(J)
    return around.hessian(around.jacobian())


def _doubt_of_gradient(around: Manifold, J: np.ndarray) -> float:
    """Rounding of the whitened gradient: of f through q, of the sums, of J (some ten units)."""
    length = np.linalg.norm(J, axis=1)
    error = around.k * around.doubt + (len(J) + 24) * UNIT * np.abs(around.q)
    return 2 * float(length @ error)


def _doubt_of_hessian(around: Manifold, J: np.ndarray) -> float:
    """Rounding of the whitened Hessian, in norm."""
    length = np.linalg.norm(J, axis=1)
    setting = around.setting
    third = _third_of_loss(around, np.maximum(around.k, 0.0) * 0.0)
    error = (third * around.doubt + (len(J) + 24) * UNIT * around.k) * length**2
    bent = (around.k * around.doubt + (len(J) + 24) * UNIT * np.abs(around.q)) * length
    return 2 * float(error.sum() + bent @ np.linalg.norm(setting.centred, axis=1))


def _third_of_loss(around: Manifold, reach: np.ndarray) -> np.ndarray:
    """The largest |ℓ‴| at points whose outputs move by at most `reach` (N,)."""
    setting = around.setting
    if setting.code == HINGE:
        p = setting.p
        u = np.maximum(1 - setting.y * around.f + reach, 0.0)
        return np.asarray(np.where(u > 0, p * (p - 1) * (p - 2) * u ** (p - 3), 0.0))
    return np.full(len(setting.y), THIRD_LOGISTIC if setting.code == LOGISTIC else 0.0)


def _reach(around: Manifold, J: np.ndarray, T: np.ndarray, r: float) -> tuple[np.ndarray, ...]:
    """Suprema over the ball: h, |n|, G, each (N,)."""
    n = len(around.omega)
    h = np.linalg.norm(around.setting.centred @ T[-n:], axis=1)
    added = np.abs(around.added) * np.exp(h * r)
    G = np.linalg.norm(J, axis=1) + (added - np.abs(around.added)) * h
    return h, added, G


def _third(around: Manifold, J: np.ndarray, T: np.ndarray, r: float) -> float:
    """A bound of ‖∇³F‖ on the ball, over the points that are or become misfits."""
    h, added, G = _reach(around, J, T, r)
    reach = G * r + around.doubt
    setting = around.setting
    worst = -setting.y * around.f + reach
    _, first, second = loss_rows(setting.code, setting.p, worst)
    first, second = np.maximum(np.abs(first), np.abs(around.q)), np.maximum(second, around.k)
    if setting.code == LOGISTIC:
        second = np.full(len(second), 0.25 / np.log(2))
    third = _third_of_loss(around, reach)
    return float((third * G**3 + 3 * second * G * added * h**2 + first * added * h**3).sum())


def _undisturbed(around: Manifold, J: np.ndarray, T: np.ndarray, r: float) -> float | None:
    """How far the multipliers stay from 0 and 1 within the ball; None if anything else changes."""
    setting = around.setting
    _, added, G = _reach(around, J, T, r)
    misfit = around.misfit
    # Every unit's preactivation moves by at most r·‖dz‖; a misfit point must not meet a kink.
    most = np.zeros(len(misfit))
    free = _base_rows(around, T)
    for j in range(len(around.V)):
        dz = np.linalg.norm(free[j], axis=1)
        room = np.abs(around.Z[j]) - 8 * UNIT * (np.abs(setting.X) @ np.abs(around.V[j]))
        # Beyond a kink that is not convex F may fall: such a one keeps a distance that can be seen.
        falls = around.s[j] * around.q * (setting.slopes[1] - setting.slopes[0]) <= 0
        room = np.where(falls, room - CLEAR * np.abs(around.Z[j]).max(), room)
        if not (room - r * dz > 0)[misfit & ~around.on[j]].all():
            return None
        most += np.abs(around.slope[j]).max(initial=0.0) * dz
        most += max(map(abs, setting.slopes)) * dz
    most += np.linalg.norm(around.W[-1] @ T[: around.W.shape[1]]) + added * np.linalg.norm(
        setting.centred @ T[-len(around.omega) :], axis=1
    )
    if setting.code == HINGE:
        u = 1 - setting.y * around.f
        spared = (-u - around.doubt - most * r > 0) | misfit
        kept = (u - around.doubt - G * r > 0) | ~misfit
        if not (spared & kept).all():
            return None
    return _multipliers(around, G * r + around.doubt)


def _base_rows(around: Manifold, T: np.ndarray) -> list[np.ndarray]:
    """∂z_ji/∂(whitened coordinates) of every unit, (N, k+n) each."""
    k, at, found = around.W.shape[1], 0, []
    for frame in around.frames:
        block = around.W[at : at + frame.shape[1]] @ T[:k]
        found.append(around.setting.X @ frame @ block)
        at += frame.shape[1]
    return found


def _multipliers(around: Manifold, moved: np.ndarray) -> float | None:
    """The least distance of a multiplier to 0 and 1, less what it can change by; None if ≤ 0.

    Outputs move by `moved` (N,), so q_i by at most sup ℓ″ times that; τ solves a linear system
    whose columns are κ_i x̃_i.
    """
    setting = around.setting
    jump = setting.slopes[1] - setting.slopes[0]
    second = np.maximum(around.k, 0.0) + _third_of_loss(around, moved) * moved
    change = second * moved + 24 * UNIT * np.abs(around.q)
    length = np.linalg.norm(setting.X, axis=1)
    least = 1.0
    for j, held in enumerate(around.on):
        if not held.any():
            continue
        kappa = around.q[held] * around.s[j] * jump
        columns = kappa[:, None] * setting.X[held]
        sizes = singular_values(columns)
        if not (kappa > 0).all() or len(sizes) < held.sum() or not sizes[-1] > GAP * sizes[0]:
            return None
        open_slopes = np.where(held, setting.slopes[0] * around.s[j], around.slope[j])
        g = setting.X.T @ (around.q * open_slopes)
        solved = least_squares(columns.T, -g)
        left = np.linalg.norm(columns.T @ solved + g)
        drift = 2 * max(abs(s) for s in setting.slopes) * float(change @ length) + left
        drift /= sizes[-1]
        slack = float(np.minimum(solved, 1 - solved).min()) - drift
        if not slack > 0:
            return None
        least = min(least, slack)
    return least
