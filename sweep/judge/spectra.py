"""Spectra that never raise: where nothing can be decomposed, every number is NaN.

A member far out overflows, and LAPACK raises on what is left of its matrices; that would end the
judgement of all its neighbours. NaN fails every comparison, so such a member proves nothing,
makes no step and stays unresolved.
"""

from __future__ import annotations

import numpy as np

from sweep.kernels.compiled import compiled


@compiled
def eigen_kernel(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compiled: ascending eigenvalues (n,) and vectors (n, n) of a symmetric matrix, or NaN."""
    finite = np.isfinite(A).all()
    values, basis = np.linalg.eigh(A if finite else np.zeros_like(A))
    if not finite:
        values[:] = np.nan
        basis[:, :] = np.nan
    return values, basis


def eigen(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending eigenvalues (n,) and vectors (n, n) of a symmetric matrix, or NaN."""
    if np.isfinite(A).all():
        values, basis = np.linalg.eigh(A)
        return values, basis
    return np.full(len(A), np.nan), np.full(A.shape, np.nan)


def least_eigenvalue(A: np.ndarray) -> float:
    """The least eigenvalue of a symmetric matrix, or NaN."""
    return float(np.linalg.eigvalsh(A)[0]) if np.isfinite(A).all() else np.nan


def singular_values(A: np.ndarray) -> np.ndarray:
    """Descending singular values (min(m, n),) of A (m, n), or NaN."""
    if np.isfinite(A).all():
        return np.asarray(np.linalg.svd(A, compute_uv=False))
    return np.full(min(A.shape), np.nan)


def least_squares(A: np.ndarray, b: np.ndarray, rcond: float | None = None) -> np.ndarray:
    """The shortest x (n,) of least ‖Ax − b‖, or NaN; `rcond` as in numpy."""
    if np.isfinite(A).all() and np.isfinite(b).all():
        return np.asarray(np.linalg.lstsq(A, b, rcond=rcond)[0])
    return np.full(A.shape[1], np.nan)
