"""Plain descent in small steps: where F leads from a point, by no code of the judge's.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members                                                θ (S, P)
ρ       length of each one's next step                         (S,)
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.formulas import DataFormula
from sweep.audit.measures import Columns, over_members

STEPS = 120
# First and longest step, whatever ‖θ‖: a longer one may carry a steep unit across a data point.
FIRST, LONGEST = 1e-4, 1e-2
# A step that falls is followed by one twice as long, one that does not by one a quarter as long.
LONGER, SHORTER = 2.0, 0.25


def descended(formula: DataFormula, theta: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Where normalised gradient steps with backtracking lead members (S, P); F never rises."""

    def both(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        gradient, value = torch.func.grad_and_value(formula.objective)(point, strength)
        return {"gradient": gradient, "value": value}

    here, length = theta.copy(), np.full(len(theta), FIRST)
    at = over_members(formula, both, here, lam)
    for _ in range(STEPS):
        size = np.linalg.norm(at["gradient"], axis=1)
        size = np.where(np.isfinite(size) & (size > 0), size, np.inf)
        trial = here - (length / size)[:, None] * np.nan_to_num(at["gradient"])
        there = over_members(formula, both, trial, lam)
        falls = there["value"] < at["value"]
        here[falls] = trial[falls]
        for name, column in at.items():
            column[falls] = there[name][falls]
        length = np.minimum(length * np.where(falls, LONGER, SHORTER), LONGEST)
    return here
