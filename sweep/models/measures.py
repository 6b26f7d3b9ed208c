"""What is measured at a point, member by member; axis letters as in `sweep.models.objective`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sweep.models.lanes import LANE, one_thread, to_lanes

# Lanes of one call: any multiple of LANE would do, this many keep the cost of calls low.
MEASURE_LANES = 4 * LANE


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures per member, (S,) each; None where a measure is not defined.

    `error` is the share of points with y·f̃ ≤ 0 (a zero output is an error), `error_base` the same
    for f; `loss` is Σ ℓ, `objective` adds the regularizers; `grad_norm` is ‖∇F‖₂;
    `augment_activity` is max over the data of |f̃−f|; `dead_units` counts hidden units.
    """

    loss: np.ndarray
    objective: np.ndarray
    grad_norm: np.ndarray
    param_norm: np.ndarray
    error: np.ndarray | None = None
    error_base: np.ndarray | None = None
    augment_activity: np.ndarray | None = None
    dead_units: np.ndarray | None = None


def norm(columns: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of every lane: (P, S) → (S,)."""
    return columns.square().sum(0).sqrt()


def value_and_grad(
    value_of: Callable[[torch.Tensor], torch.Tensor], theta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """F (S,) and ∇F (P, S) by autograd, detached: members are independent, so one pass does."""
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        value = value_of(point)
        # Not by grad_outputs=ones, with which torch imports SymPy: half a second of every process.
        (grad,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), grad


def measure_in_lanes(
    measure: Callable[[torch.Tensor, torch.Tensor | None], dict[str, torch.Tensor]],
    theta: np.ndarray,
    lam: np.ndarray | None,
    like: torch.Tensor,
) -> Measures:
    """Measures of members (S, P) with λ (S, M), a fixed number of lanes at a time.

    `measure` maps (P, MEASURE_LANES) to named columns; `like` gives device and type.
    """
    parts: list[dict[str, np.ndarray]] = []
    # An empty batch is measured once at zeros, for the names and types of the columns.
    rows = theta if len(theta) else np.zeros((1, theta.shape[1]))
    strengths = lam if lam is None or len(theta) else np.zeros((1, lam.shape[1]))
    with one_thread():
        for first in range(0, len(rows), MEASURE_LANES):
            part = slice(first, min(first + MEASURE_LANES, len(theta)))
            some = rows[first : first + MEASURE_LANES]
            few = None if strengths is None else strengths[first : first + MEASURE_LANES]
            found = measure(
                to_lanes(some, MEASURE_LANES, like),
                None if few is None else to_lanes(few, MEASURE_LANES, like),
            )
            count = part.stop - first
            parts.append({name: _column(value)[:count] for name, value in found.items()})
    return Measures(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _column(value: torch.Tensor) -> np.ndarray:
    array = value.detach().cpu().numpy()
    return array.astype(np.float64) if array.dtype == np.float32 else array
