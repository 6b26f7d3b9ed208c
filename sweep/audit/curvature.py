"""Gradients and Hessians by torch.autograd, least eigenvalues, Newton's step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sweep.audit.first_order import units_of
from sweep.audit.formulas import DataFormula, LandscapeFormula, MlpFormula
from sweep.audit.measures import Columns, over_members

# Hessian entries of one batch: a hundred megabytes with the intermediate results.
ENTRIES = 500_000
# Rounding of a Hessian's eigenvalues, relative to the largest: sums of some thousands of terms.
EIGEN_ROOM = 1e-11


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second order at S members: ∇F (S, P), ∇²F (S, P, P), its extreme eigenvalues (S,).

    `least` leaves out the directions along which a symmetry keeps F constant. `newton` is the
    length of Newton's step, infinite where ∇²F is not positive beyond rounding; `vector` (S, P) the
    direction of least curvature.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    newton: np.ndarray
    vector: np.ndarray


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
    least, largest, newton = (np.full(len(theta), np.nan) for _ in range(3))
    vector = np.zeros_like(theta)
    for i, (g, h) in enumerate(zip(found["gradient"], found["hessian"], strict=True)):
        if not np.isfinite(h).all():
            continue
        frame = _across(formula, theta[i])
        eigen, vectors = np.linalg.eigh(frame.T @ ((h + h.T) / 2) @ frame)
        least[i], largest[i], vector[i] = eigen[0], np.abs(eigen).max(), frame @ vectors[:, 0]
        newton[i] = np.inf
        if eigen[0] > EIGEN_ROOM * largest[i]:
            newton[i] = np.linalg.norm(vectors.T @ (frame.T @ g) / eigen)
    return Curvature(found["gradient"], found["hessian"], least, largest, newton, vector)


def _across(formula: DataFormula | LandscapeFormula, theta: np.ndarray) -> np.ndarray:
    """An orthonormal basis (P, P − symmetries) of the directions across the symmetries.

    A unit of a positively homogeneous activation may be rescaled, (w, b)/t and a·t, unless weight
    decay sees it.
    """
    identity = np.eye(len(theta))
    if not isinstance(formula, MlpFormula) or len(formula.widths) != 1:
        return identity
    if formula.activation.slopes is None or formula.weight_decay:
        return identity
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
    if not along:
        return identity
    full, *_ = np.linalg.svd(np.array(along).T, full_matrices=True)
    basis: np.ndarray = full[:, len(along) :]
    return basis
