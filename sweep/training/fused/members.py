"""A queue of members on the lanes of one vector: every member stops by its own rule.

`train_members` is compiled for one scheme (`sweep.training.fused.build`), which binds `evaluate`,
`evaluate_batch`, `norm`, `update` and `run`; a CUDA thread runs the same loop with one lane. A lane
whose member has stopped records it and takes the next one, so that no lane waits for another; what
a lane computes does not depend on the others, hence neither on the queue. Axis letters as in
`sweep.training.fused.program`; S members.

The order of one step is that of `sweep.training.batched`: evaluate where the members stand, decide
which stop there, let the others take one step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sweep.formulas.binding import to_be_bound
from sweep.kernels.plain import LANES, TILE, Value, every, lanes, load, store, where
from sweep.training.fused.records import Memory, Net, Points, Queue, Results, Rule, Tables

#: Numbers of `sweep.training.base.STOPS`.
STEPS, GRADIENT, LOSS, OVERFLOW = 0, 1, 2, 3
# Rows of the lanes' `scalars`.
VALUE, SIZE, RATE, SPREAD, ACTIVE, LR = range(6)
N_SCALARS = 6


# Bound by `build`: F, leaving ∇F, of the full batch and with a weight per point and member; ‖rows‖;
# one step of the optimizer; the loop of a scheme.
evaluate: Callable[..., Value] = to_be_bound
evaluate_batch: Callable[..., Value] = to_be_bound
norm: Callable[[Any, int], Value] = to_be_bound
update: Callable[..., None] = to_be_bound
run: Callable[..., None] = to_be_bound


def zeros(rows: int) -> np.ndarray:
    """Memory for so many rows."""
    return np.zeros((max(1, rows), LANES))


def enter(
    queue: Queue,
    theta: np.ndarray,
    before: np.ndarray,
    state: np.ndarray,
    lam: np.ndarray,
    scalars: np.ndarray,
    member: np.ndarray,
    taken: np.ndarray,
    waiting: int,
) -> int:
    """Give free lanes the next members; the number of the one that then waits."""
    for lane in range(LANES):
        if member[lane] >= 0 or waiting >= len(queue.start):
            continue
        for p in range(queue.start.shape[1]):
            theta[p, lane] = queue.start[waiting, p]
            before[p, lane] = queue.start[waiting, p]
        for p in range(len(state)):
            state[p, lane] = 0.0
        for k in range(queue.lam.shape[1]):
            lam[k, lane] = queue.lam[waiting, k]
        scalars[LR, lane] = queue.lr[waiting]
        scalars[ACTIVE, lane] = 1.0
        member[lane] = waiting
        taken[lane] = 0
        waiting += 1
    return waiting


def leave(
    theta: np.ndarray,
    before: np.ndarray,
    scalars: np.ndarray,
    member: np.ndarray,
    taken: np.ndarray,
    rule: Rule,
    whole: bool,
    results: Results,
) -> None:
    """Record the members that stop where they stand; after an overflow at the last finite point.

    F and ‖∇F‖ are in the scalars.
    """
    for lane in range(LANES):
        who = member[lane]
        if who < 0:
            continue
        value, size = scalars[VALUE, lane], scalars[SIZE, lane]
        back = 0
        if not (value < np.inf and size < np.inf):
            stop = OVERFLOW
            back = 1 if taken[lane] > 0 else 0
        elif whole and value <= rule.loss:
            stop = LOSS
        elif whole and size <= rule.gradient:
            stop = GRADIENT
        elif taken[lane] >= rule.max_steps:
            stop = STEPS
        else:
            continue
        for p in range(results.params.shape[1]):
            results.params[who, p] = before[p, lane] if back else theta[p, lane]
        results.steps[who] = taken[lane] - back
        results.stop[who] = stop
        member[lane] = -1
        scalars[ACTIVE, lane] = 0.0


def someone_stops(
    value: Value, size: Value, scalars: np.ndarray, taken: np.ndarray, rule: Rule, whole: bool
) -> bool:
    """Whether anyone may stop here: F, ‖∇F‖ or the steps say so. Mostly nobody does."""
    # A comparison with NaN is false, so whatever is not finite does not go on.
    going = (value < np.inf) & (size < np.inf)
    if whole:
        going = going & (value > rule.loss) & (size > rule.gradient)
    store(scalars, VALUE, value)
    store(scalars, SIZE, size)
    idle = lanes(1.0) - load(scalars, ACTIVE)
    if not every(where(going, 1.0, idle) > 0.5):
        return True
    at_the_end = 0
    for lane in range(LANES):
        at_the_end += taken[lane] >= rule.max_steps
    return at_the_end > 0


def schedule(
    scalars: np.ndarray, member: np.ndarray, taken: np.ndarray, rate: np.ndarray, spread: np.ndarray
) -> None:
    """Look up what every lane's next update needs, and count the update."""
    for lane in range(LANES):
        if member[lane] >= 0:
            # Not `min`: numba's for CUDA has none for two integers.
            t = taken[lane] if taken[lane] < len(rate) else len(rate) - 1
            scalars[RATE, lane] = scalars[LR, lane] * rate[t]
            scalars[SPREAD, lane] = spread[t]
            taken[lane] += 1


def occupied(member: np.ndarray) -> bool:
    """Whether a lane has a member."""
    count = 0
    for lane in range(LANES):
        count += member[lane] >= 0
    return count > 0


def run_members(
    queue: Queue,
    points: Points,
    widths: np.ndarray,
    net: Net,
    tables: Tables,
    rule: Rule,
    results: Results,
    memory: Memory,
) -> None:
    """Train everyone in the queue on the full batch."""
    # Arrays are taken out of their tuples once: doing so costs more than a small network's step.
    x, y, weights = points.x, points.y, points.weights
    rate, spread, constants = tables.rate, tables.spread, tables.constants
    theta, before, grad, state = memory.theta, memory.before, memory.grad, memory.state
    lam, scalars, h, s, delta = memory.lam, memory.scalars, memory.h, memory.s, memory.delta
    member, taken = memory.member, memory.taken
    waiting = enter(queue, theta, before, state, lam, scalars, member, taken, 0)
    while occupied(member):
        value = evaluate(theta, lam, x, y, weights, widths, net, h, s, delta, grad)
        size = norm(grad, net.n_params)
        stops = someone_stops(value, size, scalars, taken, rule, True)
        if stops:
            leave(theta, before, scalars, member, taken, rule, True, results)
        schedule(scalars, member, taken, rate, spread)
        update(
            theta,
            before,
            grad,
            state,
            load(scalars, RATE),
            load(scalars, SPREAD),
            load(scalars, ACTIVE) > 0.5,
            constants,
            net.n_params,
        )
        if stops:
            waiting = enter(queue, theta, before, state, lam, scalars, member, taken, waiting)


def train_members(
    queue: Queue,
    points: Points,
    widths: np.ndarray,
    net: Net,
    tables: Tables,
    rule: Rule,
    results: Results,
) -> None:
    """Train everyone in the queue with memory of its own; `run` is one of the two loops above."""
    params, units, data = net.n_params, net.n_units * TILE, len(points.batch)
    memory = Memory(
        zeros(params),
        zeros(params),
        zeros(params),
        zeros(tables.n_state * params),
        zeros(queue.lam.shape[1]),
        zeros(N_SCALARS),
        zeros(units),
        zeros(units),
        zeros(units),
        np.full(LANES, -1),
        np.zeros(LANES, np.int64),
        np.zeros(data, np.int64),
        np.zeros(LANES, np.uint64),
        np.zeros((data, LANES), np.int64),
        zeros(net.n_points),
    )
    run(queue, points, widths, net, tables, rule, results, memory)


# The functions of a loop, and the loop last.
FULL = (enter, leave, someone_stops, schedule, occupied, run_members)
