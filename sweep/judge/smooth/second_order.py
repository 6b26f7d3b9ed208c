"""Batched gradient and Hessian of multilayer perceptrons, from the formulas' own derivatives.

What `second_order_kernels.py` compiles for one activation, added neuron and loss; which objectives
are served; and from (S, P) to lanes and back. Symbols as there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeGuard

import numpy as np
from numba import njit

from sweep.formulas.activations import EXPONENTIAL, ActivationFormula
from sweep.formulas.binding import Settings, bind, settle, specialise, word
from sweep.formulas.losses import LossFormula
from sweep.judge.smooth import second_order_kernels as kernels
from sweep.judge.smooth.second_order_kernels import Graph
from sweep.kernels import elementary
from sweep.kernels.compiled import compiled
from sweep.kernels.memory import empty_rows
from sweep.kernels.vectors import LANES, TILE, where
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.regularizers import Augment, NoRegularizer

PRIMITIVES = ("exp", "tanh", "sigmoid", "softplus", "positive_part", "power")
# Blocks of LANES members whose Hessians are in memory at once, before they leave their lanes.
BLOCKS = 8


@dataclass(frozen=True)
class Formulas:
    """What is compiled anew: formulas with their constants."""

    activation: ActivationFormula
    activation_settings: Settings
    loss: LossFormula
    loss_settings: Settings
    exponential: bool

    @property
    def name(self) -> str:
        """A word that tells them apart, fit for a function's name."""
        return word(
            self.activation.value,
            *self.activation_settings,
            self.loss.value,
            *self.loss_settings,
            "exp" if self.exponential else "own",
        )


def served(objective: Objective) -> TypeGuard[DataObjective]:
    """Whether `gradient_and_hessian` knows this objective."""
    if not isinstance(objective, DataObjective) or objective.device.type != "cpu":
        return False
    network = objective.network
    powers = all(float(p).is_integer() for p in objective.loss.settings)
    return (
        isinstance(network, MlpNetwork)
        and network.output_bias
        # Formulas of more constants are those of kinks, and those have no use for a Hessian.
        and network.activation.compiles
        and len(network.activation.settings) <= 1
        and isinstance(objective.augmentation, NoAugmentation | ExpSkip | ExtraNeuron)
        and isinstance(objective.regularizer, NoRegularizer | Augment)
        and powers
    )


def gradient_and_hessian(
    objective: DataObjective, params: np.ndarray, lam: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F (S,), ∇F (S, P) and ∇²F (S, P, P) at params (S, P), with λ (S, M).

    For objectives that are `served`. A member's numbers depend on it alone, to the last bit.
    """
    network = objective.network
    assert isinstance(network, MlpNetwork)
    graph, (x, y, weights) = graph_of(objective), _padded(objective)
    run = _compiled(
        Formulas(
            network.activation.formula,
            network.activation.settings,
            objective.loss.formula,
            objective.loss.settings,
            not isinstance(objective.augmentation, ExtraNeuron),
        )
    )
    count, P = params.shape
    value, grad, hess = np.zeros(count), np.zeros((count, P)), np.zeros((count, P, P))
    rows, columns = np.tril_indices(P)
    rows, columns = graph.place[rows], graph.place[columns]
    for start in range(0, count, BLOCKS * LANES):
        some = slice(start, min(start + BLOCKS * LANES, count))
        theta = _to_lanes(params[some])
        blocks = len(theta)
        F, g = np.zeros((blocks, 1, LANES)), np.zeros((blocks, P, LANES))
        lower = np.zeros((blocks, P * (P + 1) // 2, LANES))
        run(theta, x, y, weights, graph, F, g, lower)
        value[some] = _from_lanes(F, some)[:, 0]
        grad[some, graph.place] = _from_lanes(g, some)
        found = _from_lanes(lower, some)
        hess[some, rows, columns] = found
        hess[some, columns, rows] = found
    _regularize(objective, params, lam, value, grad, hess)
    return value, grad, hess


def _to_lanes(params: np.ndarray) -> np.ndarray:
    """(S, P) → (B, P, LANES); idle lanes repeat the last member."""
    blocks = -(-len(params) // LANES)
    index = np.minimum(np.arange(blocks * LANES), len(params) - 1)
    lanes = params[index].astype(np.float64).reshape(blocks, LANES, -1)
    return np.ascontiguousarray(lanes.transpose(0, 2, 1))


def _from_lanes(found: np.ndarray, some: slice) -> np.ndarray:
    """(B, Q, LANES) → (S, Q)."""
    return found.transpose(0, 2, 1).reshape(-1, found.shape[1])[: some.stop - some.start]


def _regularize(
    objective: DataObjective,
    params: np.ndarray,
    lam: np.ndarray | None,
    value: np.ndarray,
    grad: np.ndarray,
    hess: np.ndarray,
) -> None:
    """Add λa²/2 and the weight decay, in place."""
    costs = np.zeros_like(params)
    if objective.weight_decay > 0:
        ordinary = objective.n_params if objective.augmentation.decayed else objective.n_base
        costs[:, :ordinary] += objective.weight_decay
    if isinstance(objective.regularizer, Augment):
        assert lam is not None
        costs[:, objective.n_base] += lam[:, 0]
    value += 0.5 * (costs * params**2).sum(axis=1)
    grad += costs * params
    diagonal = np.arange(params.shape[1])
    hess[:, diagonal, diagonal] += costs


def graph_of(objective: DataObjective) -> Graph:
    """The units of a served objective and the parameters that they multiply inputs by."""
    network, n_inputs = objective.network, objective.x.shape[1]
    assert isinstance(network, MlpNetwork)
    n_added = (objective.n_params - objective.n_base) // (n_inputs + 2)
    hidden = sum(network.widths)
    one = n_inputs + hidden + n_added + 1
    first, place, row = [0], [], []
    at, below, fan_in = 0, 0, n_inputs
    for width in network.widths:
        for j in range(width):
            place += [*range(at + j * fan_in, at + (j + 1) * fan_in), at + width * fan_in + j]
            row += [*range(below, below + fan_in), one]
            first.append(len(place))
        at += width * (fan_in + 1)
        # After the data's columns come the outputs of the first layer, and so on.
        below += fan_in
        fan_in = width
    output = [*range(at, at + fan_in + 1)]
    seen = [*range(below, below + fan_in), one]
    for j in range(n_added):
        at = objective.n_base + j * (n_inputs + 2)
        output.append(at)
        seen.append(n_inputs + hidden + j)
        place += [*range(at + 1, at + n_inputs + 2)]
        row += [*range(n_inputs), one]
        first.append(len(place))
    place, row = place + output, row + seen
    first.append(len(place))
    return Graph(
        -(-objective.n_data // TILE) * TILE,
        n_inputs,
        np.array(first, dtype=np.int64),
        np.array(place, dtype=np.int64),
        np.array(row, dtype=np.int64),
        hidden,
    )


def _padded(objective: DataObjective) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The data x column by column, y, weights: padding repeats the last, with weight 0."""
    x, y = objective.x.cpu().numpy(), objective.y.cpu().numpy()
    more = -len(y) % TILE
    columns = np.ascontiguousarray(np.pad(x, ((0, more), (0, 0)), mode="edge").T, dtype=np.float64)
    return columns.ravel(), np.pad(y, (0, more), mode="edge"), np.pad(np.ones(len(y)), (0, more))


def _inline(function: Any) -> Any:
    return njit(forceinline=True, error_model="numpy")(function)


def _part(function: Any) -> Any:
    return njit(error_model="numpy", nogil=True)(function)


@cache
def _compiled(formulas: Formulas) -> Callable[..., None]:
    own = (formulas.activation, formulas.activation_settings)
    added = (EXPONENTIAL, ()) if formulas.exponential else own
    given = {name: getattr(elementary, name) for name in PRIMITIVES} | {"where": where}

    def fixed(function: Callable[..., Any], arguments: int, settings: Settings) -> Any:
        return settle(function, arguments, settings, given, _inline)

    names: dict[str, Any] = {}
    for name, (formula, settings) in {"activate": own, "neuron": added}.items():
        names[name] = fixed(formula.value, 1, settings)
        names[f"{name}_slope"] = fixed(formula.slope, 2, settings)
        names[f"{name}_bend"] = fixed(formula.bend, 2, settings)
    names["loss"] = fixed(formulas.loss.value, 1, formulas.loss_settings)
    names["loss_slope"] = fixed(formulas.loss.slope, 1, formulas.loss_settings)
    names["loss_curvature"] = fixed(formulas.loss.curvature, 1, formulas.loss_settings)
    names["empty_rows"] = _part(empty_rows)
    names |= specialise(kernels.PARTS, names, _part)
    finished: Callable[..., None] = compiled(bind(kernels.differentiate, names, formulas.name))
    return finished
