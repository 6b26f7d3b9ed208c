"""How E changes off a face of several convolutions, to first order and in every direction at once.

With Q a basis of the filters' directions off the face, u leads from a point of it to v + Qu. The
one-sided derivative follows the layers: with ż_k = w_k·(Qu)_k + v_k * ḣ_{k−1},

    ḣ_k = slope·ż_k at free places, at held ones ż_k if ż_k > 0 and αż_k if not.

So D(u) = Σ p·ḣ_K + Σₖ λ_c(‖v_k‖² − 1)v_k·(Qu)_k is linear on cones on each of which every held ż
keeps its sign. They are found by cutting: from the orthants on, layer by layer and place by place,
a cone given by rays rᵢ is cut by ż into {ż ≥ 0} and {ż ≤ 0}, with new rays a·rᵢ + b·rⱼ, a, b > 0,
between rays of different signs.

Claim. If D, computed with the slopes of a cone, is positive on all rays of all cones, D > 0 for all
u ≠ 0. 1. *The cones cover everything, wherever between rᵢ and rⱼ the new rays lie*: in u = Σ wᵢrᵢ
take min(wᵢ/a, wⱼ/b) of a pair of different signs out, as a multiple of the ray between them; one of
the two is gone; when all pairs are done only one sign is left. 2. *A ray on the wrong side costs no
more than how far it is there.* Take u = Σ wᵣ r in a cone whose place has the side ±. If ż(u) has
that sign, ḣ = slope·ż = Σ wᵣ slope·ż(r). If not, |ż(u)| ≤ Σ wᵣ max(0, ∓ż(r)), and the two slopes
differ by 1 − α: ḣ(u) = Σ wᵣ(slope·ż(r) + e_r) with |e_r| ≤ (1−α) max(0, ∓ż(r)), by which ḣ(r) is
widened. So by induction over the layers ḣ(u) is a sum of members of the balls of ḣ(r) with the
weights wᵣ, and D(u) ≥ Σ wᵣ low(D(r)) > 0. Rays are balls as well: a·rᵢ + b·rⱼ is one of the ball
that is stored. ∎

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
R, r    rays of a cone, dimension of u
Q       constant matrix of directions off the face                 (K·s, r)
U       the rays                                                   (R, r)
ż, ḣ    along them, in one layer                                   (R, N, L)
α       slope of the leaky ReLU below zero
======  =========================================================  ==========

Other symbols as in `sweep.judge.convolution.stack_local`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from sweep.judge.convolution.stack_local import StackLocal
from sweep.judge.numerics.balls import Ball, contract, stacked

# A place whose ż on a cone is beyond this share of the largest with one sign only is not cut there.
CUTS = 1e-9
# Dimensions of u, and cones, beyond which nothing is said.
MOST_DIMENSIONS, MOST_CONES, MOST_RAYS = 8, 4096, 256


@dataclass(frozen=True, eq=False)
class Cone:
    """Rays and ż or ḣ along them, for the layer that is looked at."""

    U: Ball
    along: Ball

    def cut(self, place: tuple[int, int], tiny: float) -> list[Cone]:
        """The parts of the cone on either side of ż = 0 at a place; itself if it has but one."""
        heights = self.along.mid[(slice(None), *place)]
        up, down = np.flatnonzero(heights > tiny), np.flatnonzero(heights < -tiny)
        if not len(up) or not len(down):
            return [self]
        level = np.flatnonzero(np.abs(heights) <= tiny)
        i, j = (pair.ravel() for pair in np.meshgrid(up, down, indexing="ij"))
        # Positive multiples, of sum one: a·height(i) + b·height(j) = 0.
        a = -heights[j] / (heights[i] - heights[j])
        return [self._of(np.concatenate([side, level]), i, j, a) for side in (up, down)]

    def _of(self, kept: np.ndarray, i: np.ndarray, j: np.ndarray, a: np.ndarray) -> Cone:
        def rays(ball: Ball) -> Ball:
            wide = a.reshape(-1, *([1] * (len(ball.shape) - 1)))
            return stacked([ball[kept], ball[i] * wide + ball[j] * (1 - wide)])

        return Cone(rays(self.U), rays(self.along))


@dataclass(frozen=True, eq=False)
class Across:
    """Rays of all cones, as directions (R, K·s) of the filters, and D along them per ‖u‖.

    `least` is the proven lower bound of all of them, inf where no place is held.
    """

    ways: np.ndarray
    slopes: np.ndarray
    least: float


def across(at: StackLocal, Q: np.ndarray) -> Across | None:
    """D in all directions off the face; None where there are too many cones."""
    dimensions = Q.shape[1]
    if not dimensions:
        return Across(np.zeros((0, at.plain.n_filters)), np.zeros(0), np.inf)
    if dimensions > MOST_DIMENSIONS:
        return None
    ways, slopes, lows, count = [], [], [], 0
    for signs in product((1.0, -1.0), repeat=dimensions):
        cones = _cones(at, Q, np.diag(signs))
        count += MOST_CONES + 1 if cones is None else len(cones)
        if cones is None or count > MOST_CONES:
            return None
        for cone in cones:
            down = contract("rih,ih->r", cone.along, at.p)
            down = down + contract("rs,s->r", contract("rd,sd->rs", cone.U, Q), at.filter_slope())
            sizes = np.linalg.norm(cone.U.size, axis=1) * (1 + 1e-9)
            slopes.append(down.mid / sizes)
            lows.append(float((down.low / sizes).min()))
            ways.append(cone.U.mid @ Q.T / sizes[:, None])
    least = min(lows) if np.isfinite(lows).all() else -np.inf
    return Across(np.concatenate(ways), np.concatenate(slopes), least)


def _cones(at: StackLocal, Q: np.ndarray, U: np.ndarray) -> list[Cone] | None:
    """The cones of one orthant, with ḣ_K along their rays; None if there are too many."""
    plain = at.plain
    start = Ball(U, None if at.v.rad is None else np.zeros_like(U))
    cones = [Cone(start, start.on(lambda array: np.zeros((len(array), *plain.x.shape))))]
    for k, slope in enumerate(at.face.slopes):
        own, following = plain.part(k), list[Cone]()
        for cone in cones:
            moved = contract("rd,sd->rs", cone.U, Q[own])
            z = contract("rs,ijs->rij", moved, at.trace.windows[k])
            z = z + contract("rija,a->rij", _windows(at, cone.along), at.v[own])
            parts = _sided(Cone(cone.U, z), slope, plain.slope)
            if parts is None:
                return None
            following += parts
        cones = following
    return cones


def _windows(at: StackLocal, along: Ball) -> Ball:
    """Windows (R, N, L, s) of (R, N, L)."""
    R, N, L = along.shape

    def cut(array: np.ndarray) -> np.ndarray:
        found = at.plain.windows(array.reshape(R * N, L))
        return found.reshape(R, N, *found.shape[1:])

    return along.on(cut)


def _sided(whole: Cone, slope: np.ndarray, leak: float) -> list[Cone] | None:
    """The cone cut by all held places of a layer, with ḣ instead of ż; None if into too many."""
    held = np.argwhere(slope == 0)
    tiny = CUTS * float(np.abs(whole.along.mid).max(initial=0.0))
    cones = [whole]
    for i, j in held.tolist():
        cones = [part for cone in cones for part in cone.cut((i, j), tiny)]
        if len(cones) > MOST_CONES or max(len(cone.U.mid) for cone in cones) > MOST_RAYS:
            return None
    found = []
    for cone in cones:
        heights = cone.along.mid
        up = heights.max(axis=0) >= -heights.min(axis=0)
        side = np.where(up, 1.0, -1.0)
        wrong = np.maximum(0.0, cone.along.known - side * heights)
        own = np.where(slope == 0, np.where(up, 1.0, leak), slope)
        h = cone.along * own
        found.append(Cone(cone.U, h.widened((1 - leak) * wrong * (slope == 0))))
    return found
