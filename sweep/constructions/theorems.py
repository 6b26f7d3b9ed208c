"""The spurious minima of [C] Lemmas 3, 4 and 5, and the better points of its Thms 3, 4 and 1.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, D    data points, input dimension                          x (N, D)
C       outputs
A       best affine fit, constants last                       (C, D+1)
q       ∂F/∂f at the fit                                      (N, C)
t       a kink of the activation h
s₋, s₊  slopes of h left and right of t
ε, s    the side of t on which units are kept (±1), its slope
u       how far a unit is inside its piece: z = t + εu > t    (N,)
η, α, M the constants that the lemmas leave free
======  ====================================================  ==========

As the paper's, the constructions put units on the right of the kink, or on its left where h is flat
on the right. Three of its formulas need a correction, which `tests/slips` demonstrates: eq. 48
misses a factor on the output bias and has the index L where L−1 is meant; the sign of γ in the
proofs of Thms 3 and 4 is reversed; and these break down for s₊ = −s₋.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sweep.constructions.fits import BestFit, features, point_losses
from sweep.constructions.layers import Net
from sweep.models.activations import Pieces

# η lies below all outputs of the fit by a share of their spread, between these two.
GAP = (0.2, 2.0)
# α and the excess of M over its bound ([C] eqs. 44 and 45).
ALPHA, EXCESS = (0.3, 0.9), (1.1, 3.0)
# How far the better point goes: γ in units of the gap between two outputs of the fit (below one
# half), and the tilts tried that tell points of equal output apart.
SHARES = (0.02, 0.2, 0.45)
TILTS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# A better point must be lower by this share of F.
LOWER = 1e-6


@dataclass(frozen=True)
class Kink:
    """A breakpoint t of h: h(t), the slopes beside it, and how far they reach (σ of Lemma 5)."""

    t: float
    height: float
    left: float
    right: float
    room_left: float = math.inf
    room_right: float = math.inf

    @classmethod
    def at_zero(cls, left: float, right: float) -> Kink:
        """The only kink of a two-piece activation ([C] eq. 4)."""
        return cls(0.0, 0.0, left, right)

    @property
    def side(self) -> tuple[float, float, float]:
        """(ε, s, room): the right side, or the left one where h is flat on the right."""
        if self.right != 0:
            return 1.0, self.right, self.room_right
        return -1.0, self.left, self.room_left

    @property
    def room(self) -> float:
        """How far the two pieces reach on both sides."""
        return min(self.room_left, self.room_right)


def kinks_of(pieces: Pieces) -> list[Kink]:
    """The points where the slope changes; one without a change, at 0, for a linear activation."""
    ends = [-math.inf, *pieces.breakpoints.tolist(), math.inf]
    found = []
    for k, t in enumerate(ends[1:-1]):
        left, right = float(pieces.slopes[k]), float(pieces.slopes[k + 1])
        if left != right:
            height = left * t + float(pieces.constants[k])
            found.append(Kink(t, height, left, right, t - ends[k], ends[k + 2] - t))
    return found or [Kink(0.0, float(pieces.constants[0]), *[float(pieces.slopes[0])] * 2)]


def lemma_net(
    rng: np.random.Generator,
    fit: BestFit,
    widths: tuple[int, ...],
    kink: Kink,
    squeezed: bool = False,
) -> Net:
    """The local minimum of [C] Lemmas 3 and 4, or `squeezed` that of Lemma 5, constants random.

    F is that of the affine fit. Every hidden layer must be wider than the output (Assumption 3).
    """
    C, D = len(fit.maps), fit.x.shape[1]
    (eps, s, room), g = kink.side, features(fit.x) @ fit.maps.T
    eta = min(0.0, float(g.min())) - float(rng.uniform(*GAP)) * float(np.ptp(g))
    units = np.hstack([g - eta, np.full((len(g), widths[0] - C), -eta)])
    M, alphas = 1.0, np.ones(len(widths) - 1)
    if squeezed:
        bound = float(np.linalg.norm(units)) / room
        M = max(bound, 1.0) * float(rng.uniform(*EXCESS))
        alphas = rng.uniform(*ALPHA, size=len(widths) - 1)
    W = np.vstack([fit.maps[:, :-1], np.zeros((widths[0] - C, D))]) * (eps / M)
    b = kink.t + eps / M * np.append(fit.maps[:, -1] - eta, np.full(widths[0] - C, -eta))
    hidden = [(W, b)]
    for (before, width), alpha in zip(pairwise(widths), alphas, strict=True):
        # Units beyond the outputs repeat the first such one of the layer before.
        source = np.minimum(np.arange(width), C)
        W = np.zeros((width, before))
        W[np.arange(width), source] = alpha / s
        hidden.append((W, kink.t - kink.height * W.sum(axis=1)))
    out = np.zeros((C, widths[-1]))
    out[:, :C] = M / (float(np.prod(alphas)) * s * eps) * np.eye(C)
    return Net(hidden, out, eta - kink.height * out.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Bend:
    """How the better point differs from the fit: output k becomes p + κγ·sgn p + level.

    p is `A` (D+1,) of x less the level; F changes by 2κγ·Σ_{p>0} q to first order.
    """

    output: int
    A: np.ndarray
    level: float
    gamma: float


def best_bend(fit: BestFit, kink: Kink, direction: np.ndarray) -> Bend | None:
    """The bend of least F; None if none is lower than the fit by `LOWER`.

    All gaps between the fit's outputs are tried as the level, with a few γ, and tilts of the fit
    along `direction` (D,), which cost second order only.
    """
    total, difference = kink.left + kink.right, kink.right - kink.left
    if total == 0 or difference == 0:
        return None
    kappa, X = difference / total, features(fit.x)
    flat = X @ fit.maps.T
    least, best = fit.value * (1 - LOWER), None
    for k in range(len(fit.maps)):
        for tilt in TILTS:
            A = fit.maps[k] + tilt * np.append(direction, 0.0)
            values = X @ A
            order = np.sort(values)
            level = np.repeat((order[1:] + order[:-1]) / 2, len(SHARES))
            gap = np.repeat(np.diff(order), len(SHARES)) * np.tile(SHARES, len(order) - 1)
            sign = np.where(values > level[:, None], 1.0, -1.0)
            gamma = -np.sign(kappa * (sign > 0) @ fit.pulls[:, k]) * gap
            f = np.broadcast_to(flat, (len(level), *flat.shape)).copy()
            f[:, :, k] = values + kappa * gamma[:, None] * sign
            F = _objectives(fit, f)
            i = int(F.argmin())
            if F[i] < least:
                least, best = float(F[i]), Bend(k, A, float(level[i]), float(gamma[i]))
    return best


def _objectives(fit: BestFit, f: np.ndarray) -> np.ndarray:
    """F (G,) of outputs (G, N, C)."""
    y = np.broadcast_to(fit.y, (len(f), *fit.y.shape)).reshape(-1, *fit.y.shape[1:])
    values = point_losses(fit.loss, y, f.reshape(-1, f.shape[2])).values
    return np.asarray(values.reshape(f.shape[:2]).sum(axis=1))


def bent_net(
    rng: np.random.Generator, fit: BestFit, bend: Bend, widths: tuple[int, ...], kink: Kink
) -> Net:
    """The network of [C] eqs. 20-23 with that bend, and as Thm 4 carries it on; scales random.

    Two units carry p as [h(t+u₊) − h(t+u₋)]/(s₊+s₋), u± = ±p + γ; one more each other output.
    """
    (eps, s, room), width, C = kink.side, widths[0], len(fit.maps)
    X = features(fit.x)
    W, b = np.zeros((width, X.shape[1] - 1)), _idle(rng, width, kink)
    out, const = np.zeros((C, width)), np.zeros(C)
    p = X @ bend.A - bend.level
    scale = _scale(rng, float(np.abs(p).max()) + abs(bend.gamma), kink.room)
    W[:2] = scale * np.outer([1.0, -1.0], bend.A[:-1])
    shift = bend.A[-1] - bend.level
    b[:2] = kink.t + scale * np.array([shift + bend.gamma, -shift + bend.gamma])
    out[bend.output, :2] = np.array([1.0, -1.0]) / ((kink.left + kink.right) * scale)
    const[bend.output] = bend.level
    for unit, k in enumerate((k for k in range(C) if k != bend.output), start=2):
        g = X @ fit.maps[k]
        low = float(g.min()) - float(rng.uniform(*GAP)) * (1 + float(np.ptp(g)))
        scale = _scale(rng, float(g.max()) - low, room)
        W[unit] = eps * scale * fit.maps[k, :-1]
        b[unit] = kink.t + eps * scale * (fit.maps[k, -1] - low)
        out[k, unit] = 1 / (s * eps * scale)
        const[k] = low - kink.height * out[k, unit]
    return _carried(rng, fit.x, Net([(W, b)], out, const), widths, kink)


def better_net(
    rng: np.random.Generator, fit: BestFit, widths: tuple[int, ...], kink: Kink
) -> Net | None:
    """A network of lower F than the best affine fit ([C] Thms 3, 4 and 1).

    None if the first layer is not wider than the output, a later one is narrower, or no bend helps
    (s₊ = ±s₋: the construction breaks down).
    """
    C = len(fit.maps)
    if widths[0] < C + 1 or min(widths) < C:
        return None
    bend = best_bend(fit, kink, np.asarray(rng.normal(size=fit.x.shape[1])))
    return None if bend is None else bent_net(rng, fit, bend, widths, kink)


def _carried(
    rng: np.random.Generator, x: np.ndarray, net: Net, widths: tuple[int, ...], kink: Kink
) -> Net:
    """The same function of x with the later layers behind: each output through one live unit."""
    (eps, s, room), C = kink.side, len(net.c)
    out, const, hidden = net.v, net.c, list(net.hidden)
    h = _around(kink, x @ hidden[0][0].T + hidden[0][1])
    for before, width in pairwise(widths):
        g = h @ out.T + const
        low = g.min(axis=0) - rng.uniform(*GAP) * (1 + np.ptp(g))
        scale = _scale(rng, float((g - low).max()), room)
        W, b = np.zeros((width, before)), _idle(rng, width, kink)
        W[:C], b[:C] = eps * scale * out, kink.t + eps * scale * (const - low)
        h = _around(kink, h @ W.T + b)
        hidden.append((W, b))
        out = np.zeros((C, width))
        out[:, :C] = np.eye(C) / (s * eps * scale)
        const = low - kink.height * out.sum(axis=1)
    return Net(hidden, out, const)


def _around(kink: Kink, z: np.ndarray) -> np.ndarray:
    """h(z) on the two pieces that meet at the kink ([C] eq. 51)."""
    u = z - kink.t
    return np.asarray(kink.height + u * np.where(u > 0, kink.right, kink.left))


def _scale(rng: np.random.Generator, reach: float, room: float) -> float:
    """A random factor that brings `reach` well inside the room; near 1 where there is room."""
    share = float(rng.uniform(0.3, 0.9))
    return share if share * reach < room else share * room / reach


def _idle(rng: np.random.Generator, width: int, kink: Kink) -> np.ndarray:
    """Biases (K,) that keep units without incoming weights inside the piece they are kept in."""
    eps, _, room = kink.side
    return np.asarray(kink.t + eps * min(1.0, room) * rng.uniform(0.2, 0.8, size=width))
