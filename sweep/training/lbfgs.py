"""L-BFGS with one curvature memory per member and a weak-Wolfe line search by bisection.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
m, W, P memory, lanes, parameters
s, y    differences of θ and of g, oldest first                (m, P, W)
ρ       1/(s·y); 0 marks an empty slot                         (m, W)
d       search direction                                       (P, W)
τ       step along d                                           (W,)
======  =====================================================  ==========

The two-loop recursion is Nocedal and Wright, Algorithm 7.4; the line search is Lewis and Overton
(2013), Algorithm 4.6, which needs no smoothness: kinks of a ReLU network are no obstacle. Every
lane searches at its own pace: one evaluation of all lanes is one trial of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from sweep.registry import require
from sweep.training.base import OPTIMIZERS, Arrival, Point, State
from sweep.training.optimizers import check_rate

# Sufficient decrease and curvature constants usual for quasi-Newton methods (Nocedal and Wright,
# section 3.1).
C_DECREASE = 1e-4
C_CURVATURE = 0.9


class Search(NamedTuple):
    """The state: curvature memory, the iterate, and where the line search from it stands.

    `trials` is 0 for a lane that has not evaluated its start. The bracket (low, high) holds the
    longest τ known to decrease F enough, with its gradient, and the shortest known not to.
    """

    s: torch.Tensor
    y: torch.Tensor
    rho: torch.Tensor
    theta: torch.Tensor
    value: torch.Tensor
    grad: torch.Tensor
    direction: torch.Tensor
    tau: torch.Tensor
    low: torch.Tensor
    low_value: torch.Tensor
    low_grad: torch.Tensor
    high: torch.Tensor
    trials: torch.Tensor


@OPTIMIZERS.add("lbfgs")
@dataclass(frozen=True)
class Lbfgs:
    """Limited-memory BFGS on the full batch; one step is one accepted iteration.

    `lr` is the first step tried along each direction. A member whose line search fails forgets its
    curvature and tries the gradient's direction; if that fails too, no further step can move it,
    and it counts as having used all its steps.
    """

    memory: int = 10
    max_line_search: int = 25
    lr: float = 1.0
    batch_size: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        check_rate(self.lr)
        for name in ("memory", "max_line_search"):
            given = getattr(self, name)
            require(given >= 1, f"optimizer.{name}", given, "a whole number ≥ 1")

    def init_state(self, theta: torch.Tensor) -> State:
        """An empty memory and no evaluation yet."""
        pairs = theta.new_zeros(self.memory, *theta.shape)
        numbers = theta.new_zeros(theta.shape[-1])
        return Search(
            s=pairs,
            y=pairs,
            rho=theta.new_zeros(self.memory, theta.shape[-1]),
            theta=theta,
            value=numbers,
            grad=torch.zeros_like(theta),
            direction=torch.zeros_like(theta),
            tau=numbers,
            low=numbers,
            low_value=numbers,
            low_grad=torch.zeros_like(theta),
            high=numbers,
            trials=numbers.to(torch.int64),
        )

    def arrive(self, point: Point, state: State) -> Arrival:
        """Judge each lane's trial: accepted, out of trials, or to be refined."""
        old = Search(*state)
        started = old.trials == 0
        narrowed, accepted = _narrow(point, old)
        spent = ~started & ~accepted & (old.trials >= self.max_line_search)
        # Out of trials: the longest step with enough decrease is taken if there is one.
        moved = ~started & (accepted | (spent & (narrowed.low > 0)))
        failed = spent & (narrowed.low == 0)
        settled = failed & (old.rho[-1] == 0)
        new = _accept(narrowed, moved)
        new = new._replace(
            rho=torch.where(failed, 0.0, new.rho),
            theta=torch.where(started, point.theta, new.theta),
            value=torch.where(started, point.value, new.value),
            grad=torch.where(started, point.grad, new.grad),
            # Zero asks `step` for a new direction.
            trials=torch.where(started | moved | failed, 0, old.trials),
        )
        iterate = Point(new.theta, new.value, new.grad, point.taken)
        return Arrival(iterate, started | moved, moved, settled, new)

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """The next trial: the first along a new direction, or one inside the bracket."""
        old = Search(*state)
        begins = old.trials == 0
        direction = old.direction
        if bool(begins.any()):
            direction = torch.where(begins, _direction(old), direction)
        wider = torch.where(torch.isinf(old.high), 2 * old.low, (old.low + old.high) / 2)
        new = old._replace(
            direction=direction,
            tau=torch.where(begins, self.lr, wider),
            low=torch.where(begins, 0.0, old.low),
            high=torch.where(begins, math.inf, old.high),
            trials=old.trials + 1,
        )
        return new.theta + new.tau * new.direction, new


def _narrow(point: Point, old: Search) -> tuple[Search, torch.Tensor]:
    """The bracket after a trial, and the lanes (W,) whose trial meets both Wolfe conditions."""
    slope = (old.direction * old.grad).sum(0)
    # A comparison with NaN is false: a trial that is not finite was too long.
    lower = (point.value <= old.value + C_DECREASE * old.tau * slope) & (point.value < old.value)
    lower = lower & (point.grad.square().sum(0) < torch.inf)
    flat = (old.direction * point.grad).sum(0) >= C_CURVATURE * slope
    narrowed = old._replace(
        low=torch.where(lower, old.tau, old.low),
        low_value=torch.where(lower, point.value, old.low_value),
        low_grad=torch.where(lower, point.grad, old.low_grad),
        high=torch.where(lower, old.high, old.tau),
    )
    return narrowed, lower & flat


def _accept(old: Search, moved: torch.Tensor) -> Search:
    """Move to θ + low·d in the marked lanes; the pair enters the memory if it curves upwards."""
    theta = torch.where(moved, old.theta + old.low * old.direction, old.theta)
    step, change = theta - old.theta, old.low_grad - old.grad
    curvature = (step * change).sum(0)
    # Below this share of y·y the pair is rounding noise (the safeguard of L-BFGS-B).
    eps = torch.finfo(step.dtype).eps
    good = moved & (curvature > eps * change.square().sum(0))
    newest = 1 / torch.where(good, curvature, 1.0)
    return old._replace(
        s=torch.where(good, torch.cat([old.s[1:], step.unsqueeze(0)]), old.s),
        y=torch.where(good, torch.cat([old.y[1:], change.unsqueeze(0)]), old.y),
        rho=torch.where(good, torch.cat([old.rho[1:], newest.unsqueeze(0)]), old.rho),
        theta=theta,
        value=torch.where(moved, old.low_value, old.value),
        grad=torch.where(moved, old.low_grad, old.grad),
    )


def _direction(old: Search) -> torch.Tensor:
    """−H·g by the two-loop recursion; −g, at most of unit length, where that is not downhill."""
    q = old.grad
    alphas = []
    for i in reversed(range(len(old.rho))):
        alphas.append(old.rho[i] * (old.s[i] * q).sum(0))
        q = q - alphas[-1] * old.y[i]
    squares = old.y[-1].square().sum(0) * old.rho[-1]
    empty = old.rho[-1] == 0
    r = q / torch.where(empty, 1.0, squares)
    for i, alpha in enumerate(reversed(alphas)):
        beta = old.rho[i] * (old.y[i] * r).sum(0)
        r = r + (alpha - beta) * old.s[i]
    # Rounding can spoil a direction, and an empty memory has no scale to go by.
    downhill = ~empty & ((r * old.grad).sum(0) > 0)
    length = old.grad.square().sum(0).sqrt().clamp_min(1.0)
    return torch.where(downhill, -r, -old.grad / length)
