"""Which cell of the loss surface a judged point lies in ([C] Theorem 2), as a word to compare.

A cell is a choice of one piece of the activation for every hidden unit at every data point. Inside
one, a network of one hidden layer and one output with a convex loss has minima of one height only,
given the signs of its output weights. A minimum on kinks counts to one of the cells around it.
"""

from __future__ import annotations

import hashlib

import numpy as np

from sweep.judge.affine.maps import Layers
from sweep.judge.base import Judgement
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective
from sweep.verdicts import Verdict


def add_pieces(found: Judgement, objective: Objective) -> None:
    """Write `pieces`, 16 hex digits, into the evidence of local minima, if linear by pieces.

    Units of one hidden layer are put in order first: which of them is called the first is no part
    of a cell. Added neurons play no part.
    """
    if not isinstance(objective, DataObjective | VectorObjective):
        return
    network = objective.network
    if not isinstance(network, MlpNetwork) or network.activation.pieces is None:
        return
    x = objective.x.cpu().numpy()
    for member in np.flatnonzero(found.verdict == Verdict.LOCAL_MINIMUM.value).tolist():
        word = _word(Layers.of(objective, found.params[member]), x, network)
        found.evidence[member]["pieces"] = word


def _word(layers: Layers, x: np.ndarray, network: MlpNetwork) -> str:
    sigma = network.activation.pieces
    assert sigma is not None
    h, patterns = x, []
    for W, b in layers.hidden:
        z = h @ W.T + b
        patterns.append(sigma.of(z).T)
        h = sigma(z)
    if len(patterns) == 1:
        patterns = [patterns[0][np.lexsort(patterns[0].T)]]
    text = np.ascontiguousarray(np.vstack(patterns), dtype="<i8").tobytes()
    return hashlib.sha256(text).hexdigest()[:16]
