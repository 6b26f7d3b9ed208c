"""Losses: univariate ℓ(z), z = −y·f, with two derivatives, and those of several outputs f_c.

Each univariate entry is three functions of (z, *settings). One of several outputs is a sum over
them of functions of (f_c, y_c, n); n comes of all outputs in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sweep.formulas.primitives import Value, exp, positive_part, power, sigmoid, softplus, where

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


@dataclass(frozen=True)
class OutputsFormula:
    """ℓ = Σ_c value(f_c, y_c, n) and its slope in f_c.

    n = f_1, then n = joined(n, f_c) for every further output.
    """

    value: Callable[..., Value]
    slope: Callable[..., Value]
    joined: Callable[..., Value]


def distance(f: Value, y: Value, n: Value) -> Value:
    """(f−y)²; n is idle."""
    return (f - y) * (f - y)


def distance_slope(f: Value, y: Value, n: Value) -> Value:
    """2(f−y)."""
    return (f - y) * 2.0


def first(n: Value, f: Value) -> Value:
    """N itself: nothing is to be joined."""
    return n


def surprise(f: Value, y: Value, n: Value) -> Value:
    """y·(n−f) for n = ln Σe^f: a class's share of the cross-entropy ([C] eq. 6)."""
    return y * (n - f)


def surprise_slope(f: Value, y: Value, n: Value) -> Value:
    """e^{f−n} − y, for targets whose sum is 1."""
    return exp(f - n) - y


def log_sum_exp(n: Value, f: Value) -> Value:
    """ln(e^n + e^f), never below n or f; its slope is right where they are equal, too."""
    ahead = f - n
    return where(ahead > 0.0, f, n) + softplus(where(ahead > 0.0, -ahead, ahead))


OUTPUTS_FORMULAS = {
    "cross_entropy": OutputsFormula(surprise, surprise_slope, log_sum_exp),
    "squared": OutputsFormula(distance, distance_slope, first),
}
