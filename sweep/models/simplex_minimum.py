"""The local minimum of [B] Proposition 1: every neuron serves one positive point and no other.

With z̃ = (x, 1) and z̃ᵢ·z̃ⱼ < 0 for i ≠ j the neuron uⱼ = rⱼz̃ⱼ is positive at xⱼ alone and strictly
negative elsewhere, so that F falls apart near the point. Each part is least for aⱼ = ‖uⱼ‖ = t^{1/3}
with t > 0 the minimum of ℓ(−t‖z̃ⱼ‖²) + λⱼt. ([B] eq. 18 leaves the factor ‖z̃ⱼ‖² out.)
"""

from __future__ import annotations

import math

import numpy as np

from sweep.errors import UserError
from sweep.formulas.losses import LN2
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.problems.base import Data


def simplex_minimum(data: Data, loss: Loss, lam: np.ndarray) -> np.ndarray:
    """θ (P,) in the layout W row by row, b, a, for λ (m,) or (1,): m neurons, m positive points.

    All negative points have f = 0 and are misclassified. Raises `UserError` for data that are no
    simplex wide enough, for λ so large that a neuron would rest at 0, and for other losses.
    """
    positive = np.flatnonzero(data.y > 0)
    Z = np.hstack([data.x, np.ones((len(data.x), 1))])
    gram = Z @ Z.T
    np.fill_diagonal(gram, -1.0)
    if not len(positive) or gram.max() >= 0:
        raise UserError(
            "the simplex minimum needs points with x_i·x_j < -1 for all i ≠ j and a label +1: use "
            "problem 'simplex'."
        )
    lam = np.broadcast_to(lam, len(positive))
    squares = (Z[positive] ** 2).sum(axis=1)
    outputs = np.array([_output(loss, *pair) for pair in zip(squares, lam, strict=True)])
    a = np.cbrt(outputs / squares)
    u = Z[positive] * (a / np.sqrt(squares))[:, None]
    return np.concatenate([u[:, :-1].ravel(), u[:, -1], a])


def _output(loss: Loss, square: float, strength: float) -> float:
    """The output at a served point: ℓ′(−f) = λ/‖z̃‖², f > 0."""
    slope = strength / square
    if isinstance(loss, Logistic):
        found = math.log(1 / (slope * LN2) - 1) if 0 < slope * LN2 < 1 else -math.inf
    elif isinstance(loss, HingePower):
        found = 1 - (slope / loss.p) ** (1 / (loss.p - 1))
    else:
        raise UserError("the simplex minimum is known for loss 'logistic' and 'hinge_power'.")
    if not 0 < found < math.inf:
        raise UserError(
            f"the simplex minimum needs 0 < λ < ℓ′(0)·‖(x, 1)‖², and λ = {strength:g} is given."
        )
    return found
