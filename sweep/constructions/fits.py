"""The best affine fit of data, by plain means.

======  ====================================================  ====================
symbol  meaning                                               shape
======  ====================================================  ====================
N, D    data points, input dimension                          x (N, D)
C       outputs
y       labels, or targets of C outputs                       (N,), (N, C)
X       data with a last column of ones                       (N, D+1)
A       affine map, its constant last                         (D+1,), (C, D+1)
q       ∂F/∂f at each data point                              (N,), (N, C)
======  ====================================================  ====================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.models.losses import CrossEntropy, HingePower, Logistic, Loss, VectorLoss

STEPS, HALVINGS = 200, 40
# An affine fit is taken for the best one when its gradient is this small against its terms'
# magnitude, the least that float64 sums of about 30 terms reach with room to spare;
RESIDUAL = 1e-13
# and when its Hessian's condition keeps the point itself known to about 1e-10.
CONDITION = 1e-4


@dataclass(frozen=True, eq=False)
class Fitted:
    """Losses at each data point (N,), their gradient q (N, C) and Hessian (N, C, C) in f."""

    values: np.ndarray
    pulls: np.ndarray
    bends: np.ndarray


@dataclass(frozen=True, eq=False)
class BestFit:
    """Data, loss and the affine map of least F: `A`, `q`, and `value` F."""

    x: np.ndarray
    y: np.ndarray
    loss: Loss | VectorLoss
    A: np.ndarray
    q: np.ndarray
    value: float

    @property
    def maps(self) -> np.ndarray:
        """A as one row per output, (C, D+1)."""
        return np.atleast_2d(self.A)

    @property
    def pulls(self) -> np.ndarray:
        """The q as one column per output, (N, C)."""
        return self.q.reshape(len(self.x), -1)


def features(x: np.ndarray) -> np.ndarray:
    """X."""
    return np.hstack([x, np.ones((len(x), 1))])


def derivatives(loss: Loss, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ℓ, ℓ′ and ℓ″ at z, elementwise."""
    if isinstance(loss, HingePower):
        u, p = np.maximum(z + 1, 0), loss.p
        return u**p, p * u ** (p - 1), p * (p - 1) * u ** (p - 2)
    if isinstance(loss, Logistic):
        rate = 0.5 * (1 + np.tanh(z / 2))
        scale = 1 / math.log(2)
        return np.logaddexp(0, z) * scale, rate * scale, rate * (1 - rate) * scale
    return (1 + z) ** 2, 2 * (1 + z), np.full_like(z, 2.0)


def point_losses(loss: Loss | VectorLoss, y: np.ndarray, f: np.ndarray) -> Fitted:
    """Losses and their derivatives at outputs f (N, C); y is (N,) with one output, or (N, C)."""
    if y.ndim == 1:
        assert isinstance(loss, Loss), "labels of one output take a univariate loss"
        value, first, second = derivatives(loss, -y * f[:, 0])
        return Fitted(value, (-y * first)[:, None], second[:, None, None])
    if isinstance(loss, CrossEntropy):
        top = f.max(axis=1, keepdims=True)
        grown = np.exp(f - top)
        total = grown.sum(axis=1, keepdims=True)
        p, weight = grown / total, y.sum(axis=1, keepdims=True)
        value = (y * (np.log(total) + top - f)).sum(axis=1)
        second = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
        return Fitted(value, weight * p - y, weight[:, :, None] * second)
    miss = f - y
    twice = np.broadcast_to(2 * np.eye(y.shape[1]), (len(y), y.shape[1], y.shape[1]))
    return Fitted((miss**2).sum(axis=1), 2 * miss, twice)


def best_fit(x: np.ndarray, y: np.ndarray, loss: Loss | VectorLoss) -> BestFit | None:
    """The best affine fit by damped Newton; None if it is not known to rounding.

    None too where the best fit is a perfect one, or none exists: data that an affine map separates.
    """
    X, C = features(x), 1 if y.ndim == 1 else y.shape[1]
    A = np.zeros((C, X.shape[1]))
    value, gradient, H, q = _at(X, y, loss, A)
    for _ in range(STEPS):
        # Singular values below rounding are cut: a hinge may be flat on the way, and outputs that
        # all grow alike do not change a cross-entropy.
        step = -np.linalg.lstsq(H, gradient.ravel(), rcond=1e-14)[0].reshape(A.shape)
        for halving in range(HALVINGS):
            trial = A + step * 0.5**halving
            there = _at(X, y, loss, trial)
            if there[0] < value or (
                there[0] <= value * (1 + 1e-15)
                and np.linalg.norm(there[1]) < np.linalg.norm(gradient)
            ):
                break
        else:
            break
        A, (value, gradient, H, q) = trial, there
    spectrum = np.linalg.eigvalsh(H)
    if isinstance(loss, CrossEntropy):
        spectrum = spectrum[X.shape[1] :]
    small = np.abs(gradient) <= RESIDUAL * (np.abs(q).T @ np.abs(X))
    if value < 1e-2 or not small.all() or spectrum[0] < CONDITION * spectrum[-1]:
        return None
    if y.ndim == 1:
        return BestFit(x, y, loss, A[0], q[:, 0], float(value))
    return BestFit(x, y, loss, A, q, float(value))


def _at(
    X: np.ndarray, y: np.ndarray, loss: Loss | VectorLoss, A: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """F, its gradient (C, D+1) and Hessian in A row by row, and q (N, C)."""
    found = point_losses(loss, y, X @ A.T)
    size = A.size
    H = np.einsum("ncd,ni,nj->cidj", found.bends, X, X, optimize=True).reshape(size, size)
    return float(found.values.sum()), found.pulls.T @ X, H, found.pulls
