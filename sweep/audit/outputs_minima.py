"""`strict` and `cell` with several outputs: slope, curvature, points around, a sample in 50 digits.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, P    data points, parameters
C, H    outputs, hidden units
z       preactivations                                         (N, H)
J       ∂f/∂θ, a constant added to all f taken away if ℓ does not notice it   (N·C, P)
======  =====================================================  ==========

F cannot vary where f does not: its curvature is looked at on the row space of J.
"""

from __future__ import annotations

import numpy as np
import torch

from sweep.audit.curvature import EIGEN_ROOM, UNNOTICED, Curvature, curvature_on
from sweep.audit.findings import Audited
from sweep.audit.first_order import NEAR_KINK
from sweep.audit.lower import PRECISE, check_precisely, nothing_lower
from sweep.audit.outputs import OutputsFormula, OutputsLandscape
from sweep.audit.points import Points
from sweep.audit.rounding import ROUTES
from sweep.verdicts import Certificate

# ‖∇F‖ relative to Σ‖qᵢ‖‖Jᵢ‖ below which a point counts as stationary.
STATIONARY = 1e-8
# How far a stored least eigenvalue may be from this one, relative to the largest.
SAME_EIGEN = 1e-9


def check_outputs(points: Points, found: Audited) -> None:
    """Check rows of one hidden layer whose certificate is `strict` or `cell`."""
    formula = points.formula
    assert isinstance(formula, OutputsFormula)
    landscape, looked = formula.landscape, []
    kinds = {True: Certificate.STRICT.value, False: Certificate.CELL.value}
    kind = kinds[not landscape.activation.between]
    shaped = len(landscape.widths) == 1 and landscape.weight_decay == 0
    for i, (where, theta) in enumerate(zip(points.where, points.theta, strict=True)):
        if not shaped or points.certificate[i] != kind or (len(landscape.activation.kinks) > 1):
            found.add(where, "certificate", points.certificate[i], "nothing: not for this network")
            continue
        second, steep = _looked_at(formula, theta)
        reason = _refused(landscape, theta, second, steep)
        if reason:
            found.add(where, "certificate", points.certificate[i], reason)
        elif not points.radius[i] > 0:
            found.add(where, "certificate_radius", None, "a radius")
        _check_symmetries(points, i, second, found)
        looked.append((i, second))
    nothing_lower(points, False, np.zeros(len(points)), found)
    for i, second in looked[:PRECISE]:
        found.precise += 1
        check_precisely(points.some(np.array([i])), formula, second, 0, found)


def _check_symmetries(points: Points, i: int, second: Curvature, found: Audited) -> None:
    """Compare their number; λ_min(∇²F) where there are none: else none is stored, it is 0."""
    where, stored, frame = points.where[i], float(points.min_eig[i]), second.frames[0]
    symmetries = frame.shape[0] - frame.shape[1]
    if points.flat_dim[i] != symmetries:
        found.add(where, "flat_dim", points.flat_dim[i], symmetries)
    if symmetries and not np.isnan(stored):
        found.add(where, "judged_min_eig", stored, "null: the Hessian is singular")
    room = SAME_EIGEN * second.largest[0]
    if not symmetries and not abs(stored - second.least[0]) <= room:
        found.add(where, "judged_min_eig", stored, float(second.least[0]))


def _looked_at(formula: OutputsFormula, theta: np.ndarray) -> tuple[Curvature, float]:
    """Second order at θ on the row space of J; ‖∇F‖ relative to Σ‖qᵢ‖‖Jᵢ‖."""
    landscape, point, none = formula.landscape, torch.as_tensor(theta), torch.zeros(())

    def outputs(at: torch.Tensor) -> torch.Tensor:
        f = landscape.layers(at)[-1][0]
        return f - f.mean(1, keepdim=True) if landscape.classifies else f

    gradient = torch.func.grad(formula.objective)(point, none).numpy()
    hessian = torch.func.jacrev(torch.func.grad(formula.objective))(point, none).numpy()
    J = torch.func.jacrev(outputs)(point).numpy()
    _, sizes, rows = np.linalg.svd(J.reshape(-1, len(theta)), full_matrices=False)
    frame = rows[sizes > UNNOTICED * sizes[0]].T
    f = outputs(point).requires_grad_()
    (q,) = torch.autograd.grad(landscape.losses(f).sum(), f)
    lengths = np.linalg.norm(J.reshape(len(J), -1), axis=1)
    scale = float(np.linalg.norm(q.numpy(), axis=1) @ lengths)
    second = curvature_on(gradient[None], hessian[None], [np.ascontiguousarray(frame)])
    return second, float(np.linalg.norm(gradient)) / max(scale, 1e-300)


def _refused(
    landscape: OutputsLandscape, theta: np.ndarray, second: Curvature, steep: float
) -> str | None:
    """Why θ is no such minimum."""
    (z, error), _ = landscape.layers(torch.as_tensor(theta))
    for t in landscape.activation.kinks:
        near = torch.maximum(ROUTES * error, NEAR_KINK * z.abs().amax(0).clamp(min=1.0))
        if bool(((z - t).abs() <= near).any()):
            return "a kink nearby"
    if not steep <= STATIONARY:
        return f"a slope of {steep:.3g} of Σ‖q‖‖∂f/∂θ‖"
    if not second.least[0] > EIGEN_ROOM * second.largest[0]:
        return f"least eigenvalue {second.least[0]!r} beside a largest of {second.largest[0]!r}"
    return None
