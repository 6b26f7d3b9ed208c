"""What formulas may be built from, on numpy arrays: the reference of all backends.

Every function is elementwise and broadcasts. A backend offers the same names with the same meaning,
accurate to a few units in the last place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

# An array, a tensor, a vector of a kernel or a scalar: formulas do not care.
Value = Any


def exp(z: Value) -> Value:
    """e^z: ∞ where that overflows, 0 where it underflows."""
    with np.errstate(over="ignore"):
        return np.exp(z)


def tanh(z: Value) -> Value:
    """Hyperbolic tangent."""
    return np.tanh(z)


def absolute(z: Value) -> Value:
    """|z|."""
    return np.abs(z)


def positive_part(z: Value) -> Value:
    """max(z, 0), with slope 0 at 0; NaN where z is NaN."""
    return np.maximum(z, 0.0)


def sigmoid(z: Value) -> Value:
    """1/(1+e^−z), accurate relative to itself for either sign."""
    return scipy.special.expit(z)


def softplus(z: Value) -> Value:
    """ln(1+e^z), accurate relative to itself for either sign, without overflow."""
    return np.logaddexp(z, 0.0)


def where(condition: Value, a: Value, b: Value) -> Value:
    """Elementwise a where the condition holds, else b."""
    return np.where(condition, a, b)


def power(u: Value, n: float) -> Value:
    """u^n for u ≥ 0, or for whole n; a constant. A backend may know whole n ≥ 1 only."""
    return u**n
