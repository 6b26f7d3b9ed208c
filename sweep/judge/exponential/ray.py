"""`ray`: f̃ separates the data, the base network does not, and F → 0 along a path to infinity.

With output layer and a scaled by t = e^{s/2} while a falls by e^{−s} and b grows by s,

    F(s) = Σ_i ℓ(−t y_i f̃_i) + λ a² e^{−s}/2 ,

and both terms fall strictly, to 0 in the end: margins y_i f̃_i > 0 beyond their rounding error are
all that is needed. F = 0 is not attained, since a = 0 would switch the neuron off. Without a
regularizer hinge_power attains it (`sweep.judge.separates`); logistic loss never does, but
there too it falls to 0. The other added neurons have paths of their own (`sweep.judge.shedding`),
and their penalties fall in the same way.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.readings import read
from sweep.judge.separates import base_is_free, parts_of
from sweep.judge.shedding import scaled, sheds
from sweep.models.losses import HingePower, Logistic
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# How far along the path F is evaluated as well, s; e^{w·x+b} still fits float64 there.
STATIONS = (1.0, 4.0, 16.0, 32.0)


def settle_scaled(
    found: Judgement, objective: DataObjective, lam: np.ndarray | None, penalised: np.ndarray
) -> None:
    """Write `escaping` for open members whose f̃ separates; `penalised` (S,): those with λ > 0."""
    monotone = isinstance(objective.loss, HingePower | Logistic)
    known = isinstance(objective.network, MlpNetwork) and base_is_free(objective)
    if not (monotone and known and sheds(objective.augmentation)):
        return
    start = read(objective, found.params, lam)
    some = found.open & (start.sure > 0)
    if isinstance(objective.loss, HingePower):
        some &= penalised & (found.params[:, parts_of(objective).outgoing] != 0).any(axis=1)
    if not some.any():
        return
    values = [start.objective]
    values += [read(objective, scaled(objective, found.params, s), lam).objective for s in STATIONS]
    path = np.stack(values)
    falls = (np.diff(path, axis=0) <= 0).all(axis=0) & (path[-1] < path[0])
    error_base = objective.measure(found.params, lam).error_base
    assert error_base is not None, "a DataObjective measures it"
    for member in np.flatnonzero(some & falls).tolist():
        evidence = {
            "margin": float(start.margin[member]),
            "path": [float(value) for value in path[:, member]],
        }
        found.settle(
            member,
            Verdict.ESCAPING,
            Certificate.RAY,
            evidence,
            margin=float(start.sure[member]),
        )
        found.limit_objective[member] = found.limit_error[member] = 0.0
        found.limit_error_base[member] = error_base[member]
