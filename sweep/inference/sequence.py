"""A confidence sequence: an interval for a frequency that holds at every sample size at once.

Whoever looks at an ordinary interval after each block of seeds and stops when it is narrow has
chosen the moment, and the interval covers less often than it says. A confidence sequence covers at
all sample sizes together, so it covers at the one where somebody stopped, for whatever reason.

======  ==========================================================================
symbol  meaning
======  ==========================================================================
x_i     what seed i contributes, in [0, 1]: independent seeds with mean p
n, s    number of seeds so far and s = x_1 + … + x_n, which need not be whole
α       1 − confidence
M_n(p)  B(s+a, n−s+b) / (B(a, b) p^s (1−p)^(n−s)), with the beta function B
======  ==========================================================================

The interval at (s, n) is the set of p with M_n(p) < 1/α (Robbins 1970, "Statistical methods related
to the law of the iterated logarithm"; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", the beta-binomial mixture).

**Why it holds.** M_n(p) = ∫ Π_i (q/p)^{x_i} ((1−q)/(1−p))^{1−x_i} dBeta(a, b)(q). For x in [0, 1]
the function u^x v^{1−x} of x is convex, so it lies below its chord x·u + (1−x)·v. With u = q/p and
v = (1−q)/(1−p) the chord has the mean p·u + (1−p)·v = 1 where E x = p. Each factor therefore has a
mean of at most 1 given the past (exactly 1 when x is 0 or 1), M_n(p) is a non-negative
supermartingale that starts at 1 for every q and so for the mixture, and by Ville's inequality it
ever reaches 1/α with probability at most α. This is why shares, as of a seed that is bad in two of
four λ draws, may stand in the place of zeros and ones.

**Why the set is an interval that holds s/n and moves with s.** log M is convex in p and at most 0
at p = s/n, where no q explains the seeds better. It is convex in s as well (a log-moment
generating function), at most 0 at s = np and log 1/α > 0 at an end, so at the low end it grows with
s and at the high end it falls: both ends grow with s. Hence for l_i ≤ x_i ≤ u_i the interval from
the low end at Σ l_i to the high end at Σ u_i contains the one at Σ x_i, and it covers p whatever
became of members that were not resolved.

The ends of earlier sample sizes could be intersected; they are not, so that an interval is a
function of its counts alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, xlog1py, xlogy

from sweep.errors import UserError
from sweep.registry import require

MIXTURE = (0.5, 1.0)
"""a and b. Measured half widths at 95 % and n = 1,000, in per cent:

=========  =====  =====  =====  =====  =====  =====
a, b        p=0   0.001   0.01    0.1    0.5    0.9
=========  =====  =====  =====  =====  =====  =====
1/2, 1/2   0.350  0.499  1.188  3.464  5.758  3.464
1/2, 1     0.327  0.474  1.145  3.359  5.713  3.641
1/2, 2     0.307  0.451  1.106  3.278  5.836  4.079
1/4, 1     0.240  0.415  1.099  3.390  5.933  3.801
=========  =====  =====  =====  =====  =====  =====

1/2 and 1 is narrower than 1/2 and 1/2 for every p up to 1/2, where frequencies of bad minima lie;
what is narrower still near 0 is wider at 1/2."""

_HALVINGS = 60  # of [0, 1]: far below the width of any interval


def sequence(
    total: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end for the mean of n seeds that add up to `total`; arrays of the common shape.

    The ends are rounded outwards; the low end is exactly 0 at a total of 0, the high end exactly 1
    at a total of n, and 0 of 0 gives [0, 1]. Raises `UserError` for a confidence outside (0, 1) or
    a total outside [0, n].
    """
    return mixture_interval(total, n, confidence, *MIXTURE)


def mixture_interval(
    total: ArrayLike, n: ArrayLike, confidence: float, a: float, b: float
) -> tuple[np.ndarray, np.ndarray]:
    """`sequence` with any mixture Beta(a, b), a and b > 0."""
    require(0 < confidence < 1, "confidence", confidence, "a number between 0 and 1")
    s, size = np.broadcast_arrays(np.asarray(total, dtype=float), np.asarray(n, dtype=float))
    if not ((s >= 0) & (s <= size)).all():
        raise UserError("A total lies outside its n: totals from 0 to n are accepted.")
    known = betaln(s + a, size - s + b) - betaln(a, b) + np.log1p(-confidence)  # log α
    mean = np.divide(s, size, out=np.full(s.shape, 0.5), where=size > 0)

    def inside(p: np.ndarray) -> np.ndarray:
        """Whether M_n(p) < 1/α."""
        return np.asarray(known < xlogy(s, p) + xlog1py(size - s, -p))

    low, high = _edge(inside, mean, 0.0), _edge(inside, mean, 1.0)
    low[s == 0] = 0.0
    high[s == size] = 1.0
    return low, high


def _edge(inside: Callable[[np.ndarray], np.ndarray], mean: np.ndarray, far: float) -> np.ndarray:
    """Where `inside` ends between the mean, which lies inside, and `far`; the point outside."""
    near, outer = mean.copy(), np.full(mean.shape, far)
    for _ in range(_HALVINGS):
        middle = (near + outer) / 2
        holds = inside(middle)
        near, outer = np.where(holds, middle, near), np.where(holds, outer, middle)
    return outer
