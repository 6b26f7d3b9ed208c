from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from sweep.errors import UserError
from sweep.judge.bounds import proven_bound
from sweep.models.losses import HingePower
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice

GOLDEN = {
    "conflicting_labels": "dc7e8936e993ae24bf0b01e69a14cf3c1160caa0f2f4ee6deca58d3346d07c24",
    "linearly_separable": "e4405f1df5ab703020ba4a8656348eb5fa01e96988572986eb1f26fbd9ac4014",
    "polynomial": "01bb489dac05b332de87583b3ac1bc5badea4f6b123ed94dbbeb59851b425107",
}
SHAPES = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (5, 2), (4, 4)]


def load(name: str, **settings: object) -> Data:
    found = PROBLEMS.build(Choice(name, settings)).load()
    assert isinstance(found, Data)
    return found


def monomials(x: np.ndarray, degree: int) -> np.ndarray:
    """All monomials of the columns of x of degree ≤ `degree`, (N, K)."""
    D = x.shape[1]
    ways = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(range(D), k) for k in range(degree + 1)
    )
    return np.stack([x[:, list(way)].prod(axis=1) for way in ways], axis=1)


def separable(data: Data, degree: int) -> bool:
    """Whether some polynomial has y·P(x) ≥ 1 everywhere: a linear program."""
    features = monomials(data.x, degree) * data.y[:, None]
    K = features.shape[1]
    found = linprog(np.zeros(K), -features, -np.ones(len(data.y)), bounds=[(None, None)] * K)
    assert found.status in (0, 2)  # solved, or proven to be infeasible
    return bool(found.status == 0)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_default_data_are_the_pinned_ones(name: str) -> None:
    assert load(name).digest == GOLDEN[name]


@pytest.mark.parametrize(("degree", "d"), SHAPES)
@pytest.mark.parametrize("standardise", [True, False])
def test_the_stated_degree_separates_and_none_lower_does(
    degree: int, d: int, standardise: bool
) -> None:
    data = load("polynomial", degree=degree, d=d, standardise=standardise)
    assert data.x.shape[1] == d and len(np.unique(data.x, axis=0)) == len(data.y)
    assert separable(data, degree)
    assert not separable(data, degree - 1)


def test_degree_two_in_two_dimensions_is_xor() -> None:
    data, xor = load("polynomial", degree=2, d=2), load("xor")
    points = {(*row, label) for row, label in zip(data.x.tolist(), -data.y, strict=True)}
    assert points == {(*row, label) for row, label in zip(xor.x.tolist(), xor.y, strict=True)}


@pytest.mark.parametrize("settings", [{}, {"n": 5, "d": 4, "margin": 1e-3, "seed": 3}])
def test_a_hyperplane_separates_both_labels(settings: dict[str, float]) -> None:
    data = load("linearly_separable", **settings)
    assert separable(data, 1) and abs(data.y.sum()) <= 1


@pytest.mark.parametrize(("places", "conflicts", "seed"), [(10, 4, 0), (2, 2, 1), (7, 0, 2)])
def test_conflicting_places_cost_what_proposition_2_says(
    places: int, conflicts: int, seed: int
) -> None:
    data = load("conflicting_labels", places=places, conflicts=conflicts, seed=seed)
    distinct, group = np.unique(data.x, axis=0, return_inverse=True)
    plus = np.bincount(group.ravel(), data.y > 0)
    minus = np.bincount(group.ravel(), data.y < 0)
    assert len(distinct) == places and (plus != minus).all()
    assert np.minimum(plus, minus).sum() == conflicts
    # The convex cost of each place, minimised by brute force.
    t = np.linspace(-1, 1, 20001)
    loss = HingePower(3)
    counts = zip(plus, minus, strict=True)
    each = [p * np.maximum(1 - t, 0) ** 3 + m * np.maximum(1 + t, 0) ** 3 for p, m in counts]
    bound = proven_bound(loss, data.x, data.y).value
    assert bound == pytest.approx(sum(cost.min() for cost in each), abs=1e-6)
    assert bound == pytest.approx(8 * conflicts * 2 / (np.sqrt(2) + 1) ** 2)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("polynomial", {"degree": 0}, "problem.degree is 0"),
        ("polynomial", {"degree": 2, "d": 3}, "problem.d is 3"),
        ("conflicting_labels", {"places": 3, "conflicts": 4}, "problem.conflicts is 4"),
        ("linearly_separable", {"margin": 0}, "problem.margin is 0"),
    ],
)
def test_what_no_data_can_be_made_of_is_refused(
    name: str, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        load(name, **settings)
