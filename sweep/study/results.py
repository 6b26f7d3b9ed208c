"""A results folder in memory: rows, outcomes, summary; and writing the summary and the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sweep.errors import UserError
from sweep.inference.outcomes import outcome, witnesses
from sweep.inference.precision import Prefix
from sweep.inference.summary import Summary, summarise, summary_columns
from sweep.job_report import JobFailure
from sweep.report.page import write_report
from sweep.storage.layout import Layout
from sweep.storage.row_files import Columns, read_rows, row_paths
from sweep.storage.study_file import read_study


@dataclass(frozen=True, eq=False)
class Results:
    """A study's results: where they lie, their summary, and the jobs that failed for good."""

    path: Path
    summary: Summary
    failures: tuple[JobFailure, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every job of the run is on disk."""
        return not self.failures

    def rows(self) -> pd.DataFrame:
        """All rows with the column `outcome` (see `load_rows`)."""
        return load_rows(self.path)


def load_rows(path: str | Path) -> pd.DataFrame:
    """The rows of a results folder plus the column `outcome`, judged against the witnesses.

    Words are categories. Raises `UserError` when there are no rows, or a file is damaged.
    """
    return judged_rows(Layout.at(path), None)


def judged_rows(layout: Layout, columns: Columns) -> pd.DataFrame:
    """The same with these columns alone; those of `summary_columns` are enough to judge."""
    rows = _frame(layout, columns)
    return rows.assign(outcome=outcome(rows, witnesses(rows, references_of(layout))))


def write_summary(layout: Layout, failures: Sequence[JobFailure] = ()) -> Results:
    """Summary tables, figures and page of a results folder, from its rows alone.

    Arms are compared with the baseline that the latest run asked for; `UserError` when the rows
    have no such arm.
    """
    summary = summary_of(layout)
    write_report(summary, as_asked_last(layout), layout)
    return Results(layout.root, summary, tuple(failures))


def summary_of(layout: Layout) -> Summary:
    """The summary of a results folder's rows, as `write_summary` writes it; writes nothing."""
    known = read_study(layout)
    study, baseline = known.header.study_id, known.config.get("baseline")
    prefix = None if known.precision is None else Prefix.of_json(known.precision)
    rows = _frame(layout, summary_columns)
    summary = summarise(rows, references_of(layout), baseline=baseline, prefix=prefix)
    if study not in summary.cells["study"].to_numpy():
        raise UserError(
            f"'{layout.study_file}' is of study {study}, the rows beside it are not: restore it."
        )
    return summary


def as_asked_last(layout: Layout) -> dict[str, Any]:
    """What study.json says, its `config` the latest run's; the first's differences beside it."""
    known = read_study(layout)
    said = {**json.loads(layout.study_file.read_text("utf-8")), "config": known.config}
    if known.later_config:
        first = known.header.config
        said["first_config"] = {k: first.get(k) for k in known.later_config[-1]}
    return said


def references_of(layout: Layout) -> pd.DataFrame | None:
    """Rows of the witness searches, if there are any."""
    if not row_paths(layout.references):
        return None
    return _frame(layout.references, summary_columns)


def _frame(source: Layout | Path, columns: Columns) -> pd.DataFrame:
    """Rows with words as categories, which keeps a million of them small."""
    table = read_rows(source, columns, encoded=True)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    return frame
