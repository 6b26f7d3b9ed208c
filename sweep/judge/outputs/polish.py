"""The polish of one hidden layer with several outputs: Newton across the symmetries, monotone in F.

Where F cannot vary its Hessian is singular, and rounding turns a trust-region step into those
directions, which are then full of steps that gain nothing. Here a step is one in θ + range N
(`sweep.judge.outputs.frame`). A piecewise-linear network is smooth as far as its kinks; a step
across one is taken only if F itself falls.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
θ       parameters, as in `sweep.judge.outputs.task`           (P,)
N       the frame at θ                                        (P, ρ)
Δ       trust radius
======  ====================================================  ==========
"""

from __future__ import annotations

import numpy as np

from sweep.judge.base import Judgement
from sweep.judge.numerics.spectra import eigen
from sweep.judge.outputs.frame import frame_at
from sweep.judge.outputs.task import OutputsTask
from sweep.judge.smooth.polish import FIRST_RADIUS, move
from sweep.judge.smooth.trust_region import NOISE, WIDEST, trust_step
from sweep.models.objective import Objective

# Minima take up to some 60 steps; a slide goes on for ever.
BUDGET = 80
SMALLEST_RADIUS = 1e-13
# What has grown by this factor is on a slide.
GROWN = 30.0


def polish_outputs(found: Judgement, objective: Objective, lam: np.ndarray | None) -> None:
    """Move every open member of a one-hidden-layer network with several outputs downhill."""
    task = OutputsTask.of(objective)
    if task is None:
        return
    for member in np.flatnonzero(found.open).tolist():
        theta, steps = descend(task, task.theta(found.params[member]))
        if steps:
            move(found, member, task.params(theta))
        found.polish_steps[member] += steps


def descend(task: OutputsTask, theta: np.ndarray) -> tuple[np.ndarray, int]:
    """θ at the end of the descent, and its steps; F never rises beyond its rounding."""
    size = 1 + float(np.linalg.norm(theta))
    radius, here = FIRST_RADIUS * size, task.second(theta, None)
    for step in range(BUDGET):
        frame = frame_at(task, theta)
        lost = not (np.isfinite(here.value) and float(np.linalg.norm(theta)) <= GROWN * size)
        if frame is None or lost:
            return theta, step
        g = frame.N.T @ here.gradient.mid
        values, basis = eigen(frame.N.T @ here.hessian.mid @ frame.N)
        if np.isnan(values[0]):
            return theta, step
        turned, gain = trust_step(values, basis.T @ g, radius)
        d = frame.N @ (basis @ turned)
        length, slope = float(np.linalg.norm(d)), float(np.linalg.norm(here.gradient.mid))
        value, noise = task.value(theta + d), NOISE * abs(here.value)
        fall = here.value - value
        if gain <= noise:
            # F is all rounding by now: the gradient decides, and its end is that of the polish.
            there = task.second(theta + d, None)
            falls = float(np.linalg.norm(there.gradient.mid)) < 0.9 * slope
            if not (falls and fall >= -noise):
                return theta, step
            theta, here = theta + d, there
        elif fall >= 1e-4 * gain:
            theta, here = theta + d, task.second(theta + d, None)
            if fall > 0.5 * gain and length > 0.9 * radius:
                radius = min(2 * radius, WIDEST * (1 + float(np.linalg.norm(theta))))
        else:
            radius = 0.25 * min(radius, length)
            if not radius > SMALLEST_RADIUS:
                return theta, step
    return theta, BUDGET
