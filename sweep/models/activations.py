"""Activation functions, with what a certificate needs to know about them.

A piecewise-linear activation declares its slopes (s₋, s₊) left and right of its kink at zero;
`positively_homogeneous` means σ(cz) = cσ(z) for c > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from sweep.registry import Registry, require

# Beyond this softplus(z) = z: exp(-40) is below half an ulp of 40 in float64 (and in float32).
SOFTPLUS_THRESHOLD = 40.0


class Activation(Protocol):
    """An elementwise function σ; `slopes` is None unless it is piecewise linear."""

    piecewise_linear: ClassVar[bool]
    positively_homogeneous: ClassVar[bool]

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(s₋, s₊), the slopes left and right of zero."""
        ...

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z), same shape."""
        ...


ACTIVATIONS: Registry[Activation] = Registry("activation")


@dataclass(frozen=True)
class _Smooth:
    """What the smooth activations share: no kink, hence no slopes."""

    piecewise_linear: ClassVar[bool] = False
    positively_homogeneous: ClassVar[bool] = False

    @property
    def slopes(self) -> tuple[float, float] | None:
        """None: not piecewise linear."""
        return None


@ACTIVATIONS.add("relu")
@dataclass(frozen=True)
class Relu:
    """max(z, 0)."""

    piecewise_linear: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = True

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(0, 1)."""
        return (0.0, 1.0)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """max(z, 0)."""
        return torch.relu(z)


@ACTIVATIONS.add("leaky_relu")
@dataclass(frozen=True)
class LeakyRelu:
    """z for z > 0, else negative_slope·z (torch's default slope)."""

    negative_slope: float = 0.01
    piecewise_linear: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.negative_slope),
            "activation.negative_slope",
            self.negative_slope,
            "a finite number",
        )

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(negative_slope, 1)."""
        return (self.negative_slope, 1.0)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Z where positive, else negative_slope·z."""
        return torch.nn.functional.leaky_relu(z, self.negative_slope)


@ACTIVATIONS.add("identity")
@dataclass(frozen=True)
class Identity:
    """z itself: a linear network."""

    piecewise_linear: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = True

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(1, 1)."""
        return (1.0, 1.0)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Z."""
        return z


@ACTIVATIONS.add("tanh")
@dataclass(frozen=True)
class Tanh(_Smooth):
    """Hyperbolic tangent."""

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """tanh(z)."""
        return torch.tanh(z)


@ACTIVATIONS.add("sigmoid")
@dataclass(frozen=True)
class Sigmoid(_Smooth):
    """Logistic function 1/(1+e^−z)."""

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """1/(1+e^−z)."""
        return torch.sigmoid(z)


@ACTIVATIONS.add("softplus")
@dataclass(frozen=True)
class Softplus(_Smooth):
    """ln(1+e^z)."""

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """ln(1+e^z), accurate to rounding for every z."""
        return torch.nn.functional.softplus(z, threshold=SOFTPLUS_THRESHOLD)
