"""F and its gradient with 50 digits, in plain Python numbers (mpmath): no torch, no float64.

With so many digits a central difference of step 1e-16 has an error near 1e-32, so that gradients
far below the rounding of float64 can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np

from sweep.audit.elementwise import Activation
from sweep.audit.formulas import MlpFormula
from sweep.audit.outputs import OutputsFormula

DIGITS = 50
STEP = "1e-16"

#: An mpmath number; the package has no types.
Number = Any


class Precise:
    """One member's objective as a function of a list of mpmath numbers."""

    def __init__(self, formula: MlpFormula, lam: float) -> None:
        self.formula = formula
        self.lam = lam
        self.x: list[list[float]] = formula.x.tolist()
        self.y: list[float] = formula.y.tolist()

    def objective(self, theta: Sequence[Number]) -> Number:
        """F."""
        with mpmath.workdps(DIGITS):
            total = mpmath.mpf(0)
            for x, y in zip(self.x, self.y, strict=True):
                total += loss_at(self.formula.loss, -y * self._output(theta, x))
            formula, n = self.formula, self.formula.n_base
            if formula.penalised:
                sent = sum(theta[k] ** formula.penalty_power for k in formula.outgoing)
                total += mpmath.mpf(self.lam) * sent / 2
            if formula.weight_decay:
                decayed = theta[:n] if formula.sheds else theta
                total += mpmath.mpf(formula.weight_decay) * sum(t * t for t in decayed) / 2
            return total

    def gradient(self, theta: Sequence[Number]) -> list[Number]:
        """∇F by central differences."""
        with mpmath.workdps(DIGITS):
            step = mpmath.mpf(STEP)
            found = []
            for k in range(len(theta)):
                ends = []
                for sign in (1, -1):
                    moved = list(theta)
                    moved[k] += sign * step
                    ends.append(self.objective(moved))
                found.append((ends[0] - ends[1]) / (2 * step))
            return found

    def moved(self, theta: np.ndarray, move: np.ndarray) -> list[Number]:
        """θ + move, added exactly."""
        with mpmath.workdps(DIGITS):
            return [mpmath.mpf(float(t)) + float(m) for t, m in zip(theta, move, strict=True)]

    def _output(self, theta: Sequence[Number], x: Sequence[float]) -> Number:
        h: Sequence[Number] = [mpmath.mpf(value) for value in x]
        position = 0
        inside = self.formula.inside.places if self.formula.layered else []
        sent: list[Number] = []
        for layer, width in enumerate((*self.formula.widths, 1)):
            middle = position + width * len(h)
            z = []
            for k in range(width):
                row = theta[position + k * len(h) : position + (k + 1) * len(h)]
                z.append(mpmath.fdot(row, h) + theta[middle + k])
            position = middle + width
            # What the layer before's exponential neuron sends: to the units, then to the next one.
            z = [value + more for value, more in zip(z, sent or [0] * width, strict=False)]
            if layer < len(inside):
                w, b, out, end = inside[layer]
                t = mpmath.fdot(theta[w:b], h) + theta[b] + (sent[-1] if sent else 0)
                sent = [mpmath.exp(t) * leaving for leaving in theta[out:end]]
            h = [self._sigma(value) for value in z] if position < self.formula.n_base else z
        total = h[0]
        size = len(x) + 2
        for first in [] if inside else range(self.formula.n_base, len(theta), size):
            neuron = theta[first : first + size]
            total += neuron[0] * self._response(mpmath.fdot(neuron[1:-1], x) + neuron[-1])
        return total

    def _response(self, t: Number) -> Number:
        if self.formula.exponential:
            return mpmath.exp(t)
        return t**self.formula.degree if self.formula.degree else self._sigma(t)

    def _sigma(self, z: Number) -> Number:
        return sigma_at(self.formula.activation, z)


class PreciseOutputs(Precise):
    """One member's objective with several outputs and one hidden layer.

    Points are taken to have the pairs `on` (N, H) on their kinks, which stored numbers have to
    rounding only; if these are `silent`, they send nothing whatever z: F on the face of the kinks.
    """

    def __init__(
        self, formula: OutputsFormula, on: np.ndarray | None = None, silent: bool = True
    ) -> None:
        self.landscape = formula.landscape
        shape = len(formula.landscape.x), formula.landscape.widths[0]
        self.on = np.zeros(shape, dtype=bool) if on is None else on
        self.silent: list[list[bool]] = (self.on & silent).tolist()
        self.x = formula.landscape.x.tolist()
        self.targets: list[list[float]] = formula.landscape.y.tolist()

    def moved(self, theta: np.ndarray, move: np.ndarray) -> list[Number]:
        """θ + move, θ on the face; with `silent` pairs the move is one along it."""
        with mpmath.workdps(DIGITS):
            own = [mpmath.mpf(float(t)) for t in theta]
            off = [mpmath.mpf(float(m)) for m in move]
            off = self._along(off) if any(map(any, self.silent)) else off
            return [t + m for t, m in zip(self._along(own), off, strict=True)]

    def gradient(self, theta: Sequence[Number]) -> list[Number]:
        """∇F, along the face."""
        with mpmath.workdps(DIGITS):
            return self._along(super().gradient(theta))

    def _along(self, values: list[Number]) -> list[Number]:
        """(P,) projected onto the moves that leave the pairs on their kinks."""
        (h,), d, found = self.landscape.widths, len(self.x[0]), list(values)
        for j in range(h):
            places = [*range(j * d, j * d + d), h * d + j]
            for row in _orthonormal([[*self.x[i], 1.0] for i in np.flatnonzero(self.on[:, j])]):
                part = mpmath.fdot(row, [found[k] for k in places])
                for k, value in zip(places, row, strict=True):
                    found[k] -= part * value
        return found

    def objective(self, theta: Sequence[Number]) -> Number:
        """F."""
        (h,), d, k = self.landscape.widths, len(self.x[0]), len(self.targets[0])
        activation, start = self.landscape.activation, h * d + h
        with mpmath.workdps(DIGITS):
            total = mpmath.mpf(0)
            for x, y, off in zip(self.x, self.targets, self.silent, strict=True):
                z = [mpmath.fdot(theta[j * d : j * d + d], x) + theta[h * d + j] for j in range(h)]
                out = [
                    mpmath.mpf(0) if quiet else sigma_at(activation, value)
                    for quiet, value in zip(off, z, strict=True)
                ]
                rows = [theta[start + c * h : start + (c + 1) * h] for c in range(k)]
                f = [mpmath.fdot(row, out) + theta[start + k * h + c] for c, row in enumerate(rows)]
                if self.landscape.classifies:
                    top = max(f)
                    grown = mpmath.log(sum(mpmath.exp(value - top) for value in f))
                    total += grown + top - mpmath.fdot(y, f)
                else:
                    total += sum((value - t) ** 2 for value, t in zip(f, y, strict=True))
            if self.landscape.weight_decay:
                total += mpmath.mpf(self.landscape.weight_decay) * sum(t * t for t in theta) / 2
            return total


def _orthonormal(rows: list[list[float]]) -> list[list[Number]]:
    """An orthonormal basis of what the rows span."""
    found: list[list[Number]] = []
    for row in rows:
        left = [mpmath.mpf(value) for value in row]
        for other in found:
            along = mpmath.fdot(left, other)
            left = [a - along * b for a, b in zip(left, other, strict=True)]
        length = mpmath.sqrt(mpmath.fdot(left, left))
        if length > mpmath.mpf(10) ** (-DIGITS // 2) * max(map(abs, row)):
            found.append([a / length for a in left])
    return found


def sigma_at(activation: Activation, z: Number) -> Number:
    """σ(z) with as many digits as z has."""
    if activation.slopes is not None:
        return z * (activation.slopes[1] if z > 0 else activation.slopes[0])
    if activation.square:
        return z**2 if z > 0 or activation.name == "square" else mpmath.mpf(0)
    if activation.name == "tanh":
        return mpmath.tanh(z)
    if activation.name == "sigmoid":
        return 1 / (1 + mpmath.exp(-z))
    return mpmath.log1p(mpmath.exp(z))


def loss_at(loss: Any, z: Number) -> Number:
    """ℓ(z) of a loss by its name and settings, with as many digits as z has."""
    if loss.name == "hinge_power":
        return (z + 1) ** loss.power if z > -1 else mpmath.mpf(0)
    if loss.name == "logistic":
        return mpmath.log1p(mpmath.exp(z)) / mpmath.log(2)
    return (1 + z) ** 2


def cubes(
    strengths: Sequence[float],
    w: Sequence[Sequence[Number]],
    b: Sequence[Number],
    a: Sequence[Number],
) -> Number:
    """(1/3)·Σⱼ λⱼ[|aⱼ|³ + 2(‖wⱼ‖² + bⱼ²)^{3/2}], [B] eq. 4."""
    total = mpmath.mpf(0)
    for j, strength in enumerate(strengths):
        length = mpmath.sqrt(sum(k * k for k in w[j]) + b[j] ** 2)
        total += mpmath.mpf(strength) * (abs(a[j]) ** 3 + 2 * length**3) / 3
    return total
