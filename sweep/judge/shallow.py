"""One-hidden-layer networks in plain numbers: what the compiled polish and the certificates take.

======  =========================================================  ==================
symbol  meaning                                                    shape
======  =========================================================  ==================
S       members
N, D    data points, input dimension
n       D + 1
H       hidden units, an arm's extra neurons last
x̃       data with a last column of ones                            (N, n)
a, W, c output weights, (w_j, b_j) per unit, output bias           (S, H), (S, H, n), (S,)
α, w, b the exponential neuron α·exp(w·x+b)                        (S,), (S, D), (S,)
======  =========================================================  ==================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.models.activations import Activation
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import Loss
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective


@dataclass(frozen=True, eq=False)
class Units:
    """Parameters of S members by their meaning; `alpha`, `w`, `b` are None without the neuron."""

    a: np.ndarray
    W: np.ndarray
    c: np.ndarray
    alpha: np.ndarray | None = None
    w: np.ndarray | None = None
    b: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Shallow:
    """A one-hidden-layer objective: data, loss, activation, what is added and what is penalised.

    `exponential`: there is an exponential neuron; `penalised`: its λa²/2 is part of F.
    `extra` ordinary neurons of the arm stand behind the base network's `width` units.
    """

    X: np.ndarray
    y: np.ndarray
    loss: Loss
    activation: Activation
    width: int
    extra: int
    exponential: bool
    penalised: bool
    weight_decay: float

    @classmethod
    def of(cls, objective: Objective) -> Shallow | None:
        """The same objective in numbers, or None when it is no one-hidden-layer MLP on data.

        Networks without output bias have a judge of their own.
        """
        if not isinstance(objective, DataObjective):
            return None
        network, added = objective.network, objective.augmentation
        if not isinstance(network, MlpNetwork) or len(network.widths) != 1:
            return None
        if not network.output_bias:
            return None
        if not isinstance(added, NoAugmentation | ExpSkip | ExtraNeuron):
            return None
        x = objective.x.cpu().numpy().astype(np.float64)
        return cls(
            X=np.hstack([x, np.ones((len(x), 1))]),
            y=objective.y.cpu().numpy().astype(np.float64),
            loss=objective.loss,
            activation=network.activation,
            width=network.widths[0],
            extra=added.k if isinstance(added, ExtraNeuron) else 0,
            exponential=isinstance(added, ExpSkip),
            penalised=objective.n_lambda > 0,
            weight_decay=objective.weight_decay,
        )

    def split(self, params: np.ndarray) -> Units:
        """θ̃ (S, P) by meaning; the arrays are copies."""
        count, d, h = len(params), self.X.shape[1] - 1, self.width
        weights = params[:, : h * d].reshape(count, h, d)
        rest = params[:, h * d :]
        biases, outgoing, c = rest[:, :h], rest[:, h : 2 * h], rest[:, 2 * h]
        W = np.concatenate([weights, biases[:, :, None]], axis=2)
        added = rest[:, 2 * h + 1 :]
        if self.exponential:
            alpha, w, b = added[:, 0], added[:, 1:-1], added[:, -1]
            return Units(outgoing.copy(), W, c.copy(), alpha.copy(), w.copy(), b.copy())
        if self.extra:
            neurons = added.reshape(count, self.extra, d + 2)
            W = np.concatenate([W, neurons[:, :, 1:]], axis=1)
            outgoing = np.concatenate([outgoing, neurons[:, :, 0]], axis=1)
        return Units(outgoing.copy(), W, c.copy())

    def join(self, units: Units) -> np.ndarray:
        """The inverse of `split`: θ̃ (S, P)."""
        count, h = len(units.c), self.width
        base = [
            units.W[:, :h, :-1].reshape(count, h * (units.W.shape[2] - 1)),
            units.W[:, :h, -1],
            units.a[:, :h],
            units.c[:, None],
        ]
        if units.alpha is not None and units.w is not None and units.b is not None:
            base += [units.alpha[:, None], units.w, units.b[:, None]]
        elif self.extra:
            neurons = np.concatenate([units.a[:, h:, None], units.W[:, h:]], axis=2)
            base.append(neurons.reshape(count, self.extra * (units.W.shape[2] + 1)))
        return np.hstack(base)
