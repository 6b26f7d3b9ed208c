"""The generic route: polish through autograd, leave saddles, name those that cannot be left.

A stationary point that is no minimum is normally left by the polish itself; here steps along the
lowest eigenvectors are tried once more, and a point that the polish returns to every time is called
a saddle, with the step that lowers F as its certificate.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.newton import move, plain_task
from sweep.judge.newton_kernels import STALLED, STATIONARY
from sweep.judge.newton_torch import EXACT, Oracle, polish_block
from sweep.judge.shallow import Shallow
from sweep.judge.spectra import eigen
from sweep.models.lanes import LANE, one_thread
from sweep.models.objective import DataObjective, Objective
from sweep.verdicts import Certificate, Verdict

BUDGET = 200
# Lengths of the steps tried, relative to 1 + ‖θ‖.
LENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
# A step counts as lowering F when it does so by this share of 1 + |F|: F rounds by some 1e-14.
LOWER = 1e-11
DIRECTIONS = 3


def handles(objective: Objective) -> bool:
    """Whether this route is meant: landscapes, modules, smooth MLPs without a compiled route.

    One-hidden-layer networks with the exponential neuron have a polish of their own.
    """
    if not isinstance(objective, DataObjective):
        return True
    shallow = Shallow.of(objective)
    if shallow is not None and shallow.exponential:
        return False
    activation = objective.network.activation
    return plain_task(objective) is None and (activation is None or activation.slopes is None)


def polish_generic(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move every open member downhill, in place; nothing where `handles` says no."""
    if not handles(objective):
        return
    members = np.flatnonzero(found.open)
    for first in range(0, len(members), LANE):
        some = members[first : first + LANE]
        strengths = None if lam is None else lam[some]
        end = polish_block(objective, found.params[some], strengths, BUDGET)
        for k, member in enumerate(some.tolist()):
            move(found, member, end.theta[k])
            found.polish_steps[member] += end.steps[k]
            found.min_eig[member] = end.min_eig[k]


def settle_saddles(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `saddle` for open members that rest where a step lowers F and who cannot leave."""
    if not handles(objective) or objective.n_params > EXACT:
        return
    for member in np.flatnonzero(found.open).tolist():
        strengths = None if lam is None else lam[member : member + 1]
        with one_thread():
            _leave(found, member, objective, strengths)


def _leave(found: Judgement, member: int, objective: Objective, lam: np.ndarray | None) -> None:
    oracle = Oracle.of(objective, lam)
    for attempt in range(2):
        theta = found.params[member : member + 1]
        F, g = oracle.gradient(theta)
        slope = float(np.linalg.norm(g))
        if slope > 1e-8 * (1 + abs(float(F[0]))):
            return
        step = _lower_step(oracle, theta[0], float(F[0]))
        if step is None:
            return
        if attempt == 1:
            evidence = {"gradient": slope, "fall": step[1], "step": float(np.linalg.norm(step[0]))}
            found.settle(member, Verdict.SADDLE, Certificate.DESCENT, evidence, margin=step[1])
            return
        end = polish_block(objective, theta + step[0], lam, BUDGET)
        if end.status[0] in (STATIONARY, STALLED) or end.objective[0] < F[0]:
            move(found, member, end.theta[0])
            found.polish_steps[member] += end.steps[0]
            found.min_eig[member] = end.min_eig[0]


def _lower_step(oracle: Oracle, theta: np.ndarray, F: float) -> tuple[np.ndarray, float] | None:
    """A step (P,) that lowers F clearly, and by how much; None if none of those tried does."""
    hessian = oracle.hessian(theta[None])[0]
    _, basis = eigen(hessian)
    if np.isnan(basis).any():
        return None
    lowest = basis[:, :DIRECTIONS].T
    # Where the second order vanishes too, the sums of directions see the third.
    signs = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * len(lowest))).reshape(len(lowest), -1).T
    ways = np.array([np.einsum("d,dp->p", sign, lowest) for sign in signs if sign.any()])
    scale = 1 + float(np.linalg.norm(theta))
    steps = np.concatenate([length * scale * ways for length in LENGTHS])
    values = np.concatenate(
        [oracle.value(theta + steps[k : k + LANE]) for k in range(0, len(steps), LANE)]
    )
    values[~np.isfinite(values)] = np.inf
    best = int(np.argmin(values))
    fall = F - float(values[best])
    return (steps[best], fall) if fall > LOWER * (1 + abs(F)) else None
