"""Networks with several outputs, written down plainly for one member.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, D    data points, input dimension                           x (N, D)
C       outputs                                                y (N, C)
P       parameters of one member                               θ (P,)
f, e    outputs, bounds of their rounding errors               (N, C)
q       ∂F/∂f                                                  (N, C)
F       Σᵢ ‖fᵢ − yᵢ‖², or the sum of cross-entropies; plus (weight decay/2)·‖θ‖²
======  =====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sweep.audit.elementwise import Activation, activation_of
from sweep.audit.first_order import NEAR_KINK
from sweep.audit.formulas import LandscapeFormula
from sweep.audit.rounding import FUNCTION, ROUTES, U, near_a_kink, sum_error
from sweep.problems import Data
from sweep.spec import Arm, Cell


@dataclass(frozen=True, eq=False)
class OutputsLandscape:
    """F as a function of θ."""

    x: torch.Tensor
    y: torch.Tensor
    classifies: bool
    widths: tuple[int, ...]
    activation: Activation
    weight_decay: float
    lower_bound: float | None = None
    start_deviation: float = 1.0
    digest: str = ""

    @property
    def n_params(self) -> int:
        """P."""
        fans = (self.x.shape[1], *self.widths)
        ends = (*self.widths, self.y.shape[1])
        return sum(k * (h + 1) for h, k in zip(fans, ends, strict=True))

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """F of one member (P, 1), (1,)."""
        point = theta[:, 0]
        loss = self.losses(self.layers(point)[-1][0]).sum()
        return (loss + self.weight_decay * point.square().sum() / 2).unsqueeze(0)

    def layers(self, theta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Preactivations of every layer and bounds of their errors, the outputs last."""
        h, error, position = self.x, torch.zeros_like(self.x), 0
        found = []
        for width in (*self.widths, self.y.shape[1]):
            middle = position + width * h.shape[1]
            weight = theta[position:middle].reshape(width, h.shape[1])
            bias = theta[middle : middle + width]
            found.append((h @ weight.T + bias, sum_error(h, weight, bias, error)))
            z, z_error = found[-1]
            h = self.activation.value(z)
            share, offset = self.activation.rough
            error = self.activation.moved(z, z_error)
            error = error + FUNCTION * (h.abs() + share * z.abs() + offset)
            position = middle + width
        return found

    def outgoing(self, theta: torch.Tensor) -> torch.Tensor:
        """The output weights (C, H) of one hidden layer."""
        (width,), count = self.widths, self.y.shape[1]
        first = width * (self.x.shape[1] + 1)
        return theta[first : first + count * width].reshape(count, width)

    def losses(self, f: torch.Tensor) -> torch.Tensor:
        """The loss of every point, (N,)."""
        if self.classifies:
            return -(self.y * torch.log_softmax(f, dim=1)).sum(1)
        return (f - self.y).square().sum(1)


@dataclass(frozen=True, eq=False)
class OutputsFormula(LandscapeFormula):
    """The objective of a network with several outputs: to the audit, a landscape with errors."""

    landscape: OutputsLandscape

    def value_error(self, point: torch.Tensor) -> torch.Tensor:
        """A bound of the rounding error of F, a scalar."""
        f, e = self.landscape.layers(point)[-1]
        size = self.landscape.losses(f)
        if self.landscape.classifies:
            # Shares of classes differ from the target by at most 2 in sum.
            moved = 2 * e.amax(1) + FUNCTION * (f.abs().amax(1) + f.shape[1])
        else:
            moved = (2 * (f - self.landscape.y).abs() * e + e.square()).sum(1)
            moved = moved + FUNCTION * (f.abs() + self.landscape.y.abs()).square().sum(1)
        rounded = (len(f) + 8) * U * size.sum() + FUNCTION * size.sum()
        return moved.sum() + rounded + self.landscape.weight_decay * U * point.square().sum()

    def gradient_doubt(self, point: torch.Tensor) -> torch.Tensor:
        """How far rounding can move ∇F by the side of a kink that a unit is taken to be on."""
        landscape = self.landscape
        *hidden, (f, _) = landscape.layers(point)
        if len(hidden) != 1 or not landscape.activation.kinks:
            return torch.zeros((), dtype=f.dtype)
        z, error = hidden[0]
        near = near_a_kink(landscape.activation, z, error)
        q = torch.func.grad(lambda output: landscape.losses(output).sum())(f)
        jump = max(landscape.activation.between) - min(landscape.activation.between)
        lengths = torch.sqrt(1 + landscape.x.square().sum(1, keepdim=True))
        pulls = (q @ landscape.outgoing(point)).abs() * lengths * jump
        return torch.where(near, pulls, torch.zeros_like(pulls)).sum()

    def columns(self, point: torch.Tensor) -> dict[str, tuple[torch.Tensor, ...]]:
        """Loss, errors and dead units of one member: value, least and largest that rounding allows.

        Errors only where targets are classes.
        """
        *hidden, (f, e) = self.landscape.layers(point)
        loss, doubt = self.landscape.losses(f).sum(), ROUTES * self.value_error(point)
        found: dict[str, tuple[torch.Tensor, ...]] = {
            "judged_loss": (loss, loss - doubt, loss + doubt)
        }
        dead = torch.zeros(3, dtype=f.dtype)
        for z, error in hidden:
            h = self.landscape.activation.value(z)
            share, offset = self.landscape.activation.rough
            rough = FUNCTION * (share * z.abs() + offset)
            room = ROUTES * (self.landscape.activation.moved(z, error) + rough)
            surely = (h == 0) & (z.abs() > ROUTES * error)
            units = torch.stack([(h == 0).all(0), surely.all(0), (h.abs() <= room).all(0)])
            units[2] = units[2] | units[0]
            dead = dead + units.sum(1)
        found["dead_units"] = tuple(dead)
        if self.landscape.classifies:
            own = (f * self.landscape.y).sum(1)
            others = torch.where(self.landscape.y > 0, -math.inf, f).amax(1)
            room = 2 * ROUTES * e.amax(1)
            shares = [(own - others + s <= 0).to(f.dtype).mean() for s in (0.0, room, -room)]
            found["judged_error"] = found["judged_error_base"] = tuple(shares)
        return found


def outputs_formula(cell: Cell, arm: Arm, source: Data) -> OutputsFormula:
    """The objective of an arm whose problem has several targets or classes."""
    given = cell.model.settings["width"]
    return OutputsFormula(
        OutputsLandscape(
            torch.as_tensor(source.x, dtype=torch.float64),
            torch.as_tensor(source.y, dtype=torch.float64),
            cell.loss.name == "cross_entropy",
            (given,) if isinstance(given, int) else tuple(given),
            activation_of(cell.model.settings["activation"]),
            arm.weight_decay,
        )
    )


def one_piece(activation: Activation, z: torch.Tensor, error: torch.Tensor) -> tuple[bool, bool]:
    """Whether a layer's units (N, K) are each inside one piece for all data, and all in flat ones.

    Beyond doubt: no preactivation may be on the other side of a kink by its rounding error, nor by
    a move of a millionth.
    """
    slopes = activation.between
    if len(set(slopes)) == 1:
        return True, False
    piece = torch.stack([(z > t).to(torch.int64) for t in activation.kinks]).sum(0)
    doubt = torch.maximum(error, NEAR_KINK * z.abs().amax(0).clamp(min=1.0))
    same = not bool(near_a_kink(activation, z, doubt).any()) and bool((piece == piece[0]).all())
    return same, same and all(slopes[k] == 0 for k in piece[0].tolist()) if len(z) else False


def outputs_slope(formula: OutputsFormula, theta: np.ndarray) -> tuple[float, float]:
    """‖Σ qᵢx̃ᵢᵀ‖ and what it may be compared with; NaN where a unit is not inside one piece."""
    landscape = formula.landscape
    *hidden, (f, _) = landscape.layers(torch.as_tensor(theta))
    pieces = [one_piece(landscape.activation, z, e) for z, e in hidden]
    output = f.detach().requires_grad_()
    (slope,) = torch.autograd.grad(landscape.losses(output).sum(), output)
    q = slope.numpy()
    x = np.column_stack([landscape.x.numpy(), np.ones(len(q))])
    scale = float(np.linalg.norm(q, axis=1) @ np.linalg.norm(x, axis=1))
    constant = any(flat for _, flat in pieces)
    served = bool(landscape.activation.between) and not landscape.weight_decay
    if not served or not (constant or all(inside for inside, _ in pieces)):
        return math.nan, scale
    if constant:
        return float(np.linalg.norm(q.sum(axis=0))), scale
    return float(np.linalg.norm(q.T @ x)), scale
