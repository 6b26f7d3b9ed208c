"""F of convolutions below ReQU units with 50 digits, in plain Python numbers."""

from __future__ import annotations

from collections.abc import Sequence

import mpmath
import numpy as np

from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.precise import DIGITS, Number, Precise, cubes, loss_at


class ConvolutionPrecise(Precise):
    """One member's objective with 50 digits; θ in the row's order."""

    def __init__(self, formula: ConvolutionFormula, lam: np.ndarray) -> None:
        self.of_filter = formula
        self.strengths: list[float] = lam.tolist()
        self.x = formula.x.tolist()
        self.y = formula.y.tolist()

    def objective(self, theta: Sequence[Number]) -> Number:
        """F."""
        formula = self.of_filter
        s, m, first = formula.length, formula.width, formula.filters * formula.length
        seen = len(self.x[0]) + formula.filters * (s - 1)
        with mpmath.workdps(DIGITS):
            filters, rest = [theta[k : k + s] for k in range(0, first, s)], theta[first:]
            w = [rest[j * seen : (j + 1) * seen] for j in range(m)]
            b, a = rest[m * seen : m * seen + m], rest[m * seen + m :]
            live = [j for j in range(m) if a[j] != 0]
            pull = sum((sum(t * t for t in v) - 1) ** 2 for v in filters)
            total = mpmath.mpf(formula.strength or 0.0) / 4 * pull
            for x, y in zip(self.x, self.y, strict=True):
                h = self._features(filters, x)
                t = [(j, mpmath.fdot(w[j], h) + b[j]) for j in live]
                total += loss_at(formula.loss, -y * sum(a[j] * up**2 for j, up in t if up > 0))
            return total + cubes(self.strengths, w, b, a)

    def _features(self, filters: list[Sequence[Number]], x: Sequence[Number]) -> Sequence[Number]:
        """What the last layer sees of a data point."""
        s, slope, h = self.of_filter.length, mpmath.mpf(self.of_filter.slope), list(x)
        for v in filters:
            padded = [0.0] * (s - 1) + h + [0.0] * (s - 1)
            z = [mpmath.fdot(v, padded[p : p + s]) for p in range(len(h) + s - 1)]
            h = [t if t > 0 else slope * t for t in z]
        return h
