"""Whether machine code is at hand, and one process at a time to make it.

Workers of a first run would otherwise all compile the same kernels side by side.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numba

from sweep.kernels import compiled  # noqa: F401  (decides where machine code is kept)

_DONE = "complete"


def _folder() -> Path:
    return Path(str(numba.config.CACHE_DIR))  # type: ignore[attr-defined]  # made at run time


def machine_code_at_hand() -> bool:
    """Whether some process has come to the end of compiling the kernels of these sources here."""
    return (_folder() / _DONE).exists()


@contextmanager
def first_compilation() -> Iterator[bool]:
    """A block that makes the machine code; true in the one process that has to.

    The others wait for it. Where files cannot be locked (some network file systems) each makes its
    own, as numba allows.
    """
    if machine_code_at_hand():
        yield False
        return
    with (_folder() / "lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        first = not machine_code_at_hand()
        yield first
        if first:
            (_folder() / _DONE).touch()
