"""The constructions of [C] as start points: `init.lemma` 3, 4 and 5."""

from __future__ import annotations

import numpy as np

from sweep.constructions.base import Point, construction
from sweep.constructions.fits import BestFit, best_fit
from sweep.constructions.theorems import Kink, bent_net, best_bend, kinks_of, lemma_net
from sweep.errors import UserError
from sweep.models.initialisers import Draw, Scene
from sweep.models.mlp import MlpNetwork


@construction("3")
def lemma_3(scene: Scene, point: Point) -> Draw:
    """[C] Lemma 3 or Thm 3: one hidden layer of a two-piece activation."""
    network = _two_piece(scene, 3)
    if len(network.widths) != 1:
        raise UserError(
            f"init.lemma is 3, which has one hidden layer, and model.width has "
            f"{len(network.widths)}: lemma 4 or 5 is accepted."
        )
    return _drawing(scene, network, point, squeezed=False)


@construction("4")
def lemma_4(scene: Scene, point: Point) -> Draw:
    """[C] Lemma 4 or Thm 4: any depth, a two-piece activation."""
    return _drawing(scene, _two_piece(scene, 4), point, squeezed=False)


@construction("5")
def lemma_5(scene: Scene, point: Point) -> Draw:
    """[C] Lemma 5 or Thm 1: any depth, any piecewise-linear activation, at one of its kinks."""
    return _drawing(scene, _piecewise(scene), point, squeezed=True)


def _piecewise(scene: Scene) -> MlpNetwork:
    network = scene.network
    if not isinstance(network, MlpNetwork) or network.activation.pieces is None:
        raise UserError(
            "init 'constructed' is given for a network that is not piecewise linear: model 'mlp' "
            "with relu, leaky_relu, two_piece, piecewise_linear or identity is accepted."
        )
    if min(network.widths) <= network.outputs:
        raise UserError(
            f"model.width is {min(network.widths)} in one layer and init 'constructed' needs every "
            f"hidden layer wider than the output: at least {network.outputs + 1} is accepted."
        )
    return network


def _two_piece(scene: Scene, lemma: int) -> MlpNetwork:
    network = _piecewise(scene)
    if network.activation.slopes is None:
        raise UserError(
            f"init.lemma is {lemma}, whose activation has its only kink at zero: lemma 5 is "
            "accepted for others."
        )
    return network


def _drawing(scene: Scene, network: MlpNetwork, point: Point, squeezed: bool) -> Draw:
    pieces = network.activation.pieces
    assert pieces is not None
    fit = best_fit(scene.data.x, scene.data.y, scene.loss)
    if fit is None:
        raise UserError(
            "init 'constructed' needs the best affine fit of the data: none is known to rounding "
            "here, as where an affine map separates the classes or fits all targets."
        )
    sloped = [kink for kink in kinks_of(pieces) if kink.side[1] != 0]
    if point == "better":
        return _better(fit, network.widths, sloped)

    def draw(rng: np.random.Generator, lam: np.ndarray | None) -> np.ndarray:
        kink = sloped[rng.integers(len(sloped))]
        return lemma_net(rng, fit, network.widths, kink, squeezed).flat()

    return draw


def _better(fit: BestFit, widths: tuple[int, ...], kinks: list[Kink]) -> Draw:
    direction = np.ones(fit.x.shape[1])
    found = [(kink, best_bend(fit, kink, direction)) for kink in kinks]
    lower = [(kink, bend) for kink, bend in found if bend is not None]
    if not lower:
        raise UserError(
            "init.point is 'better', but the construction gives no lower point here (it has none "
            "for slopes of equal size): 'minimum' is accepted."
        )

    def draw(rng: np.random.Generator, lam: np.ndarray | None) -> np.ndarray:
        kink, bend = lower[rng.integers(len(lower))]
        return bent_net(rng, fit, bend, widths, kink).flat()

    return draw
