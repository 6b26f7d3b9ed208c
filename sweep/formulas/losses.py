"""Univariate losses ℓ(z), z = −y·f, with their first two derivatives.

Each entry is three functions of (z, *settings).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sweep.formulas.primitives import Value, positive_part, power, sigmoid, softplus

LN2 = math.log(2)


@dataclass(frozen=True)
class LossFormula:
    """ℓ, ℓ′, ℓ″."""

    value: Callable[..., Value]
    slope: Callable[..., Value]
    curvature: Callable[..., Value]


def hinge_power(z: Value, p: float) -> Value:
    """max(z+1, 0)^p ([A] Assumption 1)."""
    return power(positive_part(z + 1.0), p)


def hinge_power_slope(z: Value, p: float) -> Value:
    """p·max(z+1, 0)^(p−1)."""
    return power(positive_part(z + 1.0), p - 1) * p


def hinge_power_curvature(z: Value, p: float) -> Value:
    """p(p−1)·max(z+1, 0)^(p−2)."""
    return power(positive_part(z + 1.0), p - 2) * (p * (p - 1))


def logistic(z: Value) -> Value:
    """log₂(1+e^z) ([B] Assumption 1)."""
    return softplus(z) / LN2


def logistic_slope(z: Value) -> Value:
    """1/(1+e^−z)/ln 2."""
    return sigmoid(z) / LN2


def logistic_curvature(z: Value) -> Value:
    """The sigmoid's slope, over ln 2."""
    return sigmoid(z) * sigmoid(-z) / LN2


def squared(z: Value) -> Value:
    """(1+z)², which is (y−f)² because y = ±1."""
    return (z + 1.0) * (z + 1.0)


def squared_slope(z: Value) -> Value:
    """2(1+z)."""
    return (z + 1.0) * 2.0


def squared_curvature(z: Value) -> Value:
    """2."""
    return z * 0.0 + 2.0


LOSS_FORMULAS = {
    "hinge_power": LossFormula(hinge_power, hinge_power_slope, hinge_power_curvature),
    "logistic": LossFormula(logistic, logistic_slope, logistic_curvature),
    "squared": LossFormula(squared, squared_slope, squared_curvature),
}
