"""The training loop: one for all optimizers, models and devices.

A fixed number of lanes W; members wait in a queue, and a lane whose member has stopped takes the
next one. Axis letters as in `sweep.training.base`. A member's result is the same bits whatever the
other members are, how many there are and where it stands among them: see `sweep.models.lanes` for
the three rules. Where every multiple of 64 lanes gives the same bits, a short queue takes fewer
lanes; where it does not (`Objective.fixed_lanes`), W is a function of the objective's shape alone.

Evaluate F and ∇F where the member stands, decide whether it stops there, and if not take one
step: so `steps` counts the updates that lead from the start to the recorded point, and a member may
stop at its start after 0 steps. With mini-batches F and ∇F of the full batch are looked at when an
epoch begins, max_steps and overflow at every step.
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.errors import UserError
from sweep.models.lanes import LANE, one_thread, padded, to_lanes
from sweep.models.measures import norm
from sweep.models.objective import Objective
from sweep.training.base import (
    STOPS,
    Arrival,
    Ending,
    Optimizer,
    Point,
    Searching,
    State,
    Stopping,
)
from sweep.training.batches import Batches, BatchOrder
from sweep.verdicts import Stop

# A stopped member waits at most so many steps for its lane to be emptied (measured: looking more
# often costs more than the idle steps do).
VISIT = 16
# Measured on one thread: 256 lanes serve every shape up to about this many numbers in all lanes;
# beyond it they no longer fit the cache and fewer lanes are faster.
LANE_BUDGET = 400_000
MAX_LANES_CPU = 256
LANES_CUDA = 8192

RUNNING = -1
_CODE = {stop: code for code, stop in enumerate(STOPS)}


def preferred_lanes(objective: Objective) -> int:
    """How many lanes suit the objective's shape: a multiple of 64."""
    if objective.device.type == "cuda":
        return LANES_CUDA
    fitting = LANE_BUDGET // max(1, objective.work)
    return min(MAX_LANES_CPU, max(LANE, fitting // LANE * LANE))


def train_batched(
    objective: Objective,
    start: np.ndarray,
    lam: np.ndarray | None,
    optimizer: Optimizer,
    stopping: Stopping,
    order: BatchOrder | None = None,
    lanes: int | None = None,
) -> Ending:
    """Train members from `start` (S, P), with λ (S, M), each until its own rule stops it.

    `order` is needed by an optimizer with a batch size. `lanes` (a multiple of 64) is for tests and
    measurements. Raises `UserError` when mini-batches are asked for without enough data.
    """
    width = lanes or preferred_lanes(objective)
    if not objective.fixed_lanes:
        width = min(width, padded(len(start)))
    loop = _Loop(objective, start, lam, optimizer, stopping, order, width)
    with one_thread(), torch.no_grad():
        while loop.refill():
            loop.visit()
            loop.harvest()
    return loop.ending()


class _Loop:
    """The lanes, the queue and the results of one call of `train_batched`."""

    def __init__(
        self,
        objective: Objective,
        start: np.ndarray,
        lam: np.ndarray | None,
        optimizer: Optimizer,
        stopping: Stopping,
        order: BatchOrder | None,
        lanes: int,
    ) -> None:
        self.objective, self.optimizer, self.stopping = objective, optimizer, stopping
        self.start, self.strengths = start, lam
        self.next = 0
        self.params = np.array(start, dtype=np.float64)
        self.steps = np.zeros(len(start), dtype=np.int64)
        self.stop = np.empty(len(start), dtype=object)
        self.like = torch.empty(0, device=objective.device, dtype=objective.dtype)
        self.batches = _batches(objective, optimizer, order, lanes)
        self.member = np.full(lanes, -1)
        first = start if len(start) else np.zeros((1, objective.n_params))
        self.theta = to_lanes(first, lanes, self.like)
        self.previous = self.theta
        self.state: State = optimizer.init_state(self.theta)
        self.lam = None if lam is None or not len(lam) else to_lanes(lam, lanes, self.like)
        self.taken = torch.zeros(lanes, dtype=torch.int64, device=objective.device)
        self.code = torch.zeros_like(self.taken)

    def refill(self) -> bool:
        """Give waiting members the free lanes; False when nobody is left."""
        free = np.flatnonzero(self.member < 0)
        entering = np.arange(self.next, min(self.next + len(free), len(self.start)))
        if len(entering):
            self._enter(free[: len(entering)], entering)
            self.next += len(entering)
        busy = np.flatnonzero(self.member >= 0)
        # Lanes are idle only when the queue is empty: close those that are no longer needed.
        if not self.objective.fixed_lanes and padded(len(busy)) < len(self.member):
            idle = free[len(entering) :][: padded(len(busy)) - len(busy)]
            self._keep(np.concatenate([busy, idle]))
        return len(busy) > 0

    def visit(self) -> None:
        """About `VISIT` evaluations, always whole epochs."""
        if self.batches is None:
            for _ in range(VISIT):
                point = self._evaluate()
                if isinstance(self.optimizer, Searching):
                    self._arrive(self.optimizer.arrive(point, self.state))
                else:
                    self._stop(point, whole=True)
                    self._step(point)
            return
        for _ in range(-(-VISIT // self.batches.per_epoch)):
            self._stop(self._evaluate(), whole=True)
            self.batches.shuffle(np.flatnonzero((self.code == RUNNING).cpu().numpy()))
            for batch in range(self.batches.per_epoch):
                weights = torch.as_tensor(self.batches.weights(batch)).to(self.like)
                point = self._evaluate(weights)
                self._stop(point, whole=False)
                self._step(point)

    def harvest(self) -> None:
        """Record the members that have stopped and free their lanes."""
        code = self.code.cpu().numpy()
        ended = np.flatnonzero((code != RUNNING) & (self.member >= 0))
        if not len(ended):
            return
        members = self.member[ended]
        self.params[members] = self.theta.cpu().numpy().T[ended]
        self.steps[members] = self.taken.cpu().numpy()[ended]
        self.stop[members] = np.array(STOPS, dtype=object)[code[ended]]
        self.member[ended] = -1

    def ending(self) -> Ending:
        """All results, in the members' order."""
        return Ending(self.params, self.steps, self.stop)

    def _enter(self, lanes: np.ndarray, members: np.ndarray) -> None:
        index = torch.as_tensor(lanes, device=self.objective.device)
        entering = torch.as_tensor(np.ascontiguousarray(self.start[members].T)).to(self.like)
        self.theta = self.theta.index_copy(1, index, entering)
        self.state = tuple(
            old.index_copy(-1, index, new)
            for old, new in zip(self.state, self.optimizer.init_state(entering), strict=True)
        )
        if self.lam is not None and self.strengths is not None:
            strengths = torch.as_tensor(np.ascontiguousarray(self.strengths[members].T))
            self.lam = self.lam.index_copy(1, index, strengths.to(self.like))
        self.taken = self.taken.index_fill(0, index, 0)
        self.code = self.code.index_fill(0, index, RUNNING)
        self.member[lanes] = members
        if self.batches is not None:
            for lane, member in zip(lanes, members, strict=True):
                self.batches.enter(int(lane), int(member))

    def _keep(self, lanes: np.ndarray) -> None:
        index = torch.as_tensor(lanes, device=self.objective.device)
        self.theta = self.theta.index_select(1, index)
        self.previous = self.previous.index_select(1, index)
        self.state = tuple(part.index_select(-1, index) for part in self.state)
        self.lam = None if self.lam is None else self.lam.index_select(1, index)
        self.taken, self.code = self.taken[index], self.code[index]
        self.member = self.member[lanes]
        if self.batches is not None:
            self.batches.keep(lanes)

    def _evaluate(self, weights: torch.Tensor | None = None) -> Point:
        value, grad = self.objective.value_and_grad(self.theta, self.lam, weights)
        return Point(self.theta, value, grad, self.taken)

    def _stop(self, point: Point, whole: bool, at: torch.Tensor | None = None) -> None:
        """Decide which running members (among `at`) stop where they stand.

        A member that overflows goes back one step, if it has taken one.
        """
        value, size, rule = point.value, norm(point.grad), self.stopping
        running = self.code == RUNNING if at is None else at & (self.code == RUNNING)
        # A comparison with NaN is false, so whatever is not finite does not go on.
        goes_on = (value < torch.inf) & (size < torch.inf) & (self.taken < rule.max_steps)
        if whole:
            goes_on = goes_on & (value > rule.loss) & (size > rule.gradient)
        stops = running & ~goes_on
        if not bool(stops.any()):
            return
        code = torch.full_like(self.code, _CODE[Stop.STEPS])
        if whole:
            code = torch.where(size <= rule.gradient, _CODE[Stop.GRADIENT], code)
            code = torch.where(value <= rule.loss, _CODE[Stop.LOSS], code)
        finite = torch.isfinite(value) & torch.isfinite(size)
        code = torch.where(finite, code, _CODE[Stop.OVERFLOW])
        self.code = torch.where(stops, code, self.code)
        back = stops & ~finite & (self.taken > 0)
        self.theta = torch.where(back, self.previous, self.theta)
        self.taken = self.taken - back.to(torch.int64)

    def _step(self, point: Point) -> None:
        """Every running member moves; the others keep the point that will be recorded."""
        active = self.code == RUNNING
        theta, self.state = self.optimizer.step(point, self.state)
        self.previous = self.theta
        self.theta = torch.where(active, theta, self.theta)
        self.taken = self.taken + active.to(torch.int64)

    def _arrive(self, arrival: Arrival) -> None:
        """A line search has judged its trials: stop at iterates, then try the next points."""
        running = self.code == RUNNING
        here = running & (arrival.arrived | arrival.settled)
        self.theta = torch.where(here, arrival.point.theta, self.theta)
        self.taken = self.taken + (running & arrival.moved).to(torch.int64)
        settled = running & arrival.settled
        if bool(settled.any()):
            # Further steps would change nothing: what they would lead to is known.
            self.taken = torch.where(settled, self.stopping.max_steps, self.taken)
            self.code = torch.where(settled, _CODE[Stop.STEPS], self.code)
        self._stop(arrival.point, whole=True, at=arrival.arrived)
        theta, self.state = self.optimizer.step(arrival.point, arrival.state)
        self.theta = torch.where(self.code == RUNNING, theta, self.theta)


def _batches(
    objective: Objective, optimizer: Optimizer, order: BatchOrder | None, lanes: int
) -> Batches | None:
    if optimizer.batch_size is None:
        return None
    if objective.n_data == 0:
        raise UserError(
            f"optimizer.batch_size is {optimizer.batch_size}: only null is accepted for a problem "
            "without data."
        )
    if order is None:
        raise ValueError("mini-batches need an order")
    return Batches(objective.n_data, optimizer.batch_size, order, lanes)
