"""A point of a piecewise-linear one-layer network, with everything its certificate looks at.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
N, n    data points, D + 1
H       hidden units, an arm's extra neurons last
x̃       data with a last column of ones                            (N, n)
a, W, c output weights, (w_j, b_j), output bias                    (H,), (H, n)
V, s    v_j = |a_j|(w_j, b_j), s_j = sign a_j                       (H, n), (H,)
Z       v_j·x̃_i                                                    (H, N)
on      pairs on a convex kink, where Z is exactly 0               (H, N)
τ       their multipliers in [0, 1]                                (H, N)
s₋, s₊  slopes of the activation (lo, hi)
f       network outputs, δf their rounding error                   (N,)
q, r    ∂ℓ/∂f, ∂²ℓ/∂f²                                             (N,)
κ       q_i s_j (s₊−s₋): a kink is convex where κ > 0              (H, N)
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge.kinks.polish import polish_member
from sweep.judge.numerics.kernel_losses import loss_rows
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT

# (w_j, b_j) may grow by this factor over the trained one, or over √‖v_j‖ (where a_j and (w_j, b_j)
# balance). A unit whose a_j training has all but put out stays as far from its kinks as it was.
HUGE = 10.0


@dataclass(frozen=True, eq=False)
class Setting:
    """What all members share: data, slopes (s₋, s₊), the loss's code and power."""

    X: np.ndarray
    y: np.ndarray
    slopes: tuple[float, float]
    code: int
    p: float

    @cached_property
    def length(self) -> np.ndarray:
        """‖x̃_i‖, (N,)."""
        return np.asarray(np.linalg.norm(self.X, axis=1))

    @property
    def bent(self) -> bool:
        """Whether there are kinks at all."""
        return self.slopes[0] != self.slopes[1]

    @property
    def steepest(self) -> float:
        """The larger of |s₋|, |s₊|."""
        return max(abs(self.slopes[0]), abs(self.slopes[1]))

    def terms(self, z: np.ndarray) -> np.ndarray:
        """ℓ, ℓ′, ℓ″ at z (N,), (3, N)."""
        return np.asarray(loss_rows(self.code, self.p, z))


def outgoing(a: np.ndarray, W: np.ndarray, V: np.ndarray) -> np.ndarray:
    """The a (H,) with which V is read as (w_j, b_j): the given one where those do not get huge."""
    size = np.linalg.norm(V, axis=1)
    balanced = np.sqrt(size)
    huge = size > HUGE * np.abs(a) * np.maximum(np.linalg.norm(W, axis=1), balanced)
    return np.where(huge & (a != 0), np.copysign(balanced, a), a)


@dataclass(frozen=True, eq=False)
class Place:
    """One member's point; `status`, `steps` and `F` are those of the polish that led to it."""

    setting: Setting
    a: np.ndarray
    W: np.ndarray
    V: np.ndarray
    c: float
    on: np.ndarray
    tau: np.ndarray
    status: int
    steps: int
    F: float

    @classmethod
    def polished(
        cls,
        setting: Setting,
        a: np.ndarray,
        W: np.ndarray,
        c: float,
        max_iter: int,
        tol: float,
        V: np.ndarray | None = None,
    ) -> Place:
        """The place that the polish reaches from (a, W, c), or from V with the signs of a."""
        start = np.abs(a)[:, None] * W if V is None else V
        V, c, on, tau, status, steps, _, F = polish_member(
            np.ascontiguousarray(start),
            float(c),
            np.sign(a),
            setting.X,
            setting.y,
            setting.slopes,
            setting.code,
            setting.p,
            max_iter,
            tol,
        )
        return cls(setting, a, W, V, c, on, tau, status, steps, F)

    @cached_property
    def s(self) -> np.ndarray:
        """Signs of a, (H,)."""
        return np.asarray(np.sign(self.a))

    @cached_property
    def Z(self) -> np.ndarray:  # noqa: N802 (the mathematics' letter)
        """Preactivations (H, N), exactly 0 on held kinks."""
        return np.where(self.on, 0.0, self.V @ self.setting.X.T)

    @cached_property
    def size(self) -> np.ndarray:
        """What a unit's distance from its kinks compares with, (H,): in θ, 1 or its largest |z|."""
        off = self.s == 0
        kept = np.abs(outgoing(self.a, self.W, self.V))
        found = np.maximum(np.abs(self.Z).max(axis=1), kept)
        found[off] = np.maximum(1.0, np.abs(self.W[off] @ self.setting.X.T).max(axis=1))
        return np.asarray(found)

    @cached_property
    def slope(self) -> np.ndarray:
        """The slope in force at each pair; on a kink that of its left side, (H, N)."""
        return np.where(self.Z > 0, self.setting.slopes[1], self.setting.slopes[0])

    @cached_property
    def f(self) -> np.ndarray:
        """Outputs, (N,)."""
        return np.asarray((self.s[:, None] * self.slope * self.Z).sum(axis=0) + self.c)

    @cached_property
    def doubt(self) -> np.ndarray:
        """δf: n products and H + 1 sums, two roundings each; (N,)."""
        H, n = self.V.shape
        size = (np.abs(self.s)[:, None] * (np.abs(self.V) @ np.abs(self.setting.X).T)).sum(axis=0)
        size = self.setting.steepest * size + abs(self.c)
        return np.asarray(SAFETY * (n + H + 4) * UNIT * size)

    @cached_property
    def q(self) -> np.ndarray:
        """∂ℓ_i/∂f_i, (N,)."""
        y = self.setting.y
        return np.asarray(-y * self.setting.terms(-y * self.f)[1])

    @cached_property
    def r(self) -> np.ndarray:
        """∂²ℓ_i/∂f_i², (N,)."""
        return np.asarray(self.setting.terms(-self.setting.y * self.f)[2])

    @cached_property
    def kappa(self) -> np.ndarray:
        """Convexity of every pair's kink, (H, N)."""
        lo, hi = self.setting.slopes
        return np.asarray(self.s[:, None] * self.q * (hi - lo))

    @cached_property
    def at(self) -> np.ndarray:
        """Pairs exactly on their kink, convex or not, of units with a ≠ 0; (H, N)."""
        return np.asarray(self.on | ((self.V == 0).all(axis=1) & (self.s != 0))[:, None])

    @cached_property
    def scale(self) -> float:
        """Σ|q_i|‖x̃_i‖: what a residual is measured by."""
        return float(np.abs(self.q) @ self.setting.length)

    @cached_property
    def gradient(self) -> np.ndarray:
        """The units' subgradients at the multipliers τ, then ∂F/∂c; (H·n + 1,)."""
        lo, hi = self.setting.slopes
        share = np.where(self.on, lo + (hi - lo) * self.tau, self.slope)
        rows = (self.s[:, None] * share * self.q) @ self.setting.X
        return np.append(rows.ravel(), self.q.sum())

    @cached_property
    def gradient_doubt(self) -> float:
        """How far rounding can have moved `gradient`: δq_i ≤ ℓ″δf, plus N sums of products."""
        N, H = len(self.q), len(self.V)
        y = self.setting.y
        bent = self.setting.terms(-y * self.f + self.doubt)[2] + self.r
        wrong = bent * self.doubt + (N + 8) * UNIT * np.abs(self.q)
        lengths = np.maximum(1.0, self.setting.steepest * self.setting.length)
        return float(SAFETY * np.sqrt(H + 1) * (wrong @ lengths))

    @cached_property
    def reach(self) -> np.ndarray:
        """G_i: f_i moves by at most G_i times the move in (V, c); (N,)."""
        L = self.setting.steepest
        return np.sqrt(len(self.V) * (L * self.setting.length) ** 2 + 1)
