"""`tail`: a saturating unit turns into a free exponential neuron, and F falls towards that limit.

A tanh or sigmoid unit that is far on one side for all data is, in other coordinates, κE/(1+ηE)
plus a constant, E = e^{w·x−m} (`smooth`). F is smooth in (κ, w, η, …) up to η = 0, which is
infinity in the weights. The polish goes on in these coordinates with η ≥ 0, monotone, from the very
point; if it ends at η = 0 with ∂F/∂η > 0 and a strict minimum of the other coordinates (proved by
`strict`), the minima of F at small fixed η fall towards that limit as η → 0: a decreasing path to
infinity, and no minimum near it. If another unit saturates on the way, a proved ray takes the place
of the strict minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweep.judge.escapes.ray import find_ray, pull
from sweep.judge.smooth.kernels import PLAIN, SIGMOID, TAIL, TANH, Task, outputs
from sweep.judge.smooth.polish import Polished, polish_member
from sweep.judge.smooth.strict import strict
from sweep.judge.smooth.trust_region import SEPARATED, STATIONARY

# ∂F/∂η at the limit must exceed this share of its terms' sizes.
CLEAR = 1e-9
BUDGET = 200
# ‖∇F‖ from which a polish counts as over: a slide along a ray has gone on for some 7 units of z.
RESTING = 1e-6


@dataclass(frozen=True, eq=False)
class Chart:
    """A point in chart coordinates: the task with its kinds, and where the polish ended there."""

    task: Task
    end: Polished


def one_sided(task: Task, theta: np.ndarray) -> list[int]:
    """Plain units that saturate on all data, the most saturated first."""
    if task.code not in (TANH, SIGMOID) or task.decays.any():
        return []
    n = task.X.shape[1]
    found = []
    for j in np.flatnonzero(task.kinds == PLAIN).tolist():
        at = j * (n + 1)
        z = task.X @ theta[at + 1 : at + 1 + n]
        least = np.abs(z).min()
        if (z > 0).all() or (z < 0).all():
            found.append((-least, j))
    return [j for _, j in sorted(found)]


def to_chart(
    task: Task, theta: np.ndarray, shifts: np.ndarray, unit: int
) -> tuple[Task, np.ndarray, np.ndarray]:
    """The same network with one plain unit in its chart.

    With s the sign of z, a·σ(z) = a·[s > 0] − s·a·e^{−s·z}·… for the sigmoid: κ = −s·a·e^{−sb},
    w ← −s·w, η = e^{−sb}; tanh(z) = 2σ(2z) − 1.
    """
    n = task.X.shape[1]
    at = unit * (n + 1)
    theta, shifts, kinds = theta.copy(), shifts.copy(), task.kinds.copy()
    a, v = theta[at], theta[at + 1 : at + 1 + n].copy()
    if task.code == TANH:
        theta[-1] -= a
        a, v = 2 * a, 2 * v
    s = 1.0 if (task.X @ v)[0] > 0 else -1.0
    if s > 0:
        theta[-1] += a
    # Recentred at once, so that κ and η need no large factor: m = max(−s·w·x).
    top = float((task.X[:, :-1] @ (-s * v[:-1])).max())
    eta = float(np.exp(top - s * v[-1]))
    theta[at], theta[at + 1 : at + n], theta[at + n] = -s * a * eta, -s * v[:-1], eta
    kinds[unit], shifts[unit] = TAIL, top
    return task._replace(kinds=kinds), theta, shifts


def from_chart(
    task: Task, theta: np.ndarray, shifts: np.ndarray
) -> tuple[Task, np.ndarray, np.ndarray]:
    """Chart units with η > 0 as plain units again; the inverse of `to_chart` up to symmetry."""
    n = task.X.shape[1]
    theta, shifts, kinds = theta.copy(), shifts.copy(), task.kinds.copy()
    for j in np.flatnonzero(task.kinds == TAIL).tolist():
        at = j * (n + 1)
        kappa, w, eta = theta[at], theta[at + 1 : at + n].copy(), theta[at + n]
        if eta == 0:
            continue
        # κE/(1+ηE) = (κ/η)·σ(w·x − m + ln η).
        a, v = kappa / eta, np.append(w, np.log(eta) - shifts[j])
        if task.code == TANH:
            a, v = a / 2, v / 2
            theta[-1] += a
        theta[at], theta[at + 1 : at + 1 + n] = a, v
        kinds[j], shifts[j] = PLAIN, 0.0
    return task._replace(kinds=kinds), theta, shifts


def follow(task: Task, theta: np.ndarray) -> Chart | None:
    """The polish continued in charts, as long as units saturate; None when no unit does.

    A unit that comes back from infinity (η > 0 at the end) is plain again and is left alone.
    """
    shifts = np.zeros(len(task.kinds))
    found, done = None, set[int]()
    for _ in range(len(task.kinds)):
        units = [j for j in one_sided(task, theta) if j not in done]
        if not units:
            break
        done.add(units[0])
        task, theta, shifts = to_chart(task, theta, shifts, units[0])
        end = polish_member(task, theta, shifts, BUDGET)
        task, theta, shifts = from_chart(task, end.theta, end.shifts)
        found = Chart(task, replace(end, theta=theta, shifts=shifts))
        if end.status == SEPARATED:
            break
    return found


def at_rest(end: Polished) -> bool:
    """Whether nothing but a slide is left at the end of a polish: only then a ray decides."""
    return end.status == STATIONARY or end.slope <= RESTING


def pushed_out(chart: Chart, f: np.ndarray) -> float:
    """The least ∂F/∂η over the chart's units, relative to its terms' sizes, at outputs f (N,).

    Positive: F falls towards infinity in each of them (`inf` when the chart has none).
    """
    task, theta = chart.task, chart.end.theta
    n, least = task.X.shape[1], np.inf
    q = _pulls(task, f)
    for j in np.flatnonzero(task.kinds == TAIL).tolist():
        at = j * (n + 1)
        e = np.exp(task.X[:, :-1] @ theta[at + 1 : at + n] - chart.end.shifts[j])
        terms = -q * theta[at] * e * e
        least = min(least, float(terms.sum() / max(np.abs(terms).sum(), 1e-300)))
    return least


def prove(chart: Chart) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The outputs (N,) an escape leads to and the numbers behind it, or None."""
    task, end = chart.task, chart.end
    f = outputs(end.theta, end.shifts, task)
    slope = pushed_out(chart, f)
    if not CLEAR < slope < np.inf:
        return None
    proof = strict(task, end.theta, end.shifts)
    if proof is not None:
        return f, {"outward": slope, "within": proof.radius} | proof.evidence()
    ray = find_ray(task, end.theta, end.shifts) if at_rest(end) else None
    if ray is None:
        return None
    beyond = pushed_out(chart, ray.limit)
    if not beyond > CLEAR:
        return None
    return ray.limit, {"outward": min(slope, beyond), "ray_unit": ray.unit, "tied": ray.tied}


def _pulls(task: Task, f: np.ndarray) -> np.ndarray:
    return np.array([pull(task, i, value) for i, value in enumerate(f)])
