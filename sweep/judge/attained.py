"""`lower_bound` where the bound asks for exact outputs: squared loss, conflicting labels.

F near the bound is not enough: a slide to infinity (a saturating tanh that fits ±1 in the limit)
comes as near as one likes to a value that no network has. So the judge proves that a network with
exactly the wanted outputs exists next to the point, by Newton and Kantorovich: with r the missing
outputs, J their Jacobian in the last hidden layer and the output layer, s its least singular value
and L a Lipschitz constant of J, the map u ↦ u − g(u), g(u) = f(θ + J⁺u) − t, takes the ball
‖u‖ ≤ 2‖r‖ into itself if 2L‖r‖ ≤ s², so by Brouwer it has a fixed point: a solution within
2‖r‖/s of θ.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
E       distinct data points whose outputs must be exact
K, H    units of the last hidden layer and of the one before
h̃       outputs of the layer before (or x), with a last 1     (E, H+1)
z       preactivations of the last hidden layer               (E, K)
v       output weights                                        (K,)
J       ∂f/∂(W, b, v, c)                                      (E, K(H+1)+K+1)
======  ====================================================  ==========
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sweep.judge.base import Judgement
from sweep.judge.bounds import Bound
from sweep.judge.readings import read
from sweep.judge.rounding import output_errors
from sweep.judge.separates import added_is_free, base_is_free, parts_of
from sweep.models.lanes import LANE, one_thread, to_lanes
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# sup|σ'| and sup|σ''| of the smooth activations: tanh″ peaks at 4/(3√3), σ″ of the sigmoid at
# 1/(6√3), softplus″ at 1/4.
SMOOTH = {
    "Tanh": (1.0, 4 / (3 * math.sqrt(3))),
    "Sigmoid": (0.25, 1 / (6 * math.sqrt(3))),
    "Softplus": (1.0, 0.25),
}
# Room for rounding in J and its singular values, relative to ‖J‖: their backward errors are near
# E·1e-16 ([Weyl] moves s by no more), E up to some thousands.
SINGULAR_ROOM = 1e-11


@dataclass(frozen=True, eq=False)
class _Local:
    """The network around one point: Jacobian J (N, Q), per-point curvature L (N,), clearance.

    `clearance` is the distance to the nearest kink in (W, b): within it f is smooth and
    ‖∇²f(xᵢ)‖ ≤ `curvature`ᵢ.
    """

    jacobian: np.ndarray
    curvature: np.ndarray
    clearance: float


def settle_attained(
    found: Judgement,
    objective: DataObjective,
    lam: np.ndarray | None,
    bound: Bound,
    tolerance: float,
) -> None:
    """Write `global_minimum` for open members at an attained bound.

    Weight decay, or any other cost of the base network, lifts F above the bound everywhere, so
    nothing is claimed then; nor where the bound needs infinite outputs (logistic loss). A member
    whose added neuron costs something is judged with a = 0: with a ≠ 0 it would be an escape.
    """
    if not base_is_free(objective) or not bound.attainable or not found.open.any():
        return
    if not isinstance(objective.network, MlpNetwork) or np.isnan(bound.target).all():
        return
    points = found.params.copy()
    costly = ~added_is_free(objective, lam, len(points))
    points[np.ix_(costly, parts_of(objective).outgoing)] = 0.0
    value = read(objective, points, lam).objective
    allowed = bound.value + tolerance * max(1.0, bound.value)
    for member in np.flatnonzero(found.open & (value <= allowed)).tolist():
        radius = reach(objective, points[member], bound)
        if radius is None:
            continue
        evidence = {
            "bound": bound.value,
            "objective": float(value[member]),
            "solution_within": radius,
        }
        found.settle(
            member,
            Verdict.GLOBAL_MINIMUM,
            Certificate.LOWER_BOUND,
            evidence,
            params=points[member],
            margin=float(allowed - value[member]),
            radius=radius,
        )


def reach(objective: DataObjective, point: np.ndarray, bound: Bound) -> float | None:
    """A distance within which some θ reaches the bound exactly; None if that is not proven."""
    network = objective.network
    assert isinstance(network, MlpNetwork)
    with one_thread(), torch.no_grad():
        theta = to_lanes(point[None], LANE, objective.x)
        output = objective.outputs(theta)[1][:, 0].cpu().numpy()[bound.first]
        errors = output_errors(objective, theta)
        if errors is None:
            return None
        doubt = errors[1][:, 0].cpu().numpy()[bound.first]
        local = _local(network, theta[: objective.n_base], objective.x)
    jacobian, curvature = local.jacobian[bound.first], local.curvature[bound.first]
    exact = ~np.isnan(bound.target)
    margin = bound.label * output - doubt
    # Points that only need a margin of 1 and have more to spare stay out of the equations.
    short = ~exact & (margin < 1 + 1e-6)
    held = exact | short
    wanted = np.where(exact, bound.target, bound.label * np.maximum(1.0, bound.label * output))
    missing = float(np.linalg.norm(np.abs(wanted - output)[held] + doubt[held]))
    radius = _kantorovich(jacobian[held], curvature[held], missing)
    if radius is None or radius >= local.clearance:
        return None
    slope = np.linalg.norm(jacobian, axis=1) + curvature * radius
    spared = (margin - slope * radius)[~held]
    return radius if (spared >= 1).all() else None


def _kantorovich(jacobian: np.ndarray, curvature: np.ndarray, missing: float) -> float | None:
    """2‖r‖/s if the fixed-point argument holds, else None."""
    if jacobian.shape[0] > jacobian.shape[1] or not np.isfinite(jacobian).all():
        return None
    singular = np.linalg.svd(jacobian, compute_uv=False)
    least = float(singular[-1] - SINGULAR_ROOM * singular[0])
    lipschitz = float(np.linalg.norm(curvature))
    if least <= 0 or not 2 * lipschitz * missing <= least**2:
        return None
    return 2 * missing / least


def _local(network: MlpNetwork, theta: torch.Tensor, x: torch.Tensor) -> _Local:
    """The first lane's network in the parameters of its last two layers."""
    *_, (weight, bias), (out, _) = network.layers(theta)
    before = network.hidden(theta, x)
    inputs = (before[-2][:, :, 0].T if len(before) > 1 else x).cpu()
    inputs = torch.column_stack([inputs, torch.ones(len(inputs), dtype=inputs.dtype)])
    z = inputs @ torch.column_stack([weight[:, :, 0], bias[:, 0]]).cpu().T
    v = out[0, :, 0].cpu()
    slope = _slope(network, z)
    towards = (v * slope)[:, :, None] * inputs[:, None, :]
    features = torch.column_stack([network.activation(z), torch.ones(len(z), dtype=z.dtype)])
    length = torch.linalg.vector_norm(inputs, dim=1)
    first, second = _suprema(network)
    # The block of unit j is [[vσ″h̃h̃ᵀ, σ′h̃], [σ′h̃ᵀ, 0]]: its norm is at most |v|σ″‖h̃‖² + σ′‖h̃‖.
    # |v| may grow by the radius, which is far below 1 wherever this is used.
    curvature = (float(v.abs().max()) + 1.0) * second * length**2 + first * length
    clearance = math.inf
    slopes = network.activation.slopes
    if slopes is not None and slopes[0] != slopes[1]:
        clearance = float((z.abs() / length[:, None]).min())
    return _Local(
        jacobian=torch.column_stack([towards.flatten(1), features]).numpy(),
        curvature=curvature.numpy(),
        clearance=min(clearance, 1.0),
    )


def _slope(network: MlpNetwork, z: torch.Tensor) -> torch.Tensor:
    """σ′(z), elementwise."""
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(network.activation(point).sum(), point)
    return slope


def _suprema(network: MlpNetwork) -> tuple[float, float]:
    """sup|σ′| and sup|σ″| inside a cell; infinite for an activation not known here."""
    slopes = network.activation.slopes
    if slopes is not None:
        return max(abs(slopes[0]), abs(slopes[1])), 0.0
    return SMOOTH.get(type(network.activation).__name__, (math.inf, math.inf))
