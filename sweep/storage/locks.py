"""Locks between processes, on one machine or on a shared folder, that end with their process.

`flock(2)`, which Linux passes on to NFS servers. A file system without it gets a lock file made
exclusively, which whoever is killed with it leaves behind: a sentence then says what to delete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import UserError
from sweep.storage.objects import in_store

PATIENCE = 60.0
"""Seconds to wait for a lock; what is done under one takes less than one."""

_NO_LOCKS = frozenset(
    {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
)
_PAUSE = 0.02
REMEDY = "; if no sweep is at work there, delete it"


@contextlib.contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[bool]:
    """A block that one process at a time executes; the lock ends with its process.

    It gives True; or False where the file system knows no locks, and a lock file stands in.
    Raises `UserError` when another process holds it for longer than `patience` seconds.
    """
    with _file_locked(path, fcntl.LOCK_EX, patience) as known:
        if known:
            yield True
            return
    holder = path.with_name(f"{path.name}.held")
    _make(holder, patience)
    try:
        yield False
    finally:
        holder.unlink(missing_ok=True)


@contextlib.contextmanager
def shared(path: Path, patience: float = 10 * PATIENCE) -> Iterator[bool]:
    """A block that any number of processes execute, but none beside one that has `locked` it.

    It gives True; or False where the file system knows no locks, and nobody is kept out. Raises
    `UserError` as `locked` does.
    """
    with _file_locked(path, fcntl.LOCK_SH, patience) as known:
        yield known


@contextlib.contextmanager
def _file_locked(path: Path, kind: int, patience: float) -> Iterator[bool]:
    if in_store(path) is not None:
        yield False
        return
    deadline = time.monotonic() + patience
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                known = True
                break
            except BlockingIOError:
                _wait(path, deadline, patience)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                known = False
                break
        yield known
    finally:
        os.close(descriptor)


def _make(holder: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        if (stored := in_store(holder)) is not None:
            if stored.create(b""):
                return
            _wait(holder, deadline, patience, REMEDY)
            continue
        try:
            os.close(os.open(holder, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return
        except FileExistsError:
            _wait(holder, deadline, patience, REMEDY)


def _wait(path: Path, deadline: float, patience: float, remedy: str = "") -> None:
    if time.monotonic() > deadline:
        raise UserError(
            f"'{path}' has been locked by another sweep for {patience:.0f} s: "
            f"wait until it is done, or end it{remedy}."
        )
    time.sleep(_PAUSE)
