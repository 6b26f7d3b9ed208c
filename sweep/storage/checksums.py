"""The SHA-256 of every row file, in the form that `sha256sum -c` reads.

Page checksums leave headers and the footer open; this closes the rest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sweep.storage.durable import append_line, publish
from sweep.storage.layout import Layout

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def sha256(data: bytes) -> str:
    """The checksum of some bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def add_checksum(layout: Layout, target: Path, digest: str) -> None:
    """Put on record the SHA-256 of the bytes that `target` is about to have."""
    record = layout.checksum_file(target.stem)
    line = f"{digest}  {_name(target)}"
    if publish(record, f"{line}\n".encode()):
        return
    if line not in record.read_text(errors="replace").splitlines():
        append_line(record, line)


def checksums_of(layout: Layout, path: Path) -> set[str]:
    """The SHA-256 sums on record for a row file; empty when there is no record of use.

    More than one when the job was attempted by runs with different `store.params`, or crashed
    between its checksum and its rows: each attempt adds its line, any one may have won.
    """
    try:
        text = layout.checksum_file(path.stem).read_text(errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        return set()
    found = filter(None, map(_LINE.fullmatch, text.splitlines()))
    return {line[1] for line in found if line[2] == _name(path)}


def differs(layout: Layout, path: Path, data: bytes) -> bool:
    """Whether a record exists for the file, and none of its sums is that of these bytes."""
    known = checksums_of(layout, path)
    return bool(known) and sha256(data) not in known


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
