"""F of several outputs along a line, over the kinks on the way, and the search for a lower point.

======  ====================================================  ==========
symbol  meaning                                               shape
======  ====================================================  ==========
θ + t·d  the line                                             (P,)
z, ż    preactivations at t = 0, and what they change by       (H, N)
A, Ȧ    output weights, and what they change by                (C, H)
held    pairs that stay on their kinks, z = ż = 0              (H, N)
======  ====================================================  ==========
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweep.judge.affine.outputs import derivatives
from sweep.judge.outputs.task import OutputsTask, Point

# z + t·ż at a breakpoint t = −z/ż is three roundings away from zero.
AT_KINK = 1e-15
# A search inside a piece ends where the slope has lost this share of what it was.
FLATTER = 0.1
BISECTIONS = 40


@dataclass(frozen=True, eq=False)
class Line:
    """The line as the data see it; z is exactly 0 for every pair on its kink."""

    task: OutputsTask
    theta: np.ndarray
    d: np.ndarray
    z: np.ndarray
    held: np.ndarray

    def at(self, t: float, right: bool) -> tuple[float, float]:
        """(F, dF/dt) at t; the derivative to its right or to its left."""
        task, there, way, turned = self.task, self.start, self.way, self.turned
        assert task.slopes is not None
        lo, hi = task.slopes
        step = t * turned
        z = self.z + step
        on = np.abs(z) <= AT_KINK * (np.abs(self.z) + np.abs(step))
        up = np.where(on, (turned > 0) == right, z > 0)
        z = np.where(on, 0.0, z)
        slope = np.where(up, hi, lo)
        A, h = there.A + t * way.A, slope * z
        f = (A @ h).T + (there.c + t * way.c)
        found = derivatives(task.loss, task.y, f, np.zeros_like(f))
        moved = (way.A @ h + A @ (slope * turned)).T + way.c
        return float(found.value.sum()), float((found.slope * moved).sum())

    @cached_property
    def start(self) -> Point:
        """A, c, W at t = 0."""
        return self.task.split(self.theta)

    @cached_property
    def way(self) -> Point:
        """What they change by."""
        return self.task.split(self.d)

    @cached_property
    def turned(self) -> np.ndarray:
        """ż, 0 for held pairs."""
        return np.where(self.held, 0.0, self.way.W @ self.task.X.T)

    def kinks(self) -> list[tuple[float, int]]:
        """(t, pair) of all kinks met for 0 < t ≤ 1, in order."""
        turned = self.turned
        found = np.full(turned.shape, np.inf)
        met = (turned != 0) & (self.z != 0)
        found[met] = -self.z[met] / turned[met]
        flat = found.ravel()
        pairs = np.flatnonzero((flat > 0) & (flat <= 1))
        return [(float(flat[k]), int(k)) for k in pairs[np.argsort(flat[pairs], kind="stable")]]

    def lower(self) -> tuple[float, int] | None:
        """(t, the pair whose kink lies there or −1) where F stops falling first; None: it does not.

        Newton's own end is taken where F falls up to there, if it is hardly steep any more.
        """
        start, slope = self.at(0.0, True)
        if not slope < 0:
            return None
        last = 0.0
        for t, pair in [*self.kinks(), (1.0, -1)]:
            if self.at(t, False)[1] >= 0:
                return self._between(last, t, start, slope)
            if pair >= 0 and self.at(t, True)[1] >= 0:
                return t, pair
            last = t
        return 1.0, -1

    def _between(self, low: float, high: float, start: float, slope: float) -> tuple[float, int]:
        """A point of little slope between one where F falls and one where it rises."""
        value, steep = self.at(high, False)
        if value < start and abs(steep) <= FLATTER * abs(slope):
            return high, -1
        for _ in range(BISECTIONS):
            mid = 0.5 * (low + high)
            value, steep = self.at(mid, True)
            if steep < 0:
                low = mid
            else:
                high = mid
            if value < start and abs(steep) <= FLATTER * abs(slope):
                return mid, -1
        return (low if low > 0 else high), -1
