"""A proven lower bound of the least eigenvalue of a symmetric matrix known within an error."""

from __future__ import annotations

import math

import numpy as np

from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import least_eigenvalue
from sweep.kernels.compiled import compiled

# How much of the computed least eigenvalue is tried as the proven one, in this order.
SHARES = (0.999, 0.9, 0.5)


@compiled
def positive_definite(A: np.ndarray) -> float:
    """A lower bound of λ_min(A), or −inf if the Cholesky factorisation meets a pivot ≤ 0.

    When it succeeds in floating point, λ_min(A) ≥ −γ/(1−γ)·trace(A) with γ = (P+1)u/(1−(P+1)u)
    (Rump, Verification of positive definiteness, BIT 46, 2006).
    """
    P = len(A)
    R = np.zeros((P, P))
    trace = 0.0
    for s in range(P):
        trace += abs(A[s, s])
        for t in range(s + 1):
            value = A[s, t]
            for k in range(t):
                value -= R[s, k] * R[t, k]
            if t < s:
                R[s, t] = value / R[t, t]
            elif value > 0.0:
                R[s, s] = math.sqrt(value)
            else:
                return -np.inf
    gamma = 1.01 * (P + 2) * UNIT
    return -gamma * trace


def proven_least(hess: np.ndarray, doubt: float) -> float:
    """A lower bound of the least eigenvalue of any symmetric matrix within `doubt` of `hess`.

    By Weyl, the bound of `hess` minus `doubt`; that of `hess` from a Cholesky factorisation of
    hess − σI, whose diagonal is formed with one rounding each.
    """
    guess = least_eigenvalue(hess)
    if not guess > 0:
        return -math.inf
    for share in SHARES:
        sigma = share * guess
        shifted = hess - sigma * np.eye(len(hess))
        formed = UNIT * float(np.abs(np.diag(shifted)).max())
        found = float(positive_definite(shifted))
        if found > -math.inf:
            return (sigma + found - formed - doubt) * (1 - 4 * UNIT)
    return -math.inf
