"""Folders of a local Ray and of Tune: short enough for sockets, and gone once their owner is.

A sweep that was killed cannot remove its own. The next one does: an owner holds a lock for as long
as it lives.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweep.execution.interrupts import uninterrupted

OWNER = "owner"
PREFIX = "sweep-"
ABANDONED_SECONDS = 60.0  # a folder is locked a moment after it is made

# A unix socket's path ends at 107 bytes; Ray appends a session folder and a socket's name (up to
# 66), mkdtemp 15.
_LONGEST_BASE = 26


@contextmanager
def session_folder() -> Iterator[Path]:
    """A new folder that is removed in the end, as are those of owners that were killed."""
    base = tempfile.gettempdir()
    base = base if len(base) <= _LONGEST_BASE else "/tmp"
    for owner in Path(base).glob(f"{PREFIX}*/{OWNER}"):
        if _abandoned(owner):
            shutil.rmtree(owner.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        with (folder / OWNER).open("w") as owner_file:
            with suppress(OSError):  # no locks here: it is never taken for abandoned
                fcntl.flock(owner_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
    finally:
        with uninterrupted():
            remove_folder(folder)


def _abandoned(owner: Path) -> bool:
    """Whether nobody holds the lock of a folder that is old enough to be locked."""
    try:
        if time.time() - owner.stat().st_mtime < ABANDONED_SECONDS:
            return False
        with owner.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, another user's, gone, or on a file system without locks
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Remove a Ray's folder, more than once: processes that are dying still write their logs.

    Waits two seconds at most; a folder that is left over does no harm.
    """
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
