"""Kinks of networks with several outputs: multipliers by least squares, second order on the face.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, P    data points, parameters
H, C    hidden units, outputs
x̃       data with a last column of ones                        (N, n)
z       preactivations                                         (N, H)
on      pairs on their kink, by the rounding of z              (N, H)
q       ∂F/∂f                                                  (N, C)
κ       q·Aᵀ, A the output weights                             (N, H)
B       orthonormal moves that leave z of the pairs on alone   (P, dim)
======  =====================================================  ==========

At a minimum there are slopes s′ between s₋ and s₊ for the pairs on their kinks with which the
gradient vanishes for every unit: Σ κ s x̃ + Σ_on κ s′ x̃ = 0, and κ(s₊ − s₋) > 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import null_space

from sweep.audit.first_order import NEAR_KINK, ON_KINK
from sweep.audit.outputs import OutputsFormula, OutputsLandscape
from sweep.audit.precise import PreciseOutputs


def on_kinks(landscape: OutputsLandscape, theta: np.ndarray) -> np.ndarray:
    """The pairs (N, H) that are on the kink at zero, but for rounding; x̃ = (0, 1) may be, too."""
    x, W, z = _parts(landscape, theta)
    if landscape.activation.slopes is None:
        return np.zeros(z.shape, dtype=bool)
    size = np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(W, axis=1))
    # A pair as far as this is off its kink, whatever the data's offset.
    beside = NEAR_KINK / 2 * np.maximum(1.0, np.abs(z).max(axis=0))
    return np.asarray(np.abs(z) <= np.minimum(ON_KINK * size, beside))


def outputs_on(landscape: OutputsLandscape, on: np.ndarray) -> Callable[..., torch.Tensor]:
    """Outputs (N, C) of θ where these pairs send nothing, smooth up to other kinks."""
    silent, width = torch.as_tensor(on), landscape.widths[0]

    def outputs(theta: torch.Tensor) -> torch.Tensor:
        (z, _), _ = landscape.layers(theta)
        h = torch.where(silent, torch.zeros_like(z), landscape.activation.value(z))
        A = landscape.outgoing(theta)
        return h @ A.T + theta[width * (landscape.x.shape[1] + 1) + A.numel() :]

    return outputs


def face_moves(landscape: OutputsLandscape, theta: np.ndarray, on: np.ndarray) -> np.ndarray:
    """B."""
    d, width = landscape.x.shape[1], landscape.widths[0]
    rows = np.zeros((int(on.sum()), len(theta)))
    for row, (i, j) in zip(rows, np.argwhere(on), strict=True):
        row[j * d : (j + 1) * d], row[width * d + j] = landscape.x[i].numpy(), 1.0
    return np.asarray(null_space(rows)) if len(rows) else np.eye(len(theta))


def refused_off_face(landscape: OutputsLandscape, theta: np.ndarray, on: np.ndarray) -> str | None:
    """Why F falls somewhere off the face, to first order, or may."""
    slopes = landscape.activation.slopes
    if slopes is None or not on.any():
        return "no kink at the point"
    x, _, z = _parts(landscape, theta)
    output = outputs_on(landscape, on)(torch.as_tensor(theta)).detach().requires_grad_()
    (q,) = torch.autograd.grad(landscape.losses(output).sum(), output)
    A = landscape.outgoing(torch.as_tensor(theta)).numpy()
    kappa = q.numpy() @ A
    pulled = np.where(on, 0.0, kappa * np.where(z > 0, slopes[1], slopes[0])).T @ x
    for j in np.flatnonzero(on.any(axis=0)):
        held = on[:, j]
        if np.linalg.matrix_rank(x[held], tol=1e-9 * np.linalg.norm(x[held])) < held.sum():
            return f"kinks of unit {j} that depend on each other"
        pulls = np.linalg.lstsq(x[held].T, -pulled[j], rcond=None)[0]
        jump = kappa[held, j] * (slopes[1] - slopes[0])
        share = (pulls - kappa[held, j] * slopes[0]) / np.where(jump == 0, np.nan, jump)
        if not (jump > 0).all():
            return f"a kink of unit {j} that is not convex"
        if not ((share > NEAR_KINK) & (share < 1 - NEAR_KINK)).all():
            return f"multipliers of unit {j} from {share.min():.3g} to {share.max():.3g}"
    return None


def lower_off_face(
    formula: OutputsFormula, theta: np.ndarray, on: np.ndarray, radius: float
) -> bool:
    """Whether F is no higher at that distance on some side of a kink, with 50 digits."""
    exact = PreciseOutputs(formula, on, silent=False)
    moves = face_moves(formula.landscape, theta, on)
    across = null_space(moves.T) if on.any() else moves[:, :0]
    here = exact.objective(exact.moved(theta, np.zeros_like(theta)))
    ways = [*across.T, *-across.T]
    return any(exact.objective(exact.moved(theta, radius * way)) <= here for way in ways)


def _parts(
    landscape: OutputsLandscape, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x̃, (w, b) row by row, z."""
    d, width = landscape.x.shape[1], landscape.widths[0]
    x = np.column_stack([landscape.x.numpy(), np.ones(len(landscape.x))])
    W = np.column_stack([theta[: width * d].reshape(width, d), theta[width * d : width * (d + 1)]])
    return x, W, x @ W.T
