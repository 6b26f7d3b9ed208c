"""The one way numba is used here: compiled to disk once, no interpreter lock, IEEE arithmetic.

No `fastmath` (sums keep their order, so that a member's bits are its own) and no `parallel` (a job
has one thread; executors give the parallelism).

numba looks only at a function's own file to decide whether its machine code is still good, not at
the files of the functions it calls. So the cache lies in a folder named after the sources of all
kernels: changed code never meets old machine code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit

# Folders all of whose code may end up inside a kernel.
BOUND = ("formulas", "kernels", "fused")

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Where machine code of exactly these sources is kept, below the user's cache folder."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(package.rglob("*.py")):
        text = source.read_bytes()
        # A kernel's file imports `compiled` from here; formulas and programs are bound elsewhere.
        if b"compiled" in text or source.parent.name in BOUND:
            digest.update(source.relative_to(package).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(text).digest())
    home = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "sweep" / f"kernels-{digest.hexdigest()[:16]}"


def _use_cache_folder() -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        # A home that cannot be written: compiled again in every process, but it works.
        folder = Path(tempfile.mkdtemp(prefix="sweep-kernels-"))
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made at run time


_use_cache_folder()


def compiled(function: F) -> F:
    """The same function as machine code, built at the first call of each signature."""
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))
