"""Escapes of networks with several outputs: a cross-entropy whose classes are all told, scaled up.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, C    data points, outputs
f, e    outputs, bounds of their rounding errors               (N, C)
m       how far the own class is ahead of another              (N, C)
======  =====================================================  ==========

Along t·(output layer), t ≥ 1, F = Σᵢ ln(1 + Σ e^{−t·m_ic}) falls towards 0 if every m is positive,
and nothing else is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from sweep.audit.findings import Audited
from sweep.audit.measures import Columns, over_members, values
from sweep.audit.outputs import OutputsFormula
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES, U
from sweep.verdicts import Certificate

# Powers of two by which the output layer is scaled: the last makes of a lead of 1e-12 one of 1e7,
# which costs nothing any more.
DOUBLINGS = (1, 4, 16, 32, 64)
NOTHING = 1e-7


def check_outputs_escapes(points: Points, found: Audited) -> None:
    """Check rows of a network with several outputs that are said to escape."""
    formula = points.formula
    assert isinstance(formula, OutputsFormula)
    landscape, C = formula.landscape, formula.landscape.y.shape[1]
    free = landscape.classifies and C > 1 and landscape.weight_decay == 0
    ahead = over_members(formula, _reader(formula), points.theta, points.lam)
    falls = _falls(points, landscape.widths[-1] * C + C)
    for i, where in enumerate(points.where):
        reason = None
        if points.certificate[i] != Certificate.RAY.value or not free:
            reason = "nothing: scaling up does not lower F for ever"
        elif not ahead["sure"][i] > 0:
            reason = f"a class that is ahead by {float(ahead['least'][i])!r}, not beyond rounding"
        elif not falls[i]:
            reason = f"F does not fall to 0 within {DOUBLINGS[-1]} doublings of the output layer"
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)
        for name, column in points.limits.items():
            if column[i] != 0:
                found.add(where, name, _shown(column[i]), 0.0)
        if not 0 < points.margin[i] <= ahead["possible"][i]:
            wanted = f"above 0 and at most {float(ahead['possible'][i])!r}"
            found.add(where, "certificate_margin", _shown(points.margin[i]), wanted)


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
