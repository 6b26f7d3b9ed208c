"""First-order optimizers: gd, momentum, adam. Axis letters as in `sweep.training.base`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from sweep.registry import Choice, require
from sweep.training.base import OPTIMIZERS, Point, State
from sweep.training.schedules import CONSTANT, SCHEDULES


def check_rate(lr: float) -> None:
    """Refuse a step size that is not a finite number > 0."""
    require(0 < lr < math.inf, "optimizer.lr", lr, "a finite number > 0")


def _check(lr: float, batch_size: int | None, **fractions: float) -> None:
    check_rate(lr)
    require(
        batch_size is None or batch_size >= 1,
        "optimizer.batch_size",
        batch_size,
        "a whole number ≥ 1, or null for the full batch,",
    )
    for name, value in fractions.items():
        require(0 <= value < 1, f"optimizer.{name}", value, "a number in [0, 1)")


@dataclass(frozen=True)
class _Scheduled:
    """What a schedule adds to an optimizer: lr times its factor is the step size."""

    lr: float
    schedule: Choice = field(default=CONSTANT, kw_only=True)

    def __post_init__(self) -> None:
        # Defaults are left out, so that equal schedules are equal however they were written.
        named = Choice.parse(self.schedule, "optimizer.schedule")
        identity = SCHEDULES.identity(named, "optimizer.schedule")
        object.__setattr__(self, "schedule", Choice.parse(identity, "optimizer.schedule"))

    def rate(self, point: Point) -> float | torch.Tensor:
        """The step size of the next update, for all lanes or (W,)."""
        if self.schedule == CONSTANT:
            return self.lr
        factor = SCHEDULES.build(self.schedule).factor(point.taken.cpu().numpy())
        return self.lr * torch.as_tensor(factor).to(point.theta)


@OPTIMIZERS.add("gd")
@dataclass(frozen=True)
class GradientDescent(_Scheduled):
    """θ ← θ − lr·g."""

    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.lr, self.batch_size)

    def init_state(self, theta: torch.Tensor) -> State:
        """Nothing to remember."""
        return ()

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """One step down the gradient."""
        return point.theta - self.rate(point) * point.grad, state


@OPTIMIZERS.add("momentum")
@dataclass(frozen=True)
class Momentum(_Scheduled):
    """v ← momentum·v + g, θ ← θ − lr·v (heavy ball, as in torch.optim.SGD)."""

    momentum: float = 0.9
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.lr, self.batch_size, momentum=self.momentum)

    def init_state(self, theta: torch.Tensor) -> State:
        """Velocity 0."""
        return (torch.zeros_like(theta),)

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """One step along the velocity."""
        velocity = self.momentum * state[0] + point.grad
        return point.theta - self.rate(point) * velocity, (velocity,)


@OPTIMIZERS.add("adam")
@dataclass(frozen=True)
class Adam(_Scheduled):
    """Adam with bias correction (Kingma and Ba 2015, Algorithm 1, its default constants but lr)."""

    lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.lr, self.batch_size, beta1=self.beta1, beta2=self.beta2)
        require(0 < self.eps < math.inf, "optimizer.eps", self.eps, "a finite number > 0")

    def init_state(self, theta: torch.Tensor) -> State:
        """Both moments 0."""
        return (torch.zeros_like(theta), torch.zeros_like(theta))

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """One step by the corrected moments, with each lane's own t."""
        t = (point.taken + 1).to(point.theta.dtype)
        first = torch.add(self.beta1 * state[0], point.grad, alpha=1 - self.beta1)
        second = torch.addcmul(self.beta2 * state[1], point.grad, point.grad, value=1 - self.beta2)
        rate = self.rate(point) / (1 - self.beta1**t)
        spread = (second / (1 - self.beta2**t)).sqrt() + self.eps
        return point.theta - rate * first / spread, (first, second)
