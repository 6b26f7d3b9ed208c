"""Which row files there are, and from which of them each job counts.

A job lies in a file of its own or, after a compaction, in a merged one, whose footer lists its
jobs. While files are merged, or after that was cut short, a job may lie in both: it then counts
from the merged file alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.errors import UserError
from sweep.storage.layout import MERGED
from sweep.storage.objects import in_store

JOBS_KEY = b"jobs"


class Part(NamedTuple):
    """A row file, and those of its jobs that count from another file."""

    path: Path
    elsewhere: frozenset[str]


def row_paths(folder: Path) -> list[Path]:
    """The row files in a folder, sorted; hidden names are never row files.

    Raises `UserError` when the folder is there and must not be listed.
    """
    names = (name for name in _names(folder) if not name.startswith("."))
    return [folder / name for name in sorted(names) if name.endswith(".parquet")]


def _names(folder: Path) -> list[str]:
    """What is in a folder; nothing where there is none."""
    if (stored := in_store(folder)) is not None:
        return [path.name for path in stored.glob("*")]
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:  # a look that sees nothing must not pass for an empty folder
        raise UserError(
            f"'{folder}' cannot be listed: permission is denied, so ask its owner for it."
        ) from error


def is_merged(path: Path) -> bool:
    """Whether the file holds several jobs."""
    return path.name.startswith(MERGED)


def listing(folder: Path) -> list[Path]:
    """The row files in a folder at one moment, also while a compaction changes it.

    Files go only after a merged file with their rows has come, but one look at a folder takes time:
    it may miss both. The next look sees the merged file, so looks that agree on these missed none.
    """
    before: list[Path] | None = None
    while True:
        paths = row_paths(folder)
        merged = [path for path in paths if is_merged(path)]
        if merged == before:
            return paths
        before = merged


def parts(folder: Path) -> list[Part]:
    """The row files from which the folder's jobs count, each job from exactly one.

    Raises `UserError` naming a merged file whose footer cannot be read.
    """
    paths = listing(folder)
    found: list[Part] = []
    merged: set[str] = set()
    for path in filter(is_merged, paths):
        jobs = jobs_in(path)
        if not jobs <= merged:
            found.append(Part(path, jobs & merged))
        merged |= jobs
    own = (path for path in paths if not is_merged(path) and path.stem not in merged)
    return sorted([*found, *(Part(path, frozenset()) for path in own)])


def finished_in(folder: Path) -> set[str]:
    """Ids of the jobs with rows in a folder, from names alone (footers for merged files)."""
    found: set[str] = set()
    for path in listing(folder):
        found.update(jobs_in(path))
    return found


def merged_with(folder: Path, job: str) -> Path | None:
    """The merged file in a folder that holds the job's rows."""
    # Every commit asks this, and may have to look past a hundred thousand jobs' own files.
    names = sorted(name for name in _names(folder) if name.startswith(MERGED))
    merged = (folder / name for name in names if name.endswith(".parquet"))
    return next((path for path in merged if job in jobs_in(path)), None)


def jobs_in(path: Path) -> frozenset[str]:
    """Ids of the jobs whose rows a file holds; `UserError` when a merged file does not say it."""
    if not is_merged(path):
        return frozenset({path.stem})
    try:
        with path.open("rb") as file:
            footer: Mapping[bytes, bytes] = pq.read_metadata(file).metadata or {}
        return frozenset(map(str, json.loads(footer[JOBS_KEY])))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise no_row_file(path, error) from error


def no_row_file(path: Path, error: Exception) -> UserError:
    """The sentence about a file that cannot be read as rows."""
    if isinstance(error, PermissionError):
        return UserError(f"'{path}' cannot be read: permission is denied to this user.")
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"'{path}' is no intact row file ({said}): delete it and run the study again.")
