"""Files that are either whole or absent, also after a crash or a power cut.

Bytes are written under a hidden temporary name, synced, then given the final name in one step.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweep.errors import UserError
from sweep.storage.leftovers import temporary_name
from sweep.storage.objects import in_store
from sweep.storage.renames import UNSUPPORTED, rename_new

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system answers that knows no hard links, or no more of this file."""

_REFUSED = {
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "it is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOENT: "a part of the path is missing",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file is in the way",
    errno.EXDEV: "it spans two file systems",
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
    if (stored := in_store(folder)) is not None:
        stored.mkdir()
    elif not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def publish(path: Path, data: bytes, staging: Path | None = None) -> bool:
    """True if this call made `path` appear with these bytes, False if it was already there.

    The temporary file lies in `staging`, a folder of the same file system (default: beside `path`).
    Of several calls at once exactly one wins, wherever the file system knows hard links or a rename
    to free names only. Elsewhere (a FAT disk, some network folders) the file is still whole at any
    moment, but a call that comes in the very instant between the other's look and its rename
    replaces the file by its own whole bytes, which are equal for equal rows.
    """
    if path.exists():
        return False
    if (stored := in_store(path)) is not None:
        return stored.create(data)
    temporary = write_hidden(path, data, staging or path.parent)
    try:
        won = give_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return won


def replace(path: Path, data: bytes) -> None:
    """`path` with these bytes, whatever it held; readers see the old or the new, never a mix."""
    if (stored := in_store(path)) is not None:
        stored.write_bytes(data)
        return
    temporary = write_hidden(path, data, path.parent)
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
    if (stored := in_store(path)) is not None:
        before = stored.read_bytes()
        stored.write_bytes(before + (b"" if before[-1:] in b"\n" else b"\n") + f"{line}\n".encode())
        return
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
    if in_store(folder) is not None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to sync a folder; their rename is durable by itself.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def write_hidden(path: Path, data: bytes, folder: Path) -> Path:
    """A synced hidden file in `folder` with the bytes that will be called `path`."""
    temporary = folder / temporary_name(path.name)
    if (stored := in_store(temporary)) is not None:
        stored.write_bytes(data)
        return temporary
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def give_name(temporary: Path, path: Path) -> bool:
    """True if `path` appeared by this call as another name of `temporary`; see `publish`."""
    if (stored := in_store(path)) is not None:
        return stored.create(temporary.read_bytes())
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network file system may have linked, lost its answer, and been asked again.
        return temporary.samefile(path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _give_name_without_links(temporary, path)
    return True


def _give_name_without_links(temporary: Path, path: Path) -> bool:
    try:
        rename_new(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    return True
