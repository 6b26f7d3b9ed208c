"""Start points by theorem: the registry of constructions and the initialiser that asks for one.

A construction is prepared once for a scene (data, network, loss) and then draws a point per seed:
what a theorem leaves free is random, from the seed's own stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sweep.errors import unknown
from sweep.models.initialisers import AUGMENT_SCALE, INITIALISERS, Draw, Scene, check_scale
from sweep.registry import require

Point = Literal["minimum", "better"]
Construction = Callable[[Scene, Point], Draw]

#: By the name that `init.lemma` gives. `UserError` when a scene lacks what the theorem assumes.
CONSTRUCTIONS: dict[str, Construction] = {}


def construction(name: str) -> Callable[[Construction], Construction]:
    """Decorator: make the construction available as `init.lemma` = `name`."""

    def register(entry: Construction) -> Construction:
        if name in CONSTRUCTIONS:
            raise ValueError(f"construction '{name}' is registered twice")
        CONSTRUCTIONS[name] = entry
        return entry

    return register


@INITIALISERS.add("constructed")
@dataclass(frozen=True)
class Constructed:
    """A point that a theorem constructs: its minimum, or the better one that makes it spurious.

    `lemma` names the construction (3, 4 and 5 are [C]'s), `point` which of its points. Added
    neurons start as with every initialiser; `augment_scale` 0 starts them at a = 0, so that the
    network is the constructed one. Every parameter of the point moves by N(0, spread²).
    """

    lemma: int | str = 3
    point: Point = "minimum"
    augment_scale: float = AUGMENT_SCALE
    spread: float = 0.0

    def __post_init__(self) -> None:
        check_scale(self.augment_scale)
        finite = 0 <= self.spread < math.inf
        require(finite, "init.spread", self.spread, "a finite number ≥ 0")
        if str(self.lemma) not in CONSTRUCTIONS:
            raise unknown("init.lemma", str(self.lemma), CONSTRUCTIONS)

    def prepare(self, scene: Scene) -> Draw:
        """What draws a point from a stream and λ (M,); `UserError` where there is none."""
        exact = CONSTRUCTIONS[str(self.lemma)](scene, self.point)

        def nearby(rng: np.random.Generator, lam: np.ndarray | None) -> np.ndarray:
            point = exact(rng, lam)
            found: np.ndarray = point + self.spread * rng.standard_normal(point.shape)
            return found

        return nearby if self.spread else exact
