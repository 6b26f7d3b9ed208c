"""Mini-batches: every member visits all points once per epoch, in an order of its own.

A member's orders come from the stream ("batches", root, seed), one shuffle per epoch
(`sweep.kernels.philox.shuffle`), so all arms of a seed see the same batches. A batch is a column of
weights on the points' losses: N/B on its B points and zero elsewhere, so that the expected gradient
is that of the whole sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.errors import UserError
from sweep.kernels.philox import shuffle
from sweep.seeds import stream_key


def batch_plan(n_data: int, batch_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The batch of every position of an order (N,), and the factor of every batch's points.

    Both are empty for the full batch. `UserError` for a batch larger than the data.
    """
    if batch_size is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    if not batch_size <= n_data:
        raise UserError(
            f"optimizer.batch_size is {batch_size}: at most the number of data points, "
            f"{n_data}, is accepted."
        )
    batch_of_position = np.arange(n_data) // batch_size
    return batch_of_position, n_data / np.bincount(batch_of_position)


@dataclass(frozen=True)
class BatchOrder:
    """Whose orders to use: the study's root and each member's seed, in the members' order."""

    root: int
    seeds: Sequence[int]


def batch_key(order: BatchOrder, member: int) -> np.ndarray:
    """The key (2,) of the Philox stream that shuffles a member's points."""
    return stream_key("batches", order.root, int(order.seeds[member]))


class Batches:
    """The batches of members on lanes; all lanes begin an epoch at the same time."""

    def __init__(self, n_data: int, batch_size: int, order: BatchOrder, lanes: int) -> None:
        self._order = order
        self._batch_of_position, self._factor = batch_plan(n_data, batch_size)
        self.per_epoch = len(self._factor)
        self._batch_of_point = np.zeros((n_data, lanes), dtype=np.int64)
        self._keys = np.zeros((lanes, 2), dtype=np.uint64)
        self._blocks = np.zeros(lanes, dtype=np.uint64)
        self._order_of_points = np.zeros(n_data, dtype=np.int64)

    def enter(self, lane: int, member: int) -> None:
        """A member begins on this lane: its stream starts anew."""
        self._keys[lane] = batch_key(self._order, member)
        self._blocks[lane] = 0

    def keep(self, lanes: np.ndarray) -> None:
        """Drop all lanes but these, in this order."""
        self._keys, self._blocks = self._keys[lanes], self._blocks[lanes]
        self._batch_of_point = np.ascontiguousarray(self._batch_of_point[:, lanes])

    def shuffle(self, lanes: np.ndarray) -> None:
        """A new epoch for the members on these lanes."""
        for lane in lanes:
            points = self._order_of_points
            self._blocks[lane] = shuffle(points, self._keys[lane], self._blocks[lane])
            self._batch_of_point[points, lane] = self._batch_of_position

    def weights(self, batch: int) -> np.ndarray:
        """Weights of the points in the epoch's batch of that number, (N, W)."""
        return np.where(self._batch_of_point == batch, self._factor[batch], 0.0)
