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
(2013), Algorithm 4.6, which needs no smoothness: kinks of a ReLU network are no obstacle. All lanes
search together, and a lane that has found its step waits for the others without changing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from sweep.registry import require
from sweep.training.base import OPTIMIZERS, Point, State
from sweep.training.optimizers import check_rate

# Sufficient decrease and curvature constants usual for quasi-Newton methods (Nocedal and Wright,
# section 3.1).
C_DECREASE = 1e-4
C_CURVATURE = 0.9


@OPTIMIZERS.add("lbfgs")
@dataclass(frozen=True)
class Lbfgs:
    """Limited-memory BFGS on the full batch; one step is one accepted iteration.

    `lr` is the first step tried along each direction. A member whose line search fails forgets its
    curvature and tries the gradient's direction next; if that fails too, no further step can move
    it, and it counts as having used all its steps.
    """

    memory: int = 10
    max_line_search: int = 25
    lr: float = 1.0
    batch_size: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        check_rate(self.lr)
        require(self.memory >= 1, "optimizer.memory", self.memory, "a whole number ≥ 1")
        require(
            self.max_line_search >= 1,
            "optimizer.max_line_search",
            self.max_line_search,
            "a whole number ≥ 1",
        )

    def init_state(self, theta: torch.Tensor) -> State:
        """Empty memories s, y, ρ, and nobody settled."""
        pairs = theta.new_zeros(self.memory, *theta.shape)
        lanes = theta.shape[-1]
        settled = torch.zeros(lanes, dtype=torch.bool, device=theta.device)
        return (pairs, pairs.clone(), theta.new_zeros(self.memory, lanes), settled)

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """One iteration: direction, line search, update of the memory."""
        s, y, rho, settled = state
        direction = self._direction(point.grad, s, y, rho)
        downhill = (direction * point.grad).sum(0) < 0
        # Rounding can spoil a direction; the gradient's own is always downhill.
        direction = torch.where(downhill, direction, _steepest(point.grad))
        found = _line_search(
            point, direction, point.active & ~settled, self.lr, self.max_line_search
        )
        step = torch.where(found.moved, found.tau * direction, 0.0)
        theta = point.theta + step
        fresh = _remember(step, found.grad - point.grad, found.moved, (s, y, rho))
        # A failed search empties the memory; with an empty memory it settles the lane.
        failed = point.active & ~found.moved
        settled = settled | (failed & (rho[-1] == 0))
        kept = (fresh[0], fresh[1], torch.where(failed, 0.0, fresh[2]))
        return theta, (*kept, settled)

    def settled(self, state: State) -> torch.Tensor | None:
        """Lanes whose search failed along the gradient itself."""
        return state[3]

    def _direction(
        self, grad: torch.Tensor, s: torch.Tensor, y: torch.Tensor, rho: torch.Tensor
    ) -> torch.Tensor:
        """−H·g by the two-loop recursion; the steepest descent for an empty memory."""
        q = grad
        alphas = []
        for i in reversed(range(self.memory)):
            alpha = rho[i] * (s[i] * q).sum(0)
            q = q - alpha * y[i]
            alphas.append(alpha)
        empty = rho[-1] == 0
        squares = y[-1].square().sum(0) * rho[-1]
        r = q / torch.where(empty, 1.0, squares)
        for i, alpha in zip(range(self.memory), reversed(alphas), strict=True):
            beta = rho[i] * (y[i] * r).sum(0)
            r = r + (alpha - beta) * s[i]
        return torch.where(empty, _steepest(grad), -r)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the line search found: steps τ (W,), gradients there (P, W), who moves (W,)."""

    tau: torch.Tensor
    grad: torch.Tensor
    moved: torch.Tensor


def _steepest(grad: torch.Tensor) -> torch.Tensor:
    """−g, shortened to at most unit length: the first step has no scale to go by."""
    return -grad / grad.square().sum(0).sqrt().clamp_min(1.0)


def _line_search(
    point: Point, direction: torch.Tensor, searching: torch.Tensor, first: float, most: int
) -> _Found:
    """Bisection for F(τ) ≤ F(0) + c₁τF′(0) and F′(τ) ≥ c₂F′(0), per lane.

    When the trials run out, the longest step with sufficient decrease is taken if there is one.
    """
    slope = (direction * point.grad).sum(0)
    low = torch.zeros_like(slope)
    high = torch.full_like(slope, math.inf)
    tau = torch.full_like(slope, first)
    best = _Found(low, point.grad, torch.zeros_like(searching))
    for _ in range(most):
        best, tau, low, high, searching = _trial(
            point, direction, slope, best, (tau, low, high, searching)
        )
        if not bool(searching.any()):
            break
    return best


def _trial(
    point: Point,
    direction: torch.Tensor,
    slope: torch.Tensor,
    best: _Found,
    bracket: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
) -> tuple[_Found, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One trial of all searching lanes: the best so far, the next τ, the bracket, who goes on."""
    tau, low, high, searching = bracket
    value, grad = point.evaluate(point.theta + tau * direction)
    # Comparisons with NaN are false: a trial that is not finite was too long.
    lower = (value <= point.value + C_DECREASE * tau * slope) & (value < point.value)
    lower = lower & torch.isfinite(grad).all(0)
    flat = (direction * grad).sum(0) >= C_CURVATURE * slope
    better = searching & lower
    best = _Found(
        torch.where(better, tau, best.tau),
        torch.where(better, grad, best.grad),
        best.moved | better,
    )
    high = torch.where(lower, high, tau)
    low = torch.where(better, tau, low)
    searching = searching & ~(lower & flat)
    wider = torch.where(torch.isinf(high), 2 * low, (low + high) / 2)
    return best, torch.where(searching, wider, tau), low, high, searching


def _remember(
    step: torch.Tensor, change: torch.Tensor, moved: torch.Tensor, memory: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The memory with the newest pair last, in lanes that moved with positive curvature."""
    s, y, rho = memory
    curvature = (step * change).sum(0)
    # Below this share of y·y the pair is rounding noise (the safeguard of L-BFGS-B).
    eps = torch.finfo(step.dtype).eps
    good = moved & (curvature > eps * change.square().sum(0))
    newest = torch.where(good, 1 / torch.where(good, curvature, 1.0), 0.0)
    return (
        torch.where(good, torch.cat([s[1:], step.unsqueeze(0)]), s),
        torch.where(good, torch.cat([y[1:], change.unsqueeze(0)]), y),
        torch.where(good, torch.cat([rho[1:], newest.unsqueeze(0)]), rho),
    )
