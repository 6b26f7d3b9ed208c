"""The loss of several outputs as a function of one affine map: convex, rounding errors bounded.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, n    data points, coefficients of one output's map
C       outputs
X       features, a last column of ones                       (N, n)
U       orthonormal: the directions of f in which ℓ varies    (C, r)
A       the map in them, row by row: f = X·Aᵀ·Uᵀ              (r·n,)
y       targets, or classes as unit vectors                   (N, C)
φ       Σᵢ ℓ(fᵢ, yᵢ)
q       ∂φ/∂f                                                 (N, C)
u       unit roundoff, 2⁻⁵³
======  ====================================================  ==========

A cross-entropy does not notice when all outputs grow alike: U is orthogonal to that, r = C − 1. For
squared outputs U is the identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge.affine.fit import ConvexFit, Fitted
from sweep.judge.numerics.rounding import FUNCTION_ULPS, SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.losses import CrossEntropy, Squared, VectorLoss

# The third derivative of ln Σe^f along a unit vector is a third central moment of numbers whose
# range is at most √2; that of a range R is at most R³/(6√3), by two-point laws.
SOFTMAX_CURVE = 2 * math.sqrt(2) / (6 * math.sqrt(3))


def known_outputs(loss: VectorLoss) -> bool:
    """Whether `OutputsFit` serves this loss."""
    return isinstance(loss, Squared | CrossEntropy)


def varying(loss: VectorLoss, C: int) -> np.ndarray:
    """U, (C, r)."""
    if not isinstance(loss, CrossEntropy):
        return np.eye(C)
    # Helmert's contrasts: k ones, then −k, of length √(k(k+1)).
    found = np.zeros((C, C - 1))
    for k in range(1, C):
        found[:k, k - 1], found[k, k - 1] = 1.0, -k
        found[:, k - 1] /= math.sqrt(k * (k + 1))
    return found


@dataclass(frozen=True, eq=False)
class OutputsFit(ConvexFit):
    """φ for features X (N, n), targets y (N, C) and a loss."""

    X: np.ndarray
    y: np.ndarray
    loss: VectorLoss

    @cached_property
    def frame(self) -> np.ndarray:
        """U, (C, r)."""
        return varying(self.loss, self.y.shape[1])

    def reduced(self, maps: np.ndarray) -> np.ndarray:
        """A of maps (C, n): what of them φ notices."""
        return np.asarray(self.frame.T @ maps).ravel()

    def full(self, A: np.ndarray) -> np.ndarray:
        """Maps (C, n) of equal length whose `reduced` is A."""
        return np.asarray(self.frame @ A.reshape(self.frame.shape[1], -1))

    def at(self, A: np.ndarray) -> Fitted:
        """φ, its derivatives and their error bounds at a map A."""
        maps, U = A.reshape(self.frame.shape[1], -1), self.frame
        f = self.X @ (U @ maps).T
        size = np.abs(self.X) @ (np.abs(U) @ np.abs(maps)).T
        error = SAFETY * (self.X.shape[1] + U.shape[1] + 3) * UNIT * size
        found = derivatives(self.loss, self.y, f, error)
        X, wide = np.abs(self.X), np.abs(U)
        many = (len(self.y) + self.y.shape[1] + 4) * UNIT
        q_error = (found.slope_error + many * np.abs(found.slope)) @ wide
        h_error = found.bend_error + many * np.abs(found.bend)
        bends = np.einsum("ca,ncd,db->nab", U, found.bend, U)
        h_error = np.einsum("ca,ncd,db->nab", wide, h_error, wide)
        return Fitted(
            value=float(found.value.sum()),
            gradient=((found.slope @ U).T @ self.X).ravel(),
            hessian=_gathered(bends, self.X),
            gradient_error=SAFETY * float(np.linalg.norm(q_error.T @ X)),
            hessian_error=SAFETY * float(np.linalg.norm(_gathered(h_error, X))),
            z=f,
            z_error=error,
        )

    def lipschitz(self, here: Fitted, radius: float) -> float:
        """A Lipschitz constant of ∇²φ anywhere: a constant times Σ‖xᵢ‖³, or zero."""
        curve = SOFTMAX_CURVE if isinstance(self.loss, CrossEntropy) else 0.0
        return SAFETY * curve * float((np.linalg.norm(self.X, axis=1) ** 3).sum())


@dataclass(frozen=True, eq=False)
class Derivatives:
    """ℓ (N,), ∂ℓ/∂f (N, C), ∂²ℓ/∂f² (N, C, C), and bounds of the errors of the last two."""

    value: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    slope_error: np.ndarray
    bend_error: np.ndarray


def derivatives(
    loss: VectorLoss, y: np.ndarray, f: np.ndarray, error: np.ndarray, unit: float = UNIT
) -> Derivatives:
    """At outputs f (N, C) that err by at most `error` (N, C); `unit`: the roundoff of f's type."""
    ulps, C = FUNCTION_ULPS * unit, y.shape[1]
    if isinstance(loss, Squared):
        miss = f - y
        bend = np.broadcast_to(2 * np.eye(C), (len(y), C, C))
        slope_error = 2 * error + ulps * (np.abs(f) + np.abs(y))
        return Derivatives((miss**2).sum(axis=1), 2 * miss, bend, slope_error, 0 * bend)
    top = f.max(axis=1, keepdims=True)
    grown = np.exp(f - top)
    total = grown.sum(axis=1, keepdims=True)
    p = grown / total
    # The difference first: ln Σe^(f−top) has no digits left beside a large f.
    value = (y * (np.log(total) + (top - f))).sum(axis=1)
    # p changes by at most the factor e^{2δ} when every output moves by at most δ; the difference
    # from the largest output and the sum of C exponentials are rounded too.
    moved = 2 * error.max(axis=1, keepdims=True) + unit * (top - f)
    tiny = np.finfo(float).tiny  # A p that underflows may be this large.
    with np.errstate(over="ignore"):
        grown = np.expm1(moved)
    p_error = np.minimum(np.maximum(p, tiny) * (grown + (C + 2) * ulps) + tiny, 1.0)
    bend = p[:, :, None] * (np.eye(C) - p[:, None, :])
    crossed = p[:, :, None] * p_error[:, None, :]
    bend_error = np.eye(C) * p_error[:, :, None] + crossed + crossed.transpose(0, 2, 1)
    bend_error = bend_error + p_error[:, :, None] * p_error[:, None, :]
    return Derivatives(value, p - y, bend, p_error + unit, bend_error + ulps * np.abs(bend))


def _gathered(bends: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Σᵢ Hᵢ ⊗ xᵢxᵢᵀ, (r·n, r·n), of Hᵢ (N, r, r)."""
    size = bends.shape[1] * X.shape[1]
    found = np.einsum("nab,ni,nj->aibj", bends, X, X)
    return np.asarray(found.reshape(size, size))
