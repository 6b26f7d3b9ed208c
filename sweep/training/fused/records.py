"""What the loops of `sweep.training.fused.members` are given, work in and leave behind.

Axis letters as in `sweep.training.fused.program`; S members.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Net(NamedTuple):
    """Shapes and constants of an objective.

    `n_base` parameters of the network, then those of `n_added` neurons; `n_units` hidden and added
    units; `decayed` parameters, the first ones, under weight decay `decay`; `penalised`: 1 if the
    added neurons' own regularizer is part of F, else 0; `output_bias`: 1 if the network has one,
    else 0; `coercive`: 1 if [B] eq. 4 is part of F, with one λ per unit, else 0; `n_outputs` of the
    network: under a loss of several outputs they count among the units.
    """

    n_points: int
    n_inputs: int
    n_base: int
    n_added: int
    n_params: int
    n_units: int
    decayed: int
    decay: float
    penalised: int
    output_bias: int
    coercive: int
    n_outputs: int


class Rule(NamedTuple):
    """When a member stops: F ≤ loss, ‖∇F‖ ≤ gradient, or max_steps updates."""

    max_steps: int
    gradient: float
    loss: float


#: Ends training at the start.
NO_STEP = Rule(max_steps=0, gradient=0.0, loss=0.0)


class Queue(NamedTuple):
    """Members that wait: `start` (S, P), `lam` (S, M), learning rates `lr` (S,), `keys` (S, 2).

    `keys` of the Philox streams that shuffle a member's mini-batches, (0, 2) for the full batch.
    """

    start: np.ndarray
    lam: np.ndarray
    lr: np.ndarray
    keys: np.ndarray


class Results(NamedTuple):
    """Where members ended: `params` (S, P), `steps` (S,), `stop` (S,), numbers of `STOPS`."""

    params: np.ndarray
    steps: np.ndarray
    stop: np.ndarray


class Tables(NamedTuple):
    """What an update's t-th step needs: `rate` and `spread`, and constants.

    The last of their entries holds for every later step.
    `n_state` numbers are remembered per parameter.
    """

    n_state: int
    rate: np.ndarray
    spread: np.ndarray
    constants: np.ndarray


class Points(NamedTuple):
    """Padded data as in `program`; `batch` is the batch of each position of an order, (N₀,).

    `factor` (batches,) the weight of a point in its batch; N₀ is the number of points before
    padding. Both are empty for the full batch.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    batch: np.ndarray
    factor: np.ndarray


class Memory(NamedTuple):
    """What the lanes work in, rows of L, besides `order` (N₀,); the last four for mini-batches.

    `member` is who is on a lane, −1 for nobody; `taken` the updates it has had; `blocks` the last
    Philox block it used; `batch_of` the batch of each point, `own` the points' weights in it.
    """

    theta: np.ndarray
    before: np.ndarray
    grad: np.ndarray
    state: np.ndarray
    lam: np.ndarray
    scalars: np.ndarray
    h: np.ndarray
    s: np.ndarray
    delta: np.ndarray
    member: np.ndarray
    taken: np.ndarray
    order: np.ndarray
    blocks: np.ndarray
    batch_of: np.ndarray
    own: np.ndarray
