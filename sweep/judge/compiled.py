"""The one way numba is used here: compiled to disk once, no interpreter lock, IEEE arithmetic.

No `fastmath` (sums keep their order, so that a member's bits are its own) and no `parallel` (a job
has one thread; executors give the parallelism).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The same function as machine code, built at the first call of each signature."""
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))
