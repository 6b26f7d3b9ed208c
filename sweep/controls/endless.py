"""Controls without a minimum in reach: a landscape's path to infinity, a frozen network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from sweep.controls.base import Batch, Family, Truth, at_and_near
from sweep.controls.fits import draw_fit, features
from sweep.models.activations import Activation
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.base import Network, Piece
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.problems.xyz_product import XyzLandscape
from sweep.verdicts import Verdict

# Gradient flow conserves x² − y² and y² − z²: it ends at xyz = 1 or at a saddle (0, y, 0).
PATH = Truth(
    "global or saddle",
    frozenset({Verdict.GLOBAL_MINIMUM, Verdict.SADDLE}),
    frozenset({Verdict.GLOBAL_MINIMUM, Verdict.SADDLE}),
)
# Σq = 0 and Σqx = 0 at an affine minimum, but q ≠ 0: some exponential lowers F, so a ≠ 0 follows,
# and then F falls along (a·e^−s, b+s) for ever. At w = 0 the point itself is a saddle.
FROZEN = Truth(
    "slide to infinity",
    frozenset({Verdict.ESCAPING, Verdict.SADDLE}),
    frozenset({Verdict.ESCAPING, Verdict.SADDLE}),
)
POINTS = 16


@dataclass(frozen=True)
class FixedNetwork:
    """A base network without parameters: its outputs on the data (N,) are given."""

    outputs: tuple[float, ...]
    fixed_lanes: ClassVar[bool] = False
    n_params: ClassVar[int] = 0
    pieces: ClassVar[tuple[Piece, ...]] = ()
    activation: ClassVar[Activation | None] = None
    widths: ClassVar[tuple[int, ...]] = ()

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The outputs in every lane, (N, S)."""
        column = torch.tensor(self.outputs, dtype=x.dtype, device=x.device)
        return column.unsqueeze(1).expand(-1, theta.shape[-1])

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor | None:
        """None: there are no units."""
        return None


@dataclass(frozen=True)
class FixedModel:
    """The model of a `FixedNetwork`."""

    outputs: tuple[float, ...]

    def network(self, n_inputs: int) -> Network:
        """The network, whatever the inputs."""
        return FixedNetwork(self.outputs)


def xyz_path(rng: np.random.Generator) -> Iterator[Batch]:
    """(xyz − 1)² on the path x = y = t, z = −t⁻³ and its mirror images; its saddles (0, y, 0)."""
    objective = build_objective(
        XyzLandscape(), Mlp((1,)), NoAugmentation(), HingePower(), NoRegularizer()
    )
    t = 10 ** rng.uniform(0, 1.3, size=POINTS)
    path = np.stack([t, t, -(t**-3.0)], axis=1)
    signs = rng.choice([-1.0, 1.0], size=(POINTS, 2))
    path *= np.column_stack([signs, signs.prod(axis=1)])
    path = rng.permuted(path, axis=1)
    saddles = np.zeros((POINTS // 4, 3))
    saddles[:, 1] = rng.normal(size=len(saddles))
    points, near = at_and_near(rng, np.vstack([path, saddles]), 1e-3)
    yield Batch(objective, PATH, points, near, np.ones(len(points), dtype=bool))


def frozen(rng: np.random.Generator) -> Iterator[Batch]:
    """θ frozen at an affine minimum, hinge loss, only (a, w, b) free."""
    for _ in range(2):
        fit = draw_fit(rng, HingePower(int(rng.integers(3, 5))))
        outputs = tuple((features(fit.x) @ fit.A).tolist())
        objective = build_objective(
            Data(fit.x, fit.y), FixedModel(outputs), ExpSkip(), fit.loss, Augment()
        )
        a = np.where(rng.random(POINTS) < 0.25, 0.0, rng.normal(size=POINTS))
        w, b = rng.normal(size=(POINTS, fit.x.shape[1])), rng.normal(size=POINTS)
        points, near = at_and_near(rng, np.column_stack([a, w, b]), 1e-3)
        lam = np.full((len(points), 1), float(rng.choice([0.01, 0.1, 1.0])))
        clear = np.ones(len(points), dtype=bool)
        yield Batch(objective, FROZEN, points, near, clear, lam)


FAMILIES = (
    Family("(xyz − 1)²", "on its path to infinity, which descent does not follow", xyz_path),
    Family("frozen network", "only the exponential neuron is free", frozen),
)
