"""Logistic regression of a yes-or-no row on one number, with rows of a seed allowed to correlate.

======  ==================================================================  ==========
symbol  meaning                                                             shape
======  ==================================================================  ==========
S, k    seeds; levels of the number
z       the number at each level                                            (k,)
b       rows of a seed at a level that say yes                              (…, S, k)
m       rows of a seed at a level, the same for all
β       intercept and slope: logit P(yes) = β₀ + β₁ z                       (…, 2)
======  ==================================================================  ==========

The estimate is that of independent rows (it needs the level counts alone); its covariance is the
sandwich A⁻¹ (Σ_s u_s u_sᵀ) A⁻¹ over the seeds' scores u_s (Liang and Zeger 1986, equation 3): what
GEE gives with independence as its working correlation. Leading axes of b are repetitions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

STEPS, LONGEST_STEP, STILL = 100, 2.0, 1e-10
"""Newton's method on a standardised z: its steps are cut to 2, which makes it safe far from the
maximum, and it ends when no β moves by more than 1e-10, far below any standard error."""


FLAT = 1e-12
"""A clustered variance below this share of the unclustered one is rounding: it is 0."""


class Slope(NamedTuple):
    """The slope and its standard error, each (…); NaN where there is none."""

    value: np.ndarray
    error: np.ndarray


def separated(z: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Whether some threshold parts yes from no, so that no finite slope fits best, shape (…).

    `yes` and `no` count rows per level, (…, k). The threshold's own level may have both (Albert
    and Anderson 1984: complete or quasi-complete separation); all yes and all no count as well.
    """

    def ends(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.where(there, z, np.inf).min(axis=-1),
            np.where(there, z, -np.inf).max(axis=-1),
        )

    (least_yes, most_yes), (least_no, most_no) = ends(yes > 0), ends(no > 0)
    return (least_yes >= most_no) | (most_yes <= least_no)


def clustered_slope(z: np.ndarray, b: np.ndarray, m: int = 1) -> Slope:
    """β₁ per unit of z with its cluster-robust standard error.

    NaN where `separated`, where no seed rises or falls along z (the sandwich knows seeds by their
    scores alone, and would give an error of 0), and everywhere when all z are equal. The error is
    too small where few seeds differ between levels (`differing`).
    """
    n_seeds = b.shape[-2]
    yes = b.sum(axis=-2)
    spread = z.std()
    nothing = np.full(yes.shape[:-1], np.nan)
    if not spread > 0:
        return Slope(nothing, nothing.copy())
    lost = separated(z, yes, n_seeds * m - yes)
    design = np.column_stack([np.ones(len(z)), (z - z.mean()) / spread])
    safe = np.where(lost[..., None], n_seeds * m / 2, yes)  # fitted for nothing, then dropped
    beta = _fit(design, safe, n_seeds * m)
    p = expit(beta @ design.T)
    scores = (b - m * p[..., None, :]) @ design
    meat = np.swapaxes(scores, -1, -2) @ scores
    bread = np.linalg.inv(_information(design, p, n_seeds * m))
    variance = (bread @ meat @ bread)[..., 1, 1]
    lost |= variance <= FLAT * bread[..., 1, 1]
    return Slope(
        np.where(lost, np.nan, beta[..., 1] / spread),
        np.where(lost, np.nan, np.sqrt(np.maximum(variance, 0.0)) / spread),
    )


def differing(b: np.ndarray) -> np.ndarray:
    """How many seeds do not fare alike at all levels, (…): the others say nothing of a slope."""
    return np.asarray((b != b[..., :1]).any(axis=-1).sum(axis=-1))


def _fit(design: np.ndarray, yes: np.ndarray, total: int) -> np.ndarray:
    """The maximum-likelihood β for `yes` of `total` rows at each level, (…, 2)."""
    beta = np.zeros((*yes.shape[:-1], 2))
    beta[..., 0] = logit(yes.mean(axis=-1) / total)
    for _ in range(STEPS):
        p = expit(beta @ design.T)
        gradient = (yes - total * p) @ design
        step = np.linalg.solve(_information(design, p, total), gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        beta = beta + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, LONGEST_STEP))
        if (longest <= STILL).all():
            break
    return beta


def _information(design: np.ndarray, p: np.ndarray, total: int) -> np.ndarray:
    """A = Σ_j n_j p_j (1−p_j) (1, z_j)(1, z_j)ᵀ, (…, 2, 2)."""
    weight = total * p * (1 - p)
    return np.asarray(np.einsum("...j,ja,jb->...ab", weight, design, design))
