"""The theory's own residuals of arms with an added neuron, for every judged point.

Lemma 1(ii) of [A]: at a local minimum Σᵢ ℓ′(−yᵢf(xᵢ)) yᵢ e^{w·xᵢ+b} (u·xᵢ)^p = 0 for every unit u
and every p ≥ 0. Lemma 4 (eq. 17), for exponential neurons inside the layers, has their product at
rest, exp Σ_l (w_l·h_{l−1}+b_l), and powers of u·x̃; Lemma 5 (eq. 43), for a monomial neuron, no
exponential and its own degree alone. The residual is the largest such sum over a few directions,
relative to the sum of its terms' sizes: 1 where all terms have one sign, near 1e-16 where they
cancel to rounding.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S       members                                                θ (S, P)
N, D    data points, input dimension                           x (N, D), y (N,)
u       directions, the same for all members of a cell         (DIRECTIONS, D)
x̃       x with a last column of ones                           (N, D+1)
f       output of the base network                             (S, N)
a, w, b the added neuron                                       (S,), (S, D), (S,)
h_l     outputs of the base network's layer l                  (K_l, N, S)
======  =====================================================  ==========
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sweep.judge.base import Judgement
from sweep.judge.readings import BLOCK
from sweep.judge.separates import parts_of
from sweep.models.augmentations import ExpSkip, Monomial
from sweep.models.lanes import contract, one_thread, to_lanes
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.problems import Data
from sweep.seeds import stream

POWERS = (0, 1, 2, 3)
# Enough to span the moments of low order in few dimensions; p = 0 needs none.
DIRECTIONS = 16
# Members whose terms (·, N, DIRECTIONS) are formed at once: few enough to stay in cache.
TOGETHER = 32


def add_residuals(found: Judgement, objective: Objective) -> None:
    """Merge the residuals into the evidence of every member; only for arms that have a lemma."""
    if not isinstance(objective, DataObjective):
        return
    if not isinstance(objective.augmentation, ExpSkip | Monomial | ExpLayers):
        return
    for evidence, residuals in zip(
        found.evidence, lemma_residuals(objective, found.params), strict=True
    ):
        evidence.update(residuals)


def lemma_residuals(objective: DataObjective, params: np.ndarray) -> list[dict[str, Any]]:
    """Per member (S, P): `a`, the largest |weight| that leaves an added neuron, and the residuals.

    `lemma_1` and `lemma_4` list them for p = 0..3, `lemma_5` for the neuron's degree. Empty for a
    member whose numbers are not finite. A member's numbers depend on it alone.
    """
    x, y = objective.x.cpu().numpy(), objective.y.cpu().numpy()
    added = objective.augmentation
    powers: tuple[int, ...] = POWERS
    lemma, seen = "lemma_1", x
    if not isinstance(added, ExpSkip):
        lemma, seen = "lemma_4", np.hstack([x, np.ones((len(x), 1))])
    if isinstance(added, Monomial):
        powers, lemma = (added.p,), "lemma_5"
    along = seen @ _directions(x, y, seen.shape[1]).T
    moments = [along**p for p in powers]
    slopes, exponent = _slopes(objective, params), _exponent(objective, params)
    leaving = np.abs(params[:, parts_of(objective).outgoing]).max(axis=1)
    finite = np.isfinite(slopes).all(axis=1) & np.isfinite(exponent).all(axis=1)
    finite &= np.isfinite(leaving)
    found: list[dict[str, Any]] = [{} for _ in params]
    for first in range(0, int(finite.sum()), TOGETHER):
        members = np.flatnonzero(finite)[first : first + TOGETHER]
        # The largest exponential is taken as 1: relative residuals do not feel a common factor.
        raised = np.exp(exponent[members] - exponent[members].max(axis=1, keepdims=True))
        weights = slopes[members] * y * raised
        # A power of two is taken out, which rounds nothing: sums of terms near 1e308 overflow.
        largest = np.frexp(np.abs(weights).max(axis=1, keepdims=True))[1]
        weights = np.ldexp(weights, -largest)
        residuals = np.stack([_relative(weights, m) for m in moments], axis=1).tolist()
        for member, residual in zip(members.tolist(), residuals, strict=True):
            found[member] = {"a": float(leaving[member]), lemma: residual}
    return found


def _exponent(objective: DataObjective, params: np.ndarray) -> np.ndarray:
    """What stands in the lemma's exponential, (S, N)."""
    added, x = objective.augmentation, objective.x.cpu().numpy()
    if isinstance(added, Monomial):
        return np.zeros((len(params), len(x)))
    if isinstance(added, ExpLayers):
        return _layers_exponent(objective, added, params)
    neurons = params[:, objective.n_base :]
    # One product per member and no matrix product: bits must not depend on the neighbours.
    along = np.array([x @ w for w in neurons[:, 1:-1]]).reshape(-1, len(x))
    return np.asarray(along + neurons[:, -1:])


def _layers_exponent(objective: DataObjective, added: ExpLayers, params: np.ndarray) -> np.ndarray:
    """Σ_l (w_l·h_{l−1} + b_l) of the base network's own h, (S, N)."""
    network = objective.network
    assert isinstance(network, MlpNetwork)
    parts = [np.zeros((0, objective.n_data))]
    with one_thread(), torch.no_grad():
        for first in range(0, len(params), BLOCK):
            some = params[first : first + BLOCK]
            theta = to_lanes(some, BLOCK, objective.x)
            hidden = network.hidden(theta[: objective.n_base], objective.x)
            before = [objective.x.t().unsqueeze(-1), *hidden[:-1]]
            neurons = added.neurons(theta[objective.n_base :])
            total = torch.zeros_like(hidden[0][0])
            for h, neuron in zip(before, neurons, strict=True):
                total = total + contract(neuron.w.unsqueeze(0), h)[0] + neuron.b
            parts.append(total.cpu().numpy().T[: len(some)])
    return np.concatenate(parts)


def _relative(weights: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Per member the largest |Σᵢ weightsᵢ·momentsᵢ| / Σᵢ |…| over the directions; 0 for 0/0."""
    terms = weights[:, :, None] * moments
    size = np.abs(terms).sum(axis=1)
    total = np.abs(terms.sum(axis=1))
    share = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    return np.asarray(share.max(axis=1))


def _directions(x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Random unit vectors (DIRECTIONS, size), keyed by the data alone."""
    drawn = stream("residuals", Data(x, y).digest).standard_normal((DIRECTIONS, size))
    found: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def _slopes(objective: DataObjective, params: np.ndarray) -> np.ndarray:
    """ℓ′(−yᵢ f(xᵢ)), (S, N), a fixed number of lanes at a time."""
    parts = [np.zeros((0, objective.n_data))]
    with one_thread():
        for first in range(0, len(params), BLOCK):
            some = params[first : first + BLOCK]
            theta = to_lanes(some, BLOCK, objective.x)
            with torch.no_grad():
                base = objective.network.forward(theta[: objective.n_base], objective.x)
            z = (-objective.y.unsqueeze(1) * base).requires_grad_()
            (slope,) = torch.autograd.grad(objective.loss(z).sum(), z)
            parts.append(slope.cpu().numpy().T[: len(some)])
    return np.concatenate(parts)
