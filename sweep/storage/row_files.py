"""Row files: a job's rows appear exactly once and whole, and are read back only if intact.

A job is finished when `rows/<job>.parquet` exists. Its bytes are a function of its rows, so that a
job that ran twice offers the same file twice and the first wins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.errors import UserError
from sweep.rows import KEY, SCHEMA_VERSION
from sweep.storage.arrow_schema import VERSION_KEY
from sweep.storage.checksums import add_checksum, checksums_of, differs, sha256
from sweep.storage.durable import make_folder, publish, writing
from sweep.storage.layout import Layout
from sweep.storage.locks import shared
from sweep.storage.row_listing import (
    JOBS_KEY,
    finished_in,
    is_merged,
    merged_with,
    no_row_file,
    parts,
    row_paths,
)

__all__ = [
    "Columns",
    "checksums_of",
    "commit",
    "finished_jobs",
    "read_job",
    "read_rows",
    "row_paths",
    "serialise",
]

STUDY_KEY = b"study"

Columns = Sequence[str] | Callable[[Sequence[str]], Sequence[str]] | None


class RowFile(NamedTuple):
    """A row file: its whole schema, and what was asked of its rows."""

    path: Path
    schema: pa.Schema
    rows: pa.Table


def commit(layout: Layout, job_id: str, table: pa.Table, *, reference: bool = False) -> bool:
    """True if this call made the job's rows appear, False if they were already there.

    `reference` rows go to `references/`, where no reader takes them for a study's rows.

    The checksum is on disk before the rows get their name, so a row file without a matching
    checksum is never a half-finished commit. Raises `ValueError` for rows that are none of this
    job's or share a key, `UserError` when the folder cannot be written.
    """
    target = layout.reference_file(job_id) if reference else layout.row_file(job_id)
    if _there(target, job_id):
        return False
    data = serialise(table, [job_id])
    with writing(layout.root):
        for folder in (target.parent, layout.checksums, layout.incoming):
            make_folder(folder)
        # A compaction may have taken the rows of an earlier attempt: look again, beside none.
        with shared(layout.row_lock) as alone:
            if _there(target, job_id):
                return False
            add_checksum(layout, target, sha256(data))
            won = publish(target, data, layout.incoming)
            if not alone and merged_with(target.parent, job_id):
                target.unlink(missing_ok=True)
                layout.checksum_file(job_id).unlink(missing_ok=True)
                return False
            return won


def serialise(table: pa.Table, jobs: Sequence[str]) -> bytes:
    """The Parquet bytes of these jobs' rows: equal rows in any order give equal bytes.

    Rows are sorted by key before words are dictionary-encoded, since a dictionary keeps the order
    in which its words were met.
    """
    plain = decoded(table).sort_by([(name, "ascending") for name in KEY])
    _require_own_rows(plain, jobs)
    metadata = {
        VERSION_KEY: table.schema.metadata[VERSION_KEY],
        JOBS_KEY: json.dumps(sorted(jobs)).encode(),
        STUDY_KEY: str(plain["study"][0].as_py()).encode(),
    }
    ready = _encoded(plain, table.schema).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(ready, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def finished_jobs(layout: Layout) -> set[str]:
    """Ids of the jobs whose rows are there, from names alone (footers for merged files)."""
    return finished_in(layout.rows)


def read_rows(
    source: Layout | Path,
    columns: Columns = None,
    filters: Any = None,
    *,
    encoded: bool = False,
) -> pa.Table:
    """All rows of a results folder (or of a bare folder of row files) that pass `filters`.

    `columns` are names, or choose names from all of a file's; None stands for all. Words come back
    as plain strings, or dictionary-encoded, the same for all files, where `encoded` asks for it: a
    million rows then take a tenth of the memory. Every byte is checked before a number is used:
    each file against its SHA-256 where one is kept, each page against its checksum. `filters` as in
    `pyarrow.parquet.read_table`. Raises `UserError` naming the file that is damaged, foreign or of
    a newer schema, and when there are no rows.
    """
    folder = source.rows if isinstance(source, Layout) else source
    files = _read_all(folder, columns, filters)
    if not files:
        raise UserError(f"'{folder}' holds no row files: run the study first.")
    first = files[0].schema
    for file in files:
        if file.schema.metadata[STUDY_KEY] != first.metadata[STUDY_KEY]:
            raise UserError(f"'{file.path}' belongs to another study than the files beside it.")
        if not file.schema.equals(first):
            raise UserError(f"'{file.path}' has other columns than the files beside it.")
    rows = pa.concat_tables(file.rows.replace_schema_metadata(None) for file in files)
    return rows.unify_dictionaries() if encoded else decoded(rows)


def read_whole(path: Path) -> RowFile:
    """One file with its schema, checked as `read_rows` checks it; words stay as they are stored."""
    return _read(path, None, None)


def read_job(
    layout: Layout, job_id: str, columns: Columns = None, *, reference: bool = False
) -> pa.Table | None:
    """The rows of one job, checked as `read_rows` checks them; None if it is not finished.

    `columns` as in `read_rows`; `reference` looks in `references/`.
    """
    only = pc.field("job") == job_id
    path = layout.reference_file(job_id) if reference else layout.row_file(job_id)
    try:
        return decoded(_read(path, columns, only).rows)
    except FileNotFoundError:
        merged = merged_with(path.parent, job_id)  # there before the job's own file is gone
    return None if merged is None else decoded(_read(merged, columns, only).rows)


def _there(target: Path, job_id: str) -> bool:
    return target.exists() or merged_with(target.parent, job_id) is not None


def _require_own_rows(plain: pa.Table, jobs: Sequence[str]) -> None:
    found = set(pc.unique(plain["job"]).to_pylist())
    if found != set(jobs):
        raise ValueError(f"rows are of jobs {sorted(found)}, expected {sorted(jobs)}")
    if len(pc.unique(plain["study"])) != 1:
        raise ValueError("rows are of more than one study")
    if plain.group_by(list(KEY)).aggregate([]).num_rows != plain.num_rows:
        raise ValueError("rows share a key")


def _read_all(folder: Path, columns: Columns, filters: Any) -> list[RowFile]:
    """The files from which the folder's jobs count, and of each what counts."""
    asked = None if filters is None else pq.filters_to_expression(filters)
    while True:
        found = parts(folder)
        try:
            return [_read(path, columns, _except(asked, other)) for path, other in found]
        except FileNotFoundError:
            if parts(folder) == found:
                raise
            # A compaction was faster: its merged files have the rows.


def _except(asked: Any, jobs: frozenset[str]) -> Any:
    """The filter, without the rows of these jobs."""
    if not jobs:
        return asked
    rest = ~pc.field("job").isin(sorted(jobs))
    return rest if asked is None else asked & rest


def _read(path: Path, columns: Columns, filters: Any) -> RowFile:
    data = _bytes(path)
    layout = Layout(path.parent.parent)
    # The second look: another attempt may have added its sum and won between file and record.
    if differs(layout, path, data) and differs(layout, path, data):
        raise UserError(
            f"'{path}' is damaged: its SHA-256 is not the one in {layout.checksums.name}/; "
            "delete the file and run the study again."
        )
    try:
        footer = pq.read_metadata(pa.BufferReader(data)).metadata
        version = int(footer[VERSION_KEY])
        if version > SCHEMA_VERSION:
            raise UserError(
                f"'{path}' has schema {version}, this release reads up to {SCHEMA_VERSION}: "
                "use a newer sweep."
            )
        _require_own_name(path, footer[JOBS_KEY])
        schema = pq.read_schema(pa.BufferReader(data))
        chosen = columns(schema.names) if callable(columns) else columns
        rows = pq.read_table(
            pa.BufferReader(data),
            columns=None if chosen is None else list(chosen),
            filters=filters,
            page_checksum_verification=True,
        )
        rows.validate(full=True)
        if any(rows[name].null_count for name in {*KEY, "job"}.intersection(rows.column_names)):
            raise ValueError("rows lack a part of their key")
        return RowFile(path, schema, rows)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise no_row_file(path, error) from error


def _bytes(path: Path) -> bytes:
    """The file; `FileNotFoundError` if it is gone, `UserError` if it cannot be read as a file."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():  # no compaction leaves one behind
            raise no_row_file(path, error) from error
        raise
    except IsADirectoryError as error:
        raise no_row_file(path, error) from error
    except PermissionError as error:
        raise UserError(f"'{path}' cannot be read: permission is denied.") from error


def _require_own_name(path: Path, listed: bytes) -> None:
    """Refuse a file that says it holds another job than the one it is called after: a copy, say."""
    jobs = json.loads(listed)
    if not is_merged(path) and jobs != [path.stem]:
        raise UserError(
            f"'{path}' holds the rows of job {', '.join(map(str, jobs))}, whose name it does not "
            "have: remove it and run the study again."
        )


def decoded(table: pa.Table) -> pa.Table:
    """The table with plain strings for words that are dictionary-encoded."""
    schema = pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ],
        metadata=table.schema.metadata,
    )
    return table.cast(schema)


def _encoded(plain: pa.Table, schema: pa.Schema) -> pa.Table:
    arrays = [
        plain[field.name].combine_chunks().dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else plain[field.name]
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
