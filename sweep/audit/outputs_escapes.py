"""Escapes of networks with several outputs: all classes told and scaled up, or a unit saturates.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, C    data points, outputs
f, e    outputs, bounds of their rounding errors               (N, C)
m       how far the own class is ahead of another              (N, C)
======  =====================================================  ==========

Along t·(output layer), t ≥ 1, a cross-entropy F = Σᵢ ln(1 + Σ e^{−t·m_ic}) falls towards 0 if every
m is positive. For units see `sweep.audit.outputs_saturation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from sweep.audit.findings import Audited
from sweep.audit.measures import Columns, over_members, values
from sweep.audit.outputs import OutputsFormula
from sweep.audit.outputs_saturation import slides
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES, U
from sweep.verdicts import Certificate

# Powers of two by which the output layer is scaled: the last makes of a lead of 1e-12 one of 1e7,
# which costs nothing any more.
DOUBLINGS = (1, 4, 16, 32, 64)
NOTHING = 1e-7
# Where a slide leads, relative to 1 + F: another unit's leads elsewhere by what is left to fall.
SAME = 1e-8


def check_outputs_escapes(points: Points, found: Audited) -> None:
    """Check rows of a network with several outputs that are said to escape."""
    formula = points.formula
    assert isinstance(formula, OutputsFormula)
    landscape, C = formula.landscape, formula.landscape.y.shape[1]
    free = landscape.classifies and C > 1 and landscape.weight_decay == 0
    ahead = over_members(formula, _reader(formula), points.theta, points.lam)
    told = free & (ahead["sure"] > 0)
    for i in np.flatnonzero(points.certificate != Certificate.RAY.value).tolist():
        name = points.certificate[i]
        found.add(points.where[i], "certificate", name, "nothing: not for several outputs")
    ray = points.certificate == Certificate.RAY.value
    _check_told(points.some(told & ray), ahead["possible"][told & ray], found)
    rest = points.some(~told & ray)
    for i in range(len(rest)):
        _check_slide(rest, i, found)


def _check_told(points: Points, possible: np.ndarray, found: Audited) -> None:
    """Members that tell every class."""
    if not len(points):
        return
    assert isinstance(points.formula, OutputsFormula)
    landscape = points.formula.landscape
    falls = _falls(points, landscape.y.shape[1] * (landscape.widths[-1] + 1))
    for i, where in enumerate(points.where):
        if not falls[i]:
            reason = f"F does not fall to 0 within {DOUBLINGS[-1]} doublings of the output layer"
            found.add(where, "certificate", points.certificate[i], reason)
        for name, column in points.limits.items():
            if column[i] != 0:
                found.add(where, name, _shown(column[i]), 0.0)
        if not 0 < points.margin[i] <= possible[i]:
            wanted = f"above 0 and at most {float(possible[i])!r}"
            found.add(where, "certificate_margin", _shown(points.margin[i]), wanted)


def _check_slide(points: Points, i: int, found: Audited) -> None:
    """A member of which a unit is said to saturate, and where that leads."""
    formula, where = points.formula, points.where[i]
    assert isinstance(formula, OutputsFormula)
    stored = {name: float(column[i]) for name, column in points.limits.items()}
    ways = list(slides(formula.landscape, points.theta[i]))
    if not ways:
        reason = "nothing: some class is not told, and no unit's saturation lowers F for ever"
        found.add(where, "certificate", points.certificate[i], reason)
        return
    (value,), (error,) = values(formula, points.theta[i : i + 1], points.lam[i : i + 1])
    limit, room = stored["limit_objective"], SAME * (1 + abs(value)) + ROUTES * error
    near = [way for way in ways if abs(way.objective - limit) <= room]
    if not (near and limit <= value + ROUTES * error):
        wanted = f"{ways[0].objective!r}, and no more than F, {float(value)!r}"
        found.add(where, "limit_objective", _shown(limit), wanted)
    shares = {way.error for way in near or ways} if formula.landscape.classifies else {math.nan}
    for name in ("limit_error", "limit_error_base"):
        same = [abs(stored[name] - share) < SAME or share != share for share in shares]
        if not any(same) or math.isnan(stored[name]) == formula.landscape.classifies:
            found.add(where, name, _shown(stored[name]), _shown(min(shares)))


def _reader(formula: OutputsFormula) -> Callable[[torch.Tensor, torch.Tensor], Columns]:
    """The least m of a member: as computed, and the ends of what rounding allows."""
    own = formula.landscape.y > 0

    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        f, e = formula.landscape.layers(point)[-1]
        m = torch.where(own, f, 0.0).sum(1, keepdim=True) - f
        room = torch.where(own, e, 0.0).sum(1, keepdim=True) + e + U * m.abs()
        found = {}
        for name, side in (("least", 0.0), ("sure", -ROUTES), ("possible", ROUTES)):
            found[name] = torch.where(own, math.inf, m + side * room).amin()
        return found

    return one


def _falls(points: Points, size: int) -> np.ndarray:
    """Members (S,) whose F does not rise at any doubling of the last `size` numbers, and ends at 0.

    Of the computed F, as far as rounding leaves it known.
    """
    before, before_error = values(points.formula, points.theta, points.lam)
    falls = np.ones(len(points), dtype=bool)
    for k in DOUBLINGS:
        moved = points.theta.copy()
        moved[:, -size:] *= 2.0**k
        there, there_error = values(points.formula, moved, points.lam)
        falls &= there <= before + ROUTES * (before_error + there_error)
        before, before_error = there, there_error
    return np.asarray(falls & (before <= NOTHING))


def _shown(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
