"""Verdicts of exponential arms: with λ > 0 every a ≠ 0 lies on a path to infinity.

Along (a e^{−s}, b + s) the outputs stay and F = F₀ − λa²(1 − e^{−2s})/2 falls for ever ([A], proof
of Theorem 1), so such a point is no minimum and nothing has to be certified about that. What counts
is where descent leads: the limit problem G (`exponential_polish`) is polished from the point, and
what it ends in decides.

- the base network separates: `global_minimum`, by `sweep.judge.separates`;
- only f̃ separates: scaling output layer and neuron up while b grows takes F to 0, which is never
  attained: `escaping`, `ray`, limit 0 (without a regularizer it is attained: `global_minimum`);
- G is stationary: `escaping`, `chart`, with G and the errors of f̃ and f at the limit. With λ = 0
  that holds for limits at infinity alone; a finite one is a minimum or a saddle of F itself.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
S, P    members, parameters                                        θ̃ (S, P)
F, G    objective, the limit problem's                             (S,)
others  as in `sweep.judge.exponential_neuron`
======  =========================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.exponential_limit import Limit, Setting, Start, near_limit, solve, start_of
from sweep.judge.exponential_neuron import EXP
from sweep.judge.exponential_ray import settle_scaled
from sweep.judge.exponential_step import Place
from sweep.judge.readings import read
from sweep.judge.separates import added_is_free, settle_separated
from sweep.judge.shallow import Shallow, Units
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Certificate, Verdict

# λa²/2 at the stored point, as a share of F: below the rounding of F.
UNSEEN = 1e-17
# A neuron that is switched on where it was off: its largest output, as a share of 1.
FIRST = 1e-3


def settle_exponential(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Settle open members of one-hidden-layer piecewise-linear networks with the neuron."""
    shallow = Shallow.of(objective)
    setting = None if shallow is None else Setting.of(shallow)
    if shallow is None or setting is None or not isinstance(objective, DataObjective):
        return
    free = added_is_free(objective, lam, len(found.params))
    settle_scaled(found, objective, lam, ~free)
    limits: dict[int, Limit] = {}
    for member in np.flatnonzero(found.open).tolist():
        start = _start(setting, shallow.split(found.params[member : member + 1]))
        if start is not None:
            limits[member] = solve(setting, start)
            found.polish_steps[member] += limits[member].steps
    _move(found, objective, lam, shallow, limits)
    settle_separated(found, objective, lam, read(objective, found.params, lam))
    settle_scaled(found, objective, lam, ~free)
    for member, limit in limits.items():
        if found.open[member]:
            _settle(found, member, limit, bool(free[member]))


def _settle(found: Judgement, member: int, limit: Limit, free: bool) -> None:
    """Write the verdict of one member whose limit problem is solved; `free`: λ = 0."""
    finite = limit.name == "finite"
    if not (limit.stationary or limit.separates) or not limit.approached() or (free and finite):
        return
    place = limit.place
    evidence = {
        "limit": limit.name,
        "residual": limit.residual,
        "fitted_at_infinity": int((~place.live).sum()),
        "objective_at_limit": 0.0 if limit.separates else limit.objective,
    }
    found.settle(member, Verdict.ESCAPING, Certificate.CHART, evidence)
    # What separates at the limit does so near it, and then scaling takes F to 0.
    found.limit_objective[member] = 0.0 if limit.separates else limit.objective
    found.limit_error[member] = limit.error()
    found.limit_error_base[member] = limit.error_base()


def _start(setting: Setting, units: Units) -> Start | None:
    """Where one member's polish starts; a neuron that is off is switched on, faintly."""
    assert units.alpha is not None and units.w is not None and units.b is not None
    if units.alpha[0] != 0:
        start = start_of(setting, units, 0)
        return start if np.isfinite(start.omega).all() else None
    a, c = units.a[0], float(units.c[0])
    V = np.ascontiguousarray(np.abs(a)[:, None] * units.W[0])
    s = np.sign(a)
    q = setting.pulls(setting.base(V, c, s))
    best, omega = 0.0, np.zeros(setting.X.shape[1])
    directions = np.vstack([units.w[0], *np.eye(len(units.w[0])), *-np.eye(len(units.w[0]))])
    for w in directions:
        z = setting.centred[:, :-1] @ w
        slope = float(q @ np.exp(z - z.max()))
        if abs(slope) > abs(best):
            best, omega = slope, np.append(w, np.log(FIRST) - z.max())
    return Start(V, c, s, -float(np.sign(best)), omega) if best != 0 else None


def _move(
    found: Judgement,
    objective: DataObjective,
    lam: np.ndarray | None,
    shallow: Shallow,
    limits: dict[int, Limit],
) -> None:
    """Make the polished points the judged ones, where they can be written and F is no higher.

    Of a limit at infinity that is the last finite place on the way, unless the network separates
    the data near the limit: then the nearest place where it is seen to.
    """
    points = found.params.copy()
    for member, limit in limits.items():
        candidates = near_limit(limit) if limit.separates else iter([limit.finite])
        for place in candidates:
            point = _parameters(shallow, limit, place, found.params[member], _strength(lam, member))
            if point is None:
                continue
            points[member] = point
            if not limit.separates or _separates(shallow, limit.setting, point):
                break
    with np.errstate(over="ignore", invalid="ignore"):
        before = read(objective, found.params, lam).objective
        after = read(objective, points, lam).objective
    for member in limits:
        if np.isfinite(points[member]).all() and after[member] <= before[member]:
            found.moved[member] += np.linalg.norm(points[member] - found.params[member])
            found.params[member] = points[member]


def _strength(lam: np.ndarray | None, member: int) -> float:
    return 0.0 if lam is None or lam.shape[1] == 0 else float(lam[member, 0])


def _parameters(
    shallow: Shallow, limit: Limit, place: Place, before: np.ndarray, lam: float
) -> np.ndarray | None:
    """θ̃ (P,) of a finite place; α is split so that λa²/2 is not seen beside F, then b = ln|α/a|."""
    units = shallow.split(before[None])
    assert units.alpha is not None and units.w is not None and units.b is not None
    a = units.a[0]
    on = a != 0
    units.W[0, on] = place.V[on] / np.abs(a[on])[:, None]
    omega, c = place.omega, place.c
    if place.chart != EXP:
        omega = np.append(omega[:-1] * place.eps, -np.log(abs(place.eps)))
        c -= 1 / place.eps
    units.c[0], units.w[0] = c, omega[:-1]
    log_alpha = omega[-1] - omega[:-1] @ limit.setting.mean[:-1]
    size = abs(units.alpha[0]) if units.alpha[0] != 0 else 1.0
    if lam > 0:
        size = min(size, np.sqrt(2 * UNSEEN * max(limit.objective, UNSEEN) / lam))
    units.alpha[0] = limit.start.sigma * size
    units.b[0] = log_alpha - np.log(size)
    point = shallow.join(units)[0]
    return point if np.isfinite(point).all() else None


def _separates(shallow: Shallow, setting: Setting, point: np.ndarray) -> bool:
    """Whether f̃ at these parameters has every point on its side, as computed."""
    units = shallow.split(point[None])
    assert units.alpha is not None and units.w is not None and units.b is not None
    a = units.a[0]
    f = setting.base(np.abs(a)[:, None] * units.W[0], float(units.c[0]), np.sign(a))
    with np.errstate(over="ignore"):
        f = f + units.alpha[0] * np.exp(setting.X[:, :-1] @ units.w[0] + units.b[0])
    return bool((np.isfinite(f) & (setting.y * f > 0)).all())
