"""λ₀: how strong the regularizers of [B] may be for their theorems to hold.

At a local minimum with an inactive neuron |Σᵢ qᵢ φ(u·x̃ᵢ)| ≤ λⱼ < λ₀ for every unit u. A network p
with yᵢp(xᵢ) ≥ λ̃‖ρ‖³ turns that into Σᵢ ℓ′ᵢ < ε, and so into yᵢf(xᵢ) > 0 for all i, if λ₀ = ε·λ̃ and
ε = ℓ′(0), the largest ε with: ℓ′(z) < ε only where z < 0 ([B] Assumption 1, Thm 1, Prop. 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.errors import UserError
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.margins import Kind, Separator, largest_margin
from sweep.problems.base import Data

#: Digits that are kept, rounding down: far fewer than rounding errors touch, so that the bound is
#: proven and the same on any machine that finds the same network.
DIGITS = 6


@dataclass(frozen=True, eq=False)
class StrengthBound:
    """λ₀ = ε·λ̃, rounded down, with what it rests on.

    `margin` is a lower bound of λ̃ and `separator` the network that reaches it; `source` names the
    theorem and says what was done.
    """

    value: float
    epsilon: float
    margin: float
    separator: Separator
    source: str

    def derivation(self) -> dict[str, Any]:
        """Plain data to keep beside the value; `alpha` and `omega` = (w, b) are the network's."""
        return {
            "value": self.value,
            "epsilon": self.epsilon,
            "margin": self.margin,
            "source": self.source,
            "alpha": self.separator.alpha.tolist(),
            "omega": self.separator.omega.tolist(),
        }


def epsilon_of(loss: Loss) -> float:
    """ε of [B] Assumption 1, ℓ′(0); `UserError` for a loss that does not fulfil it."""
    if not isinstance(loss, HingePower | Logistic):
        raise UserError(
            "lambda.high is 'theory', which needs a non-decreasing loss: use loss 'logistic' or "
            "'hinge_power', or give a number > 0."
        )
    return float(loss.formula.slope(np.zeros(1), *loss.settings)[0])


def strength_bound(kind: Kind, data: Data, loss: Loss) -> StrengthBound:
    """λ₀ of [B] Thm 1 (ReQU) or Prop. 2 (quadratic) for the data and the loss.

    Raises `UserError` when the theorem's assumptions fail: two equal points, data that no such
    network separates, or a loss that decreases somewhere.
    """
    epsilon = epsilon_of(loss)
    require_distinct(data.x)
    separator = largest_margin(kind, data.x, data.y)
    if separator is None:
        network = "ReQU" if kind == "requ" else "quadratic"
        raise UserError(
            f"lambda.high is 'theory', but no {network} network was found that separates the data: "
            "give a number > 0."
        )
    X = np.hstack([data.x, np.ones((len(data.x), 1))])
    margin = separator.margin(X, data.y)
    theorem = "Theorem 1" if kind == "requ" else "Proposition 2"
    return StrengthBound(
        value=rounded_down(epsilon * margin),
        epsilon=epsilon,
        margin=margin,
        separator=separator,
        source=f"[B] {theorem}: epsilon * min_i y_i p(x_i) / norm^3 of the network p given here",
    )


def require_distinct(x: np.ndarray) -> None:
    """Refuse data (N, D) with two equal points ([B] Assumption 2)."""
    if len(np.unique(x + 0.0, axis=0)) < len(x):
        raise UserError(
            "lambda.high is 'theory', which needs distinct points, and two points of this problem "
            "are equal: give a number > 0."
        )


def rounded_down(value: float) -> float:
    """The positive value with `DIGITS` significant digits, not larger."""
    digits = DIGITS - 1 - math.floor(math.log10(value))
    return float(f"{math.floor(value * 10.0**digits)}e{-digits}")
