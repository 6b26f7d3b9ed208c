"""Networks of squares that separate data with a large margin for their size ([B] Thm 1, Prop. 2).

λ̃ = max over ‖ρ‖ = 1 of minᵢ yᵢ p(xᵢ; ρ) for p(x; ρ) = Σₖ αₖ φ(ωₖ·x̃), φ(z) = max(z, 0)² or z². p is
of third degree in ρ, so any p gives the lower bound minᵢ yᵢ p(xᵢ)/‖ρ‖³, and the search below may
stop anywhere: what it returns is a network, and its margin is evaluated. For given functions
cₖφ(uₖ·x̃), ‖uₖ‖ = 1, the norm is least where ‖ωₖ‖² = 2αₖ², and then ‖ρ‖² = 3 Σₖ (|cₖ|/2)^{2/3}.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension
X       the data with a one behind each point, x̃               (N, D+1)
y       labels ±1                                              (N,)
K       neurons of p
α, ω    their output weights; weights and bias                 (K,), (K, D+1)
u, c    unit directions, and what stands before φ(u·x̃)         (K, D+1), (K,)
======  =====================================================  ==========
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linprog, minimize

from sweep.seeds import stream

Kind = Literal["requ", "square"]

#: Directions that the linear program chooses from, per data point up to a hundred; besides them
#: (D+1)², more than the symmetric matrices have dimensions.
DIRECTIONS = 8
#: Rounds of reweighting, which makes the solution of the linear program sparser.
ROUNDS = 6
#: Numbers in α and ω, and data points, up to which a general optimizer goes on from there.
SMALL, FEW = 240, 200
STEPS = 200


@dataclass(frozen=True, eq=False)
class Separator:
    """A network p of unit norm: `alpha` (K,), `omega` (K, D+1), Σα² + Σω² = 1."""

    kind: Kind
    alpha: np.ndarray
    omega: np.ndarray

    @classmethod
    def of(cls, kind: Kind, u: np.ndarray, c: np.ndarray) -> Separator:
        """The balanced network of unit norm of the direction of Σₖ cₖ φ(uₖ·x̃), ‖uₖ‖ > 0."""
        length = np.linalg.norm(u, axis=1)
        c = c * length**2
        kept = c != 0
        root = np.cbrt(c[kept] / 2)
        size = math.sqrt(3 * float((root**2).sum()))
        omega = math.sqrt(2) * np.abs(root)[:, None] * u[kept] / length[kept, None]
        return cls(kind, root / size, omega / size)

    @property
    def norm(self) -> float:
        """‖ρ‖, one up to rounding."""
        return math.sqrt(float((self.alpha**2).sum() + (self.omega**2).sum()))

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Its values at points x̃ (N, D+1): (N,)."""
        found: np.ndarray = phi(self.kind, X @ self.omega.T) @ self.alpha
        return found

    def margin(self, X: np.ndarray, y: np.ndarray) -> float:
        """minᵢ yᵢ p(xᵢ)/‖ρ‖³, a lower bound of λ̃; negative when p does not separate."""
        return float((y * self.outputs(X)).min()) / self.norm**3


def phi(kind: Kind, z: np.ndarray) -> np.ndarray:
    """max(z, 0)² or z², elementwise."""
    found: np.ndarray = np.square(np.maximum(z, 0) if kind == "requ" else z)
    return found


def largest_margin(kind: Kind, x: np.ndarray, y: np.ndarray) -> Separator | None:
    """The best network found for x (N, D), y (N,); None when no such network separates the data.

    Deterministic: its directions come from the stream ("theory", kind, N, D).
    """
    X = np.hstack([x, np.ones((len(x), 1))])
    found = [p for p in (_chain(kind, x, y), _program(kind, X, y)) if p is not None]
    found += [_improve(p, X, y) for p in found]
    best = max(found, key=lambda p: p.margin(X, y), default=None)
    return best if best is not None and best.margin(X, y) > 0 else None


def interpolating_chain(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds t (N,) and coefficients c (N,) with yᵢ Σₖ cₖ max(zᵢ − tₖ, 0)² > 0 for distinct z.

    The construction of [B] Claim 2 (Appendix I): along the sorted z every unit begins at the point
    before and outweighs all earlier ones at its own.
    """
    order = np.argsort(z)
    z, y = z[order], y[order]
    thresholds = np.concatenate([[z[0] - 1.0], z[:-1]])
    c = np.zeros(len(z))
    c[0] = y[0]
    for k in range(1, len(z)):
        before = float((c[:k] * np.maximum(z[k] - thresholds[:k], 0) ** 2).sum())
        c[k] = 2 * y[k] * (abs(before) + 1) / (z[k] - thresholds[k]) ** 2
    return thresholds, c


def _direction(x: np.ndarray) -> np.ndarray:
    """Of some random directions the unit ω₀ along which the points are farthest apart, (D,)."""
    rng = stream("theory", "chain", *x.shape)
    candidates = rng.standard_normal((32, x.shape[1]))
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    gaps = [np.diff(np.sort(x @ w)).min(initial=math.inf) for w in candidates]
    best: np.ndarray = candidates[int(np.argmax(gaps))]
    return best


def _chain(kind: Kind, x: np.ndarray, y: np.ndarray) -> Separator | None:
    """Appendix I's network, or None where the coefficients leave float64, or for plain squares."""
    if kind != "requ":
        return None
    w = _direction(x)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        thresholds, c = interpolating_chain(x @ w, y)
    if not np.isfinite(c).all():
        return None
    u = np.hstack([np.tile(w, (len(c), 1)), -thresholds[:, None]])
    return Separator.of(kind, u, c)


def _directions(kind: Kind, X: np.ndarray) -> np.ndarray:
    """Unit directions, (C, D+1): random ones with a kink at or between data points."""
    n, size = X.shape
    rng = stream("theory", kind, n, size - 1)
    enough = DIRECTIONS * min(n, 100) + size * size
    u = rng.standard_normal((enough, size))
    if kind == "requ":
        # A kink that no data point sees is a plain square for some points and 0 for the others.
        at = (u[:, :-1] * X[rng.integers(n, size=enough), :-1]).sum(axis=1)
        u[:, -1] = rng.normal(scale=0.3, size=enough) * np.linalg.norm(u[:, :-1], axis=1) - at
    found: np.ndarray = u / np.linalg.norm(u, axis=1, keepdims=True)
    return found


def _program(kind: Kind, X: np.ndarray, y: np.ndarray) -> Separator | None:
    """A sparse combination of directions: least Σ|c|, then reweighted towards least Σ|c|^{2/3}."""
    u = _directions(kind, X)
    features = y[:, None] * phi(kind, X @ u.T)
    c = _least_sum(features, np.ones(len(u)))
    if c is None:
        return None
    for _ in range(ROUNDS):
        weights = (np.abs(c) + 1e-3 * np.abs(c).max()) ** (-1 / 3)
        better = _least_sum(features, weights / weights.min())
        if better is None:
            break
        c = better
    if kind == "square":
        # A symmetric matrix: at most D+1 neurons, its eigenvectors.
        c, vectors = np.linalg.eigh((u.T * c) @ u)
        u = vectors.T
    return Separator.of(kind, u, c)


def _least_sum(features: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """The c of least Σ weights·|c| with features·c ≥ 1, or None."""
    n, count = features.shape
    found = linprog(
        np.concatenate([weights, weights]),
        A_ub=-np.hstack([features, -features]),
        b_ub=-np.ones(n),
        bounds=(0, None),
        method="highs-ds",
    )
    if found.status != 0:
        return None
    c: np.ndarray = found.x[:count] - found.x[count:]
    return c if np.abs(c).max() > 0 else None


def _improve(p: Separator, X: np.ndarray, y: np.ndarray) -> Separator:
    """A local solution of: least ‖ρ‖² with yᵢ p(xᵢ) ≥ 1; or p itself where that is too large."""
    neurons, margin = len(p.alpha), p.margin(X, y)
    if not margin > 0 or neurons * (X.shape[1] + 1) > SMALL or len(X) > FEW:
        return p
    start = np.hstack([p.alpha[:, None], p.omega]).ravel() / np.cbrt(margin)
    constraint, slope = _constraint(p.kind, X, y, neurons)
    found = minimize(
        lambda t: float(t @ t),
        start,
        jac=lambda t: 2 * t,
        constraints={"type": "ineq", "fun": constraint, "jac": slope},
        method="SLSQP",
        options={"maxiter": STEPS},
    )
    rho = found.x.reshape(neurons, -1)
    length = np.linalg.norm(rho[:, 1:], axis=1)
    live = (length > 0) & (rho[:, 0] != 0)
    if not live.any() or not np.isfinite(rho).all():
        return p
    return Separator.of(p.kind, rho[live, 1:], rho[live, 0])


def _constraint(
    kind: Kind, X: np.ndarray, y: np.ndarray, neurons: int
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """yᵢ p(xᵢ) − 1 of the flat (α, ω) rows, (N,), and its derivative, (N, K(D+2))."""

    def parts(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rho = t.reshape(neurons, -1)
        z = X @ rho[:, 1:].T
        return rho[:, 0], np.maximum(z, 0) if kind == "requ" else z

    def value(t: np.ndarray) -> np.ndarray:
        alpha, z = parts(t)
        found: np.ndarray = y * (z**2 @ alpha) - 1
        return found

    def slope(t: np.ndarray) -> np.ndarray:
        alpha, z = parts(t)
        inner = 2 * (alpha * z)[:, :, None] * X[:, None, :]
        whole = np.concatenate([(z**2)[:, :, None], inner], axis=2)
        found: np.ndarray = y[:, None] * whole.reshape(len(X), -1)
        return found

    return value, slope
