"""Row files: a job's rows appear exactly once and whole, and are read back only if intact.

A job is finished when `rows/<job>.parquet` exists. Its bytes are a function of its rows, so that a
job that ran twice offers the same file twice and the first wins.
"""

from __future__ import annotations

import hashlib
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
from sweep.storage.durable import append_line, make_folder, publish, writing
from sweep.storage.layout import Layout

JOBS_KEY = b"jobs"
STUDY_KEY = b"study"
MERGED = "merged-"
"""Files of that prefix hold several jobs, listed in their footer; no job id begins with it."""

Columns = Sequence[str] | Callable[[Sequence[str]], Sequence[str]] | None


class _File(NamedTuple):
    """A row file: its whole schema, and what was asked of its rows."""

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
    if target.exists():
        return False
    data = serialise(table, [job_id])
    with writing(layout.root):
        for folder in (target.parent, layout.checksums, layout.incoming):
            make_folder(folder)
        _add_checksum(layout.checksum_file(job_id), target, data)
        return publish(target, data, layout.incoming)


def serialise(table: pa.Table, jobs: Sequence[str]) -> bytes:
    """The Parquet bytes of these jobs' rows: equal rows in any order give equal bytes.

    Rows are sorted by key before words are dictionary-encoded, since a dictionary keeps the order
    in which its words were met.
    """
    plain = _decoded(table).sort_by([(name, "ascending") for name in KEY])
    _require_own_rows(plain, jobs)
    metadata = {
        **(table.schema.metadata or {}),
        JOBS_KEY: json.dumps(sorted(jobs)).encode(),
        STUDY_KEY: str(plain["study"][0].as_py()).encode(),
    }
    ready = _encoded(plain, table.schema).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(ready, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def finished_jobs(layout: Layout) -> set[str]:
    """Ids of the jobs whose rows are there, from names alone (footers for merged files)."""
    found: set[str] = set()
    for path in row_paths(layout.rows):
        if path.stem.startswith(MERGED):
            found.update(json.loads(_footer(path)[JOBS_KEY]))
        else:
            found.add(path.stem)
    return found


def row_paths(folder: Path) -> list[Path]:
    """The row files in a folder, sorted; hidden names are never row files."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


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
    folder = source.rows if isinstance(source, Layout) else Path(source)
    paths = row_paths(folder)
    if not paths:
        raise UserError(f"'{folder}' holds no row files: run the study first.")
    parts = [_read(path, columns, filters) for path in paths]
    first = parts[0].schema
    for path, part in zip(paths, parts, strict=True):
        if part.schema.metadata[STUDY_KEY] != first.metadata[STUDY_KEY]:
            raise UserError(f"'{path}' belongs to another study than the files beside it.")
        if not part.schema.equals(first):
            raise UserError(f"'{path}' has other columns than the files beside it.")
    rows = pa.concat_tables(part.rows.replace_schema_metadata(None) for part in parts)
    return rows.unify_dictionaries() if encoded else _decoded(rows)


def read_file(path: Path) -> pa.Table:
    """The rows of one file, checked as `read_rows` checks it; words come back as plain strings."""
    return _decoded(_read(path, None, None).rows)


def read_job(layout: Layout, job_id: str, columns: Columns = None) -> pa.Table | None:
    """The rows of one job, checked as `read_rows` checks them; None if it is not finished.

    `columns` as in `read_rows`, `job` among them.
    """
    path = layout.row_file(job_id)
    if not path.exists():
        merged = (p for p in row_paths(layout.rows) if p.stem.startswith(MERGED))
        found = next((p for p in merged if job_id in json.loads(_footer(p)[JOBS_KEY])), None)
        if found is None:
            return None
        path = found
    table = _decoded(_read(path, columns, None).rows)
    return table.filter(pc.equal(table["job"], job_id))


def checksums_of(layout: Layout, path: Path) -> set[str]:
    """The SHA-256 sums on record for a row file; empty when there is no record.

    More than one when the job was attempted by runs with different `store.params`, or crashed
    between its checksum and its rows: each attempt adds its line, any one may have won.
    """
    try:
        text = layout.checksum_file(path.stem).read_text()
    except FileNotFoundError:
        return set()
    return {line.split()[0] for line in text.splitlines() if len(line.split()) == 2}


def _add_checksum(record: Path, target: Path, data: bytes) -> None:
    line = f"{hashlib.sha256(data).hexdigest()}  {target.parent.name}/{target.name}"
    if publish(record, f"{line}\n".encode()):
        return
    if line not in record.read_text().splitlines():
        append_line(record, line)


def _require_own_rows(plain: pa.Table, jobs: Sequence[str]) -> None:
    found = set(pc.unique(plain["job"]).to_pylist())
    if found != set(jobs):
        raise ValueError(f"rows are of jobs {sorted(found)}, expected {sorted(jobs)}")
    if len(pc.unique(plain["study"])) != 1:
        raise ValueError("rows are of more than one study")
    if plain.group_by(list(KEY)).aggregate([]).num_rows != plain.num_rows:
        raise ValueError("rows share a key")


def _read(path: Path, columns: Columns, filters: Any) -> _File:
    data = path.read_bytes()
    layout = Layout(path.parent.parent)
    known = checksums_of(layout, path)
    if known and hashlib.sha256(data).hexdigest() not in known:
        raise UserError(
            f"'{path}' is damaged: its SHA-256 is not the one in {layout.checksums.name}/; "
            "delete the file and run the study again."
        )
    try:
        version = int(pq.read_metadata(pa.BufferReader(data)).metadata[VERSION_KEY])
        if version > SCHEMA_VERSION:
            raise UserError(
                f"'{path}' has schema {version}, this release reads up to {SCHEMA_VERSION}: "
                "use a newer sweep."
            )
        schema = pq.read_schema(pa.BufferReader(data))
        chosen = columns(schema.names) if callable(columns) else columns
        rows = pq.read_table(
            pa.BufferReader(data),
            columns=None if chosen is None else list(chosen),
            filters=filters,
            page_checksum_verification=True,
        )
        return _File(schema, rows)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is no intact row file ({str(error).splitlines()[0]}): "
            "delete it and run the study again."
        ) from error


def _footer(path: Path) -> dict[bytes, bytes]:
    return dict(pq.read_metadata(path).metadata or {})


def _decoded(table: pa.Table) -> pa.Table:
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
