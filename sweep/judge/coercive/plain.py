"""The coercive networks of [B] in plain numbers: θ and the reduced coordinates z.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
m, D    neurons, input dimension; n = D + 1
θ       W row by row, b, a                                         (P,)
v_j     (w_j, b_j)                                                 (m, n)
z_j     √|a_j|·v_j                                                 (m, n)
s_j     sign of a_j                                                (m,)
======  =========================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.judge.coercive.kernels import Task
from sweep.judge.numerics.kernel_losses import code_of
from sweep.models.activations import Requ
from sweep.models.coercive import Coercive, is_coercive_network
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A coercive objective: its data for the kernels, m neurons, input dimension D."""

    task: Task
    m: int
    D: int

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of θ (P,): a (m,) and v (m, n)."""
        inner = self.m * self.D
        bias = theta[inner : inner + self.m, None]
        return theta[inner + self.m :], np.hstack([theta[:inner].reshape(self.m, self.D), bias])

    def reduced(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of θ (P,): z (m, n) and s (m,)."""
        a, v = self.split(theta)
        return np.sqrt(np.abs(a))[:, None] * v, np.where(a < 0, -1.0, 1.0)

    def balanced(self, Z: np.ndarray, s: np.ndarray) -> np.ndarray:
        """The θ (P,) of least norms with these z and s: |a_j| = ‖v_j‖ = ‖z_j‖^{2/3}."""
        length = np.linalg.norm(Z, axis=1)
        root = np.cbrt(length)
        v = np.divide(Z, root[:, None], out=np.zeros_like(Z), where=root[:, None] > 0)
        return np.concatenate([v[:, :-1].ravel(), v[:, -1], s * root**2])


def coordinates_of(objective: Objective) -> Coordinates | None:
    """The objective in numbers; None unless it is a network of [B] with its regularizer alone."""
    if not isinstance(objective, DataObjective):
        return None
    network, loss = objective.network, code_of(objective.loss)
    if loss is None or not isinstance(network, MlpNetwork) or not is_coercive_network(network):
        return None
    if not isinstance(objective.regularizer, Coercive) or objective.weight_decay > 0:
        return None
    x = objective.x.cpu().numpy().astype(np.float64)
    X = np.hstack([x, np.ones((len(x), 1))])
    y = objective.y.cpu().numpy().astype(np.float64)
    rectified = isinstance(network.activation, Requ)
    return Coordinates(Task(X, y, *loss, rectified), network.widths[0], x.shape[1])
