"""Hidden temporary files that dead writers left behind, and when they may be removed.

A temporary file's name says which machine and process writes it. It is removed when that process
is known to be dead, which only its own machine can know, or when it is older than any write takes.
A living writer's file is never removed, and one that were would cost no rows: its writer fails to
give it its name, and the job runs again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

STALE_SECONDS = 86400.0
"""No file takes a day to write, wherever it is written from."""

_NAME = re.compile(r"\..+\.([0-9a-f]{12})-(\d+)-[0-9a-f]{32}\.tmp")


def temporary_name(name: str) -> str:
    """A new hidden name, for the bytes that will be called `name`."""
    return f".{name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex}.tmp"


def clear_leftovers(folders: Iterable[Path]) -> list[Path]:
    """The temporary files of dead writers in these folders, now removed.

    What cannot be looked at or removed stays: leftovers do no harm, and readers ignore them.
    """
    removed = []
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            try:
                if _left_over(path):
                    path.unlink()
                    removed.append(path)
            except OSError:
                continue
    return removed


def _left_over(path: Path) -> bool:
    if time.time() - path.stat().st_mtime > STALE_SECONDS:
        return True
    found = _NAME.fullmatch(path.name)
    return found is not None and found[1] == _machine() and not _alive(int(found[2]))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


@functools.cache
def _machine() -> str:
    """Twelve hex digits that two processes share only if they can see each other's ids."""
    # Containers may share a host's name and its boot, but not its table of processes.
    seen = [platform.node()]
    with contextlib.suppress(OSError):  # only Linux has them
        seen.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:12]
