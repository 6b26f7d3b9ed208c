"""Rows in, everything the report says out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from sweep.errors import UserError
from sweep.inference.canonical import require_columns
from sweep.inference.cells import axis_names, cells
from sweep.inference.frequencies import FREQUENCY_COLUMNS, frequencies
from sweep.inference.outcomes import OUTCOME_COLUMNS, WITNESS_COLUMNS, outcome, witnesses
from sweep.inference.precision import Prefix, no_precision, precision_of
from sweep.rows import KEY


@dataclass(frozen=True, eq=False)
class Summary:
    """The tables of a study; every frame is sorted and has a fresh index.

    `cells`: what each cell is (`sweep.inference.cells.cells`); `witnesses` and `frequencies`: see
    the functions of those names; `precision` has rows only where the number of seeds follows from
    a precision. `n_rows` members were summarised, with intervals of this `confidence` and
    `method`.
    """

    n_rows: int
    confidence: float
    method: str
    cells: pd.DataFrame
    witnesses: pd.DataFrame
    frequencies: pd.DataFrame
    precision: pd.DataFrame

    def __repr__(self) -> str:
        """The pooled frequencies of every cell and arm, as a person reads them."""
        pooled = self.frequencies.loc[self.frequencies["level"] == "cell"]
        named = pooled.merge(self.cells[["study", "cell", "setting"]], on=["study", "cell"])
        shown = named[["setting", "arm", "n", "bad_minimum", "unresolved", "failed"]].assign(
            interval=[
                f"{100 * low:.2f} to {100 * high:.2f} %"
                for low, high in zip(named["interval_low"], named["interval_high"], strict=True)
            ]
        )
        title = (
            f"{self.n_rows} rows; bad minima with {100 * self.confidence:g} % "
            f"intervals ({self.method})"
        )
        return f"{title}\n{shown.to_string(index=False)}"


def summary_columns(names: Iterable[str]) -> list[str]:
    """What `summarise` needs of rows with columns of these names, whether it is there or not."""
    read = {"problem", *WITNESS_COLUMNS, *OUTCOME_COLUMNS, *FREQUENCY_COLUMNS} - {"outcome"}
    return [*KEY, *sorted(read), *axis_names(names)]


def summarise(
    rows: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    confidence: float = 0.95,
    method: str = "wilson",
    prefix: Prefix | None = None,
) -> Summary:
    """The summary of rows (and of reference searches, which only serve as witnesses).

    Any column `outcome` that the rows bring is ignored: outcomes are judged here, against the
    witnesses among these rows. `prefix` are the seeds that decided when the study was to stop,
    where that followed from a precision. The same rows in another order give the same frames, bit
    for bit. Raises `UserError` for no rows, missing columns, or a key that appears twice.
    """
    if rows.empty:
        raise UserError("There are no rows to summarise: at least one finished job is needed.")
    needed = summary_columns(rows.columns)
    require_columns(rows, needed)
    members = rows.loc[:, needed]
    best = witnesses(members, references)
    members = members.assign(outcome=outcome(members, best))
    return Summary(
        n_rows=len(members),
        confidence=confidence,
        method=method,
        cells=cells(members),
        witnesses=best,
        frequencies=frequencies(members, confidence, method),
        precision=no_precision() if prefix is None else precision_of(members, references, prefix),
    )
