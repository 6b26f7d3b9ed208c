"""Whether levels that the same seeds went through have the same frequency, and how far they differ.

======  =====================================================================  ==========
symbol  meaning                                                                shape
======  =====================================================================  ==========
S, k    seeds; levels (λ draws, or cells along an axis)
m       rows of one seed at one level (λ draws that a level pools), mostly 1
x       share of the m rows of a seed at a level that count                    (…, S, k)
======  =====================================================================  ==========

Leading axes of x are independent repetitions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from sweep.inference.intervals import interval

_HALVINGS = 60


class Heterogeneity(NamedTuple):
    """Cochran's Q, its p, Box's ε and the p corrected by it; each of shape (…)."""

    q: np.ndarray
    p: np.ndarray
    epsilon: np.ndarray
    p_adjusted: np.ndarray


def cochran_q(x: np.ndarray) -> Heterogeneity:
    """Cochran's Q for matched samples: the evidence against one frequency at all levels.

    Q = (k−1) Σ_j (X_j − X̄)² / Σ_sj (x_sj − x̄_s)² with X_j = Σ_s x_sj, and `p` from χ² with k−1
    degrees of freedom. For m = 1 this is Cochran (1950); for shares it is the same permutation
    argument with the shares as scores: if the levels of a seed may change places, X has a
    covariance proportional to I − 1/k, however a seed's levels correlate. Q = 0 and p = 1 where no
    seed differs between levels.

    Equal frequencies alone do not let levels change places: neighbouring λ are more alike than
    distant ones, and p is then too small (with three levels alike in every seed and a fourth that
    is not, p < 0.05 in 11 % of repetitions). `p_adjusted` corrects for it, and there is below 0.05
    in 5.0 to 5.5 %: ε Q against χ² with ε (k−1) degrees of freedom, ε = (tr C)² / ((k−1) tr C²)
    from the covariance C of the levels after each seed's mean is taken off (Box 1954; for Q, Myers
    et al. 1982).
    """
    k = x.shape[-1]
    sums = x.sum(axis=-2)
    between = np.square(sums - sums.mean(axis=-1, keepdims=True)).sum(axis=-1)
    inside = x - x.mean(axis=-1, keepdims=True)
    within = np.square(inside).sum(axis=(-2, -1))
    # Where every seed agrees with itself everywhere, both sums are 0 up to rounding.
    varies = (x != x[..., :1]).any(axis=(-2, -1))
    q = np.divide((k - 1) * between, within, out=np.zeros_like(within), where=varies)
    centred = inside - inside.mean(axis=-2, keepdims=True)
    covariance = np.swapaxes(centred, -1, -2) @ centred
    squared = np.trace(covariance, axis1=-2, axis2=-1) ** 2
    size = (k - 1) * np.square(covariance).sum(axis=(-2, -1))
    # All seeds alike have no covariance to correct for; ε lies between 1/(k−1) and 1.
    alike = squared <= 1e-20 * within**2
    epsilon = np.divide(squared, size, out=np.ones_like(size), where=~alike & varies)
    epsilon = np.clip(epsilon, 1 / (k - 1), 1.0)
    return Heterogeneity(q, chi2.sf(q, k - 1), epsilon, chi2.sf(epsilon * q, epsilon * (k - 1)))


def least_q(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A lower bound of Q over all x with low ≤ x ≤ high, shape (…): whatever the unresolved are.

    The levels' sums are as alike as their ranges allow. The sum of squares within a seed is at most
    that about any number c, here the middle of its ranges, each x as far from c as it can be; where
    nothing is unresolved both are exact.
    """
    k = low.shape[-1]
    least, most = low.sum(axis=-2), high.sum(axis=-2)
    # Σ_j (X_j − X̄)² is least where every X_j is the number of its range next to one value c, which
    # is their mean: the excess falls in c, so that halving finds it.
    down, up = least.min(axis=-1), most.max(axis=-1)
    for _ in range(_HALVINGS):
        middle = (down + up) / 2
        nearest = np.clip(middle[..., None], least, most)
        above = nearest.mean(axis=-1) > middle
        down, up = np.where(above, middle, down), np.where(above, up, middle)
    sums = np.clip(down[..., None], least, most)
    between = np.square(sums - sums.mean(axis=-1, keepdims=True)).sum(axis=-1)
    centre = ((low + high) / 2).mean(axis=-1, keepdims=True)
    within = np.maximum(np.square(low - centre), np.square(high - centre)).sum(axis=(-2, -1))
    return np.asarray(
        np.divide((k - 1) * between, within, out=np.zeros_like(within), where=within > 0)
    )


def paired_low_ends(
    low: np.ndarray, high: np.ndarray, confidence: float, method: str = "wilson"
) -> np.ndarray:
    """Low ends of the intervals for p_a − p_b of all pairs of levels, shape (…, k, k).

    `low` and `high` are x with unresolved rows counted as not bad and as bad; p_a is taken at its
    low and p_b at its high end, so that the interval from `ends[a, b]` to `−ends[b, a]` covers
    whatever the unresolved are. Newcombe (1998b), method 10: the ends of both levels' own intervals
    (of S trials, the safe end for m > 1), put together with the correlation φ of the two levels
    over the seeds.
    """
    n_seeds = low.shape[-2]
    p, upper = low.mean(axis=-2), high.mean(axis=-2)
    down = (p - interval(p * n_seeds, n_seeds, confidence, method)[0])[..., :, None]
    up = (interval(upper * n_seeds, n_seeds, confidence, method)[1] - upper)[..., None, :]
    phi = _correlation(low, high)
    width = np.sqrt(np.maximum(0.0, down**2 - 2 * phi * down * up + up**2))
    return np.asarray(p[..., :, None] - upper[..., None, :] - width)


def largest_difference(
    low: np.ndarray, high: np.ndarray, confidence: float = 0.95, method: str = "wilson"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest minus smallest frequency of the levels, and an interval for it, each of shape (…).

    The estimate counts unresolved rows as not bad; the interval covers whatever they are. Its ends
    come from the intervals of all k(k−1)/2 pairs, each at confidence 1 − α/(number of pairs), so
    that looking for the largest difference costs nothing: it bounds every difference at once.
    """
    k = low.shape[-1]
    pairs = max(1, k * (k - 1) // 2)
    ends = paired_low_ends(low, high, 1 - (1 - confidence) / pairs, method)
    ends[..., np.arange(k), np.arange(k)] = 0.0  # a level does not differ from itself
    p = low.mean(axis=-2)
    largest = p.max(axis=-1) - p.min(axis=-1)
    return largest, ends.max(axis=(-2, -1)), -ends.min(axis=(-2, -1))


def _correlation(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """φ of `low` at level a with `high` at level b, shape (…, k, k); 0 where a level is constant.

    A positive φ is taken with Newcombe's continuity correction S/2. As the ends of a level's own
    interval are those of S trials, the covariance is divided by √(p(1−p)) of both levels, which is
    the spread of whole rows and at least that of shares (`sweep.inference.paired`): the correlation
    of the shares themselves would take off more than the levels have in common.
    """
    n_seeds = low.shape[-2]
    sums = low.sum(axis=-2)[..., :, None] * high.sum(axis=-2)[..., None, :]
    together = n_seeds * (np.swapaxes(low, -1, -2) @ high) - sums
    together = np.where(together > 0, np.maximum(together - n_seeds / 2, 0.0), together)
    spread_low, spread_high = (x.sum(axis=-2) * (n_seeds - x.sum(axis=-2)) for x in (low, high))
    scale = np.sqrt(spread_low[..., :, None] * spread_high[..., None, :])
    # Sums of shares carry rounding errors far below the least spread of a level that varies, 1/m².
    phi: np.ndarray = np.divide(together, scale, out=np.zeros_like(together), where=scale > 1e-6)
    return phi
