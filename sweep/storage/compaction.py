"""Small row files merged into few large ones: each row exactly once, at every moment.

Merged files are first written and synced in hiding. Then, while no commit is at its last step, the
folder `rows` is exchanged in one step for another that has the merged files instead of the small
ones and shares all others (hard links). So whoever lists the folder, pandas too, finds each row
once; who listed it before and opens a small file after is told that it is gone, and never counts
wrong. A crash leaves the folder as it was before or as it is after.

Where the system has no such exchange or no locks (network folders), merged files come first and
small ones go afterwards. Sweep's own readers count each job once all the same; any other that reads
in between, or after a crash there until the next compaction, finds jobs twice, which `sweep verify`
names.

Merged files are never touched again, and their bytes depend on their jobs' rows alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import UserError
from sweep.storage.checksums import add_checksum, sha256
from sweep.storage.durable import (
    NO_LINKS,
    give_name,
    make_folder,
    sync_folder,
    write_hidden,
    writing,
)
from sweep.storage.layout import Layout
from sweep.storage.leftovers import clear_leftovers
from sweep.storage.locks import locked
from sweep.storage.renames import UNSUPPORTED, exchange
from sweep.storage.row_files import decoded, read_whole, serialise
from sweep.storage.row_listing import is_merged, jobs_in, row_paths
from sweep.storage.study_file import read_study

MERGED_BYTES = 2**27
"""Small files are merged up to about this size together, which a reader has in memory at once."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: row files before and after, and of how many jobs it merged the files.

    `jobs` counts jobs whose own files are gone by this call.
    """

    results: Path
    jobs: int
    files_before: int
    files_after: int


class _Merge(NamedTuple):
    """A merged file under its temporary name, its SHA-256, and the files that it replaces."""

    temporary: Path
    target: Path
    digest: str
    small: tuple[Path, ...]


def compact(layout: Layout, limit: int = MERGED_BYTES) -> Compaction:
    """The jobs' own row files merged into files of up to `limit` bytes together.

    A job is finished before, meanwhile and after. Repeating it, after a crash or beside another
    one, merges what is left to merge. Raises `UserError` when the folder is none or cannot be
    written, and, before a row file is touched, naming one that is damaged, foreign, of a newer
    schema or in contradiction to a merged one.
    """
    read_study(layout)
    if not row_paths(layout.rows):
        return Compaction(layout.root, 0, 0, 0)
    with writing(layout.root), locked(layout.compaction_lock):
        for folder in (layout.checksums, layout.incoming):
            make_folder(folder)
        clear_leftovers(layout.folders)
        with locked(layout.row_lock):
            _settle(layout)
        before = row_paths(layout.rows)
        doubled = _doubled(layout, before)
        merges: list[_Merge] = []
        try:
            for group in _groups(set(before) - doubled, limit):
                merges.append(_merge(layout, group))
            with locked(layout.row_lock) as held:
                for merge in merges:
                    add_checksum(layout, merge.target, merge.digest)
                if not (merges and held and _exchange(layout, merges, doubled)):
                    _replace_one_by_one(layout, merges, doubled)
                _drop_records(layout)
        finally:
            for merge in merges:
                merge.temporary.unlink(missing_ok=True)
        gone = len(doubled) + sum(len(merge.small) for merge in merges)
        return Compaction(layout.root, gone, len(before), len(row_paths(layout.rows)))


def _groups(paths: set[Path], limit: int) -> list[tuple[Path, ...]]:
    """The jobs' own files, in order of name, in groups of at least two within the limit."""
    groups: list[list[Path]] = [[]]
    size = 0
    for path in sorted(path for path in paths if not is_merged(path)):
        own = path.stat().st_size
        if size + own > limit and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(path)
        size += own
    return [tuple(group) for group in groups if len(group) > 1]


def _merge(layout: Layout, small: tuple[Path, ...]) -> _Merge:
    """The rows of small files in one, written and synced under a temporary name."""
    files = [read_whole(path) for path in small]
    schema = files[0].schema
    for file in files:
        if not file.schema.equals(schema):
            raise UserError(f"'{file.path}' has other columns than '{small[0]}'.")
    rows = pa.concat_tables(file.rows.replace_schema_metadata(None) for file in files)
    jobs = sorted(path.stem for path in small)
    target = layout.merged_file(hashlib.sha256("\n".join(jobs).encode()).hexdigest()[:16])
    try:
        data = serialise(rows.replace_schema_metadata(schema.metadata), jobs)
    except ValueError as error:
        raise UserError(
            f"the files from '{small[0]}' to '{small[-1].name}' cannot be merged ({error}): "
            "'sweep verify' says which of them is wrong."
        ) from error
    return _Merge(write_hidden(target, data, layout.incoming), target, sha256(data), small)


def _doubled(layout: Layout, paths: Sequence[Path]) -> set[Path]:
    """Files of jobs that are merged already; `UserError` if one says anything else than that."""
    found = set()
    for merged in filter(is_merged, paths):
        jobs = jobs_in(merged)
        own = [path for path in paths if path.stem in jobs]
        whole = read_whole(merged).rows if own else None
        for path in own:
            assert whole is not None
            if not _equal(read_whole(path).rows, whole.filter(pc.field("job") == path.stem)):
                raise UserError(
                    f"'{path}' and '{merged.name}' hold different rows of job {path.stem}: "
                    "'sweep verify' says which is wrong; delete it and run the study again."
                )
        found.update(own)
    return found


def _equal(one: pa.Table, other: pa.Table) -> bool:
    """Whether rows are the same but for `params`, which a store setting may leave out."""
    return bool(_comparable(one).equals(_comparable(other)))


def _comparable(rows: pa.Table) -> pa.Table:
    names = [name for name in rows.column_names if name != "params"]
    return decoded(rows.select(names)).replace_schema_metadata(None)


def _exchange(layout: Layout, merges: Sequence[_Merge], doubled: Collection[Path]) -> bool:
    """Whether `rows` could be exchanged in one step for the folder with the merged files."""
    small = {*doubled, *(path for merge in merges for path in merge.small)}
    if layout.rows.is_symlink():
        return False
    try:
        layout.next_rows.mkdir()
        shutil.copymode(layout.rows, layout.next_rows)
        for merge in merges:  # first: they tell `_settle` that this is not the old folder
            os.link(merge.temporary, layout.next_rows / merge.target.name)
        for path in sorted(layout.rows.iterdir()):
            if path not in small:
                os.link(path, layout.next_rows / path.name)
        sync_folder(layout.next_rows)
        exchange(layout.rows, layout.next_rows)
    except OSError as error:
        _remove(layout.next_rows)
        if error.errno not in UNSUPPORTED | NO_LINKS:
            raise
        return False
    sync_folder(layout.root)
    _settle(layout)
    return True


def _settle(layout: Layout) -> None:
    """No folder beside `rows` any more, whatever a compaction that was cut short left there."""
    if not layout.next_rows.is_dir():
        return
    here = row_paths(layout.rows)
    finished = {job for path in here for job in jobs_in(path)}
    left = row_paths(layout.next_rows)
    exchanged = all(path.name in {p.name for p in here} for path in filter(is_merged, left))
    for path in left if exchanged else ():
        if not is_merged(path) and path.stem not in finished:
            # From a machine whose locks this one does not see: a commit into the old folder.
            with contextlib.suppress(FileExistsError):
                os.link(path, layout.rows / path.name)
    sync_folder(layout.rows)
    _remove(layout.next_rows)
    sync_folder(layout.root)


def _replace_one_by_one(
    layout: Layout, merges: Sequence[_Merge], doubled: Collection[Path]
) -> None:
    for merge in merges:
        give_name(merge.temporary, merge.target)
    sync_folder(layout.rows)
    for path in sorted([*doubled, *(path for merge in merges for path in merge.small)]):
        path.unlink(missing_ok=True)
    sync_folder(layout.rows)


def _drop_records(layout: Layout) -> None:
    """No checksums of files that have been merged, or of merged ones that never came."""
    there = {path.stem for path in row_paths(layout.rows)}
    merged = {job for path in row_paths(layout.rows) if is_merged(path) for job in jobs_in(path)}
    for record in layout.checksums.iterdir():
        if record.stem not in there and (record.stem in merged or is_merged(record)):
            record.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """The folder gone; merged files last, so that what is left of it is still what it was."""
    if folder.is_dir():
        for path in sorted(folder.iterdir(), key=lambda path: (is_merged(path), path.name)):
            path.unlink()
        folder.rmdir()
