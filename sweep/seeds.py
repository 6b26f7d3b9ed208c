"""Keyed random streams: a number depends on its key alone, never on who asks or when.

Every stream is a Philox counter generator whose 128-bit key is a hash of its meaning:

=====================  ================================  =====================================
purpose                key                               used for
=====================  ================================  =====================================
``initial``            root, seed                        base parameters, shared by all arms
``augmentation``       root, seed                        parameters of the added neuron
``batches``            root, seed                        order of the mini-batches
``lambda``             root, draw                        the regularizer's strength
``grid``               root, axis                        sampled grid values
``data``               problem, problem.seed             synthetic data, random labels
``controls``           root, family, round               points of known truth
``audit``              study, or what is tried           samples and trial points of `verify`
``residuals``          data                              directions of the residuals in a row
``switch on``          data                              directions that a monomial neuron tries
``theory``             network, N, D                     directions tried for the bound of λ
``bootstrap``          contrast                          resampled seeds
=====================  ================================  =====================================

A witness search draws from the first three under a root of its own (`sweep.reference`).

All arms of a seed therefore start from the same base network on the same data (comparisons are
paired), and a λ draw is the same treatment for every seed, arm and cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np


def stream(purpose: str, *key: int | str) -> np.random.Generator:
    """A fresh generator for the stream of this purpose and key; equal keys, equal numbers."""
    return np.random.Generator(np.random.Philox(key=_hashed(purpose, *key)))


def stream_key(purpose: str, *key: int | str) -> np.ndarray:
    """The Philox key (2,) uint64 of `stream(purpose, *key)`, for kernels that draw themselves."""
    number = _hashed(purpose, *key)
    return np.array([number & 0xFFFF_FFFF_FFFF_FFFF, number >> 64], dtype=np.uint64)


def member_streams(purpose: str, root: int, seeds: Iterable[int]) -> Iterator[np.random.Generator]:
    """`stream(purpose, root, seed)` for one seed after the other.

    One generator is turned from key to key, five times as fast as making them: take a stream's
    numbers before asking for the next.
    """
    bits = np.random.Philox(key=0)
    generator, unused = np.random.Generator(bits), bits.state
    for seed in seeds:
        unused["state"]["key"] = stream_key(purpose, root, int(seed))
        bits.state = unused
        yield generator


def _hashed(purpose: str, *key: int | str) -> int:
    """The 128-bit key of a stream."""
    text = "\x1f".join([purpose, *(f"{type(part).__name__}:{part}" for part in key)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
