"""What a solved limit problem hands to the judge, and how its α becomes a and b.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
P       parameters of one member, (a, w, b) last                   θ̃ (P,)
α       a·eᵇ
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweep.verdicts import Certificate

# λa²/2 at a stored point, as a share of G: below the rounding of F.
UNSEEN = 1e-17


@dataclass(frozen=True, eq=False)
class Proof:
    """That a minimum of the limit problem lies within `radius` of the first of the points."""

    certificate: Certificate
    radius: float
    margin: float
    flat: int
    evidence: dict[str, Any]


@dataclass(frozen=True, eq=False)
class End:
    """Where one member's limit problem ended.

    `points` are the θ̃ (P,) to store, best first; of those of a network that `separates` at the
    limit the first that is seen to separate the data counts. `evidence` is empty where nothing
    is settled, and then `objective`, `error`, `error_base` (at the limit) say nothing. `finite`:
    α and w have not gone to infinity; then `minimum` may prove one, of F too if λ = 0.
    """

    points: list[np.ndarray]
    separates: bool
    steps: int
    finite: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)
    objective: float = np.nan
    error: float = np.nan
    error_base: float = np.nan
    certificate: Certificate = Certificate.CHART
    minimum: Proof | None = None


def split_alpha(
    sign: float, log_alpha: float, before: float, objective: float, lam: float
) -> tuple[float, float]:
    """(a, b) of α = sign·e^{log_alpha}: the a of `before`, but so small that λa²/2 is not seen.

    With λ = 0 any a will do.
    """
    size = abs(before) if before != 0 else 1.0
    if lam > 0:
        size = min(size, float(np.sqrt(2 * UNSEEN * max(objective, UNSEEN) / lam)))
    return sign * size, log_alpha - float(np.log(size))
