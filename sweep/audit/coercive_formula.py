"""ReQU and quadratic networks with the coercive regularizer ([B] eq. 4), for one member.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
m, D    neurons, input dimension
a, v    output weights, (w_j, b_j)                             (m,), (m, D+1)
λ       strengths, one per neuron                              (m,)
======  =====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.elementwise import NoSecondRouteError, loss_of
from sweep.audit.formulas import DataFormula, LandscapeFormula, formula_of
from sweep.problems import Data, Landscape
from sweep.spec import Arm, Cell

#: Models of this kind, and whether their square is rectified.
MODELS = {"requ": True, "quadratic": False}
#: The regularizer of every model of [B].
REGULARIZERS = {"requ": "coercive", "quadratic": "coercive", "convolution": "convolution"}
U = 2.0**-53


@dataclass(frozen=True, eq=False)
class CoerciveFormula(DataFormula):
    """F of f = Σⱼ aⱼ σ(vⱼ·x̃), σ a square, `rectified` or not, with or without regularizer."""

    width: int
    rectified: bool
    regularised: bool

    def parts(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of θ (P,): a (m,), v (m, D+1)."""
        inner = self.width * self.x.shape[1]
        weights = theta[:inner].reshape(self.width, -1)
        v = torch.cat([weights, theta[inner : inner + self.width, None]], dim=1)
        return theta[inner + self.width :], v

    def joined(self, a: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """θ again, of neurons a (k,), v (k, D+1)."""
        return torch.cat([v[:, :-1].reshape(-1), v[:, -1], a])

    def seen(self, v: torch.Tensor) -> torch.Tensor:
        """Preactivations v·x̃, (k, N)."""
        return v[:, :-1] @ self.x.T + v[:, -1:]

    def output(self, a: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The f of some neurons, (N,)."""
        t = self.seen(v)
        return a @ (torch.clamp(t, min=0.0) if self.rectified else t) ** 2

    def base(self, theta: torch.Tensor) -> torch.Tensor:
        """The network's f, (N,)."""
        return self.output(*self.parts(theta))

    def base_error(self, theta: torch.Tensor) -> torch.Tensor:
        """A bound of the rounding error of f, (N,)."""
        a, v = self.parts(theta)
        e_t = (v.shape[1] + 2) * U * (v.abs()[:, :-1] @ self.x.abs().T + v.abs()[:, -1:])
        t = self.seen(v).abs() + e_t
        size = a.abs()[:, None] * t**2
        return (2 * a.abs()[:, None] * t * e_t + (self.width + 6) * U * size).sum(0)

    def dead(self, theta: torch.Tensor) -> torch.Tensor:
        """Neurons with output zero on all data: as computed, surely, possibly, (3,)."""
        v = self.parts(theta)[1]
        t = self.seen(v)
        doubt = (v.shape[1] + 2) * U * (v.abs()[:, :-1] @ self.x.abs().T + v.abs()[:, -1:])
        zero = (v == 0).all(1)
        off = (t <= 0) if self.rectified else (t == 0)
        # A square below the least float64 is zero too.
        near = t - 2 * doubt <= 1e-160 if self.rectified else t.abs() <= 2 * doubt + 1e-160
        surely = zero | (t + 2 * doubt <= 0).all(1) if self.rectified else zero
        counts = torch.stack([off.all(1), surely, zero | near.all(1)])
        return counts.sum(1).to(theta.dtype)

    def penalty_of(self, a: torch.Tensor, v: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """(1/3)·Σⱼ λⱼ[|aⱼ|³ + 2‖vⱼ‖³], a scalar."""
        return (lam * (a.abs() ** 3 + 2 * (v**2).sum(1) ** 1.5)).sum() / 3

    def penalty(self, theta: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What F adds to the loss, a scalar."""
        total = torch.zeros_like(theta[0])
        if self.weight_decay:
            total = total + self.weight_decay * (theta**2).sum() / 2
        if self.regularised:
            total = total + self.penalty_of(*self.parts(theta), lam)
        return total


def any_formula(cell: Cell, arm: Arm, source: Data | Landscape) -> DataFormula | LandscapeFormula:
    """The objective of one arm of a cell; `NoSecondRouteError` if a part of it is unknown here."""
    name = cell.model.name
    if not isinstance(source, Data) or name not in REGULARIZERS:
        return formula_of(cell, arm, source)
    if arm.augment.name != "none":
        raise NoSecondRouteError(
            f"the augmentation '{arm.augment.name}' of such a network has no second route."
        )
    if arm.regularizer.name not in ("none", REGULARIZERS[name]):
        raise NoSecondRouteError(f"the regularizer '{arm.regularizer.name}' has no second route.")
    settings, D = cell.model.settings, source.x.shape[1]
    width = int(settings["width"])
    shared: dict[str, Any] = {
        "x": torch.as_tensor(source.x, dtype=torch.float64),
        "y": torch.as_tensor(source.y, dtype=torch.float64),
        "loss": loss_of(cell.loss),
        "weight_decay": arm.weight_decay,
        "exponential": False,
        "extra": 0,
        "penalised": False,
        "degree": 0,
        "layered": False,
        "width": width,
    }
    regularised = arm.regularizer.name != "none"
    if name in MODELS:
        return CoerciveFormula(
            **shared,
            n_base=width * (D + 2),
            rectified=MODELS[name],
            regularised=regularised,
        )
    filters, length = int(settings["layers"]) - 1, int(settings["filter"])
    strength = float(arm.regularizer.settings.get("lambda_c", 1.0))
    return ConvolutionFormula(
        **shared,
        n_base=filters * length + width * (D + filters * (length - 1) + 2),
        filters=filters,
        length=length,
        slope=float(settings["negative_slope"]),
        strength=strength if regularised else None,
    )


def strengths_of(cell: Cell, arm: Arm) -> int:
    """How many λ a member of the arm has: one per neuron under the regularizers of [B]."""
    per_neuron = REGULARIZERS.get(cell.model.name) == arm.regularizer.name
    return int(cell.model.settings["width"]) if per_neuron else 1
