"""One member of a monomial arm on a one-hidden-layer piecewise-linear network: its limit problem.

The polish is that of `sweep.judge.exponential.polish` with the neuron σ·(ω·x̃)^p, ω =
|a|^{1/p}(w, b), on data centred for it. Where ω → 0 the neuron goes out; it is then switched on
again where F falls, if there is such a place.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, n    data points, D + 1
x̃       centred data with a last column of ones                (N, n)
M(ω)    Σᵢ qᵢ(ω·x̃ᵢ)^p: the slope of F in a at a = 0
others  as in `sweep.judge.exponential.limit`
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.exponential.end import End, split_alpha
from sweep.judge.exponential.limit import Limit, Setting, Start, solve
from sweep.judge.numerics.kernel_losses import loss_rows
from sweep.judge.shallow import Shallow
from sweep.problems.base import Data
from sweep.seeds import stream

# A neuron that adds less than this to every output is as good as off.
QUIET = 1e-6
# The output of a neuron that is switched on, at the point that sees it most; halved until F falls.
FIRST, FAINTEST = 1e-2, 1e-10
# |M| below this share of Σ|q| (with |ω·x̃| ≤ 1) is rounding: no direction is left.
VANISHED = 1e-9
DIRECTIONS = 64
RESTARTS = 4


def end_of_monomial(
    shallow: Shallow, setting: Setting, p: int, params: np.ndarray, lam: float
) -> End | None:
    """The limit problem of one member θ̃ (P,), solved; None where every M vanishes.

    `shallow` is the base network's objective.
    """
    n = setting.X.shape[1]
    neuron = params[-(n + 1) :]
    start = _start(shallow, setting, p, params)
    steps, limit = 0, None
    for _ in range(RESTARTS):
        if start is None:
            return None
        limit = solve(setting, start)
        steps += limit.steps
        if limit.separates or _loudest(limit, p) > QUIET:
            break
        start = switched_on(setting, p, limit.place.V, limit.place.c, start.s)
    assert limit is not None
    loud = limit.separates or _loudest(limit, p) > QUIET
    point = _parameters(shallow, limit, p, params, float(neuron[0]), lam)
    if not (loud and (limit.stationary or limit.separates)):
        return End([point], False, steps)
    evidence = {"limit": "finite", "residual": limit.residual, "degree": p}
    return End(
        [point],
        limit.separates,
        steps,
        True,
        evidence,
        0.0 if limit.separates else limit.objective,
        limit.error(),
        limit.error_base(),
    )


def switched_on(setting: Setting, p: int, V: np.ndarray, c: float, s: np.ndarray) -> Start | None:
    """A faint neuron along which F falls from the base network (V, c, s); None if M vanishes."""
    base = setting.base(V, c, s)
    q = setting.pulls(base)
    size = float(np.abs(q).sum())
    ways = _directions(setting)
    r = ways @ setting.centred.T
    r, ways = r / np.abs(r).max(axis=1)[:, None], ways / np.abs(r).max(axis=1)[:, None]
    slopes = (r**p * q).sum(axis=1)
    best = int(np.abs(slopes).argmax())
    if not abs(slopes[best]) > VANISHED * size:
        return None
    sigma = -float(np.sign(slopes[best]))
    here = _loss(setting, base)
    first = FIRST
    while first > FAINTEST and not _loss(setting, base + sigma * first * r[best] ** p) < here:
        first /= 4
    omega = ways[best] * first ** (1 / p)
    if p % 2:
        omega, sigma = sigma * omega, 1.0
    return Start(np.ascontiguousarray(V), float(c), s, sigma, omega, p)


def _start(shallow: Shallow, setting: Setting, p: int, params: np.ndarray) -> Start | None:
    """The member as it is, or with its neuron switched on where it is as good as off."""
    n = setting.X.shape[1]
    units = shallow.split(params[None, : len(params) - n - 1])
    a, w, b = float(params[-(n + 1)]), params[-n:-1], float(params[-1])
    outgoing = units.a[0]
    V = np.ascontiguousarray(np.abs(outgoing)[:, None] * units.W[0])
    c, s = float(units.c[0]), np.sign(outgoing)
    omega = np.append(w, b + w @ setting.mean[:-1]) * abs(a) ** (1 / p)
    sigma = float(np.sign(a))
    if p % 2:
        omega, sigma = sigma * omega, 1.0
    if not np.isfinite(omega).all():
        return None
    if a == 0 or np.abs(setting.centred @ omega).max() ** p <= QUIET:
        return switched_on(setting, p, V, c, s)
    return Start(V, c, s, sigma, omega, p)


def _directions(setting: Setting) -> np.ndarray:
    """Axes, points of the data, random ones: (K, n), keyed by the data."""
    n = setting.X.shape[1]
    rng = stream("switch on", Data(setting.X, setting.y).digest)
    return np.vstack([np.eye(n), setting.centred, rng.standard_normal((DIRECTIONS, n))])


def _loss(setting: Setting, f: np.ndarray) -> float:
    return float(loss_rows(setting.code, setting.p, -setting.y * f)[0].sum())


def _loudest(limit: Limit, p: int) -> float:
    return float(np.abs(limit.setting.centred @ limit.place.omega).max() ** p)


def _parameters(
    shallow: Shallow, limit: Limit, p: int, before: np.ndarray, a: float, lam: float
) -> np.ndarray:
    """θ̃ (P,) of the place; not finite where float64 cannot hold it."""
    place, n = limit.place, limit.setting.X.shape[1]
    units = shallow.split(before[None, : len(before) - n - 1])
    on = units.a[0] != 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        units.W[0, on] = place.V[on] / np.abs(units.a[0, on])[:, None]
        units.c[0] = place.c
        size, rest = split_alpha(limit.start.sigma, 0.0, a, limit.objective, lam)
        omega = place.omega * np.exp(rest / p)
        shift = omega[-1] - omega[:-1] @ limit.setting.mean[:-1]
    return np.concatenate([shallow.join(units)[0], [size], omega[:-1], [shift]])
