"""The polish of one-hidden-layer networks with smooth units: monotone, float64, member by member.

Symbols as in `sweep.judge.smooth.kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.numerics.kernel_losses import code_of
from sweep.judge.shallow import Shallow, Units
from sweep.judge.smooth.kernels import BARE, PLAIN, Task, activation_code
from sweep.judge.smooth.trust_region import newton_member
from sweep.models.objective import Objective

# A modest start keeps the basin: the first step moves θ by at most a tenth of 1 + ‖θ‖.
FIRST_RADIUS = 0.1
BUDGET = 400
# Minima take up to some 60 steps; a slide goes on for ever and is better followed in its chart.
FIRST_BUDGET = 80


def task_of(shallow: Shallow, bare: bool = False) -> Task | None:
    """The objective as the kernels take it; None where they do not know activation or loss.

    `bare`: with the exponential neuron as last unit, in the limit problem (λ = 0).
    """
    code, loss = activation_code(shallow.activation), code_of(shallow.loss)
    if code is None or loss is None:
        return None
    plain, n = shallow.width + shallow.extra, shallow.X.shape[1]
    kinds = np.full(plain + bare, PLAIN, dtype=np.int64)
    kinds[plain:] = BARE
    decays = np.zeros(len(kinds) * (n + 1) + 1)
    decays[: plain * (n + 1)] = decays[-1] = shallow.weight_decay
    X, y = np.ascontiguousarray(shallow.X), np.ascontiguousarray(shallow.y)
    return Task(X, y, kinds, decays, code, *loss)


def pack(task: Task, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Members' parameters θ (S, P) in the kernels' order, and their shifts m (S, H)."""
    count = len(units.c)
    blocks = np.concatenate([units.a[:, :, None], units.W], axis=2)
    shifts = np.zeros((count, len(task.kinds)))
    if (task.kinds == BARE).any():
        assert units.alpha is not None and units.w is not None and units.b is not None
        bare = np.hstack([units.alpha[:, None], units.w, np.zeros((count, 1))])
        blocks = np.concatenate([blocks, bare[:, None, :]], axis=1)
        shifts[:, -1] = -units.b
    return np.hstack([blocks.reshape(count, -1), units.c[:, None]]), shifts


def unpack(task: Task, theta: np.ndarray, shifts: np.ndarray) -> Units:
    """The inverse of `pack`; b of the exponential neuron is −m."""
    count, n = len(theta), task.X.shape[1]
    blocks = theta[:, :-1].reshape(count, len(task.kinds), n + 1)
    plain, c = blocks[:, task.kinds == PLAIN], theta[:, -1].copy()
    a, W = plain[:, :, 0].copy(), plain[:, :, 1:].copy()
    if not (task.kinds == BARE).any():
        return Units(a, W, c)
    bare = blocks[:, -1]
    return Units(a, W, c, bare[:, 0].copy(), bare[:, 1:-1].copy(), -shifts[:, -1])


@dataclass(frozen=True, eq=False)
class Polished:
    """Where the polish of one member ended: θ (P,) in kernel order, shifts (H,), and the numbers.

    `slope` is ‖∇F‖, `min_eig` λ_min(∇²F), both over the coordinates that are free to move;
    `status` one of `trust_region.py`' four endings.
    """

    theta: np.ndarray
    shifts: np.ndarray
    objective: float
    slope: float
    min_eig: float
    status: int
    steps: int


def polish_member(
    task: Task,
    theta: np.ndarray,
    shifts: np.ndarray | None = None,
    budget: int = BUDGET,
    radius: float | None = None,
) -> Polished:
    """One member downhill from θ (P,); `radius` is the first trust radius."""
    if radius is None:
        radius = FIRST_RADIUS * (1.0 + float(np.linalg.norm(theta)))
    if shifts is None:
        shifts = np.zeros(len(task.kinds))
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    shifts = np.ascontiguousarray(shifts, dtype=np.float64)
    return Polished(*newton_member(theta, shifts, task, budget, radius))


def polish_smooth(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move every open member of a smooth one-hidden-layer objective downhill, in place.

    Nothing is done for an exponential neuron: its limit problem has a polish of its own.
    """
    task = plain_task(objective)
    if task is None:
        return
    shallow = Shallow.of(objective)
    assert shallow is not None
    for member in np.flatnonzero(found.open).tolist():
        theta, _ = pack(task, shallow.split(found.params[member : member + 1]))
        end = polish_member(task, theta[0], budget=FIRST_BUDGET)
        move(found, member, shallow.join(unpack(task, end.theta[None], end.shifts[None]))[0])
        found.polish_steps[member] += end.steps
        found.min_eig[member] = end.min_eig


def plain_task(objective: Objective) -> Task | None:
    """The kernels' task of an objective whose units are all plain; None for any other."""
    shallow = Shallow.of(objective)
    if shallow is None or shallow.exponential:
        return None
    return task_of(shallow)


def move(found: Judgement, member: int, point: np.ndarray) -> None:
    """Make `point` (P,) the member's judged one; `moved` adds up the ways."""
    found.moved[member] += float(np.linalg.norm(point - found.params[member]))
    found.params[member] = point
