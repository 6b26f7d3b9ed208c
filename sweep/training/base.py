"""What training returns, and what an optimizer and a stopping rule are.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members
W       lanes: members trained side by side, a multiple of 64
P       parameters of one member
θ, g    parameters, gradient of F, lanes last                  (P, W)
F       objective                                              (W,)
t       updates applied so far, per lane                       (W,) int64
======  =====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from sweep.registry import Registry, require
from sweep.verdicts import Stop

State = tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Ending:
    """Where training ended, per member.

    `params` (S, P) float64; `steps` (S,) int64, the updates that lead from the start to `params`;
    `stop` (S,) of `Stop`. For an overflow `params` is the last point at which F and ‖∇F‖ were
    finite, or the start if there was none.
    """

    params: np.ndarray
    steps: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True, eq=False)
class Point:
    """Where all lanes have been evaluated: θ (P, W), F (W,), g (P, W), t (W,).

    `value` and `grad` are those of the mini-batch if there is one.
    """

    theta: torch.Tensor
    value: torch.Tensor
    grad: torch.Tensor
    taken: torch.Tensor


class Optimizer(Protocol):
    """One update for all lanes, elementwise over lanes; the state's last axis is the lanes."""

    @property
    def batch_size(self) -> int | None:
        """Points per mini-batch; None for the full batch."""
        ...

    def init_state(self, theta: torch.Tensor) -> State:
        """The state of members that start at θ (P, W)."""
        ...

    def step(self, point: Point, state: State) -> tuple[torch.Tensor, State]:
        """Parameters to evaluate next, (P, W), and state; ignored for lanes that have stopped."""
        ...


@dataclass(frozen=True, eq=False)
class Arrival:
    """What a line search makes of an evaluation, per lane.

    `point` is the iterate where `arrived` or `settled` (W,) hold, otherwise the search goes on.
    `moved` (W,): the iterate is one accepted step further. `settled` (W,): no step will ever move
    it again.
    """

    point: Point
    arrived: torch.Tensor
    moved: torch.Tensor
    settled: torch.Tensor
    state: State


@runtime_checkable
class Searching(Protocol):
    """An optimizer that tries several points per step: it says which evaluations are iterates.

    The trainer checks the stopping rule at iterates only, and counts a step when one has `moved`.
    Lanes search independently: each evaluation serves every lane, wherever its search stands.
    """

    def arrive(self, point: Point, state: State) -> Arrival:
        """Judge the evaluated trial of every lane, before `step` chooses the next."""
        ...


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


class Stopping(Protocol):
    """When a member stops: F ≤ loss, or ‖∇F‖₂ ≤ gradient, or max_steps updates."""

    @property
    def max_steps(self) -> int:
        """Most updates of a member."""
        ...

    @property
    def gradient(self) -> float:
        """‖∇F‖₂ at or below which a member stops."""
        ...

    @property
    def loss(self) -> float:
        """F at or below which a member stops."""
        ...


STOPPING: Registry[Stopping] = Registry("stopping")


@STOPPING.add("standard")
@dataclass(frozen=True)
class Standard:
    """Stop at F ≤ loss, at ‖∇F‖₂ ≤ gradient or after max_steps updates.

    With the default loss 0.0 a member stops only when F is exactly zero (or negative). A gradient
    of 1e-8 is about the square root of float64's rounding for F near 1: below it, F no longer
    tells points apart.
    """

    max_steps: int = 4000
    gradient: float = 1e-8
    loss: float = 0.0

    def __post_init__(self) -> None:
        require(self.max_steps >= 0, "stopping.max_steps", self.max_steps, "a whole number ≥ 0")
        require(
            0 <= self.gradient < math.inf, "stopping.gradient", self.gradient, "a finite number ≥ 0"
        )
        require(math.isfinite(self.loss), "stopping.loss", self.loss, "a finite number")


STOPS = (Stop.STEPS, Stop.GRADIENT, Stop.LOSS, Stop.OVERFLOW)
