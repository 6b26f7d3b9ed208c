"""A lower bound of F over all networks, found numerically ([A] Prop. 2).

Data points at the same place get the same output t, whatever the network, so together they cost at
least min_t [n₊ℓ(−t) + n₋ℓ(t)]. The minimum of that convex function of one number is searched.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from sweep.audit.formulas import DataFormula

# Minima of all three losses lie between the labels' own log-odds; 60 exceeds the log-odds of any
# counts that fit into a memory.
WIDEST = 60.0


def lower_bound(formula: DataFormula) -> tuple[float, dict[int, float]]:
    """The bound, and the outputs it asks for at one data point of each place with both labels.

    For squared loss every place has such an output.
    """
    counts: dict[tuple[float, ...], Counter[float]] = {}
    first: dict[tuple[float, ...], int] = {}
    for i, (x, y) in enumerate(zip(formula.x.tolist(), formula.y.tolist(), strict=True)):
        place = tuple(value + 0.0 for value in x)  # −0.0 becomes 0.0
        counts.setdefault(place, Counter())[y] += 1
        first.setdefault(place, i)
    total, wanted = 0.0, {}
    for place, labels in counts.items():
        if len(labels) == 2 or formula.loss.name == "squared":
            found = minimize_scalar(
                lambda t, labels=labels: _cost(formula, labels, t),
                bounds=(-WIDEST, WIDEST),
                method="bounded",
                options={"xatol": 1e-12},
            )
            total += float(found.fun)
            wanted[first[place]] = float(found.x)
    return total, wanted


def _cost(formula: DataFormula, labels: Counter[float], t: float) -> float:
    z = torch.tensor([-label * t for label in labels], dtype=torch.float64)
    each = formula.loss.value(z).numpy()
    return float(np.dot(each, list(labels.values())))
