"""Second order of the teacher-student objective, with rounding, and a bound of its third.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
k, n    units of the teacher (V = I), of the student
W       the student's weights                                  (n, k)
ρ, u    ‖wᵢ‖ and wᵢ/‖wᵢ‖                                       (n,), (n, k)
c, s, t cosine, sine and angle of a pair                       (n, m)
g, H    gradient, Hessian                                      (P,), (P, P)
L       Lipschitz constant of H on a ball                      ()
======  =====================================================  ==========

With f(w, v) = ‖w‖‖v‖·(sin t + (π−t) cos t)/2π and p = v̄ − c·w̄ = s·(a unit vector):

∂²f/∂w²  = ‖v‖/(2π‖w‖) · [s·(I − w̄w̄ᵀ) + ppᵀ/s]
∂²f/∂w∂v = 1/2π · [(π−t)·I + (w̄v̄ᵀ + v̄w̄ᵀ − c·(w̄w̄ᵀ + v̄v̄ᵀ))/s]

Both are continuous where s = 0, so H is continuous wherever no wᵢ is zero, and its Lipschitz
constant is the supremum of the third derivative where s ≠ 0. Write a direction (a, b) of (w, v) in
the basis w̄, p/s and the rest; ρ = ‖w‖, σ = ‖v‖. Differentiating ∂²f/∂w² once more:

D³f[a,a,a] = −σ/(2πρ²)·[cos t·a₂(2a₂² + 3a₃²) + 3 sin t·a₁(2a₂² + a₃²)],  at most 3√3/4π·σ/ρ²·‖a‖³
D³f[a,a,b] =  1/(2πρ)·[b₂(2a₂² + a₃²) + 2a₂·a₃·b₃],                      at most 1/(πρ)·‖a‖²‖b‖

(the largest values of the brackets on unit spheres are 3√3/2 and 2). Summed over all pairs, with
‖θ‖ = 1 split into αᵢ = ‖aᵢ‖, Σαᵢ³ ≤ 1 and Σⱼ≠ᵢ αⱼ ≤ √(n−1):

L ≤ maxᵢ 3√3/4π·(k + Σⱼ≠ᵢ ρⱼ)/ρᵢ² + 3√(n−1)/(π·minᵢ ρᵢ),

with every ρ replaced by its worst value on the ball. ‖wᵢ‖²/4 = ½f(wᵢ, wᵢ) has no third derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.judge.numerics.roundoff import UNIT

#: Below it a sine is taken as zero: the terms divided by it are smaller than it.
NO_SINE = 1e-9
#: Every entry of a block is a handful of products of numbers that carry the error of a dot product
#: of k terms; this many units per term clear them.
UNITS_PER_TERM = 16
CUBIC = 3 * math.sqrt(3) / (4 * math.pi)


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """F, g (P,), H (P, P) at a point, and bounds of the rounding errors of g and H (2-norms)."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    gradient_doubt: float
    hessian_doubt: float


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The pairs of directions u (n, k) and q (m, k): c, s, π − t and 1/s or 0, (n, m) each."""

    c: np.ndarray
    s: np.ndarray
    rest: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, u: np.ndarray, q: np.ndarray) -> _Pairs:
        c = np.einsum("ik,jk->ij", u, q)
        # The length of p is exact to a few units, √(1−c²) only to their root.
        s = np.sqrt(np.square(q[None] - c[:, :, None] * u[:, None]).sum(axis=2))
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > NO_SINE)
        return cls(c, s, math.pi - np.arctan2(s, c), inverse)


def gradient(W: np.ndarray) -> tuple[float, np.ndarray]:
    """F and g (n, k) at the weights (n, k)."""
    k = W.shape[1]
    rho = np.sqrt(np.square(W).sum(axis=1))
    u = W / np.where(rho > 0, rho, 1.0)[:, None]
    ours, theirs = _Pairs.of(u, u), _Pairs.of(u, np.eye(k))
    drawn = np.einsum("ij,jk->ik", ours.rest, W) - theirs.rest
    g = drawn + (np.einsum("ij,j->i", ours.s, rho) - theirs.s.sum(axis=1))[:, None] * u
    lengths = np.einsum("i,j,ij->", rho, rho, ours.s + ours.rest * ours.c) / 2
    lengths -= np.einsum("i,ij->", rho, theirs.s + theirs.rest * theirs.c)
    constant = k / 4 + k * (k - 1) / (4 * math.pi)
    return float(lengths) / (2 * math.pi) + constant, g / (2 * math.pi)


def second_order(W: np.ndarray) -> SecondOrder | None:
    """Second order at the weights (n, k); None where one of them is zero."""
    n, k = W.shape
    rho = np.sqrt(np.square(W).sum(axis=1))
    if not (rho > 0).all():
        return None
    u, V = W / rho[:, None], np.eye(k)
    ours, theirs = _Pairs.of(u, u), _Pairs.of(u, V)
    H = _mixed(u, ours)
    own = _own(u, u, ours, rho) - _own(u, V, theirs, np.ones(k))
    own /= rho[:, None, None]
    H[np.arange(n), :, np.arange(n), :] = own / (2 * math.pi) + V / 2
    H = H.reshape(n * k, n * k)
    value, g = gradient(W)
    noise = UNITS_PER_TERM * (k + 8) * UNIT
    sizes = float(rho.sum()) + k
    # A term over s loses as many digits as s does; where s counts as zero it is of its size.
    worst = 1 + max(float(ours.inverse.max()), float(theirs.inverse.max()))
    pairs = k * math.sqrt(n * (n - 1)) + k * math.sqrt(n) * sizes / float(rho.min())
    return SecondOrder(
        value,
        g.reshape(-1),
        (H + H.T) / 2,
        noise * math.sqrt(n * k) * sizes,
        (noise * worst + 4 * NO_SINE * _touching(ours, theirs)) * pairs,
    )


def lipschitz(W: np.ndarray, radius: float) -> float:
    """L on the ball of that radius about the weights; infinite where a wᵢ may become zero."""
    n, k = W.shape
    rho = np.sqrt(np.square(W).sum(axis=1))
    least = rho - radius
    if not (least > 0).all():
        return math.inf
    others = rho.sum() - rho + math.sqrt(max(n - 1, 1)) * radius
    cubic = float((CUBIC * (k + others) / least**2).max())
    return 1.000001 * (cubic + 3 * math.sqrt(n - 1) / (math.pi * float(least.min())))


def _own(u: np.ndarray, q: np.ndarray, pairs: _Pairs, sigma: np.ndarray) -> np.ndarray:
    """Σⱼ σⱼ[s·(I − ūūᵀ) + ppᵀ/s] per unit, (n, k, k)."""
    k = u.shape[1]
    p = q[None] - pairs.c[:, :, None] * u[:, None]
    weights = sigma * pairs.s
    plane = np.eye(k)[None] - u[:, :, None] * u[:, None, :]
    folded = np.einsum("ij,ijk,ijl->ikl", sigma * pairs.inverse, p, p, optimize=False)
    return np.asarray(weights.sum(axis=1)[:, None, None] * plane + folded)


def _mixed(u: np.ndarray, pairs: _Pairs) -> np.ndarray:
    """∂²F/∂wᵢ∂wⱼ for i ≠ j, (n, k, n, k); the diagonal blocks are to be overwritten."""
    k = u.shape[1]
    over = pairs.inverse[:, None, :, None]
    left = u[:, :, None, None] * u[None, None, :, :]
    right = u.T[None, :, :, None] * u[:, None, None, :]
    squares = u[:, :, None, None] * u[:, None, None, :] + u.T[None, :, :, None] * u[None, None]
    blocks = pairs.rest[:, None, :, None] * np.eye(k)[None, :, None, :]
    blocks = blocks + over * (left + right - pairs.c[:, None, :, None] * squares)
    return np.asarray(blocks / (2 * math.pi))


def _touching(ours: _Pairs, theirs: _Pairs) -> float:
    """1 if some pair of different units has s = 0 to rounding, else 0."""
    apart = ~np.eye(len(ours.c), dtype=bool)
    return float((ours.inverse[apart] == 0).any() or (theirs.inverse == 0).any())
