"""The generic route: polish through autograd, leave saddles, name those that cannot be left.

A stationary point that is no minimum is normally left by the polish itself; here steps along the
lowest eigenvectors are tried once more, and a point that the polish returns to every time is called
a saddle, with the step that lowers F as its certificate. The step must descend from the point on:
F is not convex along it, and its derivative is negative, beyond rounding and beyond the slope that
is left at the point, at every station from the shortest to the end. A longer step would also lead
over a barrier and out of a minimum.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.coercive.plain import coordinates_of
from sweep.judge.convolution.stack_polish import below
from sweep.judge.numerics.spectra import eigen
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.population.stages import population
from sweep.judge.shallow import Shallow
from sweep.judge.smooth.autograd import EXACT, Oracle, polish_block
from sweep.judge.smooth.polish import move, plain_task
from sweep.judge.smooth.trust_region import STALLED, STATIONARY
from sweep.models.augmentations import Monomial
from sweep.models.lanes import LANE, one_thread
from sweep.models.layered import ExpLayers
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective
from sweep.verdicts import Certificate, Verdict

BUDGET = 200
# Stations of the steps tried, relative to 1 + ‖θ‖.
LENGTHS = np.geomspace(1e-5, 1e-1, 25)
# ‖∇F‖ up to this share of (1 + |F|)·√P is rounding; autograd gives no bound of its own, and the
# polish stops at a tenth of it. Derivatives along a step must exceed it and tenfold the slope left.
LEVEL = 1e-12
BEYOND = 10.0
# Curvature below this share of the largest may be zero.
FLAT = 1e-12
# A step counts as lowering F when it does so by this share of 1 + |F|: F rounds by some 1e-14.
LOWER = 1e-11
DIRECTIONS = 3


def handles(objective: Objective) -> bool:
    """Whether this route is meant: landscapes, modules, smooth MLPs without a compiled route.

    The teacher-student objective has a polish of its own, and so have the networks of [B] with
    their regularizer and those of one hidden layer with the exponential neuron, a monomial one, or
    exponential ones inside.
    """
    if isinstance(objective, VectorObjective):
        return not objective.network.activation.piecewise_linear
    if not isinstance(objective, DataObjective):
        return population(objective) is None
    shallow = Shallow.of(objective)
    if shallow is not None and shallow.exponential:
        return False
    if coordinates_of(objective) is not None or below(objective) is not None:
        return False
    if isinstance(objective.augmentation, Monomial | ExpLayers):
        return False
    activation = objective.network.activation
    smooth = activation is None or not activation.piecewise_linear
    return plain_task(objective) is None and smooth


def polish_generic(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move every open member downhill, in place; nothing where `handles` says no.

    One hidden layer with several outputs has a polish of its own.
    """
    if not handles(objective) or OutputsTask.of(objective) is not None:
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
        level = LEVEL * (1 + abs(float(F[0]))) * np.sqrt(theta.shape[1])
        if not slope <= level:
            return
        step = _lower_step(oracle, theta[0], float(F[0]), BEYOND * slope + level)
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


def _lower_step(
    oracle: Oracle, theta: np.ndarray, F: float, noise: float
) -> tuple[np.ndarray, float] | None:
    """A step (P,) along which F falls from the point on, and by how much; None if none does.

    `noise` is what a derivative along the step must exceed to count.
    """
    hessian = oracle.hessian(theta[None])[0]
    values, basis = eigen(hessian)
    if np.isnan(basis).any():
        return None
    flat = FLAT * float(np.abs(values).max())
    lowest = basis[:, :DIRECTIONS].T
    # Where the second order vanishes too, the sums of directions see the third.
    signs = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * len(lowest))).reshape(len(lowest), -1).T
    ways = np.array([np.einsum("d,dp->p", sign, lowest) for sign in signs if sign.any()])
    ways = ways[np.einsum("kp,pq,kq->k", ways, hessian, ways) <= flat]
    lengths = (1 + float(np.linalg.norm(theta))) * LENGTHS
    best: tuple[np.ndarray, float] | None = None
    for way in ways:
        along = np.outer(lengths, way)
        reached, g = oracle.gradient(theta + along)
        # A member that overflows has slopes that are not finite: they end the way.
        falling = np.einsum("kp,p->k", g, way) < -noise
        last = int(np.argmin(falling)) - 1 if not falling.all() else len(lengths) - 1
        fall = F - float(reached[last]) if last >= 0 else 0.0
        if fall > LOWER * (1 + abs(F)) and (best is None or fall > best[1]):
            best = along[last], fall
    return best
