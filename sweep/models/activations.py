"""Activation functions, with what a certificate needs to know about them.

The mathematics is in `sweep.formulas.activations`; here it is registered and given to torch. A
piecewise-linear activation declares its slopes (s₋, s₊) left and right of its kink at zero;
`positively_homogeneous` means σ(cz) = cσ(z) for c > 0. Its `pieces` say the same of any number of
kinks anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
import torch

from sweep.formulas.activations import ACTIVATION_FORMULAS, ActivationFormula
from sweep.formulas.binding import bind
from sweep.models.torch_primitives import TORCH
from sweep.registry import Registry, require


@dataclass(frozen=True, eq=False)
class Pieces:
    """A piecewise-linear σ: piece k is slopes[k]·z + constants[k] between two breakpoints.

    `breakpoints` (k,) ascending, `slopes` (k+1,), `constants` (k+1,). A breakpoint belongs to the
    piece on its left.
    """

    breakpoints: np.ndarray
    slopes: np.ndarray
    constants: np.ndarray

    def of(self, z: np.ndarray) -> np.ndarray:
        """Which piece each number lies in, int64, same shape."""
        return np.searchsorted(self.breakpoints, z, side="left")

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """σ(z), same shape."""
        k = self.of(z)
        return np.asarray(self.slopes[k] * z + self.constants[k])


class Activation(Protocol):
    """An elementwise function σ.

    `formula` with `settings` after its arguments is σ for any backend; `compiles`: for those of
    the fused trainer too. `slopes` is None unless σ is linear on both sides of zero; `pieces` is
    None unless it is piecewise linear. Whether σ is smooth is asked of `piecewise_linear`, not of
    `slopes`: with kinks elsewhere σ has none either.
    """

    formula: ClassVar[ActivationFormula]
    compiles: ClassVar[bool]
    positively_homogeneous: ClassVar[bool]

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula."""
        ...

    @property
    def piecewise_linear(self) -> bool:
        """Whether σ is linear by pieces; every other σ here has a continuous derivative."""
        ...

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(s₋, s₊), the slopes left and right of zero."""
        ...

    @property
    def pieces(self) -> Pieces | None:
        """Breakpoints, slopes and constants."""
        ...

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z), same shape."""
        ...


ACTIVATIONS: Registry[Activation] = Registry("activation")

#: Slopes and breakpoints up to this size keep every bound of the judge far from overflow.
STEEPEST = 1e6
_STEEP = f"a number within ±{STEEPEST:g}"


@dataclass(frozen=True)
class _Formula:
    """What all activations share; the smooth ones need nothing else."""

    formula: ClassVar[ActivationFormula]
    on_tensors: ClassVar[Callable[..., torch.Tensor]]
    compiles: ClassVar[bool] = True
    positively_homogeneous: ClassVar[bool] = False

    def __init_subclass__(cls, formula: str) -> None:
        cls.formula = ACTIVATION_FORMULAS[formula]
        cls.on_tensors = staticmethod(bind(cls.formula.value, TORCH))

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula, in the order of the fields."""
        return astuple(self)

    @property
    def piecewise_linear(self) -> bool:
        """Whether there are `pieces`."""
        return self.pieces is not None

    @property
    def slopes(self) -> tuple[float, float] | None:
        """None: not linear on both sides of zero."""
        return None

    @property
    def pieces(self) -> Pieces | None:
        """Those of `slopes`: two that meet at zero, or one."""
        if self.slopes is None:
            return None
        left, right = self.slopes
        kink = [0.0] if left != right else []
        slopes = np.array([left, right][: len(kink) + 1])
        return Pieces(np.array(kink), slopes, np.zeros(len(slopes)))

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """σ(z), same shape."""
        return type(self).on_tensors(z, *self.settings)


@ACTIVATIONS.add("relu")
@dataclass(frozen=True)
class Relu(_Formula, formula="relu"):
    """max(z, 0)."""

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


@ACTIVATIONS.add("two_piece")
@dataclass(frozen=True)
class TwoPiece(_Formula, formula="two_piece"):
    """positive_slope·z for z > 0, else negative_slope·z ([C] eq. 4); both may have any sign."""

    negative_slope: float = 0.0
    positive_slope: float = 1.0
    positively_homogeneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key, slope in zip(("negative_slope", "positive_slope"), self.slopes, strict=True):
            require(abs(slope) <= STEEPEST, f"activation.{key}", slope, _STEEP)

    @property
    def slopes(self) -> tuple[float, float]:
        """(negative_slope, positive_slope)."""
        return (self.negative_slope, self.positive_slope)


@ACTIVATIONS.add("piecewise_linear")
@dataclass(frozen=True)
class PiecewiseLinear(_Formula, formula="piecewise_linear"):
    """A continuous σ that is linear between its breakpoints ([C] Lemma 5); by default hard tanh.

    `slopes_between` has one entry more than `breakpoints`; `level` is σ at the first breakpoint.
    """

    breakpoints: tuple[float, ...] = (-1.0, 1.0)
    slopes_between: tuple[float, ...] = (0.0, 1.0, 0.0)
    level: float = -1.0
    compiles: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in pairwise(self.breakpoints)) and self.breakpoints
        small = all(abs(t) <= STEEPEST for t in self.breakpoints)
        accepted = f"an ascending list of numbers within ±{STEEPEST:g}"
        given = list(self.breakpoints)
        require(bool(ascending) and small, "activation.breakpoints", given, accepted)
        small = all(abs(s) <= STEEPEST for s in self.slopes_between)
        count = len(self.breakpoints) + 1
        accepted = f"a list of {count} numbers within ±{STEEPEST:g}, one more than breakpoints,"
        given, fits = list(self.slopes_between), small and len(self.slopes_between) == count
        require(fits, "activation.slopes_between", given, accepted)
        require(abs(self.level) <= STEEPEST, "activation.level", self.level, _STEEP)

    @property
    def settings(self) -> tuple[float, ...]:
        """Slope and constant of the first piece, then breakpoint, slope, constant of each other."""
        pieces = self.pieces
        rest = zip(self.breakpoints, pieces.slopes[1:], pieces.constants[1:], strict=True)
        found = [pieces.slopes[0], pieces.constants[0], *(v for piece in rest for v in piece)]
        return tuple(map(float, found))

    @property
    def pieces(self) -> Pieces:
        """Breakpoints, slopes and constants."""
        slopes, heights = self.slopes_between, [self.level]
        for (left, right), slope in zip(pairwise(self.breakpoints), slopes[1:-1], strict=True):
            heights.append(heights[-1] + slope * (right - left))
        first = self.level - slopes[0] * self.breakpoints[0]
        meeting = zip(heights, slopes[1:], self.breakpoints, strict=True)
        constants = [first, *(h - slope * t for h, slope, t in meeting)]
        return Pieces(np.array(self.breakpoints), np.array(slopes), np.array(constants))


@ACTIVATIONS.add("identity")
@dataclass(frozen=True)
class Identity(_Formula, formula="identity"):
    """z itself: a linear network."""

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
