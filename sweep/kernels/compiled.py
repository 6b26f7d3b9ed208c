"""The one way numba is used here: compiled to disk once, no interpreter lock, IEEE arithmetic.

No `fastmath` (sums keep their order, so that a member's bits are its own) and no `parallel` (a job
has one thread; executors give the parallelism).

numba looks only at a function's own file to decide whether its machine code is still good, not at
the files of the functions it calls. So the cache lies in a folder named after the sources of all
kernels: changed code never meets old machine code. A cache is a convenience: one that is damaged
or full costs a compilation, never a run. Below that folder only a source's place in the package
counts, not where the package lies: a cluster unpacks it anew for every submission.

numba tells functions of one name and signature apart by a number that counts up from 1 in every
process. Two processes can give one number to two functions, and a third that loads both from disk
links one in the place of the other without a word (numba issue 10486). Every scheme's `forward`
has the same name and signature, so the numbers are drawn at random here.
"""

from __future__ import annotations

import atexit
import hashlib
import inspect
import os
import pickle
import secrets
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache, IndexDataCacheFile

# Folders all of whose code may end up inside a kernel.
BOUND = ("formulas", "kernels", "fused")

_PACKAGE = Path(__file__).parents[1]

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Where machine code of exactly these sources is kept, below the user's cache folder."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(package.rglob("*.py")):
        text = source.read_bytes()
        # A kernel's file imports `compiled` from here; formulas, programs and what is named so are
        # bound elsewhere.
        bound = source.parent.name in BOUND or source.stem.endswith("kernels")
        if bound or b"compiled" in text:
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
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made at run time


_use_cache_folder()
# `next(_unique_ids)` is all that numba asks of it.
_unique: Any = iter(lambda: secrets.randbits(64), None)  # numba's own is an itertools.count
FunctionIdentity._unique_ids = _unique


#: What reading a file raises that was cut short or overwritten.
DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)


@cache
def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


class _OwnFiles(IndexDataCacheFile):
    """Files of machine code under names of their own.

    numba numbers them, and two processes that save two signatures at once take the same number.
    """

    def _data_name(self, number: int) -> str:
        return f"{Path(self._index_name).stem}.{uuid.uuid4().hex}.nbc"


class ForgivingCache(FunctionCache):
    """numba's cache of a function, where no file can be so wrong that the function cannot run."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        source = Path(inspect.getfile(function))
        stamp = self._impl.locator.get_source_stamp()
        if source.is_relative_to(_PACKAGE):
            folder = Path(str(numba.config.CACHE_DIR))  # type: ignore[attr-defined]  # made at run time
            folder /= source.parent.relative_to(_PACKAGE)
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
            self._cache_path, stamp = str(folder), _digest(source)
        self._cache_file = _OwnFiles(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code of a signature, or None; damaged files are forgotten."""
        try:
            return super().load_overload(sig, target_context)
        except (*DAMAGED, OSError):
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code of a signature, if the folder takes it."""
        with suppress(*DAMAGED, OSError):
            super().save_overload(sig, data)


def compiled(function: F) -> F:
    """The same function as machine code, built at the first call of each signature."""
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = ForgivingCache(dispatcher.py_func)
    return cast(F, dispatcher)
