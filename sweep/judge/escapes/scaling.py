"""`ray` for logistic loss and cross-entropy: a network that separates, scaled up for ever.

Along t·(output layer), t ≥ 1, every margin grows, so F = Σ log₂(1+e^{−t·y·f̃}) falls towards 0 and
reaches it nowhere. It holds for any activation and depth; that all margins are positive is proved
against rounding (`sweep.judge.numerics.rounding`). Added neurons are scaled along. If a
regularizer λa²/2 acts on the exponential neuron, its weight α = a·e^b is scaled by b alone while a
shrinks, which only lowers the regularizer: on (a·e^{−s}, b + s + ln t) F still falls towards 0.

With several outputs the same: a cross-entropy is Σᵢ ln(1 + Σ_{c≠yᵢ} e^{−t·m_ic}) there, where
m_ic is how far the output of point i's own class is ahead of that of class c.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.readings import leads, read
from sweep.judge.separates import base_is_free, parts_of
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import CrossEntropy, Logistic
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective
from sweep.verdicts import Certificate, Verdict


def settle_scaling(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `escaping`, limit 0, for open members that separate the data under these losses."""
    if not found.open.any():
        return
    if isinstance(objective, VectorObjective) and _scalable_classes(objective):
        margin, sure = leads(objective, found.params)
        for member in np.flatnonzero(found.open & (sure > 0)).tolist():
            _write(found, member, margin, sure, True)
            found.limit_error_base[member] = 0.0
    elif isinstance(objective, DataObjective) and _scalable(objective):
        start = read(objective, found.params, lam)
        base = objective.measure(found.params, lam).error_base
        for member in np.flatnonzero(found.open & (start.sure > 0)).tolist():
            _write(found, member, start.margin, start.sure, start.rounding)
            if base is not None:
                # Scaling keeps the base network's signs.
                found.limit_error_base[member] = float(base[member])


def _scalable(objective: DataObjective) -> bool:
    """Whether nothing holds the scaled network back: an output layer is known and costs nothing."""
    known = isinstance(objective.augmentation, NoAugmentation | ExpSkip | ExtraNeuron)
    free = base_is_free(objective) and len(parts_of(objective).output) > 0
    return known and free and isinstance(objective.loss, Logistic)


def _scalable_classes(objective: VectorObjective) -> bool:
    """The same for several outputs, of which there must be two: one class costs nothing at all."""
    classes = isinstance(objective.loss, CrossEntropy) and len(objective.targets) > 1
    return classes and objective.weight_decay == 0


def _write(
    found: Judgement, member: int, margin: np.ndarray, sure: np.ndarray, rounding: bool
) -> None:
    evidence = {
        "scaled": "output layer",
        "margin": float(margin[member]),
        "limit_objective": 0.0,
        "rounding": "bounded" if rounding else "unknown",
    }
    found.settle(
        member,
        Verdict.ESCAPING,
        Certificate.RAY,
        evidence,
        margin=float(sure[member]),
    )
    found.limit_objective[member] = 0.0
    found.limit_error[member] = 0.0
