"""Nothing lower near a certified minimum: random steps, and an F of this file's own.

======  =========================================================  ==========
symbol  meaning                                                    shape
======  =========================================================  ==========
K       steps tried around a point
N, n    data points, D + 1
H       hidden units
x̃       data with a last column of ones                            (N, n)
a, W, c output weights, (w_j, b_j), output bias                    (H,), (H, n)
V, s    v_j = |a_j|(w_j, b_j), s_j = sign a_j                       (H, n), (H,)
r       radius of a certificate: a distance in (v_1, …, v_H, c)
======  =========================================================  ==========

f_i = Σ_j s_j max(v_j·x̃_i, 0) + c and F = Σ_i max(1 − y_i f_i, 0)³.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from sweep.judge import JUDGES
from sweep.models.augmentations import NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.seeds import stream
from sweep.training.base import OPTIMIZERS, STOPPING
from sweep.training.trainer import train

STEPS_TRIED = 1000
SHORTEST = 1e-9
UNIT = 2.0**-53
CELLS = list(itertools.product(["two_moons", "xor", "iris_pair"], [2, 3, 4]))


@dataclass(frozen=True)
class Certified:
    """A ReLU network that the judge calls a local minimum within a radius."""

    data: Data
    V: np.ndarray
    s: np.ndarray
    c: float
    radius: float
    certificate: str


def certified(problem: str, width: int, seeds: range, max_steps: int = 3000) -> Iterator[Certified]:
    """What training from these seeds and judging find in one cell."""
    data = PROBLEMS.build(Choice(problem)).load()
    assert isinstance(data, Data)
    objective = build_objective(
        data, Mlp(width, Choice("relu")), NoAugmentation(), HingePower(3), NoRegularizer()
    )
    start = objective.initial(KaimingUniform(), 0, list(seeds))
    stopping = STOPPING.build(Choice("standard", {"max_steps": max_steps}))
    ending = train(objective, start, None, OPTIMIZERS.build(Choice("adam", {"lr": 0.01})), stopping)
    found = JUDGES.build(Choice("standard")).judge(objective, ending, None)
    d = data.x.shape[1]
    for k in np.flatnonzero(found.verdict == "local_minimum").tolist():
        theta, inner = found.params[k], width * d
        W = np.column_stack([theta[:inner].reshape(width, d), theta[inner : inner + width]])
        a, c = theta[inner + width : -1], float(theta[-1])
        assert (a != 0).all()  # training reaches no exact zero, and v needs none
        radius = float(found.certificate_radius[k])
        V = np.abs(a)[:, None] * W
        yield Certified(data, V, np.sign(a), c, radius, found.certificate[k])


def objective_of(
    data: Data, V: np.ndarray, s: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """F at K places (K, H, n), (K,), and a bound of its rounding error, each (K,)."""
    x = np.column_stack([data.x, np.ones(len(data.y))])
    f = np.maximum(V @ x.T, 0).transpose(0, 2, 1) @ s + c[:, None]
    # First order in the unit roundoff: n products and H + 1 sums, then three factors and N sums;
    # V itself is |a|(w, b), once rounded.
    size = (np.abs(V) @ np.abs(x.T)).sum(axis=1) + np.abs(c)[:, None]
    wrong = (x.shape[1] + len(s) + 4) * UNIT * size
    u = np.maximum(1 - data.y * f, 0)
    F = (u**3).sum(axis=1)
    return F, (3 * (u + wrong) ** 2 * wrong).sum(axis=1) + (len(x) + 6) * UNIT * F


def moves(units: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Unit steps (K, H·n + 1): a third in all coordinates, a third in few, a third in one unit."""
    found = rng.standard_normal((STEPS_TRIED, units * n + 1))
    found[1::3] *= rng.random(found[1::3].shape) < 2 / found.shape[1]
    one = rng.integers(units, size=len(found[2::3]))
    found[2::3] *= np.arange(found.shape[1]) // n == one[:, None]
    found[~found.any(axis=1), -1] = 1.0
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def lowest(point: Certified, lengths: np.ndarray, rng: np.random.Generator) -> float:
    """How far F falls at the worst of the steps beyond rounding, relative to F; ≤ 0: nowhere."""
    units, n = point.V.shape
    steps = lengths[:, None] * moves(units, n, rng)
    V = point.V + steps[:, :-1].reshape(-1, units, n)
    there, doubt = objective_of(point.data, V, point.s, point.c + steps[:, -1])
    here, here_doubt = objective_of(point.data, point.V[None], point.s, np.array([point.c]))
    return float(((here - here_doubt - there - doubt) / here).max())


def lengths_up_to(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Lengths (K,), evenly spread in the logarithm from 1e-9 to the radius; a tenth is the radius.

    A radius below 1e-9 is tried from a thousandth of itself on.
    """
    shortest = min(SHORTEST, 1e-3 * radius)
    found = radius * (shortest / radius) ** rng.random(STEPS_TRIED)
    found[::10] = radius
    return np.asarray(found)


def check(points: list[Certified]) -> str:
    """Assert that no step within a radius is lower; what steps just outside find, in one line."""
    rng = stream("test", "brute force")
    beyond, outside = [], 0
    for point in points:
        beyond.append(lowest(point, lengths_up_to(point.radius, rng), rng))
        out = point.radius * 10 ** (2 * rng.random(STEPS_TRIED))
        outside += lowest(point, out, rng) > 0
    assert max(beyond) <= 0, [p for p, drop in zip(points, beyond, strict=True) if drop > 0][:3]
    names = [p.certificate for p in points]
    shares = {name: names.count(name) for name in sorted(set(names))}
    return f"{len(points)} points {shares}; lower within 1–100 radii at {outside}"


def displaced(point: Certified, by: float) -> Certified:
    """The same claim about a place beside the minimum: its output bias is wrong."""
    return Certified(point.data, point.V, point.s, point.c + by, point.radius, point.certificate)


def test_nothing_is_lower_near_thirty_certified_minima() -> None:
    points = [
        p for cell in CELLS[::4] for p in itertools.islice(certified(*cell, range(64), 100), 10)
    ]
    assert len(points) == 30
    print(check(points))


def test_the_search_finds_lower_ground_where_there_is_some() -> None:
    points = list(itertools.islice(certified("two_moons", 3, range(64), 100), 10))
    rng = stream("test", "brute force", "displaced")
    for point in points:
        lengths = 1e-4 * 10 ** (-3 * rng.random(STEPS_TRIED))
        assert lowest(displaced(point, 1e-4), lengths, rng) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_lower_near_a_thousand_certified_minima() -> None:
    points: list[Certified] = []
    for first in range(0, 2000, 200):
        for problem, width in CELLS:
            points += certified(problem, width, range(first, first + 200))
        if len(points) >= 1000:
            break
    assert len(points) >= 1000
    print(check(points))
