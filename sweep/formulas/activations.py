"""Activation functions σ with their first two derivatives.

Each entry is three functions of the preactivation z: `value`, `slope` = σ′ and `bend` = σ″, of
which the last two are also given h = σ(z). At the kink of a piecewise-linear σ the slope is the
one on the left, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sweep.formulas.primitives import (
    Value,
    exp,
    positive_part,
    power,
    sigmoid,
    softplus,
    tanh,
    where,
)


@dataclass(frozen=True)
class ActivationFormula:
    """σ, σ′, σ″: functions of (z, *settings), (z, h, *settings) and (z, h, *settings).

    `by_output`: the slope is the same when it is given h in place of z, so that whoever keeps h
    need not keep z.
    """

    value: Callable[..., Value]
    slope: Callable[..., Value]
    bend: Callable[..., Value]
    by_output: bool = True


def relu(z: Value) -> Value:
    """max(z, 0)."""
    return positive_part(z)


def relu_slope(z: Value, h: Value) -> Value:
    """1 where z > 0, else 0."""
    return where(z > 0.0, 1.0, 0.0)


def flat(z: Value, h: Value) -> Value:
    """0: the second derivative of a piecewise-linear function."""
    return z * 0.0


def leaky_relu(z: Value, negative_slope: float) -> Value:
    """Z where positive, else negative_slope·z."""
    return where(z > 0.0, z, z * negative_slope)


def leaky_relu_slope(z: Value, h: Value, negative_slope: float) -> Value:
    """1 where z > 0, else negative_slope."""
    return where(z > 0.0, 1.0, negative_slope)


def leaky_relu_bend(z: Value, h: Value, negative_slope: float) -> Value:
    """0."""
    return z * 0.0


def two_piece(z: Value, negative_slope: float, positive_slope: float) -> Value:
    """positive_slope·z where z is positive, else negative_slope·z ([C] eq. 4)."""
    return where(z > 0.0, z * positive_slope, z * negative_slope)


def two_piece_slope(z: Value, h: Value, negative_slope: float, positive_slope: float) -> Value:
    """positive_slope where z > 0, else negative_slope."""
    return where(z > 0.0, positive_slope, negative_slope)


def two_piece_bend(z: Value, h: Value, negative_slope: float, positive_slope: float) -> Value:
    """0."""
    return z * 0.0


def piecewise_linear(z: Value, *pieces: float) -> Value:
    """Slope and constant left of all breakpoints, then breakpoint, slope, constant of each piece.

    Any number of breakpoints: for numpy and torch, which do not compile.
    """
    found = z * pieces[0] + pieces[1]
    for k in range(2, len(pieces), 3):
        found = where(z > pieces[k], z * pieces[k + 1] + pieces[k + 2], found)
    return found


def piecewise_linear_slope(z: Value, h: Value, *pieces: float) -> Value:
    """The slope of the piece that z lies in."""
    found = z * 0.0 + pieces[0]
    for k in range(2, len(pieces), 3):
        found = where(z > pieces[k], pieces[k + 1], found)
    return found


def piecewise_linear_bend(z: Value, h: Value, *pieces: float) -> Value:
    """0."""
    return z * 0.0


def identity(z: Value) -> Value:
    """Z."""
    return z


def identity_slope(z: Value, h: Value) -> Value:
    """1."""
    return z * 0.0 + 1.0


def hyperbolic(z: Value) -> Value:
    """tanh(z)."""
    return tanh(z)


def hyperbolic_slope(z: Value, h: Value) -> Value:
    """1 − h²."""
    return 1.0 - h * h


def hyperbolic_bend(z: Value, h: Value) -> Value:
    """−2h(1 − h²)."""
    return h * (h * h - 1.0) * 2.0


def logistic(z: Value) -> Value:
    """1/(1+e^−z)."""
    return sigmoid(z)


def logistic_slope(z: Value, h: Value) -> Value:
    """h(1 − h)."""
    return h * (1.0 - h)


def logistic_bend(z: Value, h: Value) -> Value:
    """h(1 − h)(1 − 2h)."""
    return h * (1.0 - h) * (1.0 - 2.0 * h)


def soft_relu(z: Value) -> Value:
    """ln(1+e^z)."""
    return softplus(z)


def soft_relu_slope(z: Value, h: Value) -> Value:
    """1/(1+e^−z)."""
    return sigmoid(z)


def soft_relu_bend(z: Value, h: Value) -> Value:
    """The sigmoid's slope."""
    return sigmoid(z) * sigmoid(-z)


def requ(z: Value) -> Value:
    """max(z, 0)² ([B] section 2)."""
    u = positive_part(z)
    return u * u


def requ_slope(z: Value, h: Value) -> Value:
    """2·max(z, 0)."""
    return positive_part(z) * 2.0


def requ_bend(z: Value, h: Value) -> Value:
    """2 where z > 0, else 0."""
    return where(z > 0.0, 2.0, 0.0)


def square(z: Value) -> Value:
    """z² ([B] section 4.2)."""
    return z * z


def square_slope(z: Value, h: Value) -> Value:
    """2z."""
    return z * 2.0


def square_bend(z: Value, h: Value) -> Value:
    """2."""
    return z * 0.0 + 2.0


def exponential(z: Value) -> Value:
    """e^z: the added neuron of [A] eq. 3."""
    return exp(z)


def exponential_slope(z: Value, h: Value) -> Value:
    """e^z again."""
    return h


def monomial(z: Value, p: float) -> Value:
    """z^p: the added neuron of [A] eq. 7."""
    return power(z, p)


def monomial_slope(z: Value, h: Value, p: float) -> Value:
    """p·z^(p−1), for p ≥ 2."""
    return power(z, p - 1) * p


def monomial_bend(z: Value, h: Value, p: float) -> Value:
    """p(p−1)·z^(p−2), for p ≥ 3."""
    return power(z, p - 2) * (p * (p - 1))


ACTIVATION_FORMULAS = {
    "relu": ActivationFormula(relu, relu_slope, flat),
    "leaky_relu": ActivationFormula(leaky_relu, leaky_relu_slope, leaky_relu_bend, by_output=False),
    "two_piece": ActivationFormula(two_piece, two_piece_slope, two_piece_bend, by_output=False),
    "piecewise_linear": ActivationFormula(
        piecewise_linear, piecewise_linear_slope, piecewise_linear_bend, by_output=False
    ),
    "identity": ActivationFormula(identity, identity_slope, flat),
    "tanh": ActivationFormula(hyperbolic, hyperbolic_slope, hyperbolic_bend),
    "sigmoid": ActivationFormula(logistic, logistic_slope, logistic_bend),
    "softplus": ActivationFormula(soft_relu, soft_relu_slope, soft_relu_bend, by_output=False),
    "requ": ActivationFormula(requ, requ_slope, requ_bend, by_output=False),
    "square": ActivationFormula(square, square_slope, square_bend, by_output=False),
}
EXPONENTIAL = ActivationFormula(exponential, exponential_slope, exponential_slope)
_MONOMIAL = ActivationFormula(monomial, monomial_slope, monomial_bend, by_output=False)


def monomial_formula(p: int) -> tuple[ActivationFormula, tuple[float, ...]]:
    """The formula of z^p, p ≥ 1, and its settings: no backend need know a power of 0."""
    lowest = {1: ACTIVATION_FORMULAS["identity"], 2: ACTIVATION_FORMULAS["square"]}
    return (lowest[p], ()) if p in lowest else (_MONOMIAL, (p,))
