"""One member of a piecewise-linear exponential arm: into the limit problem and back to θ̃.

Symbols as in `sweep.judge.exponential.limit`.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.exponential.end import End, Proof, split_alpha
from sweep.judge.exponential.limit import Limit, Setting, Start, near_limit, solve, start_of
from sweep.judge.exponential.minimum import prove_minimum
from sweep.judge.exponential.neuron import EXP, FLAT
from sweep.judge.exponential.step import Place
from sweep.judge.shallow import Shallow, Units
from sweep.verdicts import Certificate

# A neuron that adds less than this to every output is as good as off: F does not feel where it
# should go.
QUIET = 1e-6
# The output of a neuron that is switched on where it was off, at the point that sees it most.
FIRST = 1e-3
# |ε| of places that are stored instead of one with a smaller ε: 1/ε is what cancels.
BLUNT = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


def end_over_kinks(
    shallow: Shallow, setting: Setting, params: np.ndarray, lam: float
) -> End | None:
    """The limit problem of one member θ̃ (P,), solved; None where it has no start."""
    units = shallow.split(params[None])
    start = _start(setting, units)
    if start is None:
        return None
    limit = solve(setting, start)
    places = list(near_limit(limit)) if limit.separates else _blunter(limit.finite)
    points = [_parameters(shallow, limit, place, params, lam) for place in places]
    proof = None
    if lam == 0 and limit.name == "finite" and not limit.separates:
        proof = _proof(limit)
        if proof is not None:
            points = [_parameters(shallow, limit, proof[0], params, lam)]
    known = (limit.stationary or limit.separates) and limit.approached()
    if not known:
        return End(points, limit.separates, limit.steps)
    evidence = {
        "limit": limit.name,
        "residual": limit.residual,
        "fitted_at_infinity": int((~limit.place.live).sum()),
    }
    return End(
        points,
        limit.separates,
        limit.steps,
        limit.name == "finite",
        evidence,
        # What separates at the limit does so near it, and then scaling takes F to 0.
        0.0 if limit.separates else limit.objective,
        limit.error(),
        limit.error_base(),
        minimum=None if proof is None else proof[1],
    )


def _blunter(place: Place) -> list[Place]:
    """The place, and ever further from it those whose α and c cancel in fewer digits."""
    if place.chart != FLAT:
        return [place]
    sizes = [size for size in BLUNT if abs(place.eps) < size]
    return [place, *(place._replace(eps=np.copysign(size, place.eps)) for size in sizes)]


def _proof(limit: Limit) -> tuple[Place, Proof] | None:
    found = prove_minimum(limit)
    if found is None:
        return None
    kind = Certificate.KINK if found.evidence["kinks"] else Certificate.STRICT
    return found.place, Proof(kind, found.radius, found.margin, found.flat, dict(found.evidence))


def _start(setting: Setting, units: Units) -> Start | None:
    """Where the polish starts; a neuron that is off is switched on, faintly, where F falls most."""
    assert units.alpha is not None and units.w is not None and units.b is not None
    if units.alpha[0] != 0:
        start = start_of(setting, units, 0)
        if not np.isfinite(start.omega).all():
            return None
        if (setting.centred @ start.omega).max() > np.log(QUIET):
            return start
    a, c = units.a[0], float(units.c[0])
    V = np.ascontiguousarray(np.abs(a)[:, None] * units.W[0])
    q = setting.pulls(setting.base(V, c, np.sign(a)))
    best, omega = 0.0, np.zeros(setting.X.shape[1])
    axes = np.eye(len(units.w[0]))
    # At an affine minimum Σq = Σqx = 0 and w = 0 says nothing, so other directions are tried.
    for w in np.vstack([units.w[0], axes, -axes]):
        z = setting.centred[:, :-1] @ w
        slope = float(q @ np.exp(z - z.max()))
        if abs(slope) > abs(best):
            best, omega = slope, np.append(w, np.log(FIRST) - z.max())
    return Start(V, c, np.sign(a), -float(np.sign(best)), omega) if best != 0 else None


def _parameters(
    shallow: Shallow, limit: Limit, place: Place, before: np.ndarray, lam: float
) -> np.ndarray:
    """θ̃ (P,) of a finite place; not finite where float64 cannot hold it."""
    units = shallow.split(before[None])
    assert units.alpha is not None and units.w is not None and units.b is not None
    on = units.a[0] != 0
    omega, c = place.omega, place.c
    if place.chart != EXP:
        omega = np.append(omega[:-1] * place.eps, -np.log(abs(place.eps)))
        c -= 1 / place.eps
    with np.errstate(over="ignore", invalid="ignore"):
        units.W[0, on] = place.V[on] / np.abs(units.a[0, on])[:, None]
        log_alpha = float(omega[-1] - omega[:-1] @ limit.setting.mean[:-1])
    units.c[0], units.w[0] = c, omega[:-1]
    units.alpha[0], units.b[0] = split_alpha(
        limit.start.sigma, log_alpha, float(units.alpha[0]), limit.objective, lam
    )
    return np.asarray(shallow.join(units)[0])
