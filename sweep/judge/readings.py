"""What the judge reads off at a point: objective, outputs, and how far rounding can be trusted.

Members are read a fixed number of lanes at a time, so that a reading never depends on a member's
neighbours (see `sweep.models.lanes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sweep.judge.numerics.rounding import SAFETY, UNDERFLOW, network_errors, output_errors
from sweep.judge.numerics.roundoff import UNIT
from sweep.models.lanes import one_thread, to_lanes
from sweep.models.measures import MEASURE_LANES
from sweep.models.objective import DataObjective
from sweep.models.vector import VectorObjective

# Members read together; the judge works in blocks of this size so that (N, S) stays small.
BLOCK = MEASURE_LANES


@dataclass(frozen=True, eq=False)
class Reading:
    """What S ≤ BLOCK members give at their points.

    `objective` (S,) is F. `margin`, `margin_base` (S,) are min over the data of y·f̃ and y·f as
    computed; `sure`, `sure_base` (S,) the same minus the rounding error they can have: a positive
    number proves that the network separates the data. Where the network's inside is unknown no
    rounding error is known, and `sure` is the computed margin itself (`rounding` False). `doubt`
    (S,) bounds the rounding error of F, as far as that of the outputs is known.
    """

    objective: np.ndarray
    margin: np.ndarray
    margin_base: np.ndarray
    sure: np.ndarray
    sure_base: np.ndarray
    rounding: bool
    doubt: np.ndarray


def read(objective: DataObjective, params: np.ndarray, lam: np.ndarray | None) -> Reading:
    """The reading of members (S, P), S ≤ BLOCK, with λ (S, M)."""
    count = len(params)
    with one_thread(), torch.no_grad():
        theta = to_lanes(params, BLOCK, objective.x)
        strengths = None if lam is None else to_lanes(lam, BLOCK, objective.x)
        value = objective.value(theta, strengths)
        base, full = objective.outputs(theta)
        errors = output_errors(objective, theta)
        y = objective.y.unsqueeze(1)
        least, least_base = y * full, y * base
        sure, sure_base = least, least_base
        if errors is not None:
            sure, sure_base = least - errors[1], least_base - errors[0]
        doubt = SAFETY * (objective.n_data + 8) * UNIT * value.abs()
        if errors is not None:
            doubt = doubt + _moved_loss(objective, -least, errors[1])
        columns = [value, least.amin(0), least_base.amin(0), sure.amin(0), sure_base.amin(0), doubt]
        numbers = torch.stack(columns).cpu().numpy()[:, :count]
    return Reading(
        objective=numbers[0],
        margin=numbers[1],
        margin_base=numbers[2],
        sure=numbers[3],
        sure_base=numbers[4],
        rounding=errors is not None,
        doubt=numbers[5],
    )


def leads(objective: VectorObjective, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each own class is ahead, the least over points and other classes, (S,) each.

    For members (S, P), S ≤ BLOCK: as computed, and less the rounding error it can have. A positive
    second number proves that every point's own class has the largest output alone.
    """
    with one_thread(), torch.no_grad():
        theta = to_lanes(params, BLOCK, objective.x)
        f, y = objective.outputs(theta), objective.targets
        error = network_errors(objective.network, theta, objective.x)
        # y has a single one: these sums round nothing.
        ahead, doubt = (y * f).sum(0) - f, (y * error).sum(0) + error
        sure = ahead - doubt - (UNIT * ahead.abs() + UNDERFLOW)
        least = [torch.where(y > 0, torch.inf, some).amin((0, 1)) for some in (ahead, sure)]
        numbers = torch.stack(least).cpu().numpy()[:, : len(params)]
    return numbers[0], numbers[1]


def _moved_loss(objective: DataObjective, z: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """How far Σℓ(z) can lie from its computed value, (S,), if each z (N, S) errs by `error`.

    ℓ is convex: on an interval it differs most from its middle at an end.
    """
    here = objective.loss(z)
    ends = [(objective.loss(z + side * error) - here).abs() for side in (1.0, -1.0)]
    return torch.maximum(*ends).sum(0)
