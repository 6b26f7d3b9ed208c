"""Where an exponential arm's path to infinity leads: the limit problem, polished and checked.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
G       the limit problem's objective (`polish.py`)       scalar
f, f̃    base network and whole network at the limit                (N,)
σ       sign of a
others  as in `sweep.judge.exponential.neuron`
======  =========================================================  ==========
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweep.judge.exponential.neuron import EXP, FLAT, GONE, MONO, QUAD, neurons
from sweep.judge.exponential.polish import TAIL, polish_limit
from sweep.judge.exponential.step import Place
from sweep.judge.kinks.polish import SEPARATES
from sweep.judge.kinks.search import Task
from sweep.judge.numerics.kernel_losses import code_of, loss_rows
from sweep.judge.shallow import Shallow, Units

# Newton steps; of 1,200 members on four data sets 98 % needed fewer than 50.
BUDGET = 150
# Relative to Σ|q_i|‖x̃_i‖; what is left then is Σ|q_i| times the rounding of some ten steps.
TOLERANCE = 1e-10
# |q| below this share of the largest is a loss that has as good as vanished.
SPENT = 1e-9
NAMES = {
    EXP: "finite",
    MONO: "finite",
    FLAT: "linear skip",
    QUAD: "quadratic",
    GONE: "points fitted",
}


class Start(NamedTuple):
    """One member for the polish: v_j = |a_j|(w_j, b_j), c, s_j, and the added neuron.

    It is σ·e^{ω·x̃}, or σ·(ω·x̃)^degree where a degree is given.
    """

    V: np.ndarray
    c: float
    s: np.ndarray
    sigma: float
    omega: np.ndarray
    degree: int = 0


@dataclass(frozen=True, eq=False)
class Setting:
    """A one-hidden-layer piecewise-linear objective with the neuron, in the polish's terms."""

    X: np.ndarray
    y: np.ndarray
    mean: np.ndarray
    centred: np.ndarray
    slopes: tuple[float, float]
    code: int
    p: float

    @classmethod
    def of(cls, shallow: Shallow) -> Setting | None:
        """The setting, or None where the polish does not apply."""
        loss, slopes = code_of(shallow.loss), shallow.activation.slopes
        known = shallow.activation.positively_homogeneous
        if not known or loss is None or slopes is None or shallow.weight_decay > 0:
            return None
        X = np.ascontiguousarray(shallow.X)
        mean = X.mean(axis=0)
        mean[-1] = 0.0
        return cls(X, shallow.y, mean, X - mean, slopes, *loss)

    def task(self, s: np.ndarray) -> Task:
        """What the kernels are told about a member with these signs."""
        return Task(self.X, self.y, s, *self.slopes, self.code, self.p)

    def base(self, V: np.ndarray, c: float, s: np.ndarray) -> np.ndarray:
        """Outputs of the base network, (N,)."""
        Z = V @ self.X.T
        return np.asarray(s @ (np.where(Z > 0, self.slopes[1], self.slopes[0]) * Z) + c)

    def pulls(self, f: np.ndarray) -> np.ndarray:
        """∂ℓ_i/∂f_i, (N,)."""
        return np.asarray(-self.y * loss_rows(self.code, self.p, -self.y * f)[1])


@dataclass(frozen=True, eq=False)
class Limit:
    """Where one member's polish in the limit problem ended.

    `residual` is relative to Σ|q_i|‖x̃_i‖; `stationary` says that it is small enough. `finite` is
    the last place before the neuron went to infinity (or `place` itself). `on` (H, N) are the kinks
    that the place lies on.
    """

    setting: Setting
    start: Start
    place: Place
    finite: Place
    separates: bool
    steps: int
    residual: float
    objective: float
    on: np.ndarray

    @property
    def stationary(self) -> bool:
        """Whether nothing worth mentioning is left to descend (see `exponential_polish.TAIL`)."""
        return self.residual <= TAIL

    @property
    def name(self) -> str:
        """The kind of limit, for the evidence; `finite` when α and w are."""
        if self.place.chart == FLAT and self.place.eps != 0:
            return NAMES[EXP]
        return NAMES[self.place.chart]

    def outputs(self) -> np.ndarray:
        """f̃ (N,); infinite, with the sign of the label, at points fitted at infinity."""
        place, sigma = self.place, self.start.sigma
        whole = place.chart in (EXP, MONO)
        used = place.omega if whole else np.append(place.omega[:-1], 0.0)
        r = self.setting.centred @ used
        f = self.setting.base(place.V, place.c, self.start.s)
        f += neurons(place.chart, sigma, r, float(place.eps))
        return np.where(place.live, f, np.inf * self.setting.y)

    def error(self) -> float:
        """Share of points that f̃ has on the wrong side or on zero."""
        return float((~(self.setting.y * self.outputs() > 0)).mean())

    def error_base(self) -> float:
        """The same for f. Where α → ∞ with w → 0 the output bias goes to −σ∞ to make up for it."""
        place, y = self.place, self.setting.y
        if place.chart == QUAD or (place.chart == FLAT and place.eps == 0):
            return float((y == self.start.sigma).mean())
        c = place.c - (1 / place.eps if place.chart == FLAT else 0.0)
        return float((~(y * self.setting.base(place.V, c, self.start.s) > 0)).mean())

    def approached(self) -> bool:
        """Whether F falls towards the limit on the way there, to leading order."""
        place, setting = self.place, self.setting
        if place.chart in (EXP, MONO, FLAT):
            return True  # nothing at infinity, or ε pinned by the sign of ∂G/∂ε
        q = np.where(place.live, setting.pulls(np.nan_to_num(self.outputs())), 0.0)
        q[np.abs(q) <= SPENT * np.abs(q).max()] = 0.0
        if place.chart == QUAD:
            # With ε = σδ² the next term of the neuron is δ(u·x)³/6.
            r = setting.centred[:, :-1] @ place.omega[:-1]
            return bool(q @ r**3 >= 0) and self._apart(r)
        r = setting.centred @ place.omega
        if not self._apart(r):
            return False
        # The foremost point that still pulls feels the neuron's last trace: it must be of the
        # other label, so that its loss falls as the trace fades.
        foremost = int(np.argmax(np.where(q != 0, r, -np.inf)))
        return bool(setting.y[foremost] * self.start.sigma < 0)

    def _apart(self, r: np.ndarray) -> bool:
        """Whether the points fitted at infinity lie strictly beyond all others."""
        live = self.place.live
        if live.all():
            return True
        side = r
        if self.place.chart == QUAD:
            side = r * self.start.s[self.place.linear] * np.sign(self.setting.slopes[1])
        return bool(side[~live].min() > side[live].max())


def start_of(setting: Setting, units: Units, k: int) -> Start:
    """Member k of the units, whose a is not 0."""
    assert units.alpha is not None and units.w is not None and units.b is not None
    a, alpha = units.a[k], float(units.alpha[k])
    beta = units.b[k] + np.log(abs(alpha)) + units.w[k] @ setting.mean[:-1]
    return Start(
        V=np.ascontiguousarray(np.abs(a)[:, None] * units.W[k]),
        c=float(units.c[k]),
        s=np.sign(a),
        sigma=float(np.sign(alpha)),
        omega=np.append(units.w[k], beta),
    )


def solve(setting: Setting, start: Start) -> Limit:
    """The limit problem from there.

    If a path to infinity was taken whose end F does not fall towards, the polish goes on from where
    that path began, without such short cuts.
    """
    limit = _polish(setting, start, True)
    if limit.separates or limit.approached():
        return limit
    place = limit.finite
    omega = place.omega.copy()
    c = place.c
    if place.chart == FLAT:
        omega = np.append(place.omega[:-1] * place.eps, -np.log(abs(place.eps)))
        c = place.c - 1 / place.eps
    again = _polish(setting, start._replace(V=place.V, c=c, omega=omega), False)
    return Limit(**{**vars(again), "steps": again.steps + limit.steps, "start": start})


def _polish(setting: Setting, start: Start, jumps: bool) -> Limit:
    task = setting.task(start.s)
    # Numbers of one type whatever they came from: another would be compiled anew.
    chart, degree = (MONO, float(start.degree)) if start.degree else (EXP, 0.0)
    live = np.ones(len(setting.y), dtype=bool)
    first = Place(start.V, start.c, chart, start.omega, degree, False, -1, live, False)
    place, finite, on, _, status, steps, residual, scale, objective = polish_limit(
        first, start.sigma, setting.centred, task, jumps, BUDGET, TOLERANCE
    )
    relative = residual / scale if scale > 0 else 0.0
    if not np.isfinite(scale):
        relative = np.inf
    return Limit(
        setting,
        start,
        Place(*place),
        Place(*finite),
        status == SEPARATES,
        steps,
        relative,
        objective,
        on,
    )


def near_limit(limit: Limit) -> Iterator[Place]:
    """Finite places ever closer to the limit, in EXP or FLAT: the limit itself when it is one."""
    place, sigma = limit.place, limit.start.sigma
    if place.chart in (EXP, MONO) or (place.chart == FLAT and place.eps != 0):
        yield place
        return
    for k in range(2, 9):
        if place.chart == FLAT:
            yield place._replace(eps=sigma * 10.0**-k, pinned=False)
        elif place.chart == GONE:
            yield _sharpened(limit, 2.0 ** (k + 1))
        else:
            yield _unbent(limit, 10.0**-k)


def _sharpened(limit: Limit, force: float) -> Place:
    """GONE undone: the threshold half-way between the fitted points and the others, w·`force`."""
    place = limit.place
    r = limit.setting.centred @ place.omega
    gap = r[~place.live].min() - r[place.live].max()
    omega = place.omega.copy()
    omega[-1] -= r[place.live].max() + 0.5 * gap
    return place._replace(chart=EXP, omega=omega * (force / max(gap, 1e-300)))


def _unbent(limit: Limit, delta: float) -> Place:
    """QUAD undone at ε = σδ²: the unit takes −u/δ, its kink lies between fitted and live points."""
    place, setting, j = limit.place, limit.setting, limit.place.linear
    V, c = place.V.copy(), place.c
    scale = limit.start.s[j] * setting.slopes[1]
    v = place.omega[:-1] / delta
    V[j, :-1] -= v / scale
    c += v @ setting.mean[:-1]
    z = setting.X @ V[j]
    shift = -z[place.live].min()
    # Half of the room beyond the last live point, or as much as the unit's own spread.
    room = -shift - z[~place.live].max() if not place.live.all() else np.ptp(z)
    shift += 0.5 * room
    V[j, -1] += shift
    return place._replace(
        V=V,
        c=float(c - scale * shift),
        chart=FLAT,
        omega=np.append(v, 0.0),
        eps=limit.start.sigma * delta**2,
        linear=-1,
    )
