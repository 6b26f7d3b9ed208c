"""Arms that are open because their steps ran out, in words, and whether more steps can help."""

from __future__ import annotations

import pandas as pd

from sweep.inference.summary import Summary
from sweep.report.numerals import number

LARGE = 0.5
"""Share of an arm, unresolved far from rest when its steps ran out, of which is spoken."""

_NAMED = 3


def unfinished_sentences(summary: Summary) -> list[str]:
    """What to try where the steps of half an arm and more ran out far from rest, unresolved.

    One sentence on the arms where more steps may help, one on those where all that came to rest by
    themselves are unresolved, too, so that no number of steps would; nothing where neither is.
    """
    large = summary.stops["cut_short_unresolved"] >= LARGE * summary.stops["n"]
    found = summary.stops[large].merge(summary.cells[["study", "cell", "setting"]])
    if found.empty:
        return []
    hopeless = (found["rested"] > 0) & (found["rested_unresolved"] == found["rested"])
    said = []
    if len(arms := found[~hopeless]):
        said.append(
            f"{_listed(arms)}; a larger stopping.max_steps is the thing to try, though no number "
            "of steps settles what the judge has no proof for."
        )
    if len(arms := found[hopeless]):
        rested = f"{arms['rested'].sum():,}"
        said.append(
            f"{_listed(arms)}; so are {rested} of {rested} that came to rest by themselves, which "
            "makes it unlikely that a larger stopping.max_steps settles them."
        )
    return [f"Unresolved, and far from rest when the steps ran out: {one}" for one in said]


def _listed(arms: pd.DataFrame) -> str:
    parts = [
        f"{row['arm']} {row['cut_short_unresolved']:,} of {row['n']:,} ({row['setting']}; median "
        f"‖∇F‖ {number(row['cut_short_grad_norm'])})"
        for row in arms.head(_NAMED).to_dict("records")
    ]
    more = len(arms) - _NAMED
    return ", ".join(parts) + (f" and {more:,} more" if more > 0 else "")
