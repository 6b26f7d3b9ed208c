"""Activation functions, with what a certificate needs to know about them.

The mathematics is in `sweep.formulas.activations`; here it is registered and given to torch. A
piecewise-linear activation declares its slopes (s₋, s₊) left and right of its kink at zero;
`positively_homogeneous` means σ(cz) = cσ(z) for c > 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import ClassVar, Protocol

import torch

from sweep.formulas.activations import ACTIVATION_FORMULAS, ActivationFormula
from sweep.formulas.binding import bind
from sweep.models.torch_primitives import TORCH
from sweep.registry import Registry, require


class Activation(Protocol):
    """An elementwise function σ; `slopes` is None unless it is piecewise linear.

    `formula` with `settings` after its arguments is σ for any backend.
    """

    formula: ClassVar[ActivationFormula]
    piecewise_linear: ClassVar[bool]
    positively_homogeneous: ClassVar[bool]

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula."""
        ...

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(s₋, s₊), the slopes left and right of zero."""
        ...

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z), same shape."""
        ...


ACTIVATIONS: Registry[Activation] = Registry("activation")


@dataclass(frozen=True)
class _Formula:
    """What all activations share; the smooth ones need nothing else."""

    formula: ClassVar[ActivationFormula]
    on_tensors: ClassVar[Callable[..., torch.Tensor]]
    piecewise_linear: ClassVar[bool] = False
    positively_homogeneous: ClassVar[bool] = False

    def __init_subclass__(cls, formula: str) -> None:
        cls.formula = ACTIVATION_FORMULAS[formula]
        cls.on_tensors = staticmethod(bind(cls.formula.value, TORCH))

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula, in the order of the fields."""
        return astuple(self)

    @property
    def slopes(self) -> tuple[float, float] | None:
        """None: not piecewise linear."""
        return None

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z), same shape."""
        return type(self).on_tensors(z, *self.settings)


@ACTIVATIONS.add("relu")
@dataclass(frozen=True)
class Relu(_Formula, formula="relu"):
    """max(z, 0)."""

    piecewise_linear: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = True

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(0, 1)."""
        return (0.0, 1.0)


@ACTIVATIONS.add("leaky_relu")
@dataclass(frozen=True)
class LeakyRelu(_Formula, formula="leaky_relu"):
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


@ACTIVATIONS.add("identity")
@dataclass(frozen=True)
class Identity(_Formula, formula="identity"):
    """z itself: a linear network."""

    piecewise_linear: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = True

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(1, 1)."""
        return (1.0, 1.0)


@ACTIVATIONS.add("tanh")
@dataclass(frozen=True)
class Tanh(_Formula, formula="tanh"):
    """Hyperbolic tangent."""


@ACTIVATIONS.add("sigmoid")
@dataclass(frozen=True)
class Sigmoid(_Formula, formula="sigmoid"):
    """Logistic function 1/(1+e^−z)."""


@ACTIVATIONS.add("softplus")
@dataclass(frozen=True)
class Softplus(_Formula, formula="softplus"):
    """ln(1+e^z)."""


@ACTIVATIONS.add("requ")
@dataclass(frozen=True)
class Requ(_Formula, formula="requ"):
    """max(z, 0)², the rectified quadratic unit of [B]."""


@ACTIVATIONS.add("square")
@dataclass(frozen=True)
class Square(_Formula, formula="square"):
    """z², the quadratic neuron of [B] Prop. 2."""
