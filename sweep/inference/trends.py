"""Does the bad-minimum frequency depend on λ, or on an axis of the grid? One answer per response.

Every level of a response is seen with the same seeds, so levels are compared within seeds. Seeds
that lack rows at a level are left out, and counted. Unresolved members are counted twice, as not
bad and as bad: the frame gives both statistics (`_upper`: as bad). Their p and intervals are those
of the least favourable fate of the unresolved, which need be neither: two levels may be far apart
at both ends, in opposite order, and alike in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from sweep.errors import UserError
from sweep.inference.canonical import canonical
from sweep.inference.clustered_logistic import (
    Slope,
    clustered_slope,
    differing,
    separated,
)
from sweep.inference.homogeneity import cochran_q, largest_difference, least_q
from sweep.inference.intervals import check
from sweep.inference.responses import LAM, RESPONSE
from sweep.verdicts import Outcome

TREND_COLUMNS = ("outcome",)
"""Columns of the rows that `trends` reads, besides the key."""

_DRAW = ["study", "cell", "arm", "draw"]

DECADE = 10.0
"""A positive axis that spans a decade or more (λ: any) is taken by its logarithm."""


FEWEST = 10
"""Seeds that must fare differently at different levels for a slope's interval and p. A sandwich of
fewer is too narrow: with 1,000 seeds, four levels and one bad row in a thousand, Wald's p < 0.05 in
15 % of repetitions; with ten and more in at most 6.5 % (20 seeds in all)."""


FEWEST_FOR_Q = 5
"""Seeds that must fare differently at different levels for the p of Q, unless none does. With four
at two levels χ² calls p < 0.05 what happens in 12.5 % of repetitions; with five and more, in 7.9 %
at most."""


def trends(
    rows: pd.DataFrame, levels: pd.DataFrame, confidence: float = 0.95, method: str = "wilson"
) -> pd.DataFrame:
    """One row per response with at least two levels; `levels` are the `responses` of these rows.

    `cell` is null for a grid axis, which runs across cells. `n_seeds` seeds have rows at all
    `n_levels` levels, `n_left_out` have not. Then

    - `q`, `q_upper`, `q_df`, `q_p`: Cochran's Q; `q_p_adjusted` holds also when some levels are
      more alike than others (`sweep.inference.homogeneity.cochran_q`); both p are null where too
      few seeds differ (`FEWEST_FOR_Q`), and `note` says so;
    - `slope`, `slope_upper`: log odds of a bad minimum per unit of the value (`scale` "linear") or
      of its natural logarithm ("log"), with `slope_low`, `slope_high`, `slope_p` (Wald) from a
      covariance clustered by seed (`sweep.inference.clustered_logistic`); null for words and where
      the likelihood has no maximum, and `note` says why;
    - `difference`: largest minus smallest frequency of the levels, with an interval
      (`sweep.inference.homogeneity.largest_difference`) that holds for all pairs of levels at once
      and whatever the unresolved are. It is what a high p leaves possible.

    The p are those of single tests: no correction for the number of responses.
    """
    check(confidence, method)
    members = _Members.of(rows)
    records = [
        {**name, **_answer(members.matched(own), own, str(name["axis"]), confidence, method)}
        for name, own in _several(levels)
    ]
    return _typed(pd.DataFrame(records, columns=_ORDER))


_ORDER = [
    *("study", "cell", "arm", "axis", "setting", "scale", "n_levels", "n_seeds", "n_left_out"),
    *("q", "q_upper", "q_df", "q_p", "q_p_adjusted"),
    *("slope", "slope_upper", "slope_low", "slope_high", "slope_p"),
    *("difference", "difference_low", "difference_high", "confidence", "note"),
]


def _several(levels: pd.DataFrame) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """The responses that have something to compare, each with its name."""
    for name, own in levels.groupby(RESPONSE, sort=True):
        if len(own) > 1:
            named = dict(zip(RESPONSE, name, strict=True))
            cell = own["cell"].iloc[0] if named["axis"] == LAM else None
            yield {**named, "cell": cell}, own


@dataclass(frozen=True)
class _Matched:
    """Bad rows of the seeds that are at every level, unresolved not bad and bad, each (S, k).

    `m` rows of a seed lie at each level; `left_out` seeds are not at every level.
    """

    low: np.ndarray
    high: np.ndarray
    m: int
    left_out: int


@dataclass(frozen=True)
class _Members:
    """The rows in key order as plain arrays, and where each cell × arm (× draw) lies in them."""

    seed: np.ndarray
    bad: np.ndarray
    unresolved: np.ndarray
    places: dict[tuple[object, ...], slice]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Members:
        members = canonical(rows, TREND_COLUMNS)
        if members["outcome"].isna().any():
            raise UserError(
                "A row has no outcome: rows judged against their witnesses are accepted."
            )
        return cls(
            seed=members["seed"].to_numpy(),
            bad=(members["outcome"] == Outcome.BAD_MINIMUM).to_numpy(),
            unresolved=(members["outcome"] == Outcome.UNRESOLVED).to_numpy(),
            places={**_places(members, _DRAW[:-1]), **_places(members, _DRAW)},
        )

    def matched(self, own: pd.DataFrame) -> _Matched:
        """The rows of a response, seed by level; `own` are its levels."""
        level, place = self._rows_of(own)
        which, seeds = pd.factorize(self.seed[place])  # in key order, whatever that of the rows
        k, m = len(own), int(np.bincount(which[level == 0]).max())
        # First the seeds with the right number of rows, so that the table is no larger than they.
        whole = np.bincount(which) == k * m
        kept = whole[which]
        index = (np.cumsum(whole) - 1)[which[kept]] * k + level[kept]
        shape = (int(whole.sum()), k)

        def table(counted: np.ndarray | None) -> np.ndarray:
            sums = np.bincount(index, counted, minlength=shape[0] * k)
            return sums.reshape(shape).astype(np.float64)

        bad, unresolved = self.bad[place][kept], self.unresolved[place][kept]
        everywhere = (table(None) == m).all(axis=1)
        low = table(bad)[everywhere]
        return _Matched(low, table(bad | unresolved)[everywhere], m, len(seeds) - len(low))

    def _rows_of(self, own: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Level and position of every row of a response, each (rows,)."""
        names = own[_DRAW].astype(object).itertuples(index=False, name=None)
        places = [self.places[name[:3] if pd.isna(name[3]) else name] for name in names]
        sizes = [place.stop - place.start for place in places]
        positions = [np.arange(place.start, place.stop) for place in places]
        return np.repeat(np.arange(len(places)), sizes), np.concatenate(positions)


def _places(members: pd.DataFrame, by: list[str]) -> dict[tuple[object, ...], slice]:
    """Where each group of the sorted rows lies."""
    group = members.groupby(by, observed=True, sort=True).ngroup().to_numpy()
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))
    names = members.loc[starts, by].astype(object).itertuples(index=False, name=None)
    return {
        name: slice(int(start), int(end))
        for name, start, end in zip(names, starts, ends, strict=True)
    }


def _answer(
    found: _Matched, own: pd.DataFrame, axis: str, confidence: float, method: str
) -> dict[str, object]:
    """The numbers of one response, from `scale` on."""
    n_seeds, k = found.low.shape
    counts = {"n_levels": k, "n_seeds": n_seeds, "n_left_out": found.left_out, "q_df": k - 1}
    scale, z, why = _scaled(own["value"].to_numpy(), axis)
    record: dict[str, object] = {**counts, "scale": scale, "confidence": confidence}
    if not n_seeds:
        return {**record, "note": "no seed is at every level"}
    both = np.stack([found.low, found.high])
    test = cochran_q(both / found.m)
    q_p, q_p_adjusted = test.p.max(), test.p_adjusted.max()
    if found.high.sum() > found.low.sum():
        # Some unresolved bad and others not may make the levels more alike than either end does.
        least, epsilon = least_q(found.low / found.m, found.high / found.m), test.epsilon.min()
        q_p = max(q_p, chi2.sf(least, k - 1))
        q_p_adjusted = max(q_p_adjusted, chi2.sf(epsilon * least, epsilon * (k - 1)))
    # A Q of 0, up to rounding, has p = 1 however few they are.
    few = bool(q_p < 1 - 1e-6) and any(0 < differing(table) < FEWEST_FOR_Q for table in both)
    if few:
        q_p = q_p_adjusted = np.nan
    largest, low, high = largest_difference(
        found.low / found.m, found.high / found.m, confidence, method
    )
    slope, low_end, high_end, slope_p = Slope(np.full(2, np.nan), np.full(2, np.nan)), *[np.nan] * 3
    if not why:
        slope = clustered_slope(z, both, found.m)
        slopes, why = _slopes(z, found, slope)
        reach = norm.ppf((1 + confidence) / 2) * slopes.error
        # With NaN in one of them, the interval of all is not known.
        low_end, high_end = np.min(slopes.value - reach), np.max(slopes.value + reach)
        slope_p = np.max(2 * norm.sf(np.abs(slopes.value / slopes.error)))
        if np.min(slopes.value) <= 0 <= np.max(slopes.value):
            slope_p = 1.0
    said = [f"no p for Q: fewer than {FEWEST_FOR_Q} seeds differ between the values"] if few else []
    said += [f"no slope: {why}"] if why else []
    if found.high.sum() > found.low.sum():
        said.append(
            "unresolved count as bad in the upper values; p is that of their least favourable fate"
        )
    return {
        **record,
        **{"q": test.q[0], "q_upper": test.q[1]},
        **{"q_p": q_p, "q_p_adjusted": q_p_adjusted},
        **{"slope": slope.value[0], "slope_upper": slope.value[1]},
        **{"slope_low": low_end, "slope_high": high_end, "slope_p": slope_p},
        **{"difference": largest, "difference_low": low, "difference_high": high},
        "note": "; ".join(said),
    }


def _scaled(values: np.ndarray, axis: str) -> tuple[str | None, np.ndarray, str]:
    """Scale, the number each level enters the regression with, and why there is none."""
    if np.isnan(values).any():
        return None, values, "the values are words"
    if axis.rpartition(".")[2] == "seed":
        return None, values, "a seed is a name, not a quantity"
    if (values == values[0]).all():
        return None, values, "the values are equal"
    positive = bool((values > 0).all())
    if positive and (axis == LAM or values.max() >= DECADE * values.min()):
        return "log", np.log(values), ""
    return "linear", values, ""


def _slopes(z: np.ndarray, found: _Matched, ends: Slope) -> tuple[Slope, str]:
    """The slopes that the unresolved leave open at their extremes; why one of them is missing.

    The slope grows with the bad rows of a level beyond some threshold of z and falls with those
    below it, so it is largest and least where the unresolved on one side of a threshold are bad and
    those on the other are not. `ends` are those with all of them not bad, and bad.
    """
    tables = [(found.low, ""), (found.high, " when unresolved count as bad")]
    values, errors = [], []
    if found.high.sum() > found.low.sum():
        for threshold in np.unique(z)[1:]:
            above = z >= threshold
            for side, which in ((above, "larger"), (~above, "smaller")):
                table = np.where(side, found.high, found.low)
                tables.append((table, f" when unresolved count as bad at the {which} values alone"))
    for position, (table, ending) in enumerate(tables):
        if position < 2:
            one = Slope(ends.value[position], ends.error[position])
        else:
            one = clustered_slope(z, table, found.m)
        if np.isnan(one.value) or differing(table) < FEWEST:
            return Slope(np.full(1, np.nan), np.full(1, np.nan)), _lost(z, table, found.m) + ending
        values.append(float(one.value))
        errors.append(float(one.error))
    return Slope(np.array(values), np.array(errors)), ""


def _lost(z: np.ndarray, table: np.ndarray, m: int) -> str:
    """Why these rows have no slope."""
    yes, rows = table.sum(axis=0), m * len(table)
    if not yes.any():
        return "no bad minimum at any level"
    if (yes == rows).all():
        return "nothing but bad minima"
    if separated(z, yes, rows - yes):
        return "a threshold of the value parts bad from not bad"
    if 0 < differing(table) < FEWEST:
        return f"fewer than {FEWEST} seeds differ between the values"
    return "no seed gets better or worse along the values"


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    for name in ("study", "cell", "arm", "axis", "setting", "scale", "note"):
        found[name] = found[name].astype("string")
    for name in ("n_levels", "n_seeds", "n_left_out", "q_df"):
        found[name] = found[name].astype("int64")
    for name in (name for name in _ORDER if name.split("_")[0] in ("q", "slope", "difference")):
        if name != "q_df":
            found[name] = found[name].astype("float64")
    found["confidence"] = found["confidence"].astype("float64")
    return found.sort_values(RESPONSE, ignore_index=True)
