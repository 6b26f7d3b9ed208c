"""A queue of members on the lanes of one vector: every member stops by its own rule.

`train_members` is compiled for one scheme (`sweep.training.fused.build`), which binds `evaluate`,
`evaluate_batch`, `norm` and `update`. A lane whose member has stopped records it and takes the next
one, so that no lane waits for another; what a lane computes does not depend on the others, hence
neither on the queue. Axis letters as in `sweep.training.fused.program`; S members.

The order of one step is that of `sweep.training.trainer`: evaluate where the members stand, decide
which stop there, let the others take one step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sweep.kernels.philox import shuffle
from sweep.kernels.plain import LANES, Value, every, lanes, load, store, where
from sweep.training.fused.program import Net

#: Numbers of `sweep.training.base.STOPS`.
STEPS, GRADIENT, LOSS, OVERFLOW = 0, 1, 2, 3


class Rule(NamedTuple):
    """When a member stops: F ≤ loss, ‖∇F‖ ≤ gradient, or max_steps updates."""

    max_steps: int
    gradient: float
    loss: float


class Queue(NamedTuple):
    """Members that wait: `start` (S, P), `lam` (S, M), learning rates `lr` (S,), `keys` (S, 2).

    `keys` of the Philox streams that shuffle a member's mini-batches, (0, 2) for the full batch.
    """

    start: np.ndarray
    lam: np.ndarray
    lr: np.ndarray
    keys: np.ndarray


class Results(NamedTuple):
    """Where members ended: `params` (S, P), `steps` (S,), `stop` (S,), numbers of `STOPS`."""

    params: np.ndarray
    steps: np.ndarray
    stop: np.ndarray


class Tables(NamedTuple):
    """What an update's t-th step needs: `rate` and `spread`, (max_steps,), and constants."""

    rate: np.ndarray
    spread: np.ndarray
    constants: np.ndarray


class Points(NamedTuple):
    """Padded data as in `program`; `batch` is the batch of each position of an order, (N₀,).

    `factor` (batches,) the weight of a point in its batch; N₀ is the number of points before
    padding. Both are empty for the full batch.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    batch: np.ndarray
    factor: np.ndarray


class Room(NamedTuple):
    """The lanes' memory: rows of LANES numbers, and who is on which lane."""

    theta: np.ndarray
    before: np.ndarray
    grad: np.ndarray
    state: np.ndarray
    lam: np.ndarray
    h: np.ndarray
    s: np.ndarray
    delta: np.ndarray
    weights: np.ndarray
    scalars: np.ndarray
    member: np.ndarray
    taken: np.ndarray
    order: np.ndarray
    batch_of: np.ndarray
    counter: np.ndarray


# Rows of `Room.scalars`.
VALUE, SIZE, RATE, SPREAD, ACTIVE, LR = range(6)


def room_for(net: Net, n_lambda: int, n_state: int, units: int, tile: int, n_data: int) -> Room:
    """Memory for one queue; `n_data` is 0 unless there are mini-batches."""

    def rows(count: int) -> np.ndarray:
        return np.zeros((count, LANES))

    return Room(
        theta=rows(net.n_params),
        before=rows(net.n_params),
        grad=rows(net.n_params),
        state=rows(max(1, n_state * net.n_params)),
        lam=rows(max(1, n_lambda)),
        h=rows(units * tile),
        s=rows(units * tile),
        delta=rows(units * tile),
        weights=rows(net.n_points if n_data else 1),
        scalars=rows(6),
        member=np.full(LANES, -1),
        taken=np.zeros(LANES, dtype=np.int64),
        order=np.zeros(n_data, dtype=np.int64),
        batch_of=np.zeros((LANES, n_data), dtype=np.int64),
        counter=np.zeros(LANES, dtype=np.uint64),
    )


def evaluate(
    theta: Any, lam: Any, x: Any, y: Any, weights: Any, net: Net, h: Any, s: Any, delta: Any,
    grad: Any,
) -> Value:
    """F and ∇F: bound by `build`."""
    raise NotImplementedError


def evaluate_batch(
    theta: Any, lam: Any, x: Any, y: Any, weights: Any, net: Net, h: Any, s: Any, delta: Any,
    grad: Any,
) -> Value:
    """The same with a weight per point and member: bound by `build`."""
    raise NotImplementedError


def norm(rows: Any, count: int) -> Value:
    """‖rows‖: bound by `build`."""
    raise NotImplementedError


def update(
    theta: Any, before: Any, grad: Any, state: Any, rate: Value, spread: Value, active: Value,
    constants: Any, count: int,
) -> None:
    """One step of the optimizer: bound by `build`."""
    raise NotImplementedError


def enter(queue: Queue, room: Room, waiting: int) -> int:
    """Give free lanes the next members; the number of the one that then waits."""
    for lane in range(LANES):
        if room.member[lane] >= 0 or waiting >= len(queue.start):
            continue
        room.theta[:, lane] = queue.start[waiting]
        room.before[:, lane] = queue.start[waiting]
        room.state[:, lane] = 0.0
        for k in range(queue.lam.shape[1]):
            room.lam[k, lane] = queue.lam[waiting, k]
        room.scalars[LR, lane] = queue.lr[waiting]
        room.scalars[ACTIVE, lane] = 1.0
        room.member[lane] = waiting
        room.taken[lane] = 0
        room.counter[lane] = 0
        waiting += 1
    return waiting


def record(room: Room, results: Results, lane: int, stop: int) -> None:
    """A lane's member stops; after an overflow at its last finite point."""
    member = room.member[lane]
    back = stop == OVERFLOW and room.taken[lane] > 0
    results.params[member] = room.before[:, lane] if back else room.theta[:, lane]
    results.steps[member] = room.taken[lane] - (1 if back else 0)
    results.stop[member] = stop
    room.member[lane] = -1
    room.scalars[ACTIVE, lane] = 0.0


def leave(room: Room, results: Results, rule: Rule, whole: bool) -> None:
    """Record the members that stop where they stand; F and ‖∇F‖ are in the scalars."""
    for lane in range(LANES):
        if room.member[lane] < 0:
            continue
        value, size = room.scalars[VALUE, lane], room.scalars[SIZE, lane]
        if not (value < np.inf and size < np.inf):
            record(room, results, lane, OVERFLOW)
        elif whole and value <= rule.loss:
            record(room, results, lane, LOSS)
        elif whole and size <= rule.gradient:
            record(room, results, lane, GRADIENT)
        elif room.taken[lane] >= rule.max_steps:
            record(room, results, lane, STEPS)


def stop_some(room: Room, results: Results, rule: Rule, value: Value, whole: bool) -> None:
    """Find out cheaply whether anyone stops; mostly nobody does."""
    size = norm(room.grad, len(room.grad))
    active = load(room.scalars, ACTIVE)
    # A comparison with NaN is false, so whatever is not finite does not go on.
    going = (value < np.inf) & (size < np.inf)
    if whole:
        going = going & (value > rule.loss) & (size > rule.gradient)
    out_of_steps = False
    for lane in range(LANES):
        out_of_steps |= room.taken[lane] >= rule.max_steps
    if out_of_steps or not every(where(going, 1.0, lanes(1.0) - active) > 0.5):
        store(room.scalars, VALUE, value)
        store(room.scalars, SIZE, size)
        leave(room, results, rule, whole)


def move(room: Room, tables: Tables) -> None:
    """Everyone who has not stopped takes one step."""
    for lane in range(LANES):
        t = min(room.taken[lane], len(tables.rate) - 1)
        room.scalars[RATE, lane] = room.scalars[LR, lane] * tables.rate[t]
        room.scalars[SPREAD, lane] = tables.spread[t]
        room.taken[lane] += room.member[lane] >= 0
    update(
        room.theta,
        room.before,
        room.grad,
        room.state,
        load(room.scalars, RATE),
        load(room.scalars, SPREAD),
        load(room.scalars, ACTIVE) > 0.5,
        tables.constants,
        len(room.theta),
    )


def alive(room: Room) -> bool:
    """Whether a lane has a member."""
    return bool((room.member >= 0).any())


def train_members(
    queue: Queue, points: Points, net: Net, tables: Tables, rule: Rule, room: Room, results: Results
) -> None:
    """Train everyone in the queue on the full batch."""
    waiting = enter(queue, room, 0)
    while alive(room):
        value = evaluate(
            room.theta, room.lam, points.x, points.y, points.weights, net,
            room.h, room.s, room.delta, room.grad,
        )
        stop_some(room, results, rule, value, True)
        move(room, tables)
        if waiting < len(queue.start):
            waiting = enter(queue, room, waiting)


def deal(queue: Queue, points: Points, room: Room) -> None:
    """A new epoch: shuffle every member's points into batches."""
    for lane in range(LANES):
        member = room.member[lane]
        if member < 0:
            continue
        room.counter[lane] = shuffle(room.order, queue.keys[member], room.counter[lane])
        for position in range(len(room.order)):
            room.batch_of[lane, room.order[position]] = points.batch[position]


def weigh(points: Points, room: Room, batch: int) -> None:
    """The weights of the points in every member's batch of that number."""
    for point in range(len(room.order)):
        for lane in range(LANES):
            inside = room.batch_of[lane, point] == batch
            room.weights[point, lane] = points.factor[batch] if inside else 0.0


def train_members_in_batches(
    queue: Queue, points: Points, net: Net, tables: Tables, rule: Rule, room: Room, results: Results
) -> None:
    """Train everyone in the queue by mini-batches; the full batch is looked at between epochs."""
    waiting = enter(queue, room, 0)
    while waiting < len(queue.start) or alive(room):
        value = evaluate(
            room.theta, room.lam, points.x, points.y, points.weights, net,
            room.h, room.s, room.delta, room.grad,
        )
        stop_some(room, results, rule, value, True)
        if waiting < len(queue.start) and not (room.member >= 0).all():
            # Newcomers are looked at before their first epoch, too.
            waiting = enter(queue, room, waiting)
            continue
        deal(queue, points, room)
        for batch in range(len(points.factor)):
            weigh(points, room, batch)
            value = evaluate_batch(
                room.theta, room.lam, points.x, points.y, room.weights, net,
                room.h, room.s, room.delta, room.grad,
            )
            stop_some(room, results, rule, value, False)
            move(room, tables)


FULL = (enter, record, leave, stop_some, move, alive, train_members)
BATCHED = (*FULL[:-1], deal, weigh, train_members_in_batches)
