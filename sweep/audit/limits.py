"""Where an escape leads: its limits beside the point, the proven bound and each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from sweep.audit.bounds import lower_bound
from sweep.audit.endings import is_share
from sweep.audit.findings import Audited
from sweep.audit.formulas import DataFormula
from sweep.audit.measures import Columns, over_members, values
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES

# A sum of N losses at the limit, relative.
SUMMED = 1e-9
# ℓ is convex on every point that costs something, with ℓ″ ≥ 1/4 where |yf| is small: a fall of
# 1e-9 in all moves no such output by more than 1e-3.
CLOSE = 1e-9
MOVES = 1e-3


def check_limits(points: Points, scaled: np.ndarray, on_path: np.ndarray, found: Audited) -> None:
    """Check `limit_*` of members of a network on data.

    `scaled` (S,) separate the data and are scaled up for ever; `on_path` (S,) shed their penalty
    on the exponential neuron's own path at least.
    """
    formula = points.formula
    assert isinstance(formula, DataFormula)
    value, error = values(formula, points.theta, points.lam)
    read = over_members(formula, _reader(formula), points.theta, points.lam)
    bound, n_data = lower_bound(formula)[0], len(formula.y)
    with np.errstate(invalid="ignore"):
        highest = np.where(on_path, value - read["penalty"], value) + ROUTES * error
    highest = np.where(scaled, 0.0, highest)
    for i, where in enumerate(points.where):
        limit, share, base = (
            float(points.limits[name][i])
            for name in ("limit_objective", "limit_error", "limit_error_base")
        )
        # Far out on a slide F no longer moves in float64, so that the limit may equal it.
        if not bound - 1e-12 * (1 + abs(bound)) <= limit <= highest[i] + 1e-12 * highest[i]:
            wanted = f"between the bound {bound!r} and {float(highest[i])!r}, below F"
            found.add(where, "limit_objective", _shown(limit), wanted)
            limit = float(np.nan_to_num(highest[i]))
        least, most = 0.0, limit * (1 + SUMMED) + SUMMED  # an error costs at least 1
        if not scaled[i] and highest[i] - limit <= CLOSE * (1 + limit):
            least, most = float(read["sure"][i]), min(most, float(read["possible"][i]))
        if not (is_share(share, n_data) and least <= round(share * n_data) <= most):
            wanted = f"from {least:g} to {most:g} of {n_data} data points"
            found.add(where, "limit_error", _shown(share), wanted)
        if not is_share(base, n_data):
            found.add(where, "limit_error_base", _shown(base), f"a share of {n_data} data points")
        elif (
            scaled[i] and not read["base_least"][i] <= round(base * n_data) <= read["base_most"][i]
        ):
            wanted = "what it is here, because scaling up keeps the signs"
            found.add(where, "limit_error_base", base, wanted)
        elif formula.n_base == points.theta.shape[1] and base != share:
            found.add(where, "limit_error_base", base, f"limit_error, {share!r}: nothing is added")


def _reader(
    formula: DataFormula,
) -> Callable[[torch.Tensor, torch.Tensor], Columns]:
    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        output, base = formula.base(point) + formula.added(point), formula.base(point)
        doubt = 1e-9 * (1 + base.abs().amax())
        zero = torch.zeros_like(strength)
        return {
            "penalty": formula.penalty(point, strength) - formula.penalty(point, zero),
            "sure": (formula.y * output <= -MOVES).sum(),
            "possible": (formula.y * output <= MOVES).sum(),
            "base_least": (formula.y * base <= -doubt).sum(),
            "base_most": (formula.y * base <= doubt).sum(),
        }

    return one


def _shown(value: float) -> float | None:
    return None if math.isnan(value) else value
