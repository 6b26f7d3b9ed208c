"""What the usual count, "training ended with an error above 0", is made of.

The usual count calls every such end a bad minimum; the judge says what it is. In an augmented arm
the opposite mistake is possible too: an error of 0 that is the added neuron's work, while the base
network, which is what a theorem speaks of, still errs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inference.canonical import canonical, floats
from sweep.inference.frequencies import OUTCOMES
from sweep.verdicts import Outcome

NAIVE_COLUMNS = ("outcome", "final_error", "final_error_base")
"""Columns of the rows that `naive` reads, besides the key."""

_BY = ["study", "cell", "arm"]


def naive(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per study × cell × arm, all draws together, sorted, of rows that carry `outcome`.

    `n` rows, of which `n_finite` ended with a finite error (a failed member has none, an objective
    without data has none either). Of those, `naive_bad` ended with an error above 0, which splits
    into one count per outcome with the prefix `naive_`; `zero_error` ended with error 0,
    `zero_by_neuron` of them with a base network that errs. `bad_missed` counts certified bad
    minima that are not among the `naive_bad`.
    """
    members = canonical(rows, NAIVE_COLUMNS)
    error, base = floats(members["final_error"]), floats(members["final_error_base"])
    finite = np.isfinite(error)
    above, zero = finite & (error > 0), finite & (error == 0)
    outcome = pd.Categorical(members["outcome"], OUTCOMES).codes
    counted = {
        "n": np.ones(len(members), dtype=bool),
        "n_finite": finite,
        "naive_bad": above,
        **{f"naive_{name}": above & (outcome == code) for code, name in enumerate(OUTCOMES)},
        "zero_error": zero,
        "zero_by_neuron": zero & (base > 0),
        "bad_missed": ~above & (outcome == OUTCOMES.index(Outcome.BAD_MINIMUM)),
    }
    groups = members.groupby(_BY, observed=True, sort=True)
    found = groups.size().reset_index(name="n")[_BY].astype("string")
    group = groups.ngroup().to_numpy()
    for name, flags in counted.items():
        found[name] = np.bincount(group[flags], minlength=len(found))
    return found
