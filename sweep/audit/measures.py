"""The numbers of a row, recomputed from its parameters, each with the range rounding allows.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members of one arm                                     θ (S, P), λ (S,)
======  =====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweep.audit.coercive_formula import CoerciveFormula
from sweep.audit.convolution_formula import ConvolutionFormula
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula, ModuleFormula
from sweep.audit.outputs import OutputsFormula
from sweep.audit.rounding import ROUTES, Traced, U, gradient_error, loss_error, roughness, trace

# Members mapped at once: their intermediate results stay within some tens of megabytes.
CHUNK = 256

Columns = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Range:
    """A recomputed column: its value and the ends of what rounding allows, (S,) each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_members(
    formula: DataFormula | LandscapeFormula,
    function: Callable[[torch.Tensor, torch.Tensor], Columns],
    theta: np.ndarray,
    lam: np.ndarray,
    at_once: int = CHUNK,
) -> dict[str, np.ndarray]:
    """What `function` (θ (P,), λ ()) gives for members (S, P), (S,): columns (S, …).

    A user's module may do what vmap cannot map: it is called one member after the other.
    """
    at_once = 1 if isinstance(formula, ModuleFormula) else at_once
    mapped = torch.func.vmap(function)
    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, len(theta), at_once):
        points = torch.as_tensor(theta[first : first + at_once])
        strengths = torch.as_tensor(lam[first : first + at_once])
        if at_once == 1:
            found = {k: v.unsqueeze(0) for k, v in function(points[0], strengths[0]).items()}
        else:
            found = mapped(points, strengths)
        parts.append({name: value.detach().numpy() for name, value in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def measure(
    formula: DataFormula | LandscapeFormula, theta: np.ndarray, lam: np.ndarray
) -> dict[str, Range]:
    """The row columns that follow from the parameters, by name."""

    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        value = formula.objective(point, strength)
        gradient = torch.func.grad(formula.objective)(point, strength).norm()
        size = point.norm()
        columns: dict[str, tuple[torch.Tensor, torch.Tensor]] = {
            "param_norm": (size, (len(point) + 4) * U * size)
        }
        error = _value_error(formula, point, strength, value)
        columns["judged_objective"] = (value, error)
        if isinstance(formula, LandscapeFormula):
            columns["judged_loss"] = (value, error)
            doubt = error * (1 + size) ** 2
            if isinstance(formula, OutputsFormula):
                doubt = doubt + formula.gradient_doubt(point)
            columns["judged_grad_norm"] = (gradient, doubt)
            found = _ranges(columns)
            if isinstance(formula, OutputsFormula):
                for name, ends in formula.columns(point).items():
                    found |= _named(name, *ends)
            return found
        traced = trace(formula, point)
        columns["judged_loss"] = (formula.losses(traced.full).sum(), error)
        noise = gradient_error(formula, point, strength, traced)
        columns["judged_grad_norm"] = (gradient, noise + (len(point) + 8) * U * gradient)
        found = _ranges(columns)
        found |= _errors(formula, traced)
        if formula.n_params > formula.n_base:
            active, doubt = traced.added.abs(), ROUTES * traced.added_error
            value = active.amax()
            found |= _named(
                "augment_activity", value, (active - doubt).amax(), (active + doubt).amax()
            )
        if isinstance(formula, MlpFormula):
            found |= _dead(formula, traced)
        if isinstance(formula, CoerciveFormula | ConvolutionFormula):
            found |= _named("dead_units", *formula.dead(point))
        return found

    columns = over_members(formula, one, theta, lam)
    names = dict.fromkeys(key.rpartition(":")[0] for key in columns)
    return {
        name: Range(*(columns[f"{name}:{end}"] for end in ("value", "low", "high")))
        for name in names
    }


def values(
    formula: DataFormula | LandscapeFormula, theta: np.ndarray, lam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """F of members (S, P) and a bound of its rounding error, (S,) each."""

    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        value = formula.objective(point, strength)
        return {"value": value, "error": _value_error(formula, point, strength, value)}

    found = over_members(formula, one, theta, lam)
    return found["value"], found["error"]


def _value_error(
    formula: DataFormula | LandscapeFormula,
    point: torch.Tensor,
    strength: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    if isinstance(formula, OutputsFormula):
        return formula.value_error(point)
    if isinstance(formula, LandscapeFormula):
        # A formula of a few operations on numbers of the size of F, θ and 1.
        return 64 * U * (1 + value.abs()) * (1 + point.square().sum().sqrt())
    traced = trace(formula, point)
    error = loss_error(formula, traced.full, traced.error)
    return error + (len(point) + 8) * U * formula.penalty_size(point, strength)


def _named(name: str, value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> Columns:
    return {f"{name}:value": value, f"{name}:low": low, f"{name}:high": high}


def _ranges(columns: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Columns:
    found: Columns = {}
    for name, (value, error) in columns.items():
        found |= _named(name, value, value - ROUTES * error, value + ROUTES * error)
    return found


def _errors(formula: DataFormula, traced: Traced) -> Columns:
    """Training errors; a point whose sign rounding may flip counts in one end only."""
    found: Columns = {}
    for name, output, error in (
        ("judged_error", traced.full, traced.error),
        ("judged_error_base", traced.base, traced.base_error),
    ):
        margin = formula.y * output
        counts = [
            (margin + shift <= 0).to(margin.dtype).mean()
            for shift in (0.0, ROUTES * error, -ROUTES * error)
        ]
        found |= _named(name, *counts)
    return found


def _dead(formula: MlpFormula, traced: Traced) -> Columns:
    """Units of the base network whose output is zero on all data."""
    counts = torch.zeros(3, dtype=formula.x.dtype)
    slopes = formula.activation.slopes
    layers = len(formula.widths)
    for z, error in zip(traced.z[:layers], traced.z_errors[:layers], strict=True):
        doubt = ROUTES * error
        h = formula.activation.value(z)
        surely = (h == 0) & (doubt == 0)
        if slopes is not None and slopes[0] == 0:
            surely = surely | (z + doubt <= 0)
        possibly = h.abs() <= formula.activation.moved(z, doubt) + ROUTES * roughness(formula, z)
        units = torch.stack([(h == 0).all(0), surely.all(0), (possibly | surely).all(0)])
        counts = counts + units.sum(1)
    return _named("dead_units", *counts)
