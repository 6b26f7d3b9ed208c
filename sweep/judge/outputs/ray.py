"""`ray` for one hidden layer and several outputs: a tanh or sigmoid unit saturates for ever.

Unit j's (w, b) moves by t·d, and with it z_i by t·m_i, m_i = d·x̃_i, away from zero at every point
but a few *tied* ones, where m_i = 0 exactly (a step of the unit lies there). With a = A_·j,

F′(t) = Σᵢ g_i(t)·σ′(z_i + t·m_i)·|m_i|,   g_i = ±a·∂ℓᵢ/∂f, the sign that of m_i,

where f_i moves by ±a times what σ gains: g_i grows, because ℓ is convex, and σ′ shrinks. So bounds
at the ends of an interval bound F′ on it. On [t, ∞) all is compared with e^{−ςM(t′−t)}, M the least
|m| among points that may pull uphill: they keep at most their present share, those that pull
downhill and are no faster than M at least theirs; (1+e)² separates σ′ from its tail. F′ < 0 for all
t ≥ 0 is proved on a chain of intervals whose last one is [T, ∞).

Nothing is taken for exact but θ and the data. The computed d is near one with m_i = 0 at the tied
points: nearer than ‖X_T d‖/σ_min(X_T). Its moves, z and the outputs are known within bounds, and
what underflows may pull uphill by `TINY`, unless its sign is plain.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
x, m    |z|, |m| of the points that move, (least, largest)         (2, N′)
f, e    outputs at t = 0 and their errors; targets y               (N′, C)
s       signs of m                                                 (N′,)
ς       rate of the tail of σ: σ′(z) ≈ const·e^{−ς|z|}
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.escapes.directions import Way, grown
from sweep.judge.escapes.ray import CLEAR, SHORTEST, TINY
from sweep.judge.numerics.balls import Ball
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.kernels import SIGMOID, TANH
from sweep.judge.smooth.strict_kernels import ACTIVATION_UNITS, ROOM
from sweep.models.losses import CrossEntropy

SATURATING = (TANH, SIGMOID)
MOST_INTERVALS = 200


@dataclass(frozen=True, eq=False)
class Ray:
    """Unit j saturates for ever along `way`; f where it starts and ends, and the end's errors."""

    unit: int
    way: Way
    start: Ball
    limit: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Moving:
    """The points that move, for one unit and one way."""

    tanh: bool
    entropy: bool
    a: np.ndarray
    x: np.ndarray
    m: np.ndarray
    s: np.ndarray
    f: np.ndarray
    e: np.ndarray
    y: np.ndarray

    @property
    def rate(self) -> float:
        """ς."""
        return 2.0 if self.tanh else 1.0

    def level(self, x: np.ndarray) -> np.ndarray:
        """σ at s·x, (N′,); x may be infinite."""
        e = np.exp(-self.rate * x)
        if self.tanh:
            return np.asarray(self.s * (1 - e) / (1 + e))
        return np.asarray(np.where(self.s > 0, 1.0, e) / (1 + e))

    def outputs(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Those no nearer than at t, and their errors, (N′, C): g grows as f moves."""
        there = self.x[1] + np.multiply(t, self.m[1])
        moved = self.level(there) - self.level(self.x.mean(axis=0))
        f = self.f + moved[:, None] * self.a
        # σ at the start errs by as much as z at most, and both levels round.
        width = (self.x[1] - self.x[0])[:, None] + 4 * ACTIVATION_UNITS * UNIT
        rounds = 8 * UNIT * (np.abs(f) + np.abs(self.f))
        return f, ROOM * (self.e + np.abs(self.a) * width + rounds)

    def steepest(self, t: float) -> np.ndarray:
        """What g (N′,) is at most, up to t; infinite where nothing is known of it."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = (self._entropic if self.entropy else self._squared)(t) + TINY
        return np.where(np.isnan(found), np.inf, found)

    def _squared(self, t: float) -> np.ndarray:
        (f, e), a = self.outputs(t), np.abs(self.a)
        miss = 2 * (f - self.y)
        doubt = (2 * e + (len(a) + 4) * UNIT * np.abs(miss)) @ a
        return np.asarray(self.s * (miss @ self.a) + ROOM * doubt)

    def _entropic(self, t: float) -> np.ndarray:
        f, e = self.outputs(t)
        behind = f.max(axis=1, keepdims=True) - f
        p = np.exp(-behind)
        p = p / p.sum(axis=1, keepdims=True)
        # Against the own class: then every term is known relative to itself.
        apart = self.s[:, None] * (self.a - (self.y @ self.a)[:, None])
        units = (f.shape[1] + 2) * ACTIVATION_UNITS * UNIT
        loose = np.expm1(2 * e.max(axis=1, keepdims=True) + UNIT * behind) + units
        found = (p * apart).sum(axis=1) + ROOM * (p * loose * np.abs(apart)).sum(axis=1)
        # Where all terms pull downhill, so does their sum, however far p underflows.
        sure = (apart <= 0).all(axis=1)
        return np.asarray(np.where(sure, np.minimum(found, -TINY), found))

    def fade(self, x: np.ndarray, top: float) -> np.ndarray:
        """σ′·e^{ς·top} at |z| = x, but for a constant factor."""
        e = np.exp(-self.rate * x)
        return np.asarray(np.exp(-self.rate * (x - top)) / (1 + e) ** 2)

    def stops(self, start: float, end: float) -> int:
        """−1 if F′ < 0 is sure from start to end, else who pulls uphill most; N′ if none does."""
        g = self.steepest(end)
        up, near, far = g > 0, self.x[0] + start * self.m[0], self.x[1] + start * self.m[1]
        top, counts = float(near.min()), ~up
        # The exponents of `fade` round relative to x.
        grown = 1 + 16 * UNIT * (ACTIVATION_UNITS + far + abs(top))
        most = grown * self.fade(near, top)
        if np.isinf(end):
            most = most * (1 + np.exp(-self.rate * near)) ** 2
            slowest = self.m[0][up].min() if up.any() else np.inf
            least, counts = self.fade(far, top) / grown, ~up & (self.m[1] <= slowest)
        else:
            last = self.x[1] + end * self.m[1]
            least = self.fade(last, top) / (grown + 16 * UNIT * last)
        share = np.where(up, g * self.m[1] * most, np.where(counts, g * self.m[0] * least, 0.0))
        if float(share.sum()) < -CLEAR * float(np.abs(share).sum()) - TINY:
            return -1
        return int(np.argmax(share)) if up.any() else len(g)

    def stops_for_ever(self) -> int:
        """−1 if F′(t) < 0 is proved for all t ≥ 0, else a point that stands in the way, or N′."""
        t, width = 0.0, 1.0
        for _ in range(MOST_INTERVALS):
            if self.stops(t, np.inf) < 0:
                return -1
            worst = self.stops(t, t + width)
            while worst >= 0:
                width *= 0.5
                if width < SHORTEST:
                    return worst
                worst = self.stops(t, t + width)
            t += width
            width = min(2.0 * width, 4.0)
        return len(self.s)


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit at θ: a (C,), outputs (N, C) and preactivations (N,), as far as they are known."""

    task: OutputsTask
    a: np.ndarray
    f: Ball
    z: Ball

    def moving(self, way: Way) -> Moving | int:
        """The points that move; or one of which it is not known which way it does."""
        free = np.flatnonzero(~way.tied)
        size, known = np.abs(self.z.mid[free]), ROOM * self.z.known[free]
        x = np.stack([size - known, size + known])
        m = outward(self.task.X, way, np.sign(self.z.mid))[:, free]
        for sure in (x[0], m[0]):
            if not (sure > 0).all():
                return int(free[np.argmin(sure)])
        return Moving(
            tanh=self.task.code == TANH,
            entropy=isinstance(self.task.loss, CrossEntropy),
            a=self.a,
            x=x,
            m=m,
            s=np.sign(self.z.mid[free]),
            f=self.f.mid[free],
            e=self.f.known[free],
            y=self.task.y[free],
        )

    def stops(self, way: Way) -> int:
        """−1 if F is proved to fall along the way for ever, else as `grown` wants it."""
        found = self.moving(way)
        if isinstance(found, int):
            return found
        worst, free = found.stops_for_ever(), np.flatnonzero(~way.tied)
        if worst < 0:
            return -1
        return len(way.tied) if worst == len(free) else int(free[worst])


def outward(X: np.ndarray, way: Way, sides: np.ndarray) -> np.ndarray:
    """sides·m, least and largest, (2, N), of an exact d with m = 0 at the tied points."""
    moves, rounds = X @ way.d, (X.shape[1] + 2) * UNIT * (np.abs(X) @ np.abs(way.d))
    doubt = rounds
    if way.tied.any():
        left = float(np.linalg.norm((np.abs(moves) + rounds)[way.tied]))
        least = float(np.linalg.svd(X[way.tied], compute_uv=False)[-1])
        doubt = doubt + np.linalg.norm(X, axis=1) * left / (0.99 * least)
    return np.stack([sides * moves - ROOM * doubt, sides * moves + ROOM * doubt])


def find_ray(task: OutputsTask, theta: np.ndarray) -> Ray | None:
    """A ray from θ (P,) on which F falls for ever, or None."""
    if task.code not in SATURATING:
        return None
    at = task.split(theta)
    f = task.second(theta, np.zeros((len(theta), 1))).f
    z = task.preactivations(at.W, np.zeros((*at.W.shape, 1)))
    for j in range(task.width):
        unit = Unit(task, at.A[:, j], f, z[j])
        way = grown(task.X, z.mid[j], at.W[j], unit.stops)
        if way is None:
            continue
        found = unit.moving(way)
        assert isinstance(found, Moving)
        limit, error = f.mid.copy(), f.known.copy()
        limit[~way.tied], error[~way.tied] = found.outputs(np.inf)
        return Ray(j, way, f, limit, error)
    return None
