"""What is wrong with the files of a results folder, file by file, without a look at their meaning.

Every byte of a row file is covered by its SHA-256. Should that record be lost, page checksums still
cover the rows as they are stored, and leave open page headers and the footer: so a file without a
record is named, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import UserError
from sweep.storage.checksums import checksums_of
from sweep.storage.layout import Layout
from sweep.storage.row_files import STUDY_KEY, RowFile, decoded, read_whole
from sweep.storage.row_listing import is_merged, jobs_in, listing, row_paths


class Fault(NamedTuple):
    """A file (its name within the results folder), what is the matter with it, and the details."""

    file: str
    what: str
    details: str


def sound_files(
    layout: Layout, study: str, faults: list[Fault], wanted: pa.Schema | None = None
) -> Iterator[RowFile]:
    """The row files that can be trusted, with plain strings; what is wrong is added to `faults`.

    `wanted` is the schema that the study's files have, by default the first file's. Corrupt,
    truncated and empty files, those of another study or job, of a newer schema or with other
    columns are left out; so are rows of jobs that lie in an earlier file as well. Named are, too,
    files without a checksum, checksums without a file, and whatever else is in the folder.
    """
    lost = _without_file(layout)
    counted: dict[str, str] = {}
    # Merged files first, as readers count them.
    for path in sorted(listing(layout.rows), key=lambda path: (not is_merged(path), path)):
        file = _sound(layout, path, faults)
        if file is None:
            continue
        owner = file.schema.metadata.get(STUDY_KEY, b"").decode(errors="replace")
        if owner != study:
            faults.append(Fault(path.name, "is foreign", f"its rows are of study '{owner}'"))
            continue
        wanted = wanted or file.schema
        if not file.schema.equals(wanted):
            faults.append(Fault(path.name, "has other columns", "its study's are wanted"))
            continue
        doubled = sorted(job for job in jobs_in(path) if job in counted)
        if doubled:
            faults.append(Fault(path.name, "holds jobs twice", _doubled(doubled, counted)))
            file = file._replace(rows=file.rows.filter(~pc.field("job").isin(doubled)))
        counted.update(dict.fromkeys(jobs_in(path), path.name))
        yield file
    for path in row_paths(layout.references):
        _sound(layout, path, faults)
    for path in sorted(layout.rows.glob("[!.]*")):
        if path.suffix != ".parquet":
            faults.append(Fault(path.name, "is no row file", "other readers stumble over it"))
    # A commit puts its checksum on record just before its rows: what was seen twice is lost.
    for name in sorted(lost & _without_file(layout)):
        details = "its checksum is on record: run the study again"
        faults.append(Fault(f"{name}.parquet", "is not there", details))


def _sound(layout: Layout, path: Path, faults: list[Fault]) -> RowFile | None:
    try:
        file = read_whole(path)
    except UserError as error:
        faults.append(Fault(path.name, "cannot be read", str(error)))
        return None
    except FileNotFoundError:
        return None  # merged meanwhile
    except OSError as error:  # a failing disk is what this is asked about
        faults.append(Fault(path.name, "cannot be read", str(error)))
        return None
    if not checksums_of(layout, path):
        faults.append(Fault(path.name, "has no SHA-256", "one in checksums/ is wanted"))
    return file._replace(rows=decoded(file.rows))


def _doubled(jobs: list[str], counted: dict[str, str]) -> str:
    others = ", ".join(sorted({counted[job] for job in jobs}))
    shown = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
    return f"{shown} of {others}; sweep counts a job once, other readers do not: 'sweep compact'"


def _without_file(layout: Layout) -> set[str]:
    """Names on record of files that are not there: deleted, or a commit that was cut short."""
    paths = listing(layout.rows)
    there = {path.stem for path in [*paths, *row_paths(layout.references)]}
    for path in filter(is_merged, paths):
        try:
            there |= jobs_in(path)
        except UserError:
            return set()  # the file is named for that; what it holds is not known
    records = {path.stem for path in layout.checksums.glob("[!.]*.sha256")}
    return records - there
