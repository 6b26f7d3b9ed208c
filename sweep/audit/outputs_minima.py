"""`strict`, `cell`, `kink` with several outputs: slope, curvature, points around, 50 digits.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, P    data points, parameters
C, H    outputs, hidden units
z       preactivations                                         (N, H)
J       ∂f/∂θ, a constant added to all f taken away if ℓ does not notice it   (N·C, P)
======  =====================================================  ==========

F cannot vary where f does not: its curvature is looked at on the row space of J. Beside kinks all
of this is said of the face on which the units stay on them (`sweep.audit.outputs_kinks`).
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.curvature import UNNOTICED, Curvature, curvature_on
from sweep.audit.findings import Audited
from sweep.audit.first_order import NEAR_KINK
from sweep.audit.lower import PRECISE, check_precisely, nothing_lower
from sweep.audit.outputs import OutputsFormula, OutputsLandscape
from sweep.audit.outputs_kinks import (
    face_moves,
    lower_off_face,
    on_kinks,
    outputs_on,
    refused_off_face,
)
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.verdicts import Certificate

# ‖∇F‖ relative to Σ‖qᵢ‖‖Jᵢ‖ below which a point counts as stationary.
STATIONARY = 1e-8
# How far a stored least eigenvalue may be from this one, relative to the largest.
SAME_EIGEN = 1e-9


def check_outputs(points: Points, found: Audited) -> None:
    """Check rows of one hidden layer whose certificate is `strict`, `cell` or `kink`."""
    formula = points.formula
    assert isinstance(formula, OutputsFormula)
    landscape, looked = formula.landscape, []
    kinds = [Certificate.STRICT.value]
    if landscape.activation.between:
        kinds = [Certificate.CELL.value, Certificate.KINK.value]
    shaped = len(landscape.widths) == 1 and landscape.weight_decay == 0
    for i, (where, theta) in enumerate(zip(points.where, points.theta, strict=True)):
        named = points.certificate[i]
        if not shaped or named not in kinds or (len(landscape.activation.kinks) > 1):
            found.add(where, "certificate", named, "nothing: not for this network")
            continue
        on = np.zeros((len(landscape.x), landscape.widths[0]), dtype=bool)
        reason = None
        if named == Certificate.KINK.value:
            on = on_kinks(landscape, theta)
            reason = refused_off_face(landscape, theta, on)
        second, steep, fixed = _looked_at(formula, theta, on)
        reason = reason or _refused(landscape, theta, on, second, steep)
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)
        elif not points.radius[i] > 0:
            found.add(where, "certificate_radius", None, "a radius")
        _check_symmetries(points, i, second, fixed, found)
        looked.append((i, second, on))
    nothing_lower(points, False, np.zeros(len(points)), found)
    for i, second, on in looked[:PRECISE]:
        found.precise += 1
        check_precisely(points.some(np.array([i])), formula, second, 0, found, on)
        if lower_off_face(formula, points.theta[i], on, float(points.radius[i])):
            reason = "a point beside its kinks, no higher than the centre (50 digits)"
            found.add(points.where[i], "certificate_radius", float(points.radius[i]), reason)


def _check_symmetries(
    points: Points, i: int, second: Curvature, fixed: int, found: Audited
) -> None:
    """Compare their number; λ_min(∇²F) where there are none: else none is stored, it is 0.

    On a face, which takes `fixed` dimensions, none is stored either: F has no Hessian.
    """
    where, stored, frame = points.where[i], float(points.min_eig[i]), second.frames[0]
    symmetries = frame.shape[0] - frame.shape[1] - fixed
    if points.flat_dim[i] != symmetries:
        found.add(where, "flat_dim", points.flat_dim[i], symmetries)
    if fixed and not np.isnan(stored):
        found.add(where, "judged_min_eig", stored, "null: the point is on kinks")
    if fixed:
        return
    if symmetries and not np.isnan(stored):
        found.add(where, "judged_min_eig", stored, "null: the Hessian is singular")
    room = SAME_EIGEN * second.largest[0]
    if not symmetries and not abs(stored - second.least[0]) <= room:
        found.add(where, "judged_min_eig", stored, float(second.least[0]))


def _looked_at(
    formula: OutputsFormula, theta: np.ndarray, on: np.ndarray
) -> tuple[Curvature, float, int]:
    """Second order at θ on the row space of J; ‖∇F‖ relative to Σ‖qᵢ‖‖Jᵢ‖; dimensions of kinks.

    All on the face where the pairs `on` stay on their kinks.
    """
    landscape, point = formula.landscape, torch.as_tensor(theta)
    known, moves = outputs_on(landscape, on), face_moves(landscape, theta, on)

    def noticed(at: torch.Tensor) -> torch.Tensor:
        f = known(at)
        return f - f.mean(1, keepdim=True) if landscape.classifies else f

    def objective(at: torch.Tensor) -> torch.Tensor:
        return landscape.losses(known(at)).sum()

    gradient = torch.func.grad(objective)(point).numpy()
    hessian = torch.func.jacrev(torch.func.grad(objective))(point).numpy()
    J = torch.func.jacrev(noticed)(point).numpy()
    _, sizes, rows = np.linalg.svd(J.reshape(-1, len(theta)) @ moves, full_matrices=False)
    frame = moves @ rows[sizes > UNNOTICED * sizes[0]].T
    f = noticed(point).requires_grad_()
    (q,) = torch.autograd.grad(landscape.losses(f).sum(), f)
    lengths = np.linalg.norm(J.reshape(len(J), -1), axis=1)
    scale = float(np.linalg.norm(q.numpy(), axis=1) @ lengths)
    second = curvature_on(gradient[None], hessian[None], [np.ascontiguousarray(frame)])
    steep = float(np.linalg.norm(moves.T @ gradient)) / max(scale, 1e-300)
    return second, steep, len(theta) - moves.shape[1]


def _refused(
    landscape: OutputsLandscape,
    theta: np.ndarray,
    on: np.ndarray,
    second: Curvature,
    steep: float,
) -> str | None:
    """Why θ is no such minimum."""
    (z, error), _ = landscape.layers(torch.as_tensor(theta))
    for t in landscape.activation.kinks:
        near = torch.maximum(ROUTES * error, NEAR_KINK * z.abs().amax(0).clamp(min=1.0))
        if bool((((z - t).abs() <= near) & ~torch.as_tensor(on)).any()):
            return "a kink nearby"
    if not steep <= STATIONARY:
        return f"a slope of {steep:.3g} of Σ‖q‖‖∂f/∂θ‖"
    if not second.positive(0):
        least, largest = float(second.least[0]), float(second.largest[0])
        return f"least eigenvalue {least!r} beside a largest of {largest!r}"
    return None
