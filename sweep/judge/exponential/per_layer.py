"""Verdicts of arms with an exponential neuron in every hidden layer ([A] eqs. 5, 6, Theorem 2).

Along (w̃_l·e^{−s}, b_l + s), all layers together, f̃ stays and F falls to L(f̃): with λ > 0 a point
whose exponential neurons send anything on is no minimum. Theorem 2 is for differentiable σ, and so
is the descent here; on piecewise-linear networks only what separates the data is settled.

- The base network separates: `global_minimum`, by `sweep.judge.separates`.
- Only f̃ separates: `escaping`, `ray`, limit 0.
- The limit problem is stationary: `escaping`, `chart`, with its objective and errors.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S, P    members, parameters                                    θ̃ (S, P)
L       Σᵢ ℓ(−yᵢ f̃(xᵢ))
======  =====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.exponential.limit_descent import settle_by_descent
from sweep.judge.exponential.limit_problem import BareOfLayers
from sweep.judge.exponential.ray import settle_scaled
from sweep.judge.separates import added_is_free, base_is_free, parts_of
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective


def settle_per_layer(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Settle open members of `exp_per_layer` arms whose base weights cost nothing."""
    if not isinstance(objective, DataObjective) or not isinstance(objective.network, MlpNetwork):
        return
    if not isinstance(objective.augmentation, ExpLayers) or not base_is_free(objective):
        return
    settle_scaled(found, objective, lam, ~added_is_free(objective, lam, len(found.params)))
    if objective.network.activation.piecewise_linear:
        return
    # A neuron that sends nothing on has no limit of its own: it must be switched on first.
    sends = (found.params[:, parts_of(objective).outgoing] != 0).any(axis=1)
    some = np.flatnonzero(found.open & sends)
    if len(some):
        settle_by_descent(found, objective, lam, BareOfLayers.of(objective), some)
