"""Mini-batches: every member visits all points once per epoch, in an order of its own.

A member's orders come from the stream ("batches", root, seed), one permutation per epoch, so all
arms of a seed see the same batches. A batch is a column of weights on the points' losses: N/B on
its B points and zero elsewhere, so that the expected gradient is that of the whole sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.errors import UserError
from sweep.seeds import stream


@dataclass(frozen=True)
class BatchOrder:
    """Whose orders to use: the study's root and each member's seed, in the members' order."""

    root: int
    seeds: Sequence[int]


class Batches:
    """The batches of members on lanes; all lanes begin an epoch at the same time."""

    def __init__(self, n_data: int, batch_size: int, order: BatchOrder, lanes: int) -> None:
        if not batch_size <= n_data:
            raise UserError(
                f"optimizer.batch_size is {batch_size}: at most the number of data points, "
                f"{n_data}, is accepted."
            )
        self._order = order
        self._batch_of_position = np.arange(n_data) // batch_size
        sizes = np.bincount(self._batch_of_position)
        self._factor = n_data / sizes
        self.per_epoch = len(sizes)
        self._batch_of_point = np.zeros((n_data, lanes), dtype=np.int64)
        self._streams: list[np.random.Generator | None] = [None] * lanes

    def enter(self, lane: int, member: int) -> None:
        """A member begins on this lane: its stream starts anew."""
        seed = int(self._order.seeds[member])
        self._streams[lane] = stream("batches", self._order.root, seed)

    def keep(self, lanes: np.ndarray) -> None:
        """Drop all lanes but these, in this order."""
        self._streams = [self._streams[lane] for lane in lanes]
        self._batch_of_point = np.ascontiguousarray(self._batch_of_point[:, lanes])

    def shuffle(self, lanes: np.ndarray) -> None:
        """A new epoch for the members on these lanes."""
        for lane in lanes:
            rng = self._streams[lane]
            assert rng is not None
            points = rng.permutation(len(self._batch_of_position))
            self._batch_of_point[points, lane] = self._batch_of_position

    def weights(self, batch: int) -> np.ndarray:
        """Weights of the points in the epoch's batch of that number, (N, W)."""
        return np.where(self._batch_of_point == batch, self._factor[batch], 0.0)
