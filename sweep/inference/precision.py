"""How precisely a study knows its frequencies, by intervals that hold although it stopped.

======  =====================================================================
symbol  meaning
======  =====================================================================
n       seeds that decide, the same for every arm of a cell
m       λ draws of an arm
x_s     the share of seed s's m draws that are bad minima: k/m in [0, 1]
d_s     the seed's x_s in the target arm minus its x_s in the baseline
======  =====================================================================

**Frequency.** The mean of x_s by a confidence sequence over seeds (`sweep.inference.sequence`),
from its low end when no unresolved member is bad to its high end when all are: it covers the
frequency whatever became of them.

**Difference.** E d = E d⁺ − E d⁻ with d⁺ = max(d, 0), d⁻ = max(−d, 0), both in [0, 1]: each gets a
sequence at half of α, and the ends are subtracted. Most seeds fare alike in both arms, so both
parts are small, where sequences are narrow; one for (d+1)/2 would be as wide as a coin's. With
unresolved members the low end takes the target's as good and the baseline's as bad, the high end
the reverse; d⁺ grows and d⁻ falls with d, so this too covers whatever became of them.

**Which seeds.** Those of a prefix of the blocks, with the witnesses of that prefix and of the
reference searches alone, so that the numbers are those that the decision to stop was based on. The
guarantee is for minima that are bad against a given witness; a row that improves on the searches'
witness changes what is counted, for all rows at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sweep.errors import UserError
from sweep.inference.outcomes import outcome, witnesses
from sweep.inference.sequence import sequence
from sweep.verdicts import Outcome

_ARM = ["study", "cell", "arm"]
_WORDS = ("study", "cell", "arm", "baseline")
_COLUMNS = (
    *("study", "cell", "arm", "baseline", "first_seed", "n", "estimate", "estimate_upper"),
    *("low", "high", "confidence", "half_width", "wanted", "reached"),
)


@dataclass(frozen=True)
class Target:
    """How narrow the intervals are to be, in which the study's seeds end.

    `arm` None: the bad-minimum frequency of every arm of every cell; else the difference between
    that arm and `baseline` in every cell.
    """

    half_width: float
    confidence: float
    baseline: str
    arm: str | None = None


@dataclass(frozen=True)
class Prefix:
    """The seeds that decided whether the target is reached: `n` of them from `first`."""

    target: Target
    first: int
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain data that `of_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Prefix:
        """The prefix that `to_json` was taken from."""
        return cls(Target(**found["target"]), int(found["first"]), int(found["n"]))


def no_precision() -> pd.DataFrame:
    """The frame of `precision` for a study without a target: no rows."""
    return _typed(pd.DataFrame({name: [] for name in _COLUMNS}))


def precision_of(
    rows: pd.DataFrame, references: pd.DataFrame | None, prefix: Prefix
) -> pd.DataFrame:
    """`precision` of those of a study's rows that belong to the prefix.

    Raises `UserError` when one of the prefix's members is not among the rows.
    """
    seeds = rows["seed"].to_numpy()
    chosen = rows[(seeds >= prefix.first) & (seeds < prefix.first + prefix.n)]
    members = chosen.groupby([*_ARM, "draw"], observed=True).size()
    if members.empty or (members != prefix.n).any():
        raise UserError(
            f"Some rows of the {prefix.n} seeds from {prefix.first} that decided when to stop are "
            "missing: run the study again."
        )
    return precision(chosen, references, prefix)


def precision(rows: pd.DataFrame, references: pd.DataFrame | None, prefix: Prefix) -> pd.DataFrame:
    """How narrow the target's intervals are after the prefix, whose rows these are.

    Of the prefix's rows at least those that `decisive` keeps are needed. One row per cell and arm
    (per cell for a difference): `study cell arm baseline` (null for a frequency) `first_seed`, `n`
    seeds, `estimate` and `estimate_upper` (no unresolved member bad, and all; for a difference its
    least and largest value), the ends `low` and `high` at `confidence`, `half_width` of that
    interval, the `wanted` one and whether it is `reached`. Sorted by study, cell and arm.
    """
    target = prefix.target
    judged = rows[[*_ARM, "draw", "seed"]].assign(
        outcome=outcome(rows, witnesses(rows, references)).to_numpy()
    )
    found = _frequencies(judged, prefix) if target.arm is None else _differences(judged, prefix)
    width = (found["high"] - found["low"]) / 2
    found = found.assign(
        first_seed=prefix.first,
        n=prefix.n,
        confidence=target.confidence,
        half_width=width,
        wanted=target.half_width,
        reached=width <= target.half_width,
    )
    return _typed(found).sort_values(_ARM, ignore_index=True)


def _counts(judged: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`bad` and `possibly` bad (bad or unresolved) members of each group."""
    bad = judged["outcome"] == Outcome.BAD_MINIMUM
    flags = judged[by].assign(bad=bad, possibly=bad | (judged["outcome"] == Outcome.UNRESOLVED))
    return flags.groupby(by, observed=True, sort=True)[["bad", "possibly"]].sum()


def _draws(judged: pd.DataFrame) -> pd.Series:
    """The number m of draws of each study × cell × arm."""
    return judged.groupby(_ARM, observed=True, sort=True)["draw"].nunique()


def _frequencies(judged: pd.DataFrame, prefix: Prefix) -> pd.DataFrame:
    counts, draws = _counts(judged, _ARM), _draws(judged).to_numpy()
    n, confidence = prefix.n, prefix.target.confidence
    bad, possibly = counts["bad"].to_numpy() / draws, counts["possibly"].to_numpy() / draws
    found = counts.index.to_frame(index=False).assign(baseline=None)
    return found.assign(
        estimate=bad / n,
        estimate_upper=possibly / n,
        low=sequence(bad, n, confidence)[0],
        high=sequence(possibly, n, confidence)[1],
    )


def _differences(judged: pd.DataFrame, prefix: Prefix) -> pd.DataFrame:
    arm, baseline = str(prefix.target.arm), prefix.target.baseline
    judged = judged[judged["arm"].isin([arm, baseline])]
    draws = _draws(judged).unstack("arm")  # study × cell, one column per arm
    per_seed = _counts(judged, ["study", "cell", "seed", "arm"]).unstack("arm", fill_value=0)
    cells = per_seed.index.to_frame()[["study", "cell"]]
    m = draws.reindex(pd.MultiIndex.from_frame(cells))
    here, there = m[arm].to_numpy(), m[baseline].to_numpy()

    def parts(one: str, other: str) -> tuple[pd.Series, pd.Series]:
        """Σ d⁺ and Σ d⁻ of each cell, from whole numbers."""
        d = per_seed[one, arm] * there - per_seed[other, baseline] * here
        signed = pd.DataFrame({"up": d.clip(lower=0), "down": (-d).clip(lower=0)})
        sums = signed.groupby(level=["study", "cell"], observed=True, sort=True).sum()
        scale = draws[arm] * draws[baseline]
        return sums["up"] / scale, sums["down"] / scale

    n, each = prefix.n, (1 + prefix.target.confidence) / 2
    up_least, down_most = parts("bad", "possibly")
    up_most, down_least = parts("possibly", "bad")
    found = up_least.index.to_frame(index=False).assign(arm=arm, baseline=baseline)
    return found.assign(
        estimate=((up_least - down_most) / n).to_numpy(),
        estimate_upper=((up_most - down_least) / n).to_numpy(),
        low=sequence(up_least, n, each)[0] - sequence(down_most, n, each)[1],
        high=sequence(up_most, n, each)[1] - sequence(down_least, n, each)[0],
    )


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    """The frame's columns in their order and with their types, the same when it is empty."""
    kinds = dict.fromkeys(_COLUMNS, "float64") | dict.fromkeys(_WORDS, "string")
    kinds |= {"first_seed": "int64", "n": "int64", "reached": "bool"}
    return found[list(_COLUMNS)].astype(kinds)


def ends_differ(precision: pd.DataFrame) -> np.ndarray:
    """Which rows can never be narrow enough, because unresolved members alone keep them wider."""
    apart = precision["estimate_upper"] - precision["estimate"]
    return np.asarray(apart > 2 * precision["wanted"])
