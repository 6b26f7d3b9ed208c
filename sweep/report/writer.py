"""Everything a reader opens, written in one go: tables, figures, page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.inference.summary import Summary
from sweep.report.figures import write_figures
from sweep.report.page import render
from sweep.report.tables import write_tables
from sweep.storage.durable import replace, writing
from sweep.storage.layout import Layout


def write_report(summary: Summary, study: Mapping[str, Any], results: str | Path) -> list[Path]:
    """The files written: `summary/*`, `figures/*` and, last of all, `report.html` in `results`.

    `study` is the content of study.json (see `sweep.report.page.render`). Each file is replaced
    whole; the same summary and study give the same bytes. Raises `UserError` when the folder
    cannot be written.
    """
    layout = Layout.at(results)
    files = [*write_tables(summary, layout.summary), *write_figures(summary, layout.figures)]
    # Commands name the folder as seen from where the results lie, so that the page has no path of
    # this machine in it and stays true when the folder moves.
    page = render(summary, study, f"{layout.store.name}/{layout.root.name}")
    with writing(layout.root):
        replace(layout.report, page.encode())
    return [*files, layout.report]
