"""Activations and losses, written down plainly: functions of every entry of a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sweep.audit.hinges import sum_of_hinges
from sweep.errors import UserError
from sweep.registry import Choice

Elementwise = Callable[[torch.Tensor], torch.Tensor]


class NoSecondRouteError(UserError):
    """A setting that this room cannot recompute: its rows cannot be verified."""


@dataclass(frozen=True)
class Activation:
    """σ with sup|σ′| and a bound of sup|σ″|; `slopes` (s₋, s₊) if it is linear on both sides.

    `kinks` are where a piecewise-linear σ bends, and `pieces` its slopes between them. `rough`
    (p, o): σ(z) rounds no worse than a sum of numbers of the size p|z| + o in all. `square`: σ is
    a square, rectified or not, whose slope has no bound.
    """

    name: str
    value: Elementwise
    steepness: float
    curvature: float
    slopes: tuple[float, float] | None = None
    bends: tuple[float, ...] = ()
    pieces: tuple[float, ...] = ()
    rough: tuple[float, float] = (0.0, 0.0)
    square: bool = False

    def moved(self, z: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """How far σ(z) can move when z does by at most `error`, elementwise."""
        if self.square:
            return (2 * z.abs() + error) * error
        return self.steepness * error

    def sized(self, z: torch.Tensor) -> torch.Tensor:
        """A bound of |σ| on [−z, z], z ≥ 0, whose derivative bounds |σ′| there.

        |σ(z)| ≤ |σ(0)| + sup|σ′|·|z|, and |σ(0)| ≤ ln 2 < 1 for every smooth σ here.
        """
        if self.square:
            return z**2
        return self.steepness * z + self.curvature + self.rough[1]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where σ bends, in order; zero for the slopes of zero's two sides."""
        return (0.0,) if self.slopes is not None else self.bends

    @property
    def between(self) -> tuple[float, ...]:
        """The slopes between the kinks; empty for a smooth σ."""
        return self.slopes if self.slopes is not None else self.pieces


@dataclass(frozen=True)
class Loss:
    """ℓ and ℓ′ of z = −y·f, both elementwise; both ℓ are convex."""

    name: str
    value: Elementwise
    slope: Elementwise
    power: float = 0.0


def activation_of(settings: Mapping[str, Any]) -> Activation:
    """The activation of `model.activation`; `NoSecondRouteError` for one that is not known here."""
    name = settings["name"]
    if name == "relu":
        return Activation(name, lambda z: torch.clamp(z, min=0.0), 1.0, 0.0, (0.0, 1.0))
    if name == "leaky_relu":
        left = float(settings.get("negative_slope", 0.01))
        steepness = max(1.0, abs(left))
        return Activation(
            name, lambda z: torch.where(z > 0, z, left * z), steepness, 0.0, (left, 1.0)
        )
    if name == "identity":
        return Activation(name, lambda z: z, 1.0, 0.0, (1.0, 1.0))
    if name == "two_piece":
        left = float(settings.get("negative_slope", 0.0))
        right = float(settings.get("positive_slope", 1.0))
        steepness = max(abs(left), abs(right))
        return Activation(
            name, lambda z: torch.where(z > 0, right * z, left * z), steepness, 0.0, (left, right)
        )
    if name == "piecewise_linear":
        return Activation(name, **sum_of_hinges(settings))
    if name == "requ":
        return Activation(name, lambda z: torch.clamp(z, min=0.0) ** 2, 0.0, 2.0, square=True)
    if name == "square":
        return Activation(name, lambda z: z**2, 0.0, 2.0, square=True)
    smooth: dict[str, Elementwise] = {
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
    }
    if name not in smooth:
        raise NoSecondRouteError(f"the activation '{name}' has no second route.")
    # sup|σ″| is 0.77 for tanh and less for the others.
    return Activation(name, smooth[name], 1.0, 1.0)


def loss_of(choice: Choice) -> Loss:
    """The loss; `NoSecondRouteError` for one that is not known here."""
    if choice.name == "hinge_power":
        p = float(choice.settings["p"])
        return Loss(
            "hinge_power",
            lambda z: torch.clamp(z + 1, min=0.0) ** p,
            lambda z: p * torch.clamp(z + 1, min=0.0) ** (p - 1),
            p,
        )
    if choice.name == "logistic":
        return Loss(
            "logistic",
            lambda z: torch.logaddexp(z, torch.zeros_like(z)) / math.log(2),
            lambda z: torch.sigmoid(z) / math.log(2),
        )
    if choice.name == "squared":
        return Loss("squared", lambda z: (1 + z) ** 2, lambda z: 2 * (1 + z))
    raise NoSecondRouteError(f"the loss '{choice.name}' has no second route.")
