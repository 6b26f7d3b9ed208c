"""Everything a reader opens, written in one go: tables, figures, page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.inference.summary import Summary
from sweep.report.coverage import coverage
from sweep.report.figures import figure_files
from sweep.report.page_figures import MAX_REPLAYS, REPLAY, is_plain
from sweep.report.render import render
from sweep.report.tables import table_files
from sweep.storage.durable import replace_files
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs


def write_report(summary: Summary, study: Mapping[str, Any], layout: Layout) -> list[Path]:
    """The files written: `summary/*`, `figures/*` and, last of all, `report.html`.

    `study` is what study.json says (see `sweep.report.render.render`). Each file is replaced
    whole; the same summary and study give the same bytes. Raises `UserError` when the folder
    cannot be written.
    """
    figures = figure_files(summary)
    svgs = {name.removesuffix(".svg"): figures[name] for name in figures if name.endswith(".svg")}
    svgs |= _replays(layout)
    # Commands name the folder as seen from where the results lie, so that the page has no path of
    # this machine in it and stays true when the folder moves.
    known = coverage(study, finished_jobs(layout), summary.precision)
    page = render(summary, study, f"{layout.store.name}/{layout.root.name}", svgs, known)
    return [
        *replace_files(layout.summary, table_files(summary)),
        *replace_files(layout.figures, figures),
        *replace_files(layout.root, {layout.report.name: page.encode()}),
    ]


def _replays(layout: Layout) -> dict[str, bytes]:
    """Name → SVG of the first few replayed members whose figures are in the folder."""
    found: dict[str, bytes] = {}
    for path in sorted(layout.figures.glob(f"{REPLAY}*.svg")):
        content = path.read_bytes()
        if len(found) < MAX_REPLAYS and is_plain(content):
            found[path.stem] = content
    return found
