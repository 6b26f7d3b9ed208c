"""`hinge_power`: a network that separates the data proves a global minimum, F = 0.

Nothing penalises the base network's weights, so its output layer may be scaled until every margin
is at least 1; with the added neuron's outgoing weight at zero nothing is left to pay. The scaled
point is *evaluated*, F must be exactly 0.0 there, and that point is the judged one.

The factor is a power of two: multiplying by it rounds nothing, so the scaled outputs are the old
ones times the factor to the last bit. A margin that rounding alone could have made is refused
(`sweep.judge.numerics.rounding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.readings import Reading, read
from sweep.models.layered import ExpLayers
from sweep.models.losses import HingePower
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict


@dataclass(frozen=True, eq=False)
class Parts:
    """Where in θ (P,) the judge may act: indices of the output layer and of outgoing weights a.

    `output` is empty when the network's inside is unknown; `outgoing` when nothing is added. `top`
    are those of `outgoing` that lead into the output: scaled with it, they scale f̃.
    """

    output: np.ndarray
    outgoing: np.ndarray
    top: np.ndarray


def parts_of(objective: DataObjective) -> Parts:
    """The indices for an objective's parameter vector."""
    output = np.arange(0)
    if isinstance(objective.network, MlpNetwork):
        layer = 2 if objective.network.output_bias else 1
        size = sum(piece.size for piece in objective.network.pieces[-layer:])
        output = np.arange(objective.n_base - size, objective.n_base)
    outgoing: list[int] = []
    position = objective.n_base
    for piece in objective.extra_pieces:
        if piece.role == "outgoing":
            outgoing += range(position, position + piece.size)
        position += piece.size
    leaving = np.array(outgoing, dtype=np.int64)
    inside = isinstance(objective.augmentation, ExpLayers)
    return Parts(output, leaving, leaving[-1:] if inside else leaving)


def base_is_free(objective: DataObjective) -> bool:
    """Whether nothing penalises the base network's parameters."""
    return objective.weight_decay == 0 and not objective.regularizer.penalises_base


def added_is_free(objective: DataObjective, lam: np.ndarray | None, count: int) -> np.ndarray:
    """Members (S,) whose added neuron costs nothing: no regularizer, or λ = 0."""
    if lam is None or lam.shape[1] == 0:
        return np.full(count, objective.n_lambda == 0)
    return np.asarray((lam == 0).all(axis=1))


def settle_separated(
    found: Judgement, objective: DataObjective, lam: np.ndarray | None, start: Reading
) -> None:
    """Write `global_minimum` for every open member that separates the data; `start` reads them."""
    if not isinstance(objective.loss, HingePower) or not base_is_free(objective):
        return
    parts = parts_of(objective)
    free = added_is_free(objective, lam, len(found.params))
    alone = (found.params[:, parts.outgoing] == 0).all(axis=1)
    # With λ > 0 a tiny a ≠ 0 can make λa²/2 underflow to 0.0: an escape, not a minimum.
    resting = (start.objective == 0) & (start.sure >= 1) & (alone | free)
    for member in np.flatnonzero(found.open & resting).tolist():
        found.settle(
            member,
            Verdict.GLOBAL_MINIMUM,
            Certificate.LOWER_BOUND,
            _evidence(start, float(start.margin[member])),
            margin=float(start.sure[member]),
        )
    by_base = found.open & (start.sure_base > 0)
    _scale(found, objective, lam, by_base, start.margin_base, start.sure_base, alone=True)
    # Nothing penalises a either: f̃ itself may be scaled, a with it.
    by_both = found.open & free & (start.sure > 0)
    _scale(found, objective, lam, by_both, start.margin, start.sure, alone=False)


def _scale(
    found: Judgement,
    objective: DataObjective,
    lam: np.ndarray | None,
    chosen: np.ndarray,
    margin: np.ndarray,
    sure: np.ndarray,
    alone: bool,
) -> None:
    """Scale the chosen members' output layers and settle those with F = 0.0 there.

    `alone`: the base network alone separates, and a becomes 0; else a is scaled along.
    """
    members = np.flatnonzero(chosen)
    if not len(members):
        return
    parts = parts_of(objective)
    points = found.params[members]
    # From the margin that is sure, so that F = 0 holds in exact arithmetic as well.
    factor = power_to_one(sure[members])
    if not len(parts.output):
        factor = np.ones(len(members))
    with np.errstate(over="ignore", invalid="ignore"):
        points[:, parts.output] *= factor[:, None]
        if not alone:
            points[:, parts.top] *= factor[:, None]
    if alone:
        points[:, parts.outgoing] = 0.0
    after = read(objective, points, None if lam is None else lam[members])
    certificate = Certificate.SEPARATES if alone else Certificate.LOWER_BOUND
    for k in np.flatnonzero((after.objective == 0) & (after.sure >= 1)).tolist():
        member = int(members[k])
        evidence = _evidence(after, float(margin[member])) | {
            "factor": float(factor[k]),
            "scaled": "base" if alone else "base and added neuron",
        }
        found.settle(
            member,
            Verdict.GLOBAL_MINIMUM,
            certificate,
            evidence,
            params=points[k],
            margin=float(sure[member]),
        )


def _evidence(reading: Reading, margin: float) -> dict[str, Any]:
    """The numbers behind F = 0: the trained network's least margin, what rounding may hide."""
    rounding = "bounded" if reading.rounding else "unknown"
    return {"bound": 0.0, "objective": 0.0, "margin": margin, "rounding": rounding}


def power_to_one(margin: np.ndarray) -> np.ndarray:
    """The least power of two ≥ 1 that takes a positive margin to 1 or more; inf beyond float64."""
    _, exponent = np.frexp(margin)
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(1.0, np.maximum(0, 1 - exponent)))
