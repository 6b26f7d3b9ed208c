"""Descent over kinks with several outputs: Newton on the face of the kinks that F runs into.

A kink is convex where κ(s₊ − s₋) > 0; descent runs into such kinks and stays on them. The
subgradient of least norm over the pairs on their kinks,

    g_j = Σ_i κ_ji s_ji x̃_i + Σ_{i on} t_ji κ_ji (s₊ − s₋) x̃_i ,  s_ji = s₋ on a kink, 0 ≤ t ≤ 1,

says which pairs may be let go: those whose t is 0 or 1. The others are held, Newton's step runs on
their face across the symmetries, and F along it decides where it ends, at the latest on the first
kink where F stops falling. F never rises beyond its rounding.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
on      pairs on their kinks: z is exactly 0                  (H, N)
held    those of them that the next step does not leave       (H, N)
t       their multipliers                                     (H, N)
others  as in `sweep.judge.outputs.kinks`
======  ====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sweep.judge.affine.outputs import derivatives
from sweep.judge.kinks.geometry import bounded_least_squares
from sweep.judge.numerics.roundoff import UNIT
from sweep.judge.numerics.spectra import eigen
from sweep.judge.outputs.face import FaceTask, face_of
from sweep.judge.outputs.frame import frame_at
from sweep.judge.outputs.line import Line
from sweep.judge.outputs.polish import GROWN, SMALLEST_RADIUS
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.polish import FIRST_RADIUS
from sweep.judge.smooth.trust_region import NOISE, WIDEST, trust_step

# Measured: from where training ends 15 steps suffice for 132 minima of two and three units (of five
# and more most are not reached in 60 either); a slide goes on for ever.
BUDGET = 60
# So many steps in a row in which F falls by no more than its rounding end a descent.
PATIENCE = 8


@dataclass(frozen=True, eq=False)
class Stand:
    """A point, the pairs on convex kinks, and what is next: pairs to hold, slopes, subgradient."""

    theta: np.ndarray
    z: np.ndarray
    F: float
    convex: np.ndarray
    held: np.ndarray
    pattern: np.ndarray
    subgradient: np.ndarray


@dataclass(frozen=True, eq=False)
class Step:
    """A step (P,), the fall that is promised of it, and the length of the gradient it is for."""

    d: np.ndarray
    gain: float
    slope: float


def descend_over_kinks(task: OutputsTask, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """θ at the end of the descent, the pairs that it holds, and its steps."""
    size = 1 + float(np.linalg.norm(start))
    radius, waited = FIRST_RADIUS * size, 0
    here = stand(task, start, _resting(task, start))
    for step in range(BUDGET):
        lost = not (np.isfinite(here.F) and float(np.linalg.norm(here.theta)) <= GROWN * size)
        newton = None if lost or waited > PATIENCE else _newton(task, here, radius)
        if newton is None:
            return here.theta, here.held, step
        noise = NOISE * abs(here.F)
        if newton.gain <= noise:
            there = _settled(task, here, newton)
            if there is None:
                return here.theta, here.held, step
            here = there
            continue
        found = _stepped(task, here, newton)
        if found is None and (here.convex != here.held).any():
            # One t too many was at an end: the step would leave its kink to the wrong side.
            stays = replace(here, held=here.convex, pattern=np.where(here.convex, 0, here.pattern))
            newton = _newton(task, stays, radius) or newton
            found = _stepped(task, stays, newton)
        if found is None:
            length = max(float(np.linalg.norm(here.subgradient)), 1e-300)
            newton = Step(-here.subgradient * (radius / length), np.inf, 0.0)
            found = _stepped(task, here, newton)
        length = float(np.linalg.norm(newton.d))
        if found is None:
            radius = 0.25 * min(radius, length)
            if not radius > SMALLEST_RADIUS:
                return here.theta, here.held, step
            continue
        there, t, kink = found
        fall = here.F - there.F
        waited = 0 if fall > noise else waited + 1
        if t == 1.0 and fall > 0.5 * newton.gain and length > 0.9 * radius:
            radius = min(2 * radius, WIDEST * (1 + float(np.linalg.norm(there.theta))))
        elif not kink and (t < 0.5 or fall < 0.1 * newton.gain) and np.isfinite(newton.gain):
            radius = 0.5 * min(radius, length)
        here = there
    return here.theta, here.held, BUDGET


def _resting(task: OutputsTask, theta: np.ndarray) -> np.ndarray:
    """The pairs (H, N) on their kinks, but for rounding, of units that can stay on all those."""
    W, X = task.split(theta).W, task.X
    rounds = (X.shape[1] + 2) * UNIT * (np.abs(W) @ np.abs(X.T))
    on: np.ndarray = np.abs(W @ X.T) <= rounds
    for j in np.flatnonzero(on.any(axis=1)).tolist():
        on[j] &= face_of(task, theta, on & (np.arange(task.width) == j)[:, None]) is not None
    return on


def stand(task: OutputsTask, theta: np.ndarray, on: np.ndarray) -> Stand:
    """What there is to see at θ with pairs on their kinks; concave ones are let go."""
    assert task.slopes is not None
    (lo, hi), at = task.slopes, task.split(theta)
    z = np.where(on, 0.0, at.W @ task.X.T)
    slope = np.where(z > 0, hi, lo)
    h = slope * z
    f = (at.A @ h).T + at.c
    found = derivatives(task.loss, task.y, f, np.zeros_like(f))
    kappa = (found.slope @ at.A).T
    jump = kappa * (hi - lo)
    pulled, held, pattern = (kappa * slope) @ task.X, on & (jump > 0), slope.copy()
    for j in np.flatnonzero(held.any(axis=1)).tolist():
        i = np.flatnonzero(held[j])
        rows = np.ascontiguousarray((jump[j, i, None] * task.X[i]).T)
        t, left = np.full(len(i), 0.5), np.zeros(task.X.shape[1])
        bounded_least_squares(rows, pulled[j], t, left)
        pulled[j] = left
        held[j, i] = (t > 0) & (t < 1)
        pattern[j, i] = np.where(held[j, i], 0.0, np.where(t >= 1, hi, lo))
    subgradient = np.concatenate(
        [(found.slope.T @ h.T).ravel(), found.slope.sum(axis=0), pulled.ravel()]
    )
    convex = on & (jump > 0)
    return Stand(theta, z, float(found.value.sum()), convex, held, pattern, subgradient)


def _newton(task: OutputsTask, here: Stand, radius: float) -> Step | None:
    """The step on the face of the held pairs, or None."""
    face = face_of(task, here.theta, here.held)
    smooth = FaceTask.with_slopes(task, here.pattern)
    frame = None if face is None else frame_at(smooth, here.theta, face)
    if frame is None:
        return None
    second = smooth.second(here.theta, None)
    g = frame.N.T @ second.gradient.mid
    values, basis = eigen(frame.N.T @ second.hessian.mid @ frame.N)
    if np.isnan(values[0]):
        return None
    turned, gain = trust_step(values, basis.T @ g, radius)
    return Step(frame.N @ (basis @ turned), gain, float(np.linalg.norm(g)))


def _stepped(task: OutputsTask, here: Stand, step: Step) -> tuple[Stand, float, bool] | None:
    """Where F stops falling along the step, t there, whether on a kink; None: it does not fall."""
    found = Line(task, here.theta, step.d, here.z, here.held).lower()
    if found is None:
        return None
    t, pair = found
    on = here.held.copy()
    if pair >= 0:
        on.ravel()[pair] = True
    there = _placed(task, here, here.theta + t * step.d, on)
    return None if there is None else (there, t, pair >= 0)


def _placed(task: OutputsTask, here: Stand, theta: np.ndarray, on: np.ndarray) -> Stand | None:
    """The stand at θ, moved onto the kinks by its rounding; None where F is higher than here."""
    face = face_of(task, theta, on)
    if face is None:
        return None
    there = stand(task, face.projected(theta), on)
    fall, noise = here.F - there.F, NOISE * abs(here.F)
    return there if fall >= -noise else None


def _settled(task: OutputsTask, here: Stand, step: Step) -> Stand | None:
    """The next stand where F is all rounding: the gradient decides; None at its end."""
    there = _placed(task, here, here.theta + step.d, here.held)
    if there is None:
        return None
    same = (there.held == here.held).all() and (there.pattern == here.pattern).all()
    after = _newton(task, there, 1.0) if same else None
    return there if after is not None and after.slope < 0.9 * step.slope else None
