"""The polish of deep piecewise-linear networks: damped Newton steps that never raise F.

Inside a cell (all units keep their pieces) F is smooth and its exact Hessian is taken. A step may
cross into another cell if F falls there. A member that comes to rest on a kink, where F falls in no
direction that one cell's derivatives show, stays where it is: it gets no certificate from here.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
S       members in lanes
P       parameters                                            θ (P, S)
g, H    gradient, Hessian                                     (P, S), (S, P, P)
μ       damping of each member                                (S,)
======  ====================================================  ==========
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.judge.base import Judgement
from sweep.judge.numerics.spectra import eigen
from sweep.models.augmentations import Monomial
from sweep.models.lanes import LANE, one_thread, to_lanes
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective

# A Hessian costs P backward passes; beyond this a step costs more than the training did.
LARGEST_P = 128
BUDGET = 80
# Damping relative to the largest curvature: from timid to none, and where a member gives up.
START, LEAST, MOST = 1e-3, 1e-15, 1e6
RELAX, TIGHTEN = 0.1, 8.0
# Relative rounding of F (a sum of up to a thousand positive terms), and of its gradient.
FLOOR = 1e-14
STATIONARY = 1e-14


def polish_deep(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move open members of a deep piecewise-linear network downhill; F never rises beyond rounding.

    So are those of one layer with kinks elsewhere than at zero, or with several outputs.

    Members of other networks, and of networks with more than `LARGEST_P` parameters, stay. `moved`
    and `polish_steps` grow by what was done.
    """
    if not isinstance(objective, DataObjective | VectorObjective):
        return
    network = objective.network
    if not isinstance(network, MlpNetwork) or not network.activation.piecewise_linear:
        return
    shallow = len(network.widths) < 2 and network.activation.slopes is not None
    if objective.n_params > LARGEST_P or (shallow and isinstance(objective, DataObjective)):
        return  # one layer, one output and kinks at zero: there is a polish for these
    if isinstance(objective, DataObjective) and isinstance(
        objective.augmentation, Monomial | ExpLayers
    ):
        return  # a slide along which their penalty is shed
    members = np.flatnonzero(found.open)
    for first in range(0, len(members), LANE):
        some = members[first : first + LANE]
        start = found.params[some]
        strengths = None if lam is None else lam[some]
        with one_thread():
            points, steps = _descend(objective, start, strengths)
        found.params[some] = points
        found.moved[some] += np.linalg.norm(points - start, axis=1)
        found.polish_steps[some] += steps


def _descend(
    objective: DataObjective | VectorObjective, start: np.ndarray, lam: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Where S ≤ LANE members come to rest, (S, P), and each one's accepted steps (S,)."""
    count = len(start)
    strengths = None if lam is None else to_lanes(lam, LANE, objective.x)
    theta = to_lanes(start, LANE, objective.x)
    value, gradient, H = _derivatives(objective, theta, strengths)
    damping, steps = np.full(LANE, START), np.zeros(LANE, dtype=np.int64)
    busy = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(value)
    for _ in range(BUDGET):
        busy &= ~_at_rest(value, gradient, theta) & (damping < MOST)
        if not busy[:count].any():
            break
        step = np.zeros_like(gradient)
        for k in np.flatnonzero(busy).tolist():
            step[:, k] = _newton_step(gradient[:, k], H[k], float(damping[k]))
        trial = theta + torch.as_tensor(step).to(theta)
        there, slope, curve = _derivatives(objective, trial, strengths)
        better = busy & _better(value, gradient, there, slope) & np.isfinite(curve).all((1, 2))
        chosen = torch.as_tensor(better, device=theta.device)
        theta = torch.where(chosen, trial, theta)
        value = np.where(better, there, value)
        gradient = np.where(better, slope, gradient)
        H = np.where(better[:, None, None], curve, H)
        damping = np.where(better, np.maximum(damping * RELAX, LEAST), damping * TIGHTEN)
        steps += better
    return theta.cpu().numpy().T[:count].copy(), steps[:count]


def _derivatives(
    objective: DataObjective | VectorObjective, theta: torch.Tensor, lam: torch.Tensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F (S,), g (P, S) and the Hessian of the cell, (S, P, P)."""
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        value = objective.value(point, lam)
        (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=True)
        rows = [
            torch.autograd.grad(gradient[p].sum(), point, retain_graph=True)[0]
            for p in range(len(point))
        ]
    H = torch.stack(rows).permute(2, 0, 1).cpu().numpy()
    return value.detach().cpu().numpy(), gradient.detach().cpu().numpy(), H


def _newton_step(gradient: np.ndarray, H: np.ndarray, damping: float) -> np.ndarray:
    """−(|H| + μ‖H‖)⁻¹g, (P,): the exact symmetries' zero curvatures are kept out by μ."""
    curvature, basis = eigen(H)
    size = np.abs(curvature)
    largest = float(size.max()) or 1.0
    # Rescaling symmetries: g is orthogonal to them but for rounding, which would be divided by 0.
    flat = size <= STATIONARY * largest
    scaled = np.where(flat, 0.0, (basis.T @ gradient) / (size + damping * largest))
    return np.asarray(-basis @ scaled)


def _at_rest(value: np.ndarray, gradient: np.ndarray, theta: torch.Tensor) -> np.ndarray:
    """Members whose gradient is lost in rounding, (S,)."""
    size = 1 + np.linalg.norm(theta.cpu().numpy(), axis=0)
    return np.asarray(np.linalg.norm(gradient, axis=0) * size <= STATIONARY * np.maximum(value, 0))


def _better(
    value: np.ndarray, gradient: np.ndarray, there: np.ndarray, slope: np.ndarray
) -> np.ndarray:
    """F fell; or it stayed within its rounding and the gradient fell, (S,)."""
    room = FLOOR * np.abs(value)
    calmer = np.linalg.norm(slope, axis=0) < 0.5 * np.linalg.norm(gradient, axis=0)
    return np.asarray((there < value - room) | ((there <= value + room) & calmer))
