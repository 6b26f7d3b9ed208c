"""Strict minima of tanh networks, found by another optimiser and checked by its own Hessian.

`clear`: the gradient is below 10⁻¹² and λ_min of the Hessian above 10⁻³ of max(1, F/N), so that
the minimum is within 10⁻⁹ of the point and its neighbourhood is convex well beyond that.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          X (N, D+1), y (N,)
H       hidden units
θ       W row by row, b, v, c                                 (P,)
J       ∂f/∂θ                                                 (N, P)
======  ====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.controls.fits import derivatives, draw_loss, features
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import Loss
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.verdicts import Verdict

MINIMUM = Truth(
    "local minimum",
    frozenset({Verdict.LOCAL_MINIMUM}),
    frozenset({Verdict.LOCAL_MINIMUM}),
    everywhere=False,
)
DECAYS = (1e-3, 1e-2, 1e-2, 1e-1)
GRADIENT, CURVATURE, BESIDE = 1e-12, 1e-3, 1e-5
NEIGHBOURS, MINIMA, ATTEMPTS, STEPS, NEWTON_STEPS = 3, 4, 8, 100, 8


@dataclass(frozen=True, eq=False)
class TanhNet:
    """F of f = Σ_j v_j tanh(w_j·x + b_j) + c with weight decay: value, gradient, Hessian."""

    X: np.ndarray
    y: np.ndarray
    H: int
    loss: Loss
    decay: float

    @property
    def size(self) -> int:
        """P."""
        return self.H * (int(self.X.shape[1]) + 1) + 1

    def value(self, theta: np.ndarray) -> float:
        """F."""
        _, _, f = self._forward(theta)
        loss, _, _ = derivatives(self.loss, -self.y * f)
        return float(loss.sum() + self.decay / 2 * (theta @ theta))

    def output(self, theta: np.ndarray) -> np.ndarray:
        """The f at every data point, (N,)."""
        return self._forward(theta)[2]

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """∇F, (P,)."""
        _, J, f = self._forward(theta)
        _, first, _ = derivatives(self.loss, -self.y * f)
        return np.asarray(J.T @ (-self.y * first) + self.decay * theta)

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """∇²F, (P, P)."""
        t, J, f = self._forward(theta)
        _, first, second = derivatives(self.loss, -self.y * f)
        q, v = -self.y * first, theta[-self.H - 1 : -1]
        found = J.T @ (second[:, None] * J) + self.decay * np.eye(self.size)
        slope = 1 - t**2
        for j in range(self.H):
            rows = self._unit(j)
            inner = self.X.T @ ((q * v[j] * -2 * t[:, j] * slope[:, j])[:, None] * self.X)
            found[np.ix_(rows, rows)] += inner
            cross, out = self.X.T @ (q * slope[:, j]), self.size - 1 - self.H + j
            found[rows, out] += cross
            found[out, rows] += cross
        return np.asarray(found)

    def _unit(self, j: int) -> np.ndarray:
        """Places of (w_j, b_j) in θ."""
        D = self.X.shape[1] - 1
        return np.append(np.arange(j * D, (j + 1) * D), self.H * D + j)

    def _forward(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """tanh(z) (N, H), J (N, P), f (N,)."""
        rows = np.stack([self._unit(j) for j in range(self.H)])
        t = np.tanh(self.X @ theta[rows].T)
        v = theta[-self.H - 1 : -1]
        J = np.zeros((len(self.X), self.size))
        for j in range(self.H):
            J[:, rows[j]] = (v[j] * (1 - t[:, j] ** 2))[:, None] * self.X
        J[:, -self.H - 1 : -1] = t
        J[:, -1] = 1
        return t, J, t @ v + theta[-1]


def find_minimum(net: TanhNet, start: np.ndarray) -> np.ndarray | None:
    """A strict minimum θ (P,) that is stationary to rounding; None if this start leads to none."""
    found = minimize(
        net.value,
        start,
        jac=net.gradient,
        hess=net.hessian,
        method="trust-exact",
        options={"gtol": 1e-9, "maxiter": STEPS},
    )
    theta = np.asarray(found.x)
    for _ in range(NEWTON_STEPS):
        spectrum = np.linalg.eigvalsh(net.hessian(theta))
        if spectrum[0] < CURVATURE * max(1.0, net.value(theta) / len(net.y)):
            return None
        if np.linalg.norm(net.gradient(theta)) < GRADIENT:
            return theta
        theta = theta - np.linalg.solve(net.hessian(theta), net.gradient(theta))
    return None


def decayed(rng: np.random.Generator) -> Iterator[Batch]:
    """Random labels, weight decay."""
    D, N = int(rng.integers(1, 4)), int(rng.integers(10, 31))
    x, y = rng.normal(size=(N, D)), np.where(rng.random(N) < 0.5, -1.0, 1.0)
    H, decay = int(rng.integers(1, 4)), float(rng.choice(DECAYS))
    yield from _batches(rng, TanhNet(features(x), y, H, draw_loss(rng), decay))


def noisy(rng: np.random.Generator) -> Iterator[Batch]:
    """N = 200 ≫ P and no weight decay: labels +1 with probability (1+g)/2, g a network itself.

    The squared loss is least near g, at finite weights; most other starts slide to infinity.
    """
    X = features(rng.normal(size=(200, 2)))
    net = TanhNet(X, np.ones(200), int(rng.integers(1, 3)), draw_loss(rng), 0.0)
    rule = 2 * rng.normal(size=net.size)
    rule[-net.H - 1 : -1] = 0.8 / net.H
    rule[-1] = 0.0
    y = np.where(rng.uniform(-1, 1, size=200) < net.output(rule), 1.0, -1.0)
    yield from _batches(rng, replace(net, y=y), rule)


def _batches(
    rng: np.random.Generator, net: TanhNet, around: np.ndarray | float = 0.0
) -> Iterator[Batch]:
    """One batch per minimum found from starts around a point, with several neighbours."""
    objective = build_objective(
        Data(net.X[:, :-1], net.y),
        Mlp((net.H,), Choice("tanh")),
        NoAugmentation(),
        net.loss,
        NoRegularizer(),
        net.decay,
    )
    count = 0
    for _ in range(ATTEMPTS):
        theta = find_minimum(net, around + rng.normal(size=net.size))
        if theta is None:
            continue
        points, near = at_and_near(rng, np.tile(theta, (NEIGHBOURS, 1)), BESIDE)
        kept = slice(NEIGHBOURS - 1, None)
        clear = np.ones(NEIGHBOURS + 1, dtype=bool)
        value = net.value(theta)
        yield Batch(objective, MINIMUM, points[kept], near[kept], clear, value=value)
        count += 1
        if count == MINIMA:
            return


FAMILIES = (
    Family("tanh, weight decay", "strict minima, found by scipy", decayed),
    Family("tanh, noisy labels", "strict minima without weight decay, N = 200", noisy),
)
