"""numpy's own Philox words, and orders that are uniform."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from sweep.kernels.philox import high_product, shuffle, words

RNG = np.random.default_rng(1)
KEYS = [
    *RNG.integers(0, 2**64, size=(200, 2), dtype=np.uint64),
    np.zeros(2, dtype=np.uint64),
    np.full(2, 2**64 - 1, dtype=np.uint64),
]


def test_words_are_numpys() -> None:
    for key in KEYS:
        found = np.array([words(key, np.uint64(block)) for block in range(1, 9)])
        expected = np.random.Philox(key=key).random_raw(32)
        assert np.array_equal(found.ravel(), expected)


def test_a_block_far_down_the_stream_is_numpys() -> None:
    key, block = KEYS[0], 2**63 + 12345
    before = np.array([block - 1, 0, 0, 0], dtype=np.uint64)
    generator = np.random.Philox(key=key, counter=before)
    assert np.array_equal(words(key, np.uint64(block)), generator.random_raw(4))


def test_the_upper_half_of_a_product() -> None:
    numbers = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, *map(int, KEYS[0]), *map(int, KEYS[1])]
    for a in numbers:
        for b in numbers:
            assert int(high_product(np.uint64(a), np.uint64(b))) == (a * b) >> 64


@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 40])
def test_epochs_take_whole_blocks_one_after_the_other(n: int) -> None:
    order, block = np.zeros(n, dtype=np.int64), np.uint64(0)
    per_epoch = -(-max(0, n - 1) // 4)
    drawn = np.random.Philox(key=KEYS[3]).random_raw(max(1, 12 * per_epoch))
    for epoch in range(3):
        block = np.uint64(shuffle(order, KEYS[3], block))
        assert block == (epoch + 1) * per_epoch
        own = [int(word) for word in drawn[4 * per_epoch * epoch :]]
        expected = list(range(n))
        for i, word in zip(range(n - 1, 0, -1), own, strict=False):
            j = word % (i + 1)
            expected[i], expected[j] = expected[j], expected[i]
        assert order.tolist() == expected


def test_all_orders_are_equally_likely() -> None:
    number = {order: k for k, order in enumerate(permutations(range(4)))}
    counts, order, block = np.zeros(24), np.zeros(4, dtype=np.int64), np.uint64(0)
    for key in KEYS[:20]:
        for _ in range(1200):
            block = np.uint64(shuffle(order, key, block))
            counts[number[tuple(order.tolist())]] += 1
    assert chisquare(counts).pvalue > 1e-3


def test_every_point_is_equally_likely_everywhere() -> None:
    counts, order = np.zeros((7, 7)), np.zeros(7, dtype=np.int64)
    for key in RNG.integers(0, 2**64, size=(20_000, 2), dtype=np.uint64):
        shuffle(order, key, np.uint64(0))
        counts[np.arange(7), order] += 1
    # Rows and columns sum to the number of orders, which leaves 36 degrees of freedom of 48.
    assert chisquare(counts.ravel(), ddof=12).pvalue > 1e-3
