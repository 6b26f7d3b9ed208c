"""How training ended: by itself, or because its steps ran out, and who of either is unresolved.

What has stopped by itself and is unresolved has no proof where it is: more steps change nothing.
What ran out of steps far from rest may still be on its way.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical, floats
from sweep.verdicts import Outcome, Stop

STOP_COLUMNS = ("outcome", "stop", "final_grad_norm")
"""Columns of the rows that `stops` reads, besides the key."""

FAR = 1e-5
"""‖∇F‖ from which training is far from rest: a thousand times the default `stopping.gradient`."""

_BY = ["study", "cell", "arm"]
_RESTING = (Stop.GRADIENT, Stop.LOSS)


def stops(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per study × cell × arm, all draws together, sorted, of rows that carry `outcome`.

    Of `n` rows `rested` stopped by themselves, at a small gradient or loss, and `cut_short` at the
    limit of steps with ‖∇F‖ ≥ `FAR`; `rested_unresolved` and `cut_short_unresolved` of these are
    unresolved. `cut_short_grad_norm` is the median ‖∇F‖ of the latter where training stopped.
    """
    members = canonical(rows, STOP_COLUMNS)
    gradient = floats(members["final_grad_norm"])
    stop = members["stop"].astype(object).to_numpy()
    unresolved = (members["outcome"].astype(object) == Outcome.UNRESOLVED).to_numpy()
    rested = np.isin(stop, [str(reason) for reason in _RESTING])
    cut_short = (stop == str(Stop.STEPS)) & (gradient >= FAR)
    counted = {
        "n": np.ones(len(members), dtype=bool),
        "rested": rested,
        "rested_unresolved": rested & unresolved,
        "cut_short": cut_short,
        "cut_short_unresolved": cut_short & unresolved,
    }
    groups = members.groupby(_BY, observed=True, sort=True)
    found = groups.size().reset_index(name="n")[_BY].astype("string")
    group = groups.ngroup().to_numpy()
    for name, flags in counted.items():
        found[name] = np.bincount(group[flags], minlength=len(found))
    open_ = pd.Series(np.where(cut_short & unresolved, gradient, np.nan))
    found["cut_short_grad_norm"] = open_.groupby(group).median().to_numpy()
    return found
