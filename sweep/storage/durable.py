"""Files that are either whole or absent, also after a crash or a power cut.

Bytes are written under a hidden temporary name, synced, then given the final name in one step.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweep.errors import UserError

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_REFUSED = {
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "it is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOENT: "a part of the path is missing",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file is in the way",
}


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A block in which the operating system's refusals become one sentence about `folder`.

    Only refusals that a person has to clear are translated; a passing fault (EIO, say) stays an
    `OSError`, which executors may retry.
    """
    try:
        yield
    except OSError as error:
        reason = _REFUSED.get(error.errno or 0)
        if reason is None:
            raise
        raise UserError(
            f"the results folder '{folder}' cannot be written: {reason}; "
            "free it or choose another store.root."
        ) from error


def make_folder(folder: Path) -> None:
    """The folder, with any parent it lacks, there to stay: its own entry is synced too."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def publish(path: Path, data: bytes, staging: Path | None = None) -> bool:
    """True if this call made `path` appear with these bytes, False if it was already there.

    The temporary file lies in `staging`, a folder of the same file system (default: beside `path`).
    Of several calls at once exactly one wins, wherever the file system knows hard links. Elsewhere
    a late call may replace the file by its own whole bytes, which are equal for equal rows.
    """
    if path.exists():
        return False
    temporary = _write_hidden(path, data, staging or path.parent)
    try:
        won = _give_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return won


def replace(path: Path, data: bytes) -> None:
    """`path` with these bytes, whatever it held; readers see the old or the new, never a mix."""
    temporary = _write_hidden(path, data, path.parent)
    try:
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """The paths of files (name → bytes) written into a folder, which is made where it lacks.

    Each is replaced whole. Raises `UserError` when the folder cannot be written.
    """
    with writing(folder):
        make_folder(folder)
        for name, data in files.items():
            replace(folder / name, data)
    return [folder / name for name in files]


def append_line(path: Path, line: str) -> None:
    """`path` with one more line, durably; a line torn by an earlier crash is closed off first."""
    with path.open("a+b") as file:
        end = file.tell()
        file.seek(max(end - 1, 0))
        torn = end > 0 and file.read(1) != b"\n"
        file.write((("\n" if torn else "") + line + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The folder's entries on disk, where the file system can promise that at all."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to sync a folder; their rename is durable by itself.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, patience: float = 60.0) -> Iterator[None]:
    """A block that one process at a time executes; the lock ends with its process.

    Raises `UserError` when another process holds it for longer than `patience` seconds.
    """
    with path.open("a") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"'{path}' has been locked by another sweep for {patience:.0f} s: "
                        "wait until it has planned, or end it."
                    ) from None
                time.sleep(0.02)
        yield


def _write_hidden(path: Path, data: bytes, folder: Path) -> Path:
    temporary = folder / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _give_name(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    return True
