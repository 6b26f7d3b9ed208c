"""What became of training, and the error it leads to: of f̃, with its augmentation, and of f alone.

A verdict is about F, the objective of f̃. Theorems speak of the errors of the base network f as
well, and where descent slides to infinity the two part: in the limit f̃ may err nowhere by the
neuron's work alone. So the same rows are counted twice, with the errors of either network.

======  ===================================================================
symbol  meaning
======  ===================================================================
n       rows of a group, failed ones among them
k       those that have a fate
u       those that may have it: unresolved ones, and global minima or escapes
        of which the error is not known
======  ===================================================================

A share lies between k/n and (k+u)/n. Its interval covers both and counts seeds, as that of the
frequency of bad minima does (`sweep.inference.frequencies`). u = 0 for `unresolved` and `failed`.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import canonical, floats
from sweep.inference.frequencies import LEVELS, OUTCOMES, outcome_codes, two_ends
from sweep.verdicts import Outcome


class Fate(StrEnum):
    """An outcome; global minima and escapes with the error of a network there, or at the limit."""

    GLOBAL_ZERO_ERROR = "global_minimum_zero_error"
    GLOBAL_WITH_ERROR = "global_minimum_with_error"
    GLOBAL_UNKNOWN_ERROR = "global_minimum_unknown_error"
    GOOD_MINIMUM = "good_minimum"
    BAD_MINIMUM = "bad_minimum"
    SADDLE = "saddle"
    ESCAPING_ZERO_ERROR = "escaping_zero_error"
    ESCAPING_WITH_ERROR = "escaping_with_error"
    ESCAPING_UNKNOWN_ERROR = "escaping_unknown_error"
    UNRESOLVED = "unresolved"
    FAILED = "failed"


class Network(StrEnum):
    """Whose errors are meant: those of f̃ or, without the augmentation, of f."""

    AUGMENTED = "augmented"
    BASE = "base"


FATES = tuple(str(fate) for fate in Fate)
"""The fates in the order in which the table has them."""

_ERRORS = {
    Network.AUGMENTED: ("judged_error", "limit_error"),
    Network.BASE: ("judged_error_base", "limit_error_base"),
}
"""Network → columns of its error at the judged point and at the limit of an escape."""

FATE_COLUMNS = ("outcome", "augment_activity", *_ERRORS[Network.AUGMENTED], *_ERRORS[Network.BASE])
"""Columns of the rows that `fates` reads, besides the key."""

_SPLIT = {
    "global_minimum": (Fate.GLOBAL_ZERO_ERROR, Fate.GLOBAL_WITH_ERROR, Fate.GLOBAL_UNKNOWN_ERROR),
    "escaping": (Fate.ESCAPING_ZERO_ERROR, Fate.ESCAPING_WITH_ERROR, Fate.ESCAPING_UNKNOWN_ERROR),
}
"""What the error divides: its fates with error 0, with an error, with none that is known."""

_ESCAPES = (Outcome.ESCAPING_GOOD, Outcome.ESCAPING_BAD)

_OF_GROUP = [
    *("level", "study", "cell", "arm", "draw", "lam"),
    *("n", "n_seeds", "n_effective", "confidence", "method"),
]
_ORDER = [
    *("level", "study", "cell", "arm", "draw", "lam", "network", "fate"),
    *("n", "n_seeds", "n_effective", "count", "share", "share_upper"),
    *("interval_low", "interval_high", "confidence", "method"),
]


def fates(rows: pd.DataFrame, frequencies: pd.DataFrame) -> pd.DataFrame:
    """One row per group of `frequencies`, network and fate, of rows that carry `outcome`.

    `frequencies` are those of the same rows; `level study cell arm draw lam n n_seeds n_effective
    confidence method` of a group are theirs. `network` is "augmented" (f̃) or "base" (f); an arm
    that adds nothing, so that f̃ = f, or none of whose members was measured, has "base" alone.
    `fate` is one of `Fate`, each of them in every group: `count` rows have it, `share` = count/n
    and `share_upper` (what may have it included) lie between `interval_low` and `interval_high`.
    The counts of a network add up to n. Sorted as `frequencies`, then in the order of the
    vocabularies. Raises `UserError` for a row without outcome, or frequencies of other rows.
    """
    members = canonical(rows, FATE_COLUMNS)
    augmented, base = (_per_draw(members, network) for network in Network)
    adds = augmented.groupby(["study", "arm"], observed=True)["measured"].transform("sum") > 0
    counted = pd.concat([augmented[adds], base], ignore_index=True)
    found = pd.concat([_level(counted, frequencies, level) for level in LEVELS], ignore_index=True)
    share, upper, low, high = two_ends(
        *(found[name].to_numpy() for name in ("count", "upper", "n", "n_effective")),
        confidence=frequencies["confidence"].iloc[0],
        method=frequencies["method"].iloc[0],
    )
    found = found.assign(share=share, share_upper=upper, interval_low=low, interval_high=high)
    return found.astype(dict.fromkeys(("network", "fate"), "string"))[_ORDER]


def _per_draw(members: pd.DataFrame, network: Network) -> pd.DataFrame:
    """How many members of a cell × arm × draw have each fate, and an augmentation that acts.

    One row per draw, sorted: its key, `network`, one column per fate, `measured`.
    """
    by = LEVELS["draw"]
    group = members.groupby(by, observed=True, sort=True).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    place = group * len(FATES) + _codes(members, network)
    counts = np.bincount(place, minlength=len(first) * len(FATES)).reshape(-1, len(FATES))
    acts = members["augment_activity"].notna().to_numpy()
    keys = members.loc[first, by].reset_index(drop=True)
    return keys.assign(
        network=str(network),
        **dict(zip(FATES, counts.T, strict=True)),
        measured=np.bincount(group[acts], minlength=len(first)),
    )


def _codes(members: pd.DataFrame, network: Network) -> np.ndarray:
    """The place of each member's fate in `FATES`, with the errors of a network, (rows,)."""
    code = outcome_codes(members)
    judged, limit = (floats(members[name]) for name in _ERRORS[network])
    escapes = np.isin(code, [OUTCOMES.index(name) for name in _ESCAPES])
    error = np.where(escapes, limit, judged)
    which = np.select([error == 0, error > 0], [0, 1], 2)
    places = np.array([[FATES.index(fate) for fate in _of_outcome(name)] for name in OUTCOMES])
    return np.asarray(places[code, which])


def _of_outcome(name: str) -> tuple[str, ...]:
    """The fates of an outcome: with error 0, with an error, with none that is known."""
    kind = "escaping" if name in _ESCAPES else name
    return _SPLIT.get(kind, (name,) * 3)


def _level(counted: pd.DataFrame, frequencies: pd.DataFrame, level: str) -> pd.DataFrame:
    """The counts of every group, network and fate of a level, in the order of `frequencies`."""
    by = LEVELS[level]
    count = counted.groupby([*by, "network"], observed=True, sort=True)[list(FATES)].sum()
    upper = count.add(count[Fate.UNRESOLVED], axis=0)
    upper[[Fate.UNRESOLVED, Fate.FAILED]] -= count[[Fate.UNRESOLVED]].to_numpy()
    for zero, above, unknown in _SPLIT.values():
        upper[zero] += count[unknown]
        upper[above] += count[unknown]
    long = pd.DataFrame({"count": count.stack(), "upper": upper.stack()})
    long = long.rename_axis([*by, "network", "fate"]).reset_index()
    long = long.astype({name: "string" for name in by if name != "draw"})
    groups = frequencies.loc[frequencies["level"] == level, _OF_GROUP]
    found = groups.merge(long, on=by, how="left", validate="one_to_many")
    total = found.groupby([*by, "network"], observed=True)["count"].transform("sum")
    if len(found) != len(long) or (total != found["n"]).any():
        raise UserError("The frequencies are of other rows: those of the same rows are accepted.")
    return found
