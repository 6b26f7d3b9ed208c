"""Proven lower bounds of the objective, over all networks whatever.

A point x that carries n₊ labels +1 and n₋ labels −1 costs at least min_t [n₊ℓ(−t) + n₋ℓ(t)],
whatever value t a network gives it; regularizers are never negative, so F is at least the sum over
the distinct points ([A] Prop. 2). Without conflicting labels that is N·inf ℓ.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
N, K    data points, distinct data points
n₊, n₋  labels +1 and −1 at a distinct point                  (K,)
t       the cheapest output there                             (K,)
======  ====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweep.models.losses import HingePower, Logistic, Loss, Squared


@dataclass(frozen=True, eq=False)
class Bound:
    """A proven lower bound of F and what a network must do to reach it.

    `value` is the bound. `first` (K,) is the index of one data point at each distinct x. `target`
    (K,) is the output that a point needs exactly: NaN where none is needed (then `label` (K,), ±1,
    times the output must be at least 1) and infinite where no finite output suffices.
    """

    value: float
    first: np.ndarray
    label: np.ndarray
    target: np.ndarray

    @property
    def attainable(self) -> bool:
        """Whether finite outputs reach the bound; whether a network has them is not said."""
        return not bool(np.isinf(self.target).any())

    @property
    def conflicts(self) -> bool:
        """Whether some point carries both labels and costs more than inf ℓ."""
        return self.value > 0.0


def proven_bound(loss: Loss, x: np.ndarray, y: np.ndarray) -> Bound:
    """The bound for data x (N, D), y (N,) in ±1."""
    # Adding zero turns −0.0 into 0.0: the two are the same point.
    _, first, group = np.unique(x + 0.0, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    plus = np.bincount(group, weights=y > 0)
    minus = np.bincount(group, weights=y < 0)
    costs = [cheapest(loss, p, m) for p, m in zip(plus, minus, strict=True)]
    return Bound(
        value=math.fsum(cost for cost, _ in costs),
        first=first,
        label=np.where(plus >= minus, 1.0, -1.0),
        target=np.array([target for _, target in costs]),
    )


def cheapest(loss: Loss, plus: float, minus: float) -> tuple[float, float]:
    """min_t [n₊ℓ(−t) + n₋ℓ(t)] and its t (NaN: any t of margin ≥ 1; ±inf: not attained).

    For a loss without a closed form here it is (n₊+n₋)·inf ℓ and an unattained t: a valid bound
    that proves no global minimum.
    """
    if isinstance(loss, HingePower):
        return _cheapest_hinge(float(loss.p), plus, minus)
    if isinstance(loss, Squared):
        # (n₊−n₋)/(n₊+n₋) solves n₊(1−t) = n₋(1+t).
        return 4 * plus * minus / (plus + minus), (plus - minus) / (plus + minus)
    if isinstance(loss, Logistic) and plus > 0 and minus > 0:
        total = plus + minus
        value = plus * math.log2(total / plus) + minus * math.log2(total / minus)
        return value, math.log(plus / minus)
    return (plus + minus) * loss.lower_bound, math.copysign(math.inf, plus - minus)


def _cheapest_hinge(p: float, plus: float, minus: float) -> tuple[float, float]:
    """The least n₊(1−t)^p + n₋(1+t)^p, and its t, which lies in [−1, 1].

    With α = n₊^{1/(p−1)} and β = n₋^{1/(p−1)} the derivative vanishes where α(1−t) = β(1+t), so
    t = (α−β)/(α+β) and the value is 2^p n₊n₋/(α+β)^{p−1}; for p = 3, 8n₊n₋/(√n₊+√n₋)².
    """
    if plus == 0 or minus == 0:
        return 0.0, math.nan
    alpha, beta = plus ** (1 / (p - 1)), minus ** (1 / (p - 1))
    # 2^p/(α+β)^{p−1} = 2·(2/(α+β))^{p−1} does not overflow for large p.
    value = 2 * plus * minus * (2 / (alpha + beta)) ** (p - 1)
    return value, (alpha - beta) / (alpha + beta)
