"""`ray` for logistic loss: a network that separates the data, scaled up for ever.

Along t·(output layer), t ≥ 1, every margin grows, so F = Σ log₂(1+e^{−t·y·f̃}) falls towards 0 and
reaches it nowhere. It holds for any activation and depth; that all margins are positive is proved
against rounding (`sweep.judge.numerics.rounding`). Added neurons are scaled along. If a
regularizer λa²/2 acts on the exponential neuron, its weight α = a·e^b is scaled by b alone while a
shrinks, which only lowers the regularizer: on (a·e^{−s}, b + s + ln t) F still falls towards 0.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.readings import Reading, read
from sweep.judge.separates import base_is_free, parts_of
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import Logistic
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Certificate, Verdict


def settle_scaling(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `escaping`, limit 0, for open members that separate the data under logistic loss."""
    if not isinstance(objective, DataObjective) or not _scalable(objective):
        return
    if not found.open.any():
        return
    start = read(objective, found.params, lam)
    base = objective.measure(found.params, lam).error_base
    for member in np.flatnonzero(found.open & (start.sure > 0)).tolist():
        _write(found, member, start)
        if base is not None:
            # Scaling keeps the base network's signs.
            found.limit_error_base[member] = float(base[member])


def _scalable(objective: DataObjective) -> bool:
    """Whether nothing holds the scaled network back: an output layer is known and costs nothing."""
    known = isinstance(objective.augmentation, NoAugmentation | ExpSkip | ExtraNeuron)
    free = base_is_free(objective) and len(parts_of(objective).output) > 0
    return known and free and isinstance(objective.loss, Logistic)


def _write(found: Judgement, member: int, start: Reading) -> None:
    evidence = {
        "scaled": "output layer",
        "margin": float(start.margin[member]),
        "limit_objective": 0.0,
        "rounding": "bounded" if start.rounding else "unknown",
    }
    found.settle(
        member,
        Verdict.ESCAPING,
        Certificate.RAY,
        evidence,
        margin=float(start.sure[member]),
    )
    found.limit_objective[member] = 0.0
    found.limit_error[member] = 0.0
