"""A claim that is asked cell by cell: what the findings of the cells say together.

Of K cells m are asked for. Ranked from the best (holds, undecided, does not hold; within these by
how far the interval keeps the bounds) the m-th is the one that *decides*: the claim holds, fails or
stays open as that cell does. Its interval is what stands behind the answer; it is that of one cell,
not of the rank, and covers with 95 % by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweep.inference.answers import Finding, Status
from sweep.inference.claims import Expectation

EXAMPLES = 3
"""Keys of contradicting rows that a finding names."""

_RANK = (Status.HOLDS, Status.UNDECIDED, Status.FAILS)


def together(asked: Expectation, parts: Sequence[Finding]) -> Finding:
    """The finding on as many cells as `asked` needs, from one per cell, in the order of the cells.

    `low` and `high` are those of the cell that decides, the first one among equals; NaN where there
    are fewer cells than are needed, which leaves the claim undecided.
    """
    needed = len(parts) if asked.cells == "each" else int(asked.cells or 0)
    ranked = sorted(parts, key=_rank)
    deciding = ranked[needed - 1] if 1 <= needed <= len(ranked) else None
    holds = sum(part.status is Status.HOLDS for part in parts)
    failing = [part for part in parts if part.status is Status.FAILS]
    return Finding(
        asked,
        Status.UNDECIDED if deciding is None else deciding.status,
        f"in {holds} of {len(parts)} cells: " + "; ".join(part.observed for part in parts),
        sum(part.rows for part in parts),
        *((np.nan, np.nan) if deciding is None else (deciding.low, deciding.high)),
        contradictions=sum(part.contradictions for part in failing),
        examples=tuple(key for part in failing for key in part.examples)[:EXAMPLES],
    )


def _rank(part: Finding) -> tuple[int, float]:
    """Small for the best: by status, then by how far the interval is inside the bounds."""
    asked = part.expectation
    room = [part.low - asked.at_least] if asked.at_least is not None else []
    room += [asked.at_most - part.high] if asked.at_most is not None else []
    inside = min(room, default=np.nan)
    return _RANK.index(part.status), np.inf if np.isnan(inside) else -inside
