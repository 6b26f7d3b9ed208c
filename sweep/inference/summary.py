"""Rows in, everything the report says out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import canonical, require_columns
from sweep.inference.cells import axis_names, cells
from sweep.inference.contrasts import CONTRAST_COLUMNS, choose_baseline, contrasts
from sweep.inference.fates import FATE_COLUMNS, fates
from sweep.inference.flows import FLOW_COLUMNS, flows
from sweep.inference.frequencies import FREQUENCY_COLUMNS, frequencies
from sweep.inference.losses import LOSS_COLUMNS, losses
from sweep.inference.minima import MINIMA_COLUMNS, minima
from sweep.inference.naive import NAIVE_COLUMNS, naive
from sweep.inference.outcomes import OUTCOME_COLUMNS, WITNESS_COLUMNS, outcome, witnesses
from sweep.inference.precision import Prefix, no_precision, precision_of
from sweep.inference.responses import responses
from sweep.inference.stops import STOP_COLUMNS, stops
from sweep.inference.trends import TREND_COLUMNS, trends
from sweep.rows import KEY

_LINES = 60


@dataclass(frozen=True, eq=False)
class Summary:
    """The tables of a study; every frame is sorted and has a fresh index.

    `cells`: what each cell is (`sweep.inference.cells.cells`); `contrasts`: every arm against the
    arm `baseline`; `witnesses`, `frequencies`, `fates`, `flows`, `losses`, `responses`, `trends`,
    `naive`, `minima` and `stops`: see the functions of those names. `precision` has rows only where
    the number of seeds follows from a precision. `n_rows` members were summarised, with intervals
    of this `confidence` and `method`.
    """

    n_rows: int
    confidence: float
    method: str
    baseline: str
    cells: pd.DataFrame
    witnesses: pd.DataFrame
    frequencies: pd.DataFrame
    fates: pd.DataFrame
    contrasts: pd.DataFrame
    flows: pd.DataFrame
    losses: pd.DataFrame
    responses: pd.DataFrame
    trends: pd.DataFrame
    naive: pd.DataFrame
    minima: pd.DataFrame
    stops: pd.DataFrame
    precision: pd.DataFrame

    def __repr__(self) -> str:
        """The frequencies of every cell and arm, and the contrasts, as a person reads them."""
        title, shown = self._title(), self._shown().to_string(index=False)
        return "\n".join([title, shown, *self._contrast_lines()])

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks; at most `_LINES` lines of it."""
        shown = self._shown()
        more = f"<p>{len(shown) - _LINES} more lines</p>" if len(shown) > _LINES else ""
        table = shown.head(_LINES).to_html(index=False, border=0)
        return f"<p>{escape(self._title())}</p>{table}{more}"

    def _shown(self) -> pd.DataFrame:
        pooled = self.frequencies.loc[self.frequencies["level"] == "cell"]
        named = pooled.merge(self.cells[["study", "cell", "setting"]], on=["study", "cell"])
        return named[["setting", "arm", "n", "bad_minimum", "unresolved", "failed"]].assign(
            interval=[
                f"{100 * low:.2f} to {100 * high:.2f} %"
                for low, high in zip(named["interval_low"], named["interval_high"], strict=True)
            ]
        )

    def _title(self) -> str:
        return (
            f"{self.n_rows} rows; bad minima with {100 * self.confidence:g} % "
            f"intervals ({self.method})"
        )

    def _contrast_lines(self) -> list[str]:
        """The contrasts of whole cells as a table with its heading; nothing without any."""
        pooled = self.contrasts.loc[self.contrasts["level"] == "cell"]
        if pooled.empty:
            return []
        named = pooled.merge(self.cells[["study", "cell", "setting"]], on=["study", "cell"])
        shown = named[["setting", "arm", "n_pairs"]].assign(
            difference=_ranges(named["difference"], named["difference_upper"]),
            interval=_ranges(named["interval_low"], named["interval_high"], always=True),
            p_adjusted=[f"{p:.2g}" for p in named["p_adjusted"]],
        )
        first = pooled.iloc[0]
        title = (
            f"minus {self.baseline}, by seed, in percentage points; p adjusted "
            f"({first['adjustment']} over {first['family_size']})"
        )
        return ["", title, shown.to_string(index=False)]


def _ranges(low: pd.Series, high: pd.Series, always: bool = False) -> list[str]:
    """Shares from low to high in percentage points; one number where they agree."""
    return [
        f"{100 * a:+.2f} to {100 * b:+.2f}" if always or a < b else f"{100 * a:+.2f}"
        for a, b in zip(low, high, strict=True)
    ]


def summary_columns(names: Iterable[str]) -> list[str]:
    """What `summarise` needs of rows with columns of these names, whether it is there or not."""
    read = {"problem", *WITNESS_COLUMNS, *OUTCOME_COLUMNS, *FREQUENCY_COLUMNS, *CONTRAST_COLUMNS}
    read.update(
        FATE_COLUMNS, FLOW_COLUMNS, LOSS_COLUMNS, TREND_COLUMNS, NAIVE_COLUMNS, MINIMA_COLUMNS
    )
    read.update(STOP_COLUMNS)
    return [*KEY, *sorted(read - {"outcome"}), *axis_names(names)]


def summarise(
    rows: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    baseline: str | None = None,
    confidence: float = 0.95,
    method: str = "wilson",
    adjustment: str = "holm",
    prefix: Prefix | None = None,
) -> Summary:
    """The summary of rows (and of reference searches, which only serve as witnesses).

    Any column `outcome` that the rows bring is ignored: outcomes are judged here, against the
    witnesses among these rows. The same rows in another order give the same frames, bit for bit.
    Arms are compared with the arm `baseline`: by default "plain" or else the first by name.
    `prefix` are the seeds that decided when the study was to stop, where that followed from a
    precision. Raises `UserError` for no rows, missing columns, a key that appears twice, or a
    baseline that is no arm of the rows.
    """
    if rows.empty:
        raise UserError("There are no rows to summarise: at least one finished job is needed.")
    needed = summary_columns(rows.columns)
    require_columns(rows, needed)
    # Sorted once: every table asks for it, and sees at a glance that it is done.
    members = canonical(rows, needed)
    chosen = choose_baseline(members["arm"].unique(), baseline)
    best = witnesses(members, references)
    members = members.assign(outcome=outcome(members, best))
    named, counted = cells(members), frequencies(members, confidence, method)
    levels = responses(counted, named)
    return Summary(
        n_rows=len(members),
        confidence=confidence,
        method=method,
        baseline=chosen,
        cells=named,
        witnesses=best,
        frequencies=counted,
        fates=fates(members, counted),
        contrasts=contrasts(members, chosen, confidence, method, adjustment=adjustment),
        flows=flows(members, chosen),
        losses=losses(members),
        responses=levels,
        trends=trends(members, levels, confidence, method),
        naive=naive(members),
        minima=minima(members),
        stops=stops(members),
        precision=no_precision() if prefix is None else precision_of(members, references, prefix),
    )
