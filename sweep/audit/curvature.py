"""Gradients and Hessians by torch.autograd, least eigenvalues, Newton's step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sweep.audit.first_order import outer_slopes, units_of
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.measures import Columns, over_members
from sweep.audit.nearby import unit_frame

# Hessian entries of one batch: a hundred megabytes with the intermediate results.
ENTRIES = 500_000
# Rounding of a Hessian's eigenvalues, relative to the largest: sums of some thousands of terms.
EIGEN_ROOM = 1e-11
# Singular values of ∂f/∂(v, c) below this share of the largest are rounding: the judge proves
# nothing where one lies between 1e-11 and 1e-7.
UNNOTICED = 1e-9


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second order at S members: ∇F (S, P), ∇²F (S, P, P), its extreme eigenvalues (S,).

    They are those across the directions in which F is constant: `frames` holds what moves in the
    remaining Q coordinates do to θ, (P, Q) each (see `_across`). `newton` is the length of
    Newton's step in them, infinite where ∇²F is not positive beyond rounding; `softest` the move
    (Q,) of least curvature.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    newton: np.ndarray
    frames: list[np.ndarray]
    softest: list[np.ndarray]

    def positive(self, i: int) -> bool:
        """Whether ∇²F is positive on frame i beyond rounding, every direction in its own units."""
        frame, h = self.frames[i], self.hessian[i]
        across = frame.T @ ((h + h.T) / 2) @ frame
        if not (np.isfinite(across).all() and (np.diag(across) > 0).all()):
            return False
        size = np.sqrt(np.diag(across))
        eigen = np.linalg.eigvalsh(across / size / size[:, None])
        return not len(eigen) or bool(eigen[0] > EIGEN_ROOM * eigen[-1])


def curvature(
    formula: DataFormula | LandscapeFormula, theta: np.ndarray, lam: np.ndarray
) -> Curvature:
    """The curvature of F at members (S, P)."""

    def one(point: torch.Tensor, strength: torch.Tensor) -> Columns:
        return {
            "gradient": torch.func.grad(formula.objective)(point, strength),
            "hessian": torch.func.jacrev(torch.func.grad(formula.objective))(point, strength),
        }

    at_once = max(1, ENTRIES // theta.shape[1] ** 2)
    found = over_members(formula, one, theta, lam, at_once)
    frames = [_across(formula, point, float(s)) for point, s in zip(theta, lam, strict=True)]
    return curvature_on(found["gradient"], found["hessian"], frames)


def curvature_on(
    gradients: np.ndarray, hessians: np.ndarray, frames: list[np.ndarray]
) -> Curvature:
    """The same of given derivatives (S, P), (S, P, P), on given frames."""
    least, largest, newton = (np.full(len(frames), np.nan) for _ in range(3))
    softest = [np.zeros(frame.shape[1]) for frame in frames]
    for i, (g, h) in enumerate(zip(gradients, hessians, strict=True)):
        if not np.isfinite(h).all():
            continue
        frame = frames[i]
        eigen, vectors = np.linalg.eigh(frame.T @ ((h + h.T) / 2) @ frame)
        least[i], largest[i], softest[i] = eigen[0], np.abs(eigen).max(), vectors[:, 0]
        newton[i] = np.inf
        if eigen[0] > EIGEN_ROOM * largest[i]:
            newton[i] = np.linalg.norm(vectors.T @ (frame.T @ g) / eigen)
    return Curvature(gradients, hessians, least, largest, newton, frames, softest)


def _across(formula: DataFormula | LandscapeFormula, theta: np.ndarray, lam: float) -> np.ndarray:
    """The directions (P, Q) across those in which F is constant.

    An orthonormal basis, for these symmetries: a unit of a positively homogeneous activation may be
    rescaled, (w, b)/t and a·t, unless weight decay sees it; an unpenalised exponential neuron may
    be shifted, a·e⁻ˢ and b + s. A one-hidden-layer piecewise-linear network with such a neuron gets
    `unit_frame` without the moves that no misfit point (ℓ′ ≠ 0) notices: f is linear in them.
    """
    if not isinstance(formula, DataFormula):
        return np.eye(len(theta))
    free = formula.exponential and not formula.weight_decay
    free = free and (not formula.penalised or lam == 0)
    if (
        not isinstance(formula, MlpFormula)
        or len(formula.widths) != 1
        or formula.activation.slopes is None
        or formula.weight_decay
    ):
        return _complement(_shift(formula, theta) if free else theta[:, None][:, :0])
    if free:
        return _noticed(formula, theta)
    return _complement(_rescaled(formula, theta))


def _complement(along: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is orthogonal to the columns (P, k), which are independent."""
    full, *_ = np.linalg.svd(along, full_matrices=True)
    basis: np.ndarray = full[:, along.shape[1] :]
    return basis


def _shift(formula: DataFormula, theta: np.ndarray) -> np.ndarray:
    """The direction (−a, 0, +1) of an exponential neuron's (a, w, b), (P, 1)."""
    move = np.zeros((len(theta), 1))
    move[formula.n_base], move[-1] = -theta[formula.n_base], 1.0
    return move


def _rescaled(formula: MlpFormula, theta: np.ndarray) -> np.ndarray:
    """One direction per unit that is not zero altogether, (P, ≤ H)."""
    units = units_of(formula, theta)
    h, d = formula.widths[0], formula.x.shape[1]
    along = []
    for j in range(len(units.a)):
        move = np.zeros(len(theta))
        if j < h:
            move[j * d : (j + 1) * d], move[h * d + j] = units.W[j, :-1], units.W[j, -1]
            move[h * d + h + j] = -units.a[j]
        else:
            first = formula.n_base + (j - h) * (d + 2)
            move[first], move[first + 1 : first + d + 2] = -units.a[j], units.W[j]
        if move.any():
            along.append(move)
    return np.array(along).reshape(-1, len(theta)).T


def _noticed(formula: MlpFormula, theta: np.ndarray) -> np.ndarray:
    """`unit_frame` on the row space of what the misfit points see of (v, c), and on (w, b)."""
    frame = unit_frame(formula, theta)
    own = formula.x.shape[1] + 1
    jacobian = torch.func.jacrev(formula.base)(torch.as_tensor(theta)).numpy()
    seen = (jacobian @ frame)[outer_slopes(formula, theta) != 0][:, :-own]
    kept = np.zeros((seen.shape[1], 0))
    if len(seen):
        _, sizes, rows = np.linalg.svd(seen, full_matrices=False)
        kept = rows[sizes > UNNOTICED * sizes[0]].T
    return np.hstack([frame[:, :-own] @ kept, frame[:, -own:]])
