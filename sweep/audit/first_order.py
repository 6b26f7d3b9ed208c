"""First-order conditions of one-hidden-layer piecewise-linear networks, kinks included.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, n    data points, D + 1
H       hidden units, an arm's added ordinary neurons last
x̃       data with a last column of ones                        (N, n)
a, W    output weights, rows (w_j, b_j)                        (H,), (H, n)
q       ∂F/∂f̃ᵢ                                                 (N,)
z       preactivations W x̃                                     (N, H)
s₋, s₊  slopes of the activation
======  =====================================================  ==========

In v_j = |a_j|(w_j, b_j) with s_j = sign a_j fixed, the derivative of F along δ is the sum over the
units of D_j(δ) = g_j·δ + Σ_{i on the kink} q_i s_j [s₋ δ·x̃ᵢ + (s₊−s₋) max(δ·x̃ᵢ, 0)], and no descent
exists iff every D_j ≥ 0. A kink with q_i s_j (s₊−s₋) < 0 is concave: there D_j is the smaller of
its two sides, so every choice of sides must pass; what is left is convex, and D_j ≥ 0 iff 0 lies in
{g_j + Σ τ_i q_i s_j (s₊−s₋) x̃ᵢ, τ ∈ [0,1]}: a bounded least squares problem.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import lsq_linear

from sweep.audit.formulas import MlpFormula
from sweep.audit.rounding import trace
from sweep.seeds import stream

# A preactivation this small, relative to Σ|w||x|+|b|, is on its kink: the polish holds kinks to
# rounding, and taking a nearby point for a kink moves F by less than 1e-10 of its own scale.
ON_KINK = 1e-10
# At a local minimum a unit this near a concave kink, relative to 1 or its largest |z|, counts as on
# it: a move of a millionth would cross it. Half of what the judge leaves.
NEAR_KINK = 5e-7
# Concave kinks of one unit whose sides are tried one by one: 2¹⁰ small least squares problems.
MOST_CONCAVE = 10
# Directions tried where the sides are too many: refutation only.
DIRECTIONS = 2000


@dataclass(frozen=True, eq=False)
class Condition:
    """How far a point is from stationary.

    `residual` is the norm of the least subgradient over all units in (v, c), `doubt` what the
    rounding of the outputs can have done to it, and `scale` what it may be compared with,
    Σᵢ|qᵢ|‖x̃ᵢ‖. `directions` (H, n) descends in v, zero where there is none.
    """

    residual: float
    doubt: float
    scale: float
    directions: np.ndarray
    bias: float


@dataclass(frozen=True, eq=False)
class Units:
    """A one-hidden-layer network in plain arrays; `c` is the output bias."""

    a: np.ndarray
    W: np.ndarray
    c: float


def units_of(formula: MlpFormula, theta: np.ndarray) -> Units:
    """The hidden units of one member, the added ordinary neurons last."""
    point = torch.as_tensor(theta)
    (inner, shift), (weight, bias) = formula.layers(point)
    a, W = [weight[0]], [torch.column_stack([inner, shift])]
    if not formula.sheds:
        for out, w, b in formula.neurons(point):
            a.append(out.reshape(1))
            W.append(torch.cat([w, b.reshape(1)]).unsqueeze(0))
    return Units(torch.cat(a).numpy(), torch.cat(W).numpy(), float(bias[0]))


def first_order(formula: MlpFormula, theta: np.ndarray, near: float = 0.0) -> Condition:
    """The condition at one member's point (P,), for F without penalties.

    Concave kinks within `near` of a preactivation, relative to max(1, max |z|), count as kinks.
    """
    slopes = formula.activation.slopes
    assert slopes is not None and len(formula.widths) == 1
    units = units_of(formula, theta)
    q, q_doubt = _slopes(formula, theta)
    x = np.column_stack([formula.x.numpy(), np.ones(len(q))])
    z, size = x @ units.W.T, np.abs(x) @ np.abs(units.W).T
    parts = []
    directions = np.zeros_like(units.W)
    for j, a in enumerate(units.a):
        kinks = np.abs(z[:, j]) <= ON_KINK * size[:, j]
        close = kinks | (np.abs(z[:, j]) <= near * max(1.0, float(np.abs(z[:, j]).max())))
        if a == 0:
            parts.append(_resting(x, q, z[:, j], close, slopes))
            continue
        concave = q * a * (slopes[1] - slopes[0]) < 0
        kinks = np.where(concave, close, kinks)
        descent = _steepest(x, q * np.sign(a), z[:, j], kinks, slopes)
        directions[j] = descent
        parts.append(float(np.linalg.norm(descent)))
    if formula.exponential:
        parts.append(_exponential(formula, theta, x, q))
    parts.append(abs(float(q.sum())))
    scale = float(np.abs(q) @ np.linalg.norm(x, axis=1))
    doubt = float(q_doubt @ np.linalg.norm(x, axis=1))
    doubt *= math.sqrt(len(units.a) + 1) * max(1.0, *map(abs, slopes))
    return Condition(float(np.linalg.norm(parts)), doubt, scale, directions, -float(q.sum()))


def outer_slopes(formula: MlpFormula, theta: np.ndarray) -> np.ndarray:
    """∂F/∂f̃ᵢ = −yᵢ ℓ′(−yᵢ f̃ᵢ), (N,)."""
    return _slopes(formula, theta)[0]


def _slopes(formula: MlpFormula, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q, and how far rounding can have moved it through the outputs, (N,) each."""
    traced = trace(formula, torch.as_tensor(theta))
    z, slope = -formula.y * traced.full, formula.loss.slope
    moved = [(slope(z + side * traced.error) - slope(z)).abs() for side in (-1, 1)]
    return (-formula.y * slope(z)).numpy(), torch.maximum(*moved).numpy()


def _steepest(
    x: np.ndarray, q: np.ndarray, z: np.ndarray, kinks: np.ndarray, slopes: tuple[float, float]
) -> np.ndarray:
    """The steepest descent direction of one unit's D_j, (n,), of the length of its slope."""
    left, right = slopes
    smooth = np.where(kinks, left, np.where(z > 0, right, left))
    base = (q * smooth) @ x
    jumps = q * (right - left)
    convex, concave = kinks & (jumps > 0), np.flatnonzero(kinks & (jumps < 0))
    columns = (jumps[convex, None] * x[convex]).T
    if len(concave) > MOST_CONCAVE:
        return _sampled(x, base, jumps * kinks)
    worst = np.zeros(x.shape[1])
    for sides in itertools.product((False, True), repeat=len(concave)):
        chosen = concave[list(sides)]
        target = base + jumps[chosen] @ x[chosen]
        least = target
        if columns.shape[1]:
            shares = lsq_linear(columns, -target, (0, 1), method="bvls", tol=1e-14).x
            least = target + columns @ shares
        if np.linalg.norm(least) > np.linalg.norm(worst):
            worst = -least
    return worst


def _sampled(x: np.ndarray, base: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """The steepest of many directions, or zeros if none of them descends."""
    tries = stream("audit", "directions", x.shape[1]).standard_normal((DIRECTIONS, x.shape[1]))
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    slope = tries @ base + np.maximum(tries @ x.T, 0) @ jumps
    best = int(np.argmin(slope))
    return -slope[best] * tries[best] if slope[best] < 0 else np.zeros(x.shape[1])


def _resting(
    x: np.ndarray, q: np.ndarray, z: np.ndarray, kinks: np.ndarray, slopes: tuple[float, float]
) -> float:
    """A unit with a = 0: Σ qᵢσ′(zᵢ)x̃ᵢ must vanish on both sides of every kink.

    Turning a on with either sign and (w, b) with it changes F by a·Σ qᵢσ(z'ᵢ): no sign may help.
    """
    left, right = slopes
    smooth = (q * np.where(kinks, 0.0, np.where(z > 0, right, left))) @ x
    on_kinks = np.abs(q[kinks]) @ np.linalg.norm(x[kinks], axis=1) * max(abs(left), abs(right))
    return float(np.linalg.norm(smooth)) + float(on_kinks)


def _exponential(formula: MlpFormula, theta: np.ndarray, x: np.ndarray, q: np.ndarray) -> float:
    """The exponential neuron, a = 0 or not: Σ qᵢ e^{w·xᵢ+b} x̃ᵢ must vanish (Lemma 1 of [A])."""
    ((_, w, b),) = formula.neurons(torch.as_tensor(theta))
    weights = np.exp((formula.x @ w + b).numpy())
    return float(np.linalg.norm((q * weights) @ x))
