"""Spectra that never raise: where nothing can be decomposed, every number is NaN.

A member far out overflows, and LAPACK raises on what is left of its matrices; that would end the
judgement of all its neighbours. Finite matrices too can be beyond it, when their entries span
hundreds of decades. NaN fails every comparison, so such a member proves nothing, makes no step and
stays unresolved.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from sweep.kernels.compiled import compiled


@compiled
def eigen_kernel(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compiled: ascending eigenvalues (n,) and vectors (n, n) of a symmetric matrix, or NaN."""
    values, basis = np.full(len(A), np.nan), np.full(A.shape, np.nan).T
    if np.isfinite(A).all():
        try:
            values, basis = np.linalg.eigh(A)
        except Exception:  # the only kind that machine code can catch; here LAPACK's own failure
            return values, basis
    return values, basis


def eigen(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending eigenvalues (n,) and vectors (n, n) of a symmetric matrix, or NaN."""
    if np.isfinite(A).all():
        with suppress(np.linalg.LinAlgError):
            values, basis = np.linalg.eigh(A)
            return values, basis
    return np.full(len(A), np.nan), np.full(A.shape, np.nan)


def least_eigenvalue(A: np.ndarray) -> float:
    """The least eigenvalue of a symmetric matrix, or NaN."""
    if np.isfinite(A).all():
        with suppress(np.linalg.LinAlgError):
            return float(np.linalg.eigvalsh(A)[0])
    return float("nan")


def singular_values(A: np.ndarray) -> np.ndarray:
    """Descending singular values (min(m, n),) of A (m, n), or NaN."""
    if np.isfinite(A).all():
        with suppress(np.linalg.LinAlgError):
            return np.asarray(np.linalg.svd(A, compute_uv=False))
    return np.full(min(A.shape), np.nan)


def least_squares(A: np.ndarray, b: np.ndarray, rcond: float | None = None) -> np.ndarray:
    """The shortest x (n,) of least ‖Ax − b‖, or NaN; `rcond` as in numpy."""
    if np.isfinite(A).all() and np.isfinite(b).all():
        with suppress(np.linalg.LinAlgError):
            return np.asarray(np.linalg.lstsq(A, b, rcond=rcond)[0])
    return np.full(A.shape[1], np.nan)
