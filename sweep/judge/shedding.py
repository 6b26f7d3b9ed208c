"""Paths on which added neurons shed their penalty while f̃ stays, or grows.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
S, P    members, parameters                                    θ̃ (S, P)
L       hidden layers
s       how far along the path                                 ≥ 0
======  =====================================================  ==========

With f̃ as it is and every weight that leaves an added neuron multiplied by e^{−s}:

- `exp_skip`: b + s. The penalty λa²/2 falls as e^{−2s} ([A], proof of Theorem 1).
- `monomial`: e^{s/p}(w, b). λa²/2 falls as e^{−2s}; with s = p·t that is the direction (−pa, w, b),
  along which the derivative of F at the start is −pλa² (proof of Lemma 5).
- `exp_per_layer`: b_l + s in every layer. (λ/2)Σ‖w̃‖_{2L}^{2L} falls as e^{−2Ls}; the derivative at
  the start is −λL·Σ‖w̃_l‖_{2L}^{2L} (proof of Lemma 3).

So with λ > 0 a point whose added neurons send anything on is never a local minimum.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.separates import parts_of
from sweep.models.augmentations import ExpSkip, Monomial
from sweep.models.base import Augmentation
from sweep.models.layered import ExpLayers
from sweep.models.objective import DataObjective


def sheds(augmentation: Augmentation) -> bool:
    """Whether the augmentation has such a path."""
    return isinstance(augmentation, ExpSkip | Monomial | ExpLayers)


def scaled(objective: DataObjective, params: np.ndarray, s: float) -> np.ndarray:
    """The points (S, P) where f̃ is e^{s/2} times itself and what leaves added neurons e^{−s/2}.

    For a network whose output layer is known.
    """
    points, parts = params.copy(), parts_of(objective)
    points[:, parts.output] *= np.exp(s / 2)
    points[:, parts.outgoing] *= np.exp(-s / 2)
    _grow(objective, points, s, s / 2)
    return points


def _grow(objective: DataObjective, points: np.ndarray, top: float, inside: float) -> None:
    """Multiply the neurons themselves by e^top (into the output) or e^inside, in place."""
    first, added = objective.n_base, objective.augmentation
    if isinstance(added, Monomial):
        points[:, first + 1 :] *= np.exp(top / added.p)
    elif isinstance(added, ExpLayers):
        for piece in objective.extra_pieces:
            if piece.role == "bias":
                points[:, first] += inside
            first += piece.size
        points[:, -2] += top - inside
    else:
        points[:, -1] += top
