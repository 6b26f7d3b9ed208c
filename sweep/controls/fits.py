"""Random data and the best affine fit of it, by plain means.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D), y (N,)
X       data with a last column of ones                       (N, D+1)
A       affine map, its constant last                         (D+1,)
q       ∂F/∂f at each data point                              (N,)
======  ====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.models.losses import HingePower, Logistic, Loss, Squared

STEPS, HALVINGS = 200, 40
# An affine fit is taken for the best one when its gradient is this small against its terms'
# magnitude, the least that float64 sums of about 30 terms reach with room to spare;
RESIDUAL = 1e-13
# and when its Hessian's condition keeps the point itself known to about 1e-10.
CONDITION = 1e-4


@dataclass(frozen=True, eq=False)
class BestFit:
    """Data, loss and the affine map of least F: `A` (D+1,), `q` (N,), `value` F."""

    x: np.ndarray
    y: np.ndarray
    loss: Loss
    A: np.ndarray
    q: np.ndarray
    value: float


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


def draw_loss(rng: np.random.Generator) -> Loss:
    """A registered loss, with a random power for the hinge."""
    return (HingePower(int(rng.integers(3, 6))), Logistic(), Squared())[rng.integers(3)]


def draw_data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct points in 1 to 4 dimensions with labels that follow no rule, both present."""
    D = int(rng.integers(1, 5))
    N = int(rng.integers(5 * D + 7, 5 * D + 20))
    x = rng.normal(size=(N, D)) if rng.random() < 0.5 else rng.uniform(-1, 1, size=(N, D))
    x = x * rng.uniform(0.3, 3) + rng.normal(size=D)
    y = np.where(rng.random(N) < 0.5, -1.0, 1.0)
    y[:2] = [1.0, -1.0]
    return x, y


def draw_fit(rng: np.random.Generator, loss: Loss | None = None) -> BestFit:
    """Random data whose best affine fit exists, is no perfect one and is known to rounding."""
    while True:
        x, y = draw_data(rng)
        found = best_fit(x, y, draw_loss(rng) if loss is None else loss)
        if found is not None:
            return found


def best_fit(x: np.ndarray, y: np.ndarray, loss: Loss) -> BestFit | None:
    """The best affine fit by damped Newton; None if it is not known to rounding."""
    X, A = features(x), np.zeros(x.shape[1] + 1)
    value, gradient, H, q = _at(X, y, loss, A)
    for _ in range(STEPS):
        # Singular values below rounding are cut: a hinge may be flat on the way.
        step = -np.linalg.lstsq(H, gradient, rcond=1e-14)[0]
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
    small = np.abs(gradient) <= RESIDUAL * (np.abs(X).T @ np.abs(q))
    if value < 1e-2 or not small.all() or spectrum[0] < CONDITION * spectrum[-1]:
        return None
    return BestFit(x, y, loss, A, q, float(value))


def _at(
    X: np.ndarray, y: np.ndarray, loss: Loss, A: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    value, first, second = derivatives(loss, -y * (X @ A))
    q = -y * first
    return float(value.sum()), X.T @ q, X.T @ (second[:, None] * X), q
