from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.problems import PROBLEMS, Data, Raw
from sweep.problems.tabular import prepare, standardised
from sweep.registry import Choice

# Digests of the default data. One that changes changes every study's id and every row: raise
# NUMERICS_VERSION with it.
GOLDEN = {
    "breast_cancer": "c484265a629ff86cc3014cf0941f2deefc53d89a7a47ef4f29c53e2ec2c5e947",
    "digits_pair": "58416694dd07d9e2ce60dbab191b09c82e55cdcf57fe3d8c79f3c48ce804ac38",
    "iris_pair": "96a8b3b937d485b925dc4ebd3f4b2327f61c8ce37506307f440ef7b0da537b78",
    "random_labels": "ae30961737bbc86bff825f9a172671c21b7c7f299e8784d521bc39e7ac3e56e7",
    "teacher_student": "31b26a7a75f8481e760021e7158d67d72b1b8e720f60465c0f14d8fd2e311234",
    "two_moons": "b1b7e40848940f9c5faaa4dc37e9f5a1a11515241978bc4f9804fd8385c3ec7d",
    "wine_pair": "901650c9b970c421a17d8d6e61e3cb5d40d30b5197ff8f9dc5ae34232e02b036",
    "xor": "2dec950cfa981af69c792e6973cdceecbeab3ca2eff75de75eb05d3ecf572054",
    "xyz_product": "4722a9b66719c53773ce6584eb9777fd16e9cca7bb2690084df1fe1d5acab961",
}
SHAPES = {
    "breast_cancer": (569, 30, 357),
    "digits_pair": (357, 64, 174),
    "iris_pair": (100, 4, 50),
    "random_labels": (40, 2, 20),
    "two_moons": (40, 2, 20),
    "wine_pair": (119, 13, 48),
    "xor": (4, 2, 2),
}


def load(name: str, **settings: object) -> Data:
    found = PROBLEMS.build(Choice(name, settings)).load()
    assert isinstance(found, Data)
    return found


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_default_data_are_the_pinned_ones(name: str) -> None:
    assert PROBLEMS.build(Choice(name)).load().digest == GOLDEN[name]


def test_the_pins_cover_every_built_in_problem() -> None:
    assert set(PROBLEMS.names()) >= {*GOLDEN, "table"}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_classes_and_standardisation(name: str) -> None:
    data = load(name)
    n, d, positive = SHAPES[name]
    assert data.x.shape == (n, d) and data.x.dtype == data.y.dtype == np.float64
    assert set(data.y) == {-1.0, 1.0} and int((data.y > 0).sum()) == positive
    raw = load(name, standardise=False).x
    varies = raw.min(axis=0) < raw.max(axis=0)
    np.testing.assert_allclose(data.x.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(data.x.std(axis=0)[varies], 1, rtol=1e-14)
    assert (data.x[:, ~varies] == 0).all()
    expected = (raw - raw.mean(axis=0))[:, varies] / raw.std(axis=0)[varies]
    np.testing.assert_allclose(data.x[:, varies], expected, rtol=1e-9, atol=1e-12)


def test_which_class_is_positive() -> None:
    from sklearn import datasets

    iris = datasets.load_iris()
    np.testing.assert_array_equal(
        load("iris_pair", standardise=False).x, iris.data[iris.target >= 1]
    )
    np.testing.assert_array_equal(load("iris_pair").y, np.repeat([-1.0, 1.0], 50))
    turned = load("iris_pair", classes=["virginica", "versicolor"])
    np.testing.assert_array_equal(turned.y, np.repeat([1.0, -1.0], 50))
    cancer = datasets.load_breast_cancer()
    assert cancer.target_names[1] == "benign"
    np.testing.assert_array_equal(load("breast_cancer").y, np.where(cancer.target == 1, 1, -1))


def test_digits_keep_constant_pixels_as_zeros_and_can_be_limited() -> None:
    data = load("digits_pair", per_class=20)
    assert data.x.shape == (40, 64) and np.isfinite(data.x).all()
    assert (data.x == 0).all(axis=0).any() and int((data.y > 0).sum()) == 20


def test_the_default_moons_cannot_be_separated_by_a_line() -> None:
    from scipy.optimize import linprog

    data = load("two_moons")
    rows = -data.y[:, None] * np.column_stack([data.x, np.ones(len(data.y))])
    found = linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=[(None, None)] * 3)
    assert found.status == 2, "infeasible: no separating line"


def test_a_relu_network_of_width_three_separates_the_default_moons() -> None:
    """Found by Adam, which got there from 41 % of 200 starts (and from none at width 2)."""
    data = load("two_moons")
    w = np.array([[1.51, -0.25], [-3.44, -0.59], [-2.01, -1.17]])
    b, a, c = np.array([-1.15, -1.29, 0.6]), np.array([2.12, -2.1, 2.17]), -1.02
    f = np.maximum(data.x @ w.T + b, 0) @ a + c
    assert (data.y * f).min() > 0.9


def test_xor_is_its_own_standardisation() -> None:
    np.testing.assert_array_equal(load("xor").x, load("xor", standardise=False).x)
    data = load("xor")
    np.testing.assert_array_equal(data.y, -data.x[:, 0] * data.x[:, 1])


def test_random_labels_are_balanced_and_follow_their_seed() -> None:
    assert load("random_labels", n=41, d=3, seed=5).y.sum() == -1
    assert load("random_labels", seed=1).digest != load("random_labels", seed=2).digest
    assert load("random_labels", seed=1).digest == load("random_labels", seed=1).digest


def test_two_moons_without_noise_lie_on_their_circles() -> None:
    data = load("two_moons", n=11, noise=0.0, standardise=False)
    upper, lower = data.x[data.y < 0], data.x[data.y > 0]
    assert len(upper) == 5 and len(lower) == 6
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-11)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, atol=1e-11)


def test_the_landscape_value_and_bound() -> None:
    landscape = PROBLEMS.build(Choice("xyz_product")).load()
    assert not isinstance(landscape, Data)
    theta = torch.tensor([[1.0, 2.0, 0.0], [1.0, -1.0, 5.0], [1.0, 3.0, 7.0]], dtype=torch.float64)
    assert landscape.value(theta).tolist() == [0.0, 49.0, 1.0]
    assert (landscape.n_params, landscape.lower_bound) == (3, 0.0)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_standardising_twice_changes_nothing(name: str) -> None:
    data = load(name)
    columns = tuple(f"c{j}" for j in range(data.x.shape[1]))
    for standardise in (True, False):
        again = prepare(Raw(data.x, data.y, columns), standardise)
        assert again.digest == data.digest


def test_standardising_twice_changes_nothing_far_from_zero() -> None:
    rng = np.random.default_rng(3)
    for scale in (1e-150, 1e-6, 1.0, 1e150):
        for offset in (0.0, 1e3, 1e9):
            column = scale * (offset + rng.standard_normal(57))
            once = standardised(column, "c")
            np.testing.assert_array_equal(standardised(once, "c"), once)
            assert abs(math.fsum(once)) / 57 < 1e-15


def test_memory_layout_changes_no_bit() -> None:
    raw = PROBLEMS.build(Choice("breast_cancer")).raw()  # type: ignore[attr-defined]  # a table
    turned = Raw(np.asfortranarray(raw.features), raw.labels, raw.columns, raw.positive)
    assert prepare(turned, True).digest == GOLDEN["breast_cancer"]


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("iris_pair", {"classes": ["versicolour", "virginica"]}, "did you mean 'versicolor'"),
        ("iris_pair", {"classes": ["setosa"]}, "two different classes of setosa, versicolor"),
        ("iris_pair", {"classes": ["setosa", "setosa"]}, "two different classes"),
        ("wine_pair", {"classes": ["class_1", "class_9"]}, "accepted are class_0, class_1"),
        ("digits_pair", {"digits": [3, 10]}, "two digits from 0 to 9"),
        ("digits_pair", {"digits": [3, 3]}, "two digits from 0 to 9"),
        ("digits_pair", {"per_class": 0}, "a whole number ≥ 1"),
        ("two_moons", {"n": 3}, "a whole number ≥ 4"),
        ("two_moons", {"noise": -0.1}, "a number ≥ 0"),
        ("two_moons", {"nois": 0.1}, "did you mean 'noise'"),
        ("two_moons", {"seed": -1}, "a whole number ≥ 0"),
        ("random_labels", {"n": 1}, "a whole number ≥ 2"),
        ("random_labels", {"d": 0}, "a whole number ≥ 1"),
        ("two_moon", {}, "did you mean 'two_moons'"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        PROBLEMS.build(Choice(name, settings))
