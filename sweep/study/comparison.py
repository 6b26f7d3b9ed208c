"""`sweep report`: every study's own page again, and one page that compares several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import UserError
from sweep.inference.comparison import Study
from sweep.inference.summary import summary_columns
from sweep.report.comparison import Compared, write_comparison
from sweep.report.coverage import coverage, numerics_sentence
from sweep.report.stopping import stopping_caveat
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs
from sweep.storage.study_file import StudyFile, read_study
from sweep.study.results import as_asked_last, judged_rows, write_summary


@dataclass(frozen=True)
class Reported:
    """What was written, as pairs of a word and a page: each study's own, then the comparison.

    `notes` are sentences that a person should read beside them.
    """

    pages: tuple[tuple[str, Path], ...]
    notes: tuple[str, ...]


def report(folders: Sequence[str | Path], out: Path | None = None) -> Reported:
    """Every study's summary and page again, and of several one page that compares them.

    The comparison of two or more goes to `out`, by default beside the first results folder, its
    tables beside it. Raises `UserError`, before anything is written, for a folder that is none, the
    same study twice, or an `out` that makes no sense.
    """
    layouts = [Layout.at(folder) for folder in folders]
    files = [read_study(layout) for layout in layouts]
    _check(layouts, files, out)
    written = []
    notes = []
    studies = []
    names = Counter(file.header.name for file in files)
    for layout, file in zip(layouts, files, strict=True):
        summary = write_summary(layout).summary
        written.append(("report", layout.report))
        header, other = file.header, numerics_sentence(file.numerics)
        if other:
            notes.append(f"'{layout.root.name}': {other}" if len(layouts) > 1 else other)
        if len(layouts) > 1:
            rows = judged_rows(layout, summary_columns)
            label = header.name if names[header.name] == 1 else f"{header.name}-{header.study_id}"
            root = int(file.config["seeds"]["root"])
            study = Study(label, rows, summary.cells, root)
            results = f"{layout.store.name}/{layout.root.name}"
            known = coverage(as_asked_last(layout), finished_jobs(layout), summary.precision)
            caveats = tuple(filter(None, (other, known.sentence, stopping_caveat(summary))))
            studies.append(Compared(study, summary, file.config, results, caveats))
    if studies:
        page = layouts[0].comparison if out is None else out.expanduser().absolute()
        found = write_comparison(studies, page, None if out is None else _named(page, layouts[0]))
        written.append(("comparison", page))
        notes.append(found.nothing_compared)
    return Reported(tuple(written), tuple(filter(None, notes)))


def _named(page: Path, layout: Layout) -> str:
    """The page as seen from where the results lie, as commands name folders; else its name."""
    start = Path(layout.store).absolute().parent
    return str(page.relative_to(start)) if page.is_relative_to(start) else page.name


def _check(layouts: Sequence[Layout], files: Sequence[StudyFile], out: Path | None) -> None:
    seen: dict[str, Layout] = {}
    for layout, file in zip(layouts, files, strict=True):
        other = seen.setdefault(file.header.study_id, layout)
        if other is not layout:
            raise UserError(
                f"'{other.root}' and '{layout.root}' hold the same study"
                f" {file.header.study_id}: folders of different studies are accepted."
            )
    if out is None:
        return
    if len(layouts) < 2:
        raise UserError(f"--out is '{out}': it is for the page that compares two or more studies.")
    if out.suffix != ".html":
        raise UserError(f"--out is '{out}': a file name that ends in .html is accepted.")
    if not out.expanduser().absolute().parent.is_dir():
        raise UserError(
            f"--out is '{out}': its folder does not exist; an existing one is accepted."
        )
