"""`affine`: the point is the best affine fit, and no unit's kink is near ([C] Lemmas 3-5).

On a ball around θ in which no hidden unit changes its piece at any data point, f is an affine map
A(θ) of x and F = φ(A(θ)) with φ convex. So if φ is least at A(θ*) for a θ* in that ball, nothing in
the ball lies below F(θ*): a local minimum, at any depth, whatever the rank of the Hessian. A
computed point misses the minimum of φ by rounding; the certificate bounds the miss in A (see
`sweep.judge.affine.fit`) and moves the first layer, in which A is linear, to make up for it:
ΔW₁ = βΔwᵀ/‖β‖². That θ* must lie in the ball. Where a whole layer is flat (dead ReLUs), only the
constant can change on the ball, and the best *constant* is enough, whatever the other layers do.

Axis letters as in `sweep.judge.affine.maps`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sweep.judge.affine.fit import AffineFit, ConvexFit, known
from sweep.judge.affine.maps import AffineMap, Layers, affine_map
from sweep.judge.affine.outputs import OutputsFit, known_outputs
from sweep.judge.base import Judgement
from sweep.judge.numerics.rounding import SAFETY
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.separates import base_is_free
from sweep.models.activations import Pieces
from sweep.models.augmentations import ExtraNeuron, NoAugmentation
from sweep.models.mlp import MlpNetwork
from sweep.models.objective import DataObjective, Objective
from sweep.models.vector import VectorObjective
from sweep.verdicts import Certificate, Verdict

# F at the judged point may exceed the minimum inside the ball by this much, relative to max(1, F):
# the tolerance at which the judge takes a proven bound as reached, and what F rounds by.
EXCESS = 1e-12
# Moving the parameters rounds the map again; the second and third pass take that back.
POLISH_PASSES = 3


def settle_affine(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Write `local_minimum` for open members that are the best affine fit, in one piece."""
    sigma = _eligible(objective)
    if sigma is None:
        return
    assert isinstance(objective, DataObjective | VectorObjective)
    x = objective.x.cpu().numpy()
    for member in np.flatnonzero(found.open & _maybe_affine(found, objective, x, sigma)).tolist():
        here = affine_map(Layers.of(objective, found.params[member]), x, sigma)
        if here is None:
            continue
        fit, A = _fit_of(objective, here, x)
        miss = fit.minimum_within(A)
        if miss is None or not (here.constant or here.reach > 0):
            continue
        # The constant follows the output bias one to one, w the first layer by 1/‖β‖.
        grip = 1.0 if here.constant else max(1.0, 1 / here.reach)
        distance = (miss + _map_error(here, x)) * grip
        if not distance < here.radius:
            continue
        value, gradient = fit.at(A).value, float(np.linalg.norm(fit.at(A).gradient))
        # φ is convex: it falls by at most ‖∇φ‖ times the distance of its minimum.
        excess = gradient * miss
        if excess > EXCESS * max(1.0, value):
            continue
        evidence = {
            "objective": value,
            "gradient": gradient,
            "excess": excess,
            "minimum_within": distance,
            "constant": here.constant,
        }
        found.settle(
            member,
            Verdict.LOCAL_MINIMUM,
            Certificate.AFFINE,
            evidence,
            margin=here.radius - distance,
            radius=here.radius,
        )


def polish_affine(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move open members that are in one piece to the best affine fit their pieces reach.

    F never rises beyond its rounding. Biases move away from the kinks as far as the new map needs;
    the pieces stay. `moved` grows by the distance, `polish_steps` by the passes.
    """
    sigma = _eligible(objective)
    if sigma is None:
        return
    assert isinstance(objective, DataObjective | VectorObjective)
    x = objective.x.cpu().numpy()
    for member in np.flatnonzero(found.open & _maybe_affine(found, objective, x, sigma)).tolist():
        start = found.params[member].copy()
        point, passes = _descend(objective, start, x, sigma)
        if passes:
            found.params[member] = point
            found.moved[member] += np.linalg.norm(point - start)
            found.polish_steps[member] += passes


def _eligible(objective: Objective) -> Pieces | None:
    """The activation's pieces when the certificate can speak about this objective, else None."""
    if isinstance(objective, VectorObjective):
        served = known_outputs(objective.loss) and objective.weight_decay == 0
        return objective.network.activation.pieces if served else None
    if not isinstance(objective, DataObjective) or not base_is_free(objective):
        return None
    if not isinstance(objective.augmentation, NoAugmentation | ExtraNeuron):
        return None
    if not objective.loss.convex or not known(objective.loss) or objective.n_lambda:
        return None
    network = objective.network
    return network.activation.pieces if isinstance(network, MlpNetwork) else None


def _maybe_affine(
    found: Judgement, objective: DataObjective | VectorObjective, x: np.ndarray, sigma: Pieces
) -> np.ndarray:
    """Members (S,) whose first hidden layer may be in one piece; False only where it is not.

    A unit with computed preactivations on both sides of its kink (or on it) is beyond doubt in no
    single piece: `affine_map` asks for a distance of twice what either computation can err by.
    Deeper networks may still be affine, below a flat layer: they are not told apart here.
    """
    network = objective.network
    assert isinstance(network, MlpNetwork)
    if not len(sigma.breakpoints) or len(network.widths) > 1:
        return np.ones(len(found.params), dtype=bool)
    width, n_inputs = network.widths[0], network.n_inputs
    weights = found.params[:, : width * n_inputs].reshape(-1, width, n_inputs)
    biases = found.params[:, width * n_inputs : width * (n_inputs + 1)]
    z = np.einsum("skd,nd->skn", weights, x) + biases[:, :, None]
    low, high = z.min(axis=2), z.max(axis=2)
    crossed = [((low <= t) & (high >= t)).any(axis=1) for t in sigma.breakpoints]
    return np.asarray(~np.any(crossed, axis=0))


def _varying(x: np.ndarray, here: AffineMap) -> np.ndarray:
    """Columns of x (D,) that the fit has free: a constant one acts as the bias does."""
    varies = (x != x[0]).any(axis=0)
    return np.asarray(varies & (not here.constant))


def _fit_of(
    objective: DataObjective | VectorObjective, here: AffineMap, x: np.ndarray
) -> tuple[ConvexFit, np.ndarray]:
    """φ over the free coefficients, and their present values.

    What is not free is part of the constant: with a flat layer w is an exact zero; a constant
    column contributes w_d·x_d, exactly one more constant.
    """
    varies = _varying(x, here)
    X = np.hstack([x[:, varies], np.ones((len(x), 1))])
    w, constant = here.A[:, :-1], here.A[:, -1]
    if not here.constant:
        constant = constant + np.array([row[~varies] @ x[0, ~varies] for row in w])
    free = np.column_stack([w[:, varies], constant])
    if isinstance(objective, VectorObjective):
        fit = OutputsFit(X, objective.targets[:, :, 0].t().cpu().numpy(), objective.loss)
        return fit, fit.reduced(free)
    return AffineFit(X, objective.y.cpu().numpy(), objective.loss), free[0]


def _map_error(here: AffineMap, x: np.ndarray) -> float:
    """How far rounding can have moved the free coefficients: constant columns add to one."""
    fixed = np.abs(x[0, ~_varying(x, here)])
    first = np.append(np.abs(x[0]), 1.0)
    rows = [float(np.abs(row) @ first) for row in here.A]
    summed = SAFETY * (len(fixed) + 1) * UNIT * math.hypot(*rows)
    return here.error * (1 + float(np.linalg.norm(fixed))) + summed


def _descend(
    objective: DataObjective | VectorObjective, theta: np.ndarray, x: np.ndarray, sigma: Pieces
) -> tuple[np.ndarray, int]:
    """The best θ found and the number of passes that improved it."""
    layers = Layers.of(objective, theta)
    here = affine_map(layers, x, sigma)
    passes = 0
    while here is not None and passes < POLISH_PASSES:
        if not (here.constant or here.reach > 0):
            break
        fit, A = _fit_of(objective, here, x)
        change = fit.minimise(A) - A
        full = fit.full(change) if isinstance(fit, OutputsFit) else change[None]
        moved = _carry(layers, here, full, x, sigma)
        there = affine_map(moved, x, sigma)
        if there is None or there.constant != here.constant:
            break
        old, new = fit.at(A), fit.at(_fit_of(objective, there, x)[1])
        lower = new.value < old.value or (
            new.value <= old.value * (1 + 1e-14)
            and float(np.linalg.norm(new.gradient)) < float(np.linalg.norm(old.gradient))
        )
        if not lower:
            break
        layers, here, passes = moved, there, passes + 1
    return layers.join(), passes


def _carry(
    layers: Layers, here: AffineMap, change: np.ndarray, x: np.ndarray, sigma: Pieces
) -> Layers:
    """Parameters whose map differs by `change` (C, free coefficients), pieces unchanged."""
    if here.constant:
        return replace(layers, c=layers.c + change[:, -1])
    varies = _varying(x, here)
    dw = np.zeros((len(change), x.shape[1]))
    dw[:, varies] = change[:, :-1]
    # Moves that turn about the data's centre disturb the preactivations least.
    centre = x.mean(axis=0)
    share = _right_inverse(here.beta)
    dW, db = share @ dw, -share @ np.array([row @ centre for row in dw])
    width = len(layers.hidden[0][1])
    hidden = [(W.copy(), b.copy()) for W, b in layers.hidden]
    a, W_extra, b_extra = layers.extra
    hidden[0] = (hidden[0][0] + dW[:width], hidden[0][1] + db[:width])
    extra = (a, W_extra + dW[width:], b_extra + db[width:])
    constant = here.A[:, -1] + change[:, -1]
    return _kept_in_place(replace(layers, hidden=hidden, extra=extra), here, x, sigma, constant)


def _right_inverse(beta: np.ndarray) -> np.ndarray:
    """The smallest (K, C) matrix with β·matrix = 1, for β (C, K) of full rank."""
    if len(beta) == 1:
        return np.asarray(beta.T / float(beta[0] @ beta[0]))
    return np.linalg.pinv(beta)


def _kept_in_place(
    layers: Layers, here: AffineMap, x: np.ndarray, sigma: Pieces, constant: np.ndarray
) -> Layers:
    """Biases shifted until every unit is in its piece again, with the map's constant as asked.

    A shift inside a piece changes the map's constant only, which the output bias takes back.
    """
    h, hidden = x, []
    for (W, b), k in zip(layers.hidden, here.pieces, strict=False):
        b = _shifted(h @ W.T + b, b, k, here.radius, sigma)
        hidden.append((W, b))
        h = (h @ W.T + b) * sigma.slopes[k] + sigma.constants[k]
    a, W, b = layers.extra
    b = _shifted(x @ W.T + b, b, here.pieces[-1], here.radius, sigma)
    moved = replace(layers, hidden=hidden, extra=(a, W, b))
    there = affine_map(moved, x, sigma)
    if there is None:
        return moved
    missing = constant - there.A[:, -1]
    return replace(moved, c=moved.c + missing) if np.isfinite(missing).all() else moved


def _shifted(z: np.ndarray, b: np.ndarray, k: np.ndarray, room: float, sigma: Pieces) -> np.ndarray:
    """Biases (K,) for which every unit is inside its piece k by at least `room`, if it can be."""
    if not z.size:
        return b
    ends = np.concatenate([[-np.inf], sigma.breakpoints, [np.inf]])
    low, high = ends[k] + room - z.min(axis=0), z.max(axis=0) - (ends[k + 1] - room)
    return np.asarray(b + np.maximum(0.0, low) - np.maximum(0.0, high))
