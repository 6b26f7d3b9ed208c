"""Lanes: how a member's bits are kept independent of its neighbours.

Members lie along the last axis ("lanes"). torch handles full vectors and the scalar tail of that
axis by different code, splits large tensors between threads at odd places, and its matrix products
round differently near a panel's edge. Three rules exclude all of that:

1. the number of lanes is a multiple of `LANE`, so that there is no tail: 64 lanes are four full
   vectors of the widest kind, which is the unit of torch's reductions;
2. one thread inside the loop (`one_thread`);
3. only elementwise operations and sums over earlier axes (`contract`), no matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

LANE = 64
# K·H·N up to which one product and one sum is faster than a running sum (measured on one thread
# with 64 to 512 lanes: at 1,280 by a factor of 1.7, at 3,200 equal, at 34,000 slower by up to 10).
CONTRACT_AT_ONCE = 3000


def padded(members: int) -> int:
    """The least number of lanes that holds the members: a multiple of `LANE`, at least one."""
    return LANE * max(1, -(-members // LANE))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside, and restore the number of threads afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_lanes(rows: np.ndarray, lanes: int, like: torch.Tensor) -> torch.Tensor:
    """(S, P) → (P, lanes) with the type and device of `like`; idle lanes repeat the last member."""
    index = np.minimum(np.arange(lanes), len(rows) - 1)
    return torch.as_tensor(np.ascontiguousarray(rows[index].T)).to(like)


def contract(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Σ_h W[k,h]·x[h] per lane: (K, H, S), (H, N, S or 1) → (K, N, S).

    A small product is one multiplication and one sum, a large one a running sum over h that never
    holds K·H·N·S numbers. Which of the two depends on K, H, N alone, never on S.
    """
    k, h, _ = weight.shape
    if k * h * x.shape[1] <= CONTRACT_AT_ONCE:
        return (weight.unsqueeze(2) * x).sum(1)
    total = weight[:, 0].unsqueeze(1) * x[0]
    for i in range(1, h):
        total = torch.addcmul(total, weight[:, i].unsqueeze(1), x[i])
    return total
