"""λ₀ of [B] Theorem 2: the margin that the last layer can reach whatever the filters below it.

λ̄ is the least over all filters of norm ≥ 1 of the margin λ̃ of the points h(xᵢ) that the last layer
sees. Longer filters only help: h is homogeneous in each, and the network p that serves h serves r·h
with ω/r, whose norm is smaller. So unit filters decide, and they are covered by boxes of angles. In
a box the network p of its centre keeps a margin that is bounded from below: with Δ a bound of
‖h(xᵢ) − h₀(xᵢ)‖ and z its preactivations at the centre,

    yᵢ p(hᵢ) ≥ yᵢ p(h₀ᵢ) − Σₖ |αₖ|·‖ωₖ‖Δ·(2 max(zₖ, 0) + ‖ωₖ‖Δ).

Convolution by v multiplies norms by at most ‖v‖₁ ≤ √s·‖v‖, and the leaky ReLU by at most one:
Δ_k = √s·(Δ_{k−1} + δ_k‖h₀_{k−1}‖) for filters within δ_k of the centre's. Boxes are halved where
the bound is poor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sweep.errors import UserError
from sweep.models.losses import Loss
from sweep.models.margins import Separator, largest_margin
from sweep.models.strengths import StrengthBound, epsilon_of, require_distinct, rounded_down
from sweep.problems.base import Data

#: Angles of all filters together up to which covering takes seconds, and boxes of a turn at first.
MOST_ANGLES, BOXES = 1, 16
#: Boxes whose bound is below this share of the least margin at any centre are halved …
SHARE = 1 / 3
#: … until so many have been looked at.
MOST_BOXES = 1000


@dataclass(frozen=True)
class Box:
    """Filters whose angles lie within `radius` of those at `centre`, one tuple per filter.

    A filter of one number has no angles: its sign stands there.
    """

    centre: tuple[tuple[float, ...], ...]
    radius: float

    def filters(self, length: int) -> list[np.ndarray]:
        """The unit filters (s,) at the centre."""
        return [np.array(own) if length == 1 else _unit(own) for own in self.centre]

    def halves(self) -> Iterator[Box]:
        """The boxes of half the radius that cover this one."""
        r = self.radius / 2
        angles = [angle for own in self.centre for angle in own]
        size = len(self.centre[0])
        for shift in itertools.product((-r, r), repeat=len(angles)):
            moved = [a + d for a, d in zip(angles, shift, strict=True)]
            own = tuple(tuple(moved[k : k + size]) for k in range(0, len(moved), size))
            yield Box(own, r)


@dataclass(frozen=True, eq=False)
class Covered:
    """A box, the network of its centre, its margin there and a lower bound of it in the box."""

    box: Box
    separator: Separator
    margin: float
    bound: float


def filter_strength_bound(
    filters: int, length: int, negative_slope: float, data: Data, loss: Loss
) -> StrengthBound:
    """λ₀ = ε·λ̄ for that many convolutions with filters of that length.

    Raises `UserError` for too many angles to cover, and as `strength_bound` does.
    """
    epsilon = epsilon_of(loss)
    require_distinct(data.x)
    angles = filters * (length - 1)
    if angles > MOST_ANGLES:
        raise UserError(
            f"lambda.high is 'theory', which covers filters with {MOST_ANGLES} angle in all, and "
            f"model.layers and model.filter make {angles}: give a number > 0."
        )
    worst, count = _least(filters, length, negative_slope, data)
    return StrengthBound(
        value=rounded_down(epsilon * worst.bound),
        epsilon=epsilon,
        margin=worst.bound,
        separator=worst.separator,
        source=(
            f"[B] Theorem 2: epsilon * the least margin over unit filters, covered by {count} boxes"
            " of angles; the network p given here is that of the worst one's centre, "
            f"{list(map(list, worst.box.centre))} within {worst.box.radius:.6g}"
        ),
    )


def _least(filters: int, length: int, negative_slope: float, data: Data) -> tuple[Covered, int]:
    """The box with the least bound once none is poor any more, and how many were looked at."""
    done: list[Covered] = []
    open_boxes = list(first_boxes(filters, length))
    count = 0
    while open_boxes:
        count += len(open_boxes)
        done += [cover(box, length, negative_slope, data) for box in open_boxes]
        least = min(found.margin for found in done)
        poor = [found for found in done if found.bound < SHARE * least and found.box.radius > 0]
        if count + len(poor) * 2**MOST_ANGLES > MOST_BOXES:
            break
        done = [found for found in done if found not in poor]
        open_boxes = [half for found in poor for half in found.box.halves()]
    worst = min(done, key=lambda found: found.bound)
    if worst.bound <= 0:
        raise UserError(
            "lambda.high is 'theory', but the filters could not be covered finely enough: give a "
            "number > 0."
        )
    return worst, count


def first_boxes(filters: int, length: int) -> Iterator[Box]:
    """Boxes that cover all unit filters; filters of one number are a sign each."""
    if length == 1:
        for signs in itertools.product((-1.0, 1.0), repeat=filters):
            yield Box(tuple((sign,) for sign in signs), 0.0)
        return
    radius = math.pi / BOXES
    turn = [(2 * k + 1) * radius for k in range(BOXES)]
    # Spherical angles: all but the last need half a turn only.
    own = itertools.product(*[turn[: BOXES // 2]] * (length - 2), turn)
    for centre in itertools.product(list(own), repeat=filters):
        yield Box(centre, radius if filters else 0.0)


def cover(box: Box, length: int, negative_slope: float, data: Data) -> Covered:
    """The margin of the box's centre, and what is left of it everywhere in the box."""
    h, moved = features(box.filters(length), negative_slope, data.x, (length - 1) * box.radius)
    separator = largest_margin("requ", h, data.y)
    if separator is None:
        raise UserError(
            "lambda.high is 'theory', but no ReQU network was found that separates the data behind "
            f"the filters of angles {list(map(list, box.centre))}: give a number > 0."
        )
    H = np.hstack([h, np.ones((len(h), 1))])
    z = np.maximum(H @ separator.omega.T, 0)
    pull = np.linalg.norm(separator.omega[:, :-1], axis=1) * moved[:, None]
    lost = (np.abs(separator.alpha) * pull * (2 * z + pull)).sum(axis=1)
    bound = float((data.y * separator.outputs(H) - lost).min()) / separator.norm**3
    return Covered(box, separator, separator.margin(H, data.y), bound)


def features(
    filters: list[np.ndarray], negative_slope: float, x: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """h(xᵢ), (N, H), and how far it moves at most for filters within `radius` of these, (N,)."""
    h, moved = x, np.zeros(len(x))
    for v in filters:
        moved = math.sqrt(len(v)) * (moved + radius * np.linalg.norm(h, axis=1))
        # np.convolve turns one of its arguments round; [B]'s product does not.
        z = np.stack([np.convolve(row, v[::-1]) for row in h])
        h = np.where(z > 0, z, negative_slope * z)
    return h, moved


def _unit(angles: tuple[float, ...]) -> np.ndarray:
    """The unit vector of these spherical angles; it moves by at most the sum of their changes."""
    found, left = [], 1.0
    for angle in angles:
        found.append(left * math.cos(angle))
        left *= math.sin(angle)
    return np.array([*found, left])
