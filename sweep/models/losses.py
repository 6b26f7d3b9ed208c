"""Losses: univariate ones ℓ(z) of z = −y·f, y in {−1, +1}, and those of several outputs.

The mathematics is in `sweep.formulas.losses`; here it is registered and given to torch, univariate
losses elementwise for any shape. Every loss is convex with infimum 0, which proves a lower bound of
the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import reduce
from typing import ClassVar, Protocol, runtime_checkable

import torch

from sweep.formulas.binding import bind
from sweep.formulas.losses import LOSS_FORMULAS, OUTPUTS_FORMULAS, LossFormula, OutputsFormula
from sweep.models.torch_primitives import TORCH
from sweep.registry import Registry, require

#: Far beyond any power of use; 2^p and its derivatives stay far within float64.
LARGEST_POWER = 100


@runtime_checkable
class Loss(Protocol):
    """An elementwise loss with a proven lower bound.

    `formula` with `settings` after its arguments is ℓ for any backend.
    """

    formula: ClassVar[LossFormula]
    lower_bound: ClassVar[float]
    convex: ClassVar[bool]

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula."""
        ...

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """ℓ(z), same shape."""
        ...


@runtime_checkable
class VectorLoss(Protocol):
    """A convex loss of several outputs with a proven lower bound.

    `classifies`: targets are classes, and the largest output is the class that is told.
    `outputs_formula` is ℓ for any backend.
    """

    outputs_formula: ClassVar[OutputsFormula]
    lower_bound: ClassVar[float]
    convex: ClassVar[bool]
    classifies: ClassVar[bool]

    def of_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses (N, S) of outputs (C, N, S) for targets (C, N, 1)."""
        ...


LOSSES: Registry[Loss | VectorLoss] = Registry("loss")


@dataclass(frozen=True)
class _Formula:
    """What all losses share."""

    formula: ClassVar[LossFormula]
    on_tensors: ClassVar[Callable[..., torch.Tensor]]
    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True

    def __init_subclass__(cls, formula: str) -> None:
        cls.formula = LOSS_FORMULAS[formula]
        cls.on_tensors = staticmethod(bind(cls.formula.value, TORCH))

    @property
    def settings(self) -> tuple[float, ...]:
        """The constants of the formula, in the order of the fields."""
        return astuple(self)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """ℓ(z), same shape."""
        return type(self).on_tensors(z, *self.settings)


@LOSSES.add("hinge_power")
@dataclass(frozen=True)
class HingePower(_Formula, formula="hinge_power"):
    """max(z+1, 0)^p, 3 ≤ p ≤ 100 ([A] Assumption 1): twice differentiable; zero means separated."""

    p: int | float = 3

    def __post_init__(self) -> None:
        accepted = f"a number ≥ 3 and ≤ {LARGEST_POWER}"
        require(3 <= self.p <= LARGEST_POWER, "loss.p", self.p, accepted)


@LOSSES.add("logistic")
@dataclass(frozen=True)
class Logistic(_Formula, formula="logistic"):
    """log₂(1+e^z) ([B] Assumption 1)."""


@LOSSES.add("squared")
@dataclass(frozen=True)
class Squared(_Formula, formula="squared"):
    """(1+z)², which is (y−f)² because y = ±1; with several outputs ‖y−f‖² for targets y."""

    outputs_formula: ClassVar[OutputsFormula] = OUTPUTS_FORMULAS["squared"]
    classifies: ClassVar[bool] = False

    def of_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """‖y−f‖², (N, S)."""
        return _of_outputs(self.outputs_formula, outputs, targets)


@LOSSES.add("cross_entropy")
@dataclass(frozen=True)
class CrossEntropy:
    """−Σ_c y_c ln softmax(f)_c of several outputs, y the class as a unit vector ([C] eq. 6).

    Without a finite minimum where an affine map separates some of the classes.
    """

    outputs_formula: ClassVar[OutputsFormula] = OUTPUTS_FORMULAS["cross_entropy"]
    lower_bound: ClassVar[float] = 0.0
    convex: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def of_outputs(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The cross-entropies, (N, S)."""
        return _of_outputs(self.outputs_formula, outputs, targets)


def _of_outputs(
    formula: OutputsFormula, outputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Losses (N, S) of outputs (C, N, S) for targets (C, N, 1)."""
    value, joined = bind(formula.value, TORCH), bind(formula.joined, TORCH)
    normal = reduce(joined, outputs)
    terms = [value(f, y, normal) for f, y in zip(outputs, targets, strict=True)]
    total: torch.Tensor = sum(terms[1:], terms[0])
    return total
