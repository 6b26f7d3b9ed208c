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
``reference``          root, cell                        witness searches
``controls``           root, family, round               points of known truth
``audit``              study, or what is tried           samples and trial points of `verify`
``residuals``          data                              directions of the residuals in a row
=====================  ================================  =====================================

All arms of a seed therefore start from the same base network on the same data (comparisons are
paired), and a λ draw is the same treatment for every seed, arm and cell.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(purpose: str, *key: int | str) -> np.random.Generator:
    """A fresh generator for the stream of this purpose and key; equal keys, equal numbers."""
    text = "\x1f".join([purpose, *(f"{type(part).__name__}:{part}" for part in key)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
