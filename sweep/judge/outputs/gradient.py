"""∇F of one hidden layer and several outputs, in the longest floating point there is, with errors.

In float64 a proven bound of the rounding of ∇F is a hundred times what rounding does, and with it a
minimum of little curvature cannot be enclosed. Eleven more bits put that right; where a machine has
none the bound is merely wider. Symbols as in `sweep.judge.outputs.task`; e_… bounds the error of
what follows, u is the unit roundoff of these numbers. σ, its slope, exp and log err by some 64 u,
as in `sweep.judge.smooth.strict_kernels`: σ relative to itself, its slope relative to 1.
"""

from __future__ import annotations

import numpy as np

from sweep.judge.affine.outputs import derivatives
from sweep.judge.numerics.balls import Ball
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.strict_kernels import ACTIVATION_UNITS, ROOM, supremum

# Not less than that of the 64-bit mantissa: other long formats are taken for no better.
LONG_UNIT = max(float(np.finfo(np.longdouble).eps) / 2, 2.0**-64)


def gradient(task: OutputsTask, theta: np.ndarray) -> Ball:
    """∇F at θ (P,)."""
    u, at, X = LONG_UNIT, task.split(theta.astype(np.longdouble)), task.X.astype(np.longdouble)
    (N, n), H = X.shape, task.width
    A, W, sizes = np.abs(at.A), np.abs(at.W), np.abs(X)
    z = at.W @ X.T
    e_z = ROOM * (n + 2) * u * (W @ sizes.T)
    h0, h1, e_0, e_1 = _units(task, z, e_z)
    f = (at.A @ h0).T + at.c
    e_f = (A @ e_0 + (H + 3) * u * (A @ np.abs(h0) + np.abs(at.c)[:, None])).T
    found = derivatives(task.loss, task.y, f, ROOM * e_f, u)
    q, e_q = found.slope, found.slope_error
    sent, size = q @ at.A, np.abs(q) @ A
    e_sent = e_q @ A + (len(A) + 2) * u * size
    inner, e_inner = sent.T * h1, e_sent.T * (np.abs(h1) + e_1) + np.abs(sent.T) * e_1
    rounds = (N + 4) * u
    parts = q.T @ h0.T, q.sum(axis=0), inner @ X
    doubts = (
        e_q.T @ (np.abs(h0) + e_0).T + np.abs(q).T @ e_0.T + rounds * (np.abs(q).T @ np.abs(h0).T),
        e_q.sum(axis=0) + rounds * np.abs(q).sum(axis=0),
        (e_inner + rounds * np.abs(inner)) @ sizes,
    )
    mid, rad = (np.concatenate([np.ravel(part) for part in some]) for some in (parts, doubts))
    rounded = mid.astype(np.float64)
    return Ball(rounded, ROOM * rad.astype(np.float64) + UNIT * np.abs(rounded))


def _units(
    task: OutputsTask, z: np.ndarray, e_z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """σ, σ′ and their errors."""
    u = LONG_UNIT
    if task.code is None:
        slope = task.slope(z).astype(np.longdouble)
        return slope * z, slope, np.abs(slope) * (e_z + u * np.abs(z)), np.zeros_like(z)
    h0 = task.activation.formula.value(z)
    h1 = task.activation.formula.slope(z, h0)
    small = ACTIVATION_UNITS * u
    e_0 = supremum(task.code, 1) * e_z + small * np.abs(h0)
    return h0, h1, e_0, supremum(task.code, 2) * e_z + small
