"""Too little memory for all members of a job at once: the same work in halves.

A row depends on its key alone, so halves make the rows of the whole, bit for bit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import torch

from sweep.errors import UserError
from sweep.job_columns import Values

Columns = dict[str, Values]

# What libraries say whose error has no type of its own: torch's CPU allocator, numba's CUDA driver
# and NVIDIA's libraries.
_SAID = ("can't allocate memory", "out of memory", "OUT_OF_MEMORY", "_ALLOC_FAILED")


def in_halves(columns_of: Callable[[np.ndarray], Columns], seeds: np.ndarray) -> Columns:
    """The columns of these seeds, made at once or, where memory runs out, half by half.

    Halves are halved again as needed; a single seed's error is raised as it comes.
    """
    try:
        return columns_of(seeds)
    except Exception as error:
        if len(seeds) < 2 or not is_out_of_memory(error):
            raise
    # Not in the handler: an error holds the frames in which it was raised, and their arrays.
    _release()
    middle = len(seeds) // 2
    first, second = (in_halves(columns_of, half) for half in (seeds[:middle], seeds[middle:]))
    return {name: [*first[name], *second[name]] for name in first}


def is_out_of_memory(error: Exception) -> bool:
    """Whether this is a lack of memory, of the machine or of a GPU, that fewer members may mend."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return not isinstance(error, UserError) and any(words in str(error) for words in _SAID)


def _release() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    torch.cuda.empty_cache()  # nothing, where torch has not used a GPU
