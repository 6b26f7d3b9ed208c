"""Compiled: trust-region Newton on the exact Hessian, one member at a time, never uphill.

Symbols as in `sweep.judge.smooth_kernels`; Δ is the trust radius, μ the multiplier of its ball.
"""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.compiled import compiled
from sweep.judge.smooth_kernels import HINGE, LOGISTIC, differentiate, outputs, total

# How a polish ends.
BUDGET, SEPARATED, STATIONARY, STALLED = 0, 1, 2, 3
EPS = 2.0**-52
# Below this share of F a difference of two computed F says nothing (sums of some hundred terms).
NOISE = 64 * EPS
# ‖∇F‖ at this many units of its own rounding is as good as zero.
FLOOR = 2.0 * EPS
# The radius may grow to this share of 1 + ‖θ‖: larger steps were seen to change the basin.
WIDEST = 0.5


@compiled
def trust_step(values: np.ndarray, g: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """argmin of g·d + d·diag(values)·d/2 over ‖d‖ ≤ radius, and the model's decrease ≥ 0.

    `values` ascend; everything is in the eigenbasis of the Hessian.
    """
    P = len(g)
    d = np.zeros(P)
    low = max(0.0, -values[0])
    tiny = 1e-300 + 1e-18 * max(abs(values[0]), abs(values[P - 1]))
    length = 0.0
    for k in range(P):
        d[k] = -g[k] / max(values[k] + low, tiny) if g[k] != 0.0 else 0.0
        length += d[k] * d[k]
    length = math.sqrt(length)
    if length > radius:
        most = math.sqrt((g * g).sum()) / radius
        down, up = low, low + most
        for _ in range(60):
            mu = 0.5 * (down + up)
            length = 0.0
            for k in range(P):
                length += (g[k] / max(values[k] + mu, tiny)) ** 2
            if math.sqrt(length) > radius:
                down = mu
            else:
                up = mu
        for k in range(P):
            d[k] = -g[k] / max(values[k] + up, tiny)
    elif low > 0.0:
        # The hard case: fill the ball along the direction of most negative curvature.
        rest = math.sqrt(max(0.0, radius * radius - length * length + d[0] * d[0]))
        d[0] = -rest if g[0] > 0.0 else rest
    gain = 0.0
    for k in range(P):
        gain -= d[k] * (g[k] + 0.5 * values[k] * d[k])
    return d, gain


@compiled
def recentre(theta: np.ndarray, X: np.ndarray, H: int, shift: float) -> float:
    """The shift that makes the largest exponent zero; α is rescaled in place to fit."""
    N, n = X.shape
    last = H * (n + 1) + 1
    top = -np.inf
    for i in range(N):
        z = 0.0
        for k in range(n - 1):
            z += theta[last + 1 + k] * X[i, k]
        top = max(top, z)
    theta[last] *= math.exp(min(max(top - shift, -700.0), 700.0))
    return top


@compiled
def separated(f: np.ndarray, y: np.ndarray) -> bool:
    """Whether every point is on its side."""
    for i in range(len(y)):
        if not y[i] * f[i] > 0.0:
            return False
    return True


@compiled
def newton_member(
    start: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    H: int,
    bare: bool,
    shift: float,
    code: int,
    loss: int,
    p: float,
    decay: float,
    budget: int,
    radius: float,
) -> tuple[np.ndarray, float, float, float, float, int, int]:
    """θ, the shift m, F, ‖∇F‖, λ_min(∇²F), how it ended, steps.

    `radius` is the first trust radius. Without decay a monotone loss's data that the outputs
    separate end the polish (`SEPARATED`): nothing but scaling is left to do.
    """
    P = len(start)
    theta = start.copy()
    status, steps = BUDGET, 0
    monotone = (loss == HINGE or loss == LOGISTIC) and decay == 0.0
    if bare:
        shift = recentre(theta, X, H, shift)
    F, g, hess, size = differentiate(theta, X, y, H, bare, shift, code, loss, p, decay)
    values = np.zeros(P)
    for steps in range(budget + 1):
        values, basis = np.linalg.eigh(hess)
        slope = math.sqrt((g * g).sum())
        if monotone and separated(outputs(theta, X, H, bare, shift, code), y):
            status = SEPARATED
            break
        flat = slope <= FLOOR * math.sqrt((size * size).sum())
        if flat and values[0] >= -NOISE * abs(values[P - 1]):
            status = STATIONARY
            break
        if steps == budget:
            break
        turned = basis.T @ g
        moved = False
        for _ in range(40):
            d, gain = trust_step(values, turned, radius)
            trial = theta + basis @ d
            f = outputs(trial, X, H, bare, shift, code)
            reached = total(trial, f, y, decay, H * (X.shape[1] + 1) + 1, loss, p)
            blind = gain <= NOISE * F
            if blind and reached <= F + NOISE * F:
                # F no longer tells: go on only while the gradient falls.
                found = differentiate(trial, X, y, H, bare, shift, code, loss, p, decay)
                if math.sqrt((found[1] * found[1]).sum()) < 0.9 * slope:
                    moved = True
                    break
            elif reached < F and F - reached >= 1e-4 * gain:
                moved = True
                break
            radius = 0.25 * min(radius, math.sqrt((d * d).sum()))
            if radius < 1e-16:
                break
        if not moved:
            status = STALLED
            break
        length = math.sqrt((d * d).sum())
        if F - reached > 0.5 * gain and length > 0.9 * radius:
            widest = WIDEST * (1.0 + math.sqrt((trial * trial).sum()))
            radius = min(2.0 * radius, widest)
        theta = trial
        if bare:
            shift = recentre(theta, X, H, shift)
        F, g, hess, size = differentiate(theta, X, y, H, bare, shift, code, loss, p, decay)
    return theta, shift, F, math.sqrt((g * g).sum()), values[0], status, steps
