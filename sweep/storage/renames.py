"""Two renames that POSIX lacks and Linux has: to a free name only, and of two names at once.

`renameat2(2)` of the C library. A file system or operating system without it answers with an
`OSError` in `UNSUPPORTED`, and callers fall back on what POSIX promises.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV})
"""What a system answers that does not know these renames."""

_HERE = -100  # AT_FDCWD: paths are as everywhere else
_NO_REPLACE, _EXCHANGE = 1, 2


def rename_new(source: Path, target: Path) -> None:
    """`source` is called `target`, which must not exist (`FileExistsError`), in one step."""
    _renameat2(source, target, _NO_REPLACE)


def exchange(one: Path, other: Path) -> None:
    """Two entries of one file system have swapped their names, in one step."""
    _renameat2(one, other, _EXCHANGE)


def _renameat2(source: Path, target: Path, flags: int) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))
