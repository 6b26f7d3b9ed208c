"""The bad local minimum of [B] Proposition 1 as a start point: `simplex_minimum`."""

from __future__ import annotations

import numpy as np

from sweep.constructions.base import Point, construction
from sweep.errors import UserError
from sweep.models.coercive import is_coercive_network
from sweep.models.initialisers import Draw, Scene
from sweep.models.losses import Loss
from sweep.models.simplex_minimum import simplex_minimum


@construction("simplex")
def simplex(scene: Scene, point: Point) -> Draw:
    """The minimum for the member's λ; as many neurons as points with a label +1."""
    data, loss, network = scene.data, scene.loss, scene.network
    positive = int((data.y > 0).sum())
    if point != "minimum":
        raise UserError("init.point is 'better': init.lemma 'simplex' has a 'minimum' only.")
    if not is_coercive_network(network) or network.widths != (positive,):
        raise UserError(
            "init.lemma is 'simplex', which needs model 'requ' with model.width as many as there "
            f"are labels +1, {positive}."
        )
    assert isinstance(loss, Loss), "a network of one output"
    simplex_minimum(data, loss, np.full(1, 0.1))  # refuses data and losses that cannot serve

    def draw(rng: np.random.Generator, lam: np.ndarray | None) -> np.ndarray:
        if lam is None:
            raise UserError(
                "init.lemma is 'simplex', which needs a λ: give the arm regularizer 'coercive'."
            )
        return simplex_minimum(data, loss, lam)

    return draw
