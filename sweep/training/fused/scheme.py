"""Which configurations the fused trainer serves, and what it needs of them as plain numbers.

Axis letters as in `sweep.training.fused.program`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.formulas.binding import Settings
from sweep.formulas.losses import LossFormula, OutputsFormula
from sweep.kernels.plain import TILE
from sweep.models.augmentations import ExpSkip, ExtraNeuron, Monomial, NoAugmentation
from sweep.models.coercive import Coercive
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.models.vector import VectorObjective
from sweep.training.base import Optimizer
from sweep.training.batches import batch_plan
from sweep.training.fused.build import Neuron, Scheme
from sweep.training.fused.records import Net, Points, Tables
from sweep.training.optimizers import Adam, GradientDescent, Momentum
from sweep.training.schedules import SCHEDULES

#: Hidden layers, and units in one of them (or outputs), up to which members stay in cache.
DEEPEST, WIDEST = 4, 64

FirstOrder = GradientDescent | Momentum | Adam
_NEURONS: dict[type[Any], Neuron] = {
    NoAugmentation: "none",
    ExpSkip: "exp",
    Monomial: "monomial",
    ExtraNeuron: "own",
    ExpLayers: "layers",
}
_NAMES = {GradientDescent: "gd", Momentum: "momentum", Adam: "adam"}


@dataclass(frozen=True, eq=False)
class FusedParts:
    """An objective and an optimizer that the fused trainer serves."""

    objective: DataObjective | VectorObjective
    network: MlpNetwork
    optimizer: FirstOrder

    @property
    def scheme(self) -> Scheme:
        """The formulas to compile."""
        added = self.objective.augmentation
        loss: LossFormula | OutputsFormula
        settings: Settings = ()
        if isinstance(self.objective, VectorObjective):
            loss = self.objective.loss.outputs_formula
        else:
            loss, settings = self.objective.loss.formula, self.objective.loss.settings
        return Scheme(
            self.network.activation.formula,
            self.network.activation.settings,
            loss,
            settings,
            _NEURONS[type(added)],
            (added.p,) if isinstance(added, Monomial) else (),
            _NAMES[type(self.optimizer)],
            self.optimizer.batch_size is not None,
        )

    @property
    def widths(self) -> np.ndarray:
        """Widths of the hidden layers, (L,)."""
        return np.array(self.network.widths, dtype=np.int64)

    @property
    def net(self) -> Net:
        """Shapes and constants; the points are padded to whole tiles."""
        objective, n_inputs = self.objective, self.objective.x.shape[1]
        widths, in_layers = self.network.widths, isinstance(objective.augmentation, ExpLayers)
        several = isinstance(objective, VectorObjective)
        n_extra = objective.n_params - objective.n_base
        n_added = len(widths) if in_layers else n_extra // (n_inputs + 2)
        return Net(
            n_points=-(-objective.n_data // TILE) * TILE,
            n_inputs=n_inputs,
            n_base=objective.n_base,
            n_added=n_added,
            n_params=objective.n_params,
            n_units=sum(widths) + n_added + (self.network.outputs if several else 0),
            decayed=objective.n_params if objective.augmentation.decayed else objective.n_base,
            decay=float(objective.weight_decay),
            penalised=int(isinstance(objective.regularizer, Augment)),
            output_bias=int(self.network.output_bias),
            coercive=int(isinstance(objective.regularizer, Coercive)),
            n_outputs=self.network.outputs,
        )

    @property
    def points(self) -> Points:
        """The data in the program's layout. Padding repeats the last point with weight 0."""
        objective, n_data = self.objective, self.objective.n_data
        x = objective.x.cpu().numpy()
        y = objective.targets if isinstance(objective, VectorObjective) else objective.y
        rows = y.cpu().numpy().reshape(-1, n_data)
        padding = -n_data % TILE
        batch, factor = batch_plan(n_data, self.optimizer.batch_size)
        return Points(
            np.ascontiguousarray(np.pad(x, ((0, padding), (0, 0)), mode="edge").T).ravel(),
            np.pad(rows, ((0, 0), (0, padding)), mode="edge").ravel(),
            np.pad(np.ones(n_data), (0, padding)),
            batch,
            factor,
        )

    def strengths(self, lam: np.ndarray | None, members: int) -> np.ndarray:
        """λ as the program reads it, (S, M) contiguous; a shared one is repeated per neuron."""
        if lam is None:
            return np.zeros((members, 0))
        rows = self.objective.n_lambda if lam.shape[1] == 1 else lam.shape[1]
        return np.ascontiguousarray(np.broadcast_to(lam, (members, rows)), dtype=np.float64)

    def tables(self, max_steps: int) -> Tables:
        """What the t-th update needs besides the learning rate, t = 1 … max_steps.

        The last entry holds for all later updates, so a constant schedule needs no more entries
        than it takes until 1 − βᵗ is 1.0.
        """
        last = max(1, max_steps)
        if self.optimizer.schedule.name == "constant":
            last = min(last, _steps_until_constant(self.optimizer))
        t = np.arange(1, last + 1, dtype=np.float64)
        ones = np.ones_like(t)
        optimizer = self.optimizer
        factor = SCHEDULES.build(optimizer.schedule).factor(t - 1)
        if isinstance(optimizer, Adam):
            rate, spread = factor / (1 - optimizer.beta1**t), 1 / (1 - optimizer.beta2**t)
            constants = np.array([optimizer.beta1, optimizer.beta2, optimizer.eps])
            return Tables(2, rate, spread, constants)
        if isinstance(optimizer, Momentum):
            return Tables(1, factor, ones, np.array([optimizer.momentum]))
        return Tables(0, factor, ones, np.zeros(1))


def _steps_until_constant(optimizer: FirstOrder) -> int:
    """Updates after which Adam's corrections 1 − βᵗ round to 1: βᵗ < 2⁻⁵⁴."""
    betas = (optimizer.beta1, optimizer.beta2) if isinstance(optimizer, Adam) else ()
    return max([1, *(math.ceil(54 * math.log(2) / -math.log(b)) + 1 for b in betas if b > 0)])


def fused_parts(objective: Objective, optimizer: Optimizer) -> FusedParts | None:
    """What the fused trainer needs, or None where it does not serve and torch does."""
    if not isinstance(objective, DataObjective | VectorObjective):
        return None
    if not isinstance(objective.network, MlpNetwork):
        return None
    if not isinstance(optimizer, GradientDescent | Momentum | Adam):
        return None
    network = objective.network
    served = (
        len(network.widths) <= DEEPEST
        and max(network.widths) <= WIDEST
        and network.activation.compiles
        and _loss_is_served(objective, network)
        and type(objective.augmentation) in _NEURONS
        and getattr(objective.augmentation, "biased", True)
        and isinstance(objective.regularizer, NoRegularizer | Augment | Coercive)
        and objective.dtype.is_floating_point
        and objective.dtype.itemsize == 8
    )
    return FusedParts(objective, network, optimizer) if served else None


def _loss_is_served(objective: DataObjective | VectorObjective, network: MlpNetwork) -> bool:
    if isinstance(objective, VectorObjective):
        return network.outputs <= WIDEST and network.output_bias
    # Powers are products: whole exponents only.
    return all(float(value).is_integer() for value in objective.loss.settings)
