"""The queue of `members` trained by mini-batches: every epoch shuffles each member's own points."""

from __future__ import annotations

import numpy as np

from sweep.kernels.philox import shuffle
from sweep.kernels.plain import LANES, load
from sweep.training.fused.members import (
    ACTIVE,
    FULL,
    RATE,
    SPREAD,
    enter,
    evaluate,
    evaluate_batch,
    leave,
    norm,
    occupied,
    schedule,
    someone_stops,
    update,
)
from sweep.training.fused.records import Memory, Net, Points, Queue, Results, Rule, Tables


def deal(
    queue: Queue,
    batch: np.ndarray,
    member: np.ndarray,
    taken: np.ndarray,
    order: np.ndarray,
    blocks: np.ndarray,
    batch_of: np.ndarray,
) -> None:
    """A new epoch: shuffle every member's points into batches, `batch_of` (N₀, LANES)."""
    for lane in range(LANES):
        who = member[lane]
        if who < 0:
            continue
        if taken[lane] == 0:
            blocks[lane] = 0
        blocks[lane] = shuffle(order, queue.keys[who], blocks[lane])
        for position in range(len(order)):
            batch_of[order[position], lane] = batch[position]


def weigh(number: int, factor: float, batch_of: np.ndarray, own: np.ndarray) -> None:
    """The weights of the points in every member's batch of that number, rows of L."""
    for point in range(len(batch_of)):
        for lane in range(LANES):
            own[point, lane] = factor if batch_of[point, lane] == number else 0.0


def run_members_in_batches(
    queue: Queue,
    points: Points,
    widths: np.ndarray,
    net: Net,
    tables: Tables,
    rule: Rule,
    results: Results,
    memory: Memory,
) -> None:
    """Train everyone in the queue by mini-batches; the full batch is looked at between epochs."""
    x, y, weights = points.x, points.y, points.weights
    rate, spread, constants = tables.rate, tables.spread, tables.constants
    theta, before, grad, state = memory.theta, memory.before, memory.grad, memory.state
    lam, scalars, h, s, delta = memory.lam, memory.scalars, memory.h, memory.s, memory.delta
    member, taken = memory.member, memory.taken
    order, blocks, batch_of, own = memory.order, memory.blocks, memory.batch_of, memory.own
    waiting = 0
    while True:
        waiting = enter(queue, theta, before, state, lam, scalars, member, taken, waiting)
        if not occupied(member):
            return
        value = evaluate(theta, lam, x, y, weights, widths, net, h, s, delta, grad)
        size = norm(grad, net.n_params)
        if someone_stops(value, size, scalars, taken, rule, True):
            leave(theta, before, scalars, member, taken, rule, True, results)
            if waiting < len(queue.start):
                continue  # newcomers are looked at before their first epoch, too
        deal(queue, points.batch, member, taken, order, blocks, batch_of)
        for number in range(len(points.factor)):
            weigh(number, points.factor[number], batch_of, own)
            value = evaluate_batch(theta, lam, x, y, own, widths, net, h, s, delta, grad)
            size = norm(grad, net.n_params)
            if someone_stops(value, size, scalars, taken, rule, False):
                leave(theta, before, scalars, member, taken, rule, False, results)
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


# As `members.FULL`.
BATCHED = (*FULL[:-1], deal, weigh, run_members_in_batches)
