"""max over unit u of |Σᵢ qᵢ σ(u·x̃ᵢ)|, σ(t) = max(t, 0)² or t², from below and from above.

From below: the best of many random directions after a local ascent. From above: the sphere, as
seen from its centre through the faces of a cube, is cut into ever smaller boxes. All directions of
a box lie within an angle φ of the one through its middle, c, and only points with
|c·x̃ᵢ| ≤ 2 sin(φ/2)·‖x̃ᵢ‖ change sides there. With M the sum of qᵢx̃ᵢx̃ᵢᵀ over the points on c's side,
of those that may change only the ones with qᵢ > 0, and u = c cos t + w sin t,

    Σᵢ qᵢ σ(u·x̃ᵢ) ≤ uᵀMu ≤ max(cᵀMc, cᵀMc·cos²φ) + 2 sin φ·‖(I − ccᵀ)Mc‖ + sin²φ·max(λ_max(M), 0).

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, n    data points, D + 1                                     x̃ (N, n), q (N,)
B       boxes looked at together                               middles, half widths (B, n)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.seeds import stream

DIRECTIONS, ASCENTS = 64, 200
# Boxes of one search, and at once: 2·10⁵ take a second.
MOST, TOGETHER = 200_000, 4096
ROOM = 1e-11


def greatest(q: np.ndarray, X: np.ndarray, rectified: bool) -> float:
    """A lower bound of the maximum."""
    drawn = stream("audit", "ascent", X.shape[1]).standard_normal((DIRECTIONS, X.shape[1]))
    best = 0.0
    for sign in (1.0, -1.0):
        u = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        shift = float(np.maximum(-sign * q, 0) @ (X**2).sum(axis=1))
        for _ in range(ASCENTS):
            t = u @ X.T
            t = np.maximum(t, 0) if rectified else t
            u = (t * sign * q) @ X + shift * u
            length = np.linalg.norm(u, axis=1, keepdims=True)
            u = np.divide(u, length, out=np.zeros_like(u), where=length > 0)
        t = u @ X.T
        t = np.maximum(t, 0) if rectified else t
        best = max(best, float((t**2 @ (sign * q)).max()))
    return best


def below(q: np.ndarray, X: np.ndarray, rectified: bool, level: float) -> bool | None:
    """Whether the maximum is below the level; None if too many boxes would be needed."""
    level = level * (1 - ROOM) - ROOM * float(np.abs(q) @ (X**2).sum(axis=1))
    if not rectified:
        extremes = np.linalg.eigvalsh((X * q[:, None]).T @ X)
        return bool(np.abs(extremes).max() < level)
    for sign in (1.0, -1.0):
        found = _below(sign * q, X, level)
        if found is not True:
            return found
    return True


def _below(q: np.ndarray, X: np.ndarray, level: float) -> bool | None:
    n = X.shape[1]
    faces = np.vstack([np.eye(n), -np.eye(n)])
    waiting = [(faces, 1.0 - np.abs(faces))]
    count = 0
    while waiting:
        middle, half = waiting.pop()
        if len(middle) > TOGETHER:
            waiting += [(middle[k::2], half[k::2]) for k in (0, 1)]
            continue
        count += len(middle)
        if count > MOST:
            return None
        value, bound = _bounds(middle, half, q, X)
        if (value >= level).any():
            return False
        left = bound >= level
        middle, half = middle[left], half[left]
        if len(middle):
            rows, widest = np.arange(len(middle)), half.argmax(axis=1)
            step = np.zeros_like(half)
            step[rows, widest] = half[rows, widest] / 2
            smaller = half - step
            waiting.append((np.vstack([middle + step, middle - step]), np.vstack([smaller] * 2)))
    return True


def _bounds(
    middle: np.ndarray, half: np.ndarray, q: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sum at every box's middle and its bound over the box, (B,) each."""
    length = np.linalg.norm(middle, axis=1)
    sine = np.minimum(1.0, np.linalg.norm(half, axis=1) / length)
    c = middle / length[:, None]
    t = c @ X.T
    # 2 sin(φ/2) = √(2 − 2cos φ)
    chord = np.sqrt(2 - 2 * np.sqrt(1 - sine**2))
    near = np.abs(t) <= (chord[:, None] + 1e-12) * np.linalg.norm(X, axis=1)
    counted = np.where(near, q > 0, t > 0) * q
    M = np.einsum("bi,ij,ik->bjk", counted, X, X, optimize=True)
    towards = np.einsum("bjk,bk->bj", M, c)
    at_middle = (towards * c).sum(axis=1)
    across = np.linalg.norm(towards - at_middle[:, None] * c, axis=1)
    stiffest = np.maximum(np.linalg.eigvalsh(M)[:, -1], 0.0)
    bound = np.maximum(at_middle, at_middle * (1 - sine**2))
    bound = bound + 2 * sine * across + sine**2 * stiffest
    return np.maximum(t, 0) ** 2 @ q, np.where(sine < 1, bound, np.inf)
