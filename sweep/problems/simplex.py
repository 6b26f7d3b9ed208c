"""The data of [B] Proposition 1: points so far apart that a neuron can serve one of them alone.

The proposition wants points with ‖xᵢ‖ = 2 and xᵢ·xⱼ < −1, which exist for N ≤ 4 only: the Gram
matrix of N such points has no negative eigenvalue, so (N−1)·|xᵢ·xⱼ| ≤ ‖x‖². The corners of a
regular simplex of radius ϱ have xᵢ·xⱼ = −ϱ²/(N−1), and what the proof needs, x̃ᵢ·x̃ⱼ = xᵢ·xⱼ + 1 < 0,
holds for ϱ² > N−1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.problems.base import PROBLEMS, Data
from sweep.registry import require

#: The points have N−1 features: this many are 8 MB.
MOST_CORNERS = 1024


@PROBLEMS.add("simplex")
@dataclass(frozen=True)
class Simplex:
    """The `n` corners of a regular simplex around 0, D = n−1; the first `positive` labels are +1.

    A network of `positive` neurons then has a local minimum that serves these and misclassifies
    the others. `radius` null: √(2(n−1)), for which x̃ᵢ·x̃ⱼ = −1.
    """

    n: int = 8
    positive: int = 4
    radius: float | None = None

    def __post_init__(self) -> None:
        most = f"a whole number ≥ 2 and ≤ {MOST_CORNERS}"
        require(2 <= self.n <= MOST_CORNERS, "problem.n", self.n, most)
        fewer = f"a whole number ≥ 1 and < problem.n, {self.n},"
        require(1 <= self.positive < self.n, "problem.positive", self.positive, fewer)
        far = self.radius is None or self.n - 1 < self.radius**2 < math.inf
        accepted = f"null or a number whose square is > problem.n − 1, {self.n - 1},"
        require(far, "problem.radius", self.radius, accepted)

    def load(self) -> Data:
        """The data: x (n, n−1), y (n,)."""
        n = self.n
        radius = math.sqrt(2 * (n - 1)) if self.radius is None else self.radius
        # Helmert's matrix: rows are orthonormal and orthogonal to (1, …, 1). Only √ is taken.
        x = np.zeros((n, n - 1))
        for k in range(1, n):
            x[:k, k - 1], x[k, k - 1] = 1.0, -float(k)
            x[:, k - 1] /= math.sqrt(k * (k + 1))
        y = np.where(np.arange(n) < self.positive, 1.0, -1.0)
        return Data(x * (radius * math.sqrt(n / (n - 1))), y)
