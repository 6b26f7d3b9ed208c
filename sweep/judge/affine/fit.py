"""The loss as a function of one affine map: convex, with every rounding error bounded.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, n    data points, coefficients of the map
X       features, a last column of ones                       (N, n)
A       the map: outputs X·A                                  (n,)
φ       Σᵢ ℓ(−yᵢ (X·A)ᵢ)
q       ∂φ/∂(X·A)                                             (N,)
u       unit roundoff, 2⁻⁵³
======  ====================================================  ==========

For several outputs see `sweep.judge.affine.outputs`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sweep.judge.numerics.rounding import FUNCTION_ULPS, SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import least_squares
from sweep.models.losses import HingePower, Logistic, Loss, Squared, VectorLoss

# sup of |ℓ‴| for log(1+e^z): σ″ of the sigmoid peaks at 1/(6√3).
SIGMOID_CURVE = 1 / (6 * math.sqrt(3))
# Newton halves its step at most this often, and takes at most so many steps: from F ~ 1e2 a damped
# Newton method on these losses needs about ten.
HALVINGS, NEWTON_STEPS = 30, 100
# A step's length at most, relative to 1 + ‖A‖: ten times the margin saturates a logistic fit.
REACH = 10.0
# Relative rounding of φ, a sum of up to about a thousand positive terms.
FLOOR = 1e-13


@dataclass(frozen=True, eq=False)
class Slopes:
    """ℓ, ℓ′ and ℓ″ at z, (N,) each, and bounds of the rounding errors of ℓ′ and ℓ″."""

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray
    first_error: np.ndarray
    second_error: np.ndarray


def slopes(loss: Loss, z: np.ndarray, error: np.ndarray) -> Slopes:
    """Derivatives of a known loss at z that errs by at most `error`; `known` says which."""
    ulps = FUNCTION_ULPS * UNIT
    if isinstance(loss, HingePower):
        p, u = float(loss.p), np.maximum(z + 1, 0.0)
        wide = u + error + 2 * UNIT
        drift = error + UNIT * (1 + u)
        first, second = p * u ** (p - 1), p * (p - 1) * u ** (p - 2)
        third = p * (p - 1) * (p - 2) * wide ** (p - 3)
        return Slopes(
            u**p,
            first,
            second,
            p * (p - 1) * wide ** (p - 2) * drift + ulps * first,
            third * drift + ulps * second,
        )
    if isinstance(loss, Logistic):
        rate = 1 / math.log(2)
        grown = 0.5 * (1 + np.tanh(z / 2))
        left = 0.5 * (1 - np.tanh(z / 2))
        # 1 ± tanh cancels: its error is absolute, a few units of 1.
        return Slopes(
            np.logaddexp(0.0, z) * rate,
            grown * rate,
            grown * left * rate,
            (error / 4 + ulps) * rate,
            (SIGMOID_CURVE * error + ulps) * rate,
        )
    if isinstance(loss, Squared):
        first = 2 * (1 + z)
        flat = np.full_like(z, 2.0)
        return Slopes(
            (1 + z) ** 2, first, flat, 2 * error + ulps * (1 + np.abs(first)), np.zeros_like(z)
        )
    raise ValueError(f"no derivatives are known for {type(loss).__name__}")


def known(loss: Loss | VectorLoss) -> bool:
    """Whether `slopes` and `third_bound` serve this loss."""
    return isinstance(loss, HingePower | Logistic | Squared)


def third_bound(loss: Loss, z: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """A Lipschitz constant of ℓ″ on [zᵢ − reachᵢ, zᵢ + reachᵢ], (N,)."""
    if isinstance(loss, HingePower):
        p = float(loss.p)
        return np.asarray(p * (p - 1) * (p - 2) * np.maximum(z + 1 + reach, 0.0) ** (p - 3))
    if isinstance(loss, Logistic):
        return np.full_like(z, SIGMOID_CURVE / math.log(2))
    return np.zeros_like(z)


@dataclass(frozen=True, eq=False)
class Fitted:
    """φ at a map: value, gradient (n,), Hessian (n, n), z (N,), and error bounds.

    z is what a univariate loss is a function of; with several outputs, their sizes.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    gradient_error: float
    hessian_error: float
    z: np.ndarray
    z_error: np.ndarray


class ConvexFit(ABC):
    """A convex φ of the free coefficients A (n,) of a map."""

    @abstractmethod
    def at(self, A: np.ndarray) -> Fitted:
        """φ, its derivatives and their error bounds at a map A."""

    @abstractmethod
    def lipschitz(self, here: Fitted, radius: float) -> float:
        """A Lipschitz constant of ∇²φ on the ball of that radius around the map of `here`."""

    def minimum_within(self, A: np.ndarray) -> float | None:
        """A distance within which φ has its minimum, proven; None if it is not.

        With g ≥ ‖∇φ‖, λ ≤ λ_min(∇²φ) and L a Lipschitz constant of ∇²φ on the ball of radius
        r = 4g/λ, φ on its sphere exceeds φ(A) by at least r(λr/2 − Lr²/6 − g), which is positive
        if 3λ² > 8gL; φ is convex, so the minimum inside is global.
        """
        here = self.at(A)
        g = float(np.linalg.norm(here.gradient)) * (1 + SAFETY * len(A) * UNIT)
        g += here.gradient_error
        # eigvalsh errs by a small multiple of n·u·‖H‖ (backward stability), 16 bounds it.
        room = here.hessian_error + 16 * len(A) * UNIT * float(np.linalg.norm(here.hessian))
        if not (math.isfinite(g) and np.isfinite(here.hessian).all() and math.isfinite(room)):
            return None
        curvature = float(np.linalg.eigvalsh(here.hessian)[0]) - room
        if curvature <= 0:
            return None
        radius = 4 * g / curvature
        return radius if 3 * curvature**2 > 8 * g * self.lipschitz(here, radius) else None

    def minimise(self, A: np.ndarray) -> np.ndarray:
        """The map where a damped Newton method from A comes to rest; φ never rises."""
        here = self.at(A)
        for _ in range(NEWTON_STEPS):
            step = _newton_step(here, A)
            # Where the promised decrease is below φ's rounding, halving cannot help.
            hidden = -float(here.gradient @ step) < FLOOR * abs(here.value)
            for halving in range(1 if hidden else HALVINGS):
                trial = A + step * 0.5**halving
                there = self.at(trial)
                if _better(here, there):
                    break
            else:
                return A
            A, here = trial, there
        return A


@dataclass(frozen=True, eq=False)
class AffineFit(ConvexFit):
    """φ for features X (N, n), labels y (N,) and a loss."""

    X: np.ndarray
    y: np.ndarray
    loss: Loss

    def at(self, A: np.ndarray) -> Fitted:
        """φ, its derivatives and their error bounds at a map A."""
        output, size = self.X @ A, np.abs(self.X) @ np.abs(A)
        error = SAFETY * (len(A) + 2) * UNIT * size
        found = slopes(self.loss, -self.y * output, error)
        q = -self.y * found.first
        H = self.X.T @ (found.second[:, None] * self.X)
        bound = np.abs(self.X)
        many = (len(self.y) + 3) * UNIT
        q_error = found.first_error + many * np.abs(q)
        h_error = found.second_error + many * found.second
        return Fitted(
            value=float(found.value.sum()),
            gradient=self.X.T @ q,
            hessian=H,
            gradient_error=SAFETY * float(np.linalg.norm(bound.T @ q_error)),
            hessian_error=SAFETY * float(np.linalg.norm(bound.T @ (h_error[:, None] * bound))),
            z=-self.y * output,
            z_error=error,
        )

    def lipschitz(self, here: Fitted, radius: float) -> float:
        """A Lipschitz constant of ∇²φ on the ball of that radius around the map of `here`."""
        length = np.linalg.norm(self.X, axis=1)
        third = third_bound(self.loss, here.z, SAFETY * (radius * length + here.z_error + UNIT))
        return SAFETY * float((third * length**3).sum())


def _newton_step(here: Fitted, A: np.ndarray) -> np.ndarray:
    # A whiff of damping keeps the step finite where a hinge leaves φ flat.
    damping = 1e-14 * np.trace(here.hessian) + np.finfo(float).tiny
    H = here.hessian + damping * np.eye(len(here.gradient))
    with np.errstate(all="ignore"):
        step = -least_squares(H, here.gradient)
    # Where the loss is saturated Newton's model is blind: its step is kept within reach.
    reach, length = REACH * (1 + np.linalg.norm(A)), np.linalg.norm(step)
    if not np.isfinite(length):
        step, length = -here.gradient, np.linalg.norm(here.gradient)
    return np.asarray(step * (reach / length) if length > reach else step)


def _better(here: Fitted, there: Fitted) -> bool:
    """φ fell; or, where its own rounding hides that, it stayed and the gradient fell."""
    slack = 1e-14 * abs(here.value)
    if there.value < here.value - slack:
        return True
    smaller = float(np.linalg.norm(there.gradient)) < float(np.linalg.norm(here.gradient))
    return there.value <= here.value + slack and smaller
