"""Random data, a random loss and the best affine fit of it (`sweep.constructions.fits`)."""

from __future__ import annotations

import numpy as np

from sweep.constructions.fits import BestFit, best_fit, derivatives, features
from sweep.models.losses import HingePower, Logistic, Loss, Squared

__all__ = ["BestFit", "derivatives", "draw_data", "draw_fit", "draw_loss", "features"]


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
