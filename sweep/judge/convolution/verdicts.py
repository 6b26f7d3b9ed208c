"""The verdicts on convolutions below ReQU neurons, by the proof for one filter or for several."""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.polish import all_positive, per_neuron
from sweep.judge.coercive.proof import TINY
from sweep.judge.convolution.plain import Filtered
from sweep.judge.convolution.proof import prove
from sweep.judge.convolution.stack_polish import below
from sweep.judge.convolution.stack_proof import prove_stack
from sweep.models.objective import Objective
from sweep.verdicts import Verdict


def settle_convolution(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members of such networks that are proved to be one.

    `certificate_radius` is the distance in θ within which the minimum lies, `certificate_margin`
    the proven rise of E on the face to the sphere of `rise_radius`, relative to F. F has no Hessian
    at a kink: `judged_min_eig` stays null.
    """
    plain = below(objective)
    if plain is None or lam is None:
        return
    for member in np.flatnonzero(found.open & all_positive(lam, len(lam))).tolist():
        theta, strengths = found.params[member], per_neuron(lam[member], plain.last)
        if isinstance(plain, Filtered):
            proof = prove(plain, theta, strengths)
        else:
            proof = prove_stack(plain, theta, strengths)
        if proof is None:
            continue
        v, Z, s = plain.split(theta)
        F = plain.energy(Z, s, v, strengths)
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            proof.certificate,
            proof.evidence() | {"objective": F},
            radius=proof.radius,
            margin=proof.ball.rise / max(F, TINY),
        )
