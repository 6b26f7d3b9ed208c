"""Philox 4×64-10 (Salmon et al. 2011), word for word the stream of `numpy.random.Philox`.

Kernels shuffle mini-batches with a member's own keyed stream without leaving compiled code.
"""

from __future__ import annotations

import numpy as np

from sweep.kernels.compiled import compiled

ROUNDS = 10
M0, M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
W0, W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of a·b."""
    a0, a1, b0, b1 = a & LOW, a >> HALF, b & LOW, b >> HALF
    middle = a1 * b0 + ((a0 * b0) >> HALF)
    other = a0 * b1 + (middle & LOW)
    return a1 * b1 + (middle >> HALF) + (other >> HALF)


@compiled
def words(key: np.ndarray, block: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """The four words of a block, the first being number 1; `key` (2,) uint64."""
    c0, c1, c2, c3 = block, np.uint64(0), np.uint64(0), np.uint64(0)
    k0, k1 = key[0], key[1]
    for _ in range(ROUNDS):
        h0, l0, h1, l1 = high_product(M0, c0), M0 * c0, high_product(M1, c2), M1 * c2
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


@compiled
def shuffle(order: np.ndarray, key: np.ndarray, block: np.uint64) -> np.uint64:
    """Write a random order of 0 … n−1 into `order` (n,): Fisher and Yates, one word a swap.

    Words are taken from the block after `block` on; the number of the last block used comes back,
    and what is left of that block is not used again. A word modulo i is uneven by less than 2⁻⁵⁰.
    """
    for i in range(len(order)):
        order[i] = i
    left = 0
    four = words(key, block)
    for i in range(len(order) - 1, 0, -1):
        if left == 0:
            block += np.uint64(1)
            four = words(key, block)
            left = 4
        word = four[4 - left]
        left -= 1
        j = int(word % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
    return block
