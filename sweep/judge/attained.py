"""`lower_bound` where the bound asks for exact outputs: squared loss, conflicting labels.

F near the bound is not enough: a slide to infinity (a saturating tanh that fits ±1 in the limit)
comes as near as one likes to a value that no network has. So the judge proves that a network with
exactly the wanted outputs exists next to the point, by Newton and Kantorovich: with r the missing
outputs, J their Jacobian in the last hidden layer and the output layer, s its least singular value
and L a Lipschitz constant of J, the map u ↦ u − g(u), g(u) = f(θ + J⁺u) − t, takes the ball
‖u‖ ≤ 2‖r‖ into itself if 2L‖r‖ ≤ s², so by Brouwer it has a fixed point: a solution within
2‖r‖/s of θ. Where all wanted outputs are one number t, no rank is needed: the network with v = 0,
c = t has them.

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
from sweep.judge.numerics.rounding import output_errors
from sweep.judge.readings import BLOCK, read
from sweep.judge.separates import Parts, added_is_free, base_is_free, parts_of
from sweep.models.activations import Activation, Sigmoid, Softplus, Tanh
from sweep.models.lanes import contract, one_thread, to_lanes
from sweep.models.layered import ExpLayers
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective
from sweep.verdicts import Certificate, Verdict

# sup|σ'| and sup|σ''| of the smooth activations: tanh″ peaks at 4/(3√3), σ″ of the sigmoid at
# 1/(6√3), softplus″ at 1/4.
SMOOTH: dict[type[object], tuple[float, float]] = {
    Tanh: (1.0, 4 / (3 * math.sqrt(3))),
    Sigmoid: (0.25, 1 / (6 * math.sqrt(3))),
    Softplus: (1.0, 0.25),
}
# Room for rounding in J and its singular values, relative to ‖J‖: their backward errors are near
# E·1e-16 (by Weyl s moves by no more), E up to some thousands.
SINGULAR_ROOM = 1e-11
# A margin that exceeds 1 by this much survives any move this proof is likely to make.
SPARE = 1e-6
# How near the constant network must be to be taken for the one that the point means.
CONSTANT_WITHIN = 1e-6


@dataclass(frozen=True, eq=False)
class _Block:
    """The last two layers of S members at the distinct data points: axis E, members last.

    `output` f̃ (E, S), its rounding error `doubt` (E, S), `inputs` h̃ (E, H+1, S), `z` (E, K, S),
    `value` σ(z) and `slope` σ′(z) (E, K, S), `v` (K, S).
    """

    output: np.ndarray
    doubt: np.ndarray
    inputs: np.ndarray
    z: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    v: np.ndarray


@dataclass(frozen=True, eq=False)
class _Local:
    """The network around one point: Jacobian J (E, Q), curvature (E,), clearance.

    `clearance` is a radius in (W, b, v, c) without a kink; on that ball f is smooth and
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
    whose added neuron costs something is judged with a = 0: with a ≠ 0 it would be an escape. The
    argument needs the output bias.
    """
    if not base_is_free(objective) or not bound.attainable or not found.open.any():
        return
    if not isinstance(objective.network, MlpNetwork) or np.isnan(bound.target).all():
        return
    if not objective.network.output_bias:
        return
    points = found.params.copy()
    costly = ~added_is_free(objective, lam, len(points))
    costly |= isinstance(objective.augmentation, ExpLayers)
    points[np.ix_(costly, parts_of(objective).outgoing)] = 0.0
    value = read(objective, points, lam).objective
    allowed = bound.value + tolerance * max(1.0, bound.value)
    near = np.flatnonzero(found.open & (value <= allowed))
    if not len(near):
        return
    block = _block(objective, objective.network, points[near], bound.first)
    for k, member in enumerate(near.tolist()):
        radius = _reach(block, k, objective.network.activation, bound)
        if radius is None:
            radius = _constant(points[member], parts_of(objective), bound)
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


def _reach(block: _Block, k: int, activation: Activation, bound: Bound) -> float | None:
    """A distance within which some θ reaches the bound exactly; None if that is not proven."""
    local = _local(block, k, activation)
    output, doubt = block.output[:, k], block.doubt[:, k]
    exact = ~np.isnan(bound.target)
    margin = bound.label * output
    # Points that only need a margin of 1 and have more to spare stay out of the equations.
    held = exact | (margin - doubt < 1 + SPARE)
    wanted = np.where(exact, bound.target, bound.label * np.maximum(1.0, margin))
    missing = float(np.linalg.norm((np.abs(wanted - output) + doubt)[held]))
    radius = _kantorovich(local.jacobian[held], local.curvature[held], missing)
    if radius is None or radius >= local.clearance:
        return None
    slope = np.linalg.norm(local.jacobian, axis=1) + local.curvature * radius
    spared = (margin - doubt - slope * radius)[~held]
    return radius if (spared >= 1).all() else None


def _constant(theta: np.ndarray, parts: Parts, bound: Bound) -> float | None:
    """The distance of θ (P,) from the constant network that reaches the bound, if it is next to it.

    With all outgoing weights at zero the output is the bias c, exactly.
    """
    wanted = bound.target[0]
    if not (bound.target == wanted).all():
        return None
    away = np.concatenate([theta[parts.output[:-1]], theta[parts.outgoing], [0.0]])
    away[-1] = theta[parts.output[-1]] - wanted
    distance = float(np.linalg.norm(away))
    return distance if distance <= CONSTANT_WITHIN else None


def _kantorovich(jacobian: np.ndarray, curvature: np.ndarray, missing: float) -> float | None:
    """2‖r‖/s if the fixed-point argument holds, else None."""
    if jacobian.shape[0] > jacobian.shape[1] or not np.isfinite(jacobian).all():
        return None
    singular = np.linalg.svd(jacobian, compute_uv=False)
    least = float(singular[-1] - SINGULAR_ROOM * singular[0])
    lipschitz = float(np.linalg.norm(curvature))
    needed = 2 * lipschitz * missing
    if least <= 0 or not math.isfinite(needed) or not needed <= least**2:
        return None
    return 2 * missing / least


def _block(
    objective: DataObjective, network: MlpNetwork, points: np.ndarray, first: np.ndarray
) -> _Block:
    """What the argument needs of members (S, P) at the data points `first`."""
    with one_thread(), torch.no_grad():
        theta = to_lanes(points, BLOCK, objective.x)
        base = theta[: objective.n_base]
        errors = output_errors(objective, theta)
        assert errors is not None, "known for every MlpNetwork"
        before = network.hidden(base, objective.x)
        inputs = before[-2] if len(before) > 1 else objective.x.t().unsqueeze(-1)
        *_, (weight, bias), (out, _) = network.layers(base)
        z = contract(weight, inputs) + bias.unsqueeze(1)
        inputs = torch.cat([inputs, torch.ones_like(inputs[:1])]).expand(-1, -1, z.shape[-1])
        tensors = {
            "output": objective.outputs(theta)[1],
            "doubt": errors[1],
            "inputs": inputs.transpose(0, 1),
            "z": z.transpose(0, 1),
            "value": before[-1].transpose(0, 1),
            "slope": _slope(network.activation, z).transpose(0, 1),
        }
        found = {name: tensor.cpu().numpy()[first] for name, tensor in tensors.items()}
        return _Block(**found, v=out[0].cpu().numpy())


def _local(block: _Block, k: int, activation: Activation) -> _Local:
    """Member k of the block, in the parameters of its last two layers."""
    inputs, z, v = block.inputs[:, :, k], block.z[:, :, k], block.v[:, k]
    towards = (v * block.slope[:, :, k])[:, :, None] * inputs[:, None, :]
    features = np.column_stack([block.value[:, :, k], np.ones(len(z))])
    length = np.linalg.norm(inputs, axis=1)
    first, second = _suprema(activation)
    # The block of unit j is [[vσ″h̃h̃ᵀ, σ′h̃], [σ′h̃ᵀ, 0]]: its norm is at most |v|σ″‖h̃‖² + σ′‖h̃‖.
    # |v| can grow by the radius, which the clearance keeps below 1.
    curvature = (np.abs(v).max() + 1.0) * second * length**2 + first * length
    clearance = 1.0
    slopes = activation.slopes
    if slopes is not None and slopes[0] != slopes[1]:
        clearance = min(clearance, float((np.abs(z) / length[:, None]).min()))
    jacobian = np.column_stack([towards.reshape(len(z), -1), features])
    return _Local(jacobian, curvature, clearance)


def _slope(activation: Activation, z: torch.Tensor) -> torch.Tensor:
    """σ′(z), elementwise."""
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(point).sum(), point)
    return slope


def _suprema(activation: Activation) -> tuple[float, float]:
    """sup|σ′| and sup|σ″| within a piece; infinite for an activation not known here."""
    if activation.slopes is not None:
        return max(abs(slope) for slope in activation.slopes), 0.0
    return SMOOTH.get(type(activation), (math.inf, math.inf))
