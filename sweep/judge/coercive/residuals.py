"""The theory's own residuals of coercive networks, for every judged point.

At every critical point |a_j| = ‖(w_j, b_j)‖ ([B] eq. 9), and some neuron is inactive ([B] Lemma 1).
The judge's polish balances neurons, so the residual is also taken where training ended.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.models.objective import Objective


def add_balance(found: Judgement, objective: Objective, trained: np.ndarray) -> None:
    """Merge the residuals into the evidence of every member; `trained` (S, P) is where they came.

    `balance` and `balance_trained`: the largest ||a_j| − ‖(w_j, b_j)||, relative to the larger of
    the two; `inactive`: neurons that are exactly zero at the judged point.
    """
    plain = coordinates_of(objective)
    if plain is None:
        return
    for evidence, judged, before in zip(found.evidence, found.params, trained, strict=True):
        if np.isfinite(judged).all() and np.isfinite(before).all():
            a, v = plain.split(judged)
            evidence["balance"] = imbalance(plain, judged)
            evidence["balance_trained"] = imbalance(plain, before)
            evidence["inactive"] = int(((a == 0) & (v == 0).all(axis=1)).sum())


def imbalance(plain: Coordinates, theta: np.ndarray) -> float:
    """The largest ||a_j| − ‖v_j‖| of θ (P,), relative to the larger; 0 where both are zero."""
    a, v = plain.split(theta)
    lengths = np.linalg.norm(v, axis=1)
    larger = np.maximum(np.abs(a), lengths)
    share = np.divide(np.abs(np.abs(a) - lengths), larger, out=np.zeros(len(a)), where=larger > 0)
    return float(share.max())
