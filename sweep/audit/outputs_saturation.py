"""One hidden layer and several outputs: units whose saturation lowers F for ever.

Unit j moves by t·d, its preactivations by t·m, away from zero but for a few points at rest. The
slope F′(t) = Σᵢ (a·qᵢ)·σ′(zᵢ + t·mᵢ)·mᵢ is looked at, in long double and at many t, for one unit
after the other and for several choices of the points at rest; a row names none of them.

======  =====================================================  ==========
symbol  meaning                                                shape
======  =====================================================  ==========
N, C    data points, outputs
X       data with a last column of ones                        (N, n)
z, m    a unit's preactivations, how they move                 (N,)
a       its outgoing weights                                   (C,)
f, q    outputs, ∂ℓ/∂f                                         (N, C)
======  =====================================================  ==========
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from sweep.audit.outputs import OutputsLandscape

SATURATING = ("tanh", "sigmoid")
# Where the slope is looked at; the slowest point moves by 1 per unit.
TIMES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6, 1e8)
# A slope counts beyond this share of its terms' sizes.
CLEAR = 1e-9


@dataclass(frozen=True, eq=False)
class Leads:
    """Where a slide leads: F there, and the share of points whose class is not told."""

    objective: float
    error: float


def slides(landscape: OutputsLandscape, theta: np.ndarray) -> Iterator[Leads]:
    """Where every way leads that is found to lower F."""
    if len(landscape.widths) != 1 or landscape.activation.name not in SATURATING:
        return
    if landscape.weight_decay:
        return
    member = _Member(landscape, theta)
    for j in range(len(member.b)):
        nearest = np.argsort(np.abs(member.z[:, j]), kind="stable")
        for count in range(member.X.shape[1]):
            resting = nearest[:count].tolist()
            while len(resting) < member.X.shape[1]:
                found = member.slide(j, resting)
                if not isinstance(found, int):
                    if found is not None:
                        yield found
                    break
                resting = [*resting, found]


class _Member:
    """One member in long double."""

    def __init__(self, landscape: OutputsLandscape, theta: np.ndarray) -> None:
        wide = theta.astype(np.longdouble)
        x, self.y = landscape.x.numpy(), landscape.y.numpy()
        (H,), D, C = landscape.widths, x.shape[1], self.y.shape[1]
        W, self.b, A, self.c = np.split(wide, [H * D, H * D + H, H * D + H + C * H])
        self.X = np.column_stack([x, np.ones(len(x))]).astype(np.longdouble)
        self.W = np.column_stack([W.reshape(H, D), self.b])
        self.A, self.z = A.reshape(C, H), self.X @ self.W.T
        self.classifies, self.tanh = landscape.classifies, landscape.activation.name == "tanh"
        self.f = self.level(self.z) @ self.A.T + self.c

    def level(self, z: np.ndarray) -> np.ndarray:
        """σ."""
        return np.asarray(np.tanh(z) if self.tanh else 0.5 * (1 + np.tanh(z / 2)))

    def slide(self, j: int, resting: list[int]) -> Leads | int | None:
        """Where unit j leads with these points at rest; a point that it should rest at, or None."""
        m = self._moves(j, resting)
        if m is None:
            return None
        z, a = self.z[:, j], self.A[:, j]
        free = m != 0
        for t in TIMES:
            there = z + t * m
            f = self.f + (self.level(there) - self.level(z))[:, None] * a
            rate = 2 if self.tanh else 1
            beyond = np.where(free, np.abs(there) - np.abs(there)[free].min(), 0.0)
            faded = np.exp(-rate * beyond)
            pull = self._pull(f, a) * faded / (1 + np.exp(-rate * np.abs(there))) ** 2 * m
            if not pull.sum() < -CLEAR * np.abs(pull).sum():
                return int(np.argmax(pull)) if pull.max() > 0 else None
        end = np.where(free, np.sign(m) if self.tanh else 0.5 * (1 + np.sign(m)), self.level(z))
        f = self.f + (end - self.level(z))[:, None] * a
        return Leads(float(self._losses(f).sum()), float(np.mean(self._ahead(f) <= 0)))

    def _moves(self, j: int, resting: list[int]) -> np.ndarray | None:
        """The unit's own direction without what moves the points at rest; or the widest one."""
        away = np.where(self.z[:, j] > 0, 1.0, -1.0)
        plain = self.X.astype(float)
        free = np.ones(len(plain), dtype=bool)
        free[resting] = False
        if not free.any() or np.linalg.matrix_rank(plain[resting]) < len(resting):
            return None
        basis = np.linalg.svd(plain[resting])[2][len(resting) :]
        d = basis.T @ (basis @ self.W[j].astype(float))
        if not (away * (plain @ d) > 0)[free].all():
            # In coordinates of the basis: as far outward as the slowest point can go.
            rows = np.column_stack([-(away[:, None] * plain @ basis.T)[free], np.ones(free.sum())])
            bounds = [(-1.0, 1.0)] * len(basis) + [(None, None)]
            cost = np.append(np.zeros(len(basis)), -1.0)
            found = linprog(cost, A_ub=rows, b_ub=np.zeros(len(rows)), bounds=bounds)
            if found.status != 0 or not found.x[-1] > 0:
                return None
            d = basis.T @ found.x[:-1]
        m = np.where(free, plain @ d, 0.0)
        slowest = np.abs(m[free]).min()
        good = (away * m > 0)[free].all() and slowest > 1e-9 * np.abs(plain).max()
        return np.asarray(m / slowest).astype(np.longdouble) if good else None

    def _pull(self, f: np.ndarray, a: np.ndarray) -> np.ndarray:
        """a·q, (N,)."""
        if not self.classifies:
            return np.asarray(2 * (f - self.y) @ a)
        share = np.exp(f - f.max(axis=1, keepdims=True))
        share = share / share.sum(axis=1, keepdims=True)
        # The own class's share less 1 is that of all others: nothing cancels.
        return np.asarray((share * (a - (self.y @ a)[:, None])).sum(axis=1))

    def _losses(self, f: np.ndarray) -> np.ndarray:
        if not self.classifies:
            return np.asarray(np.square(f - self.y).sum(axis=1))
        top = f.max(axis=1, keepdims=True)
        grown = np.log(np.exp(f - top).sum(axis=1)) + top[:, 0]
        return np.asarray(grown - (f * self.y).sum(axis=1))

    def _ahead(self, f: np.ndarray) -> np.ndarray:
        own = (f * self.y).sum(axis=1)
        return np.asarray(own - np.where(self.y > 0, -np.inf, f).max(axis=1))
