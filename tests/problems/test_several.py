from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris

from sweep.errors import UserError
from sweep.problems import PROBLEMS
from sweep.registry import Choice


def load(name, **settings):
    return PROBLEMS.build(Choice(name, settings)).load()


def test_iris_has_three_classes_of_fifty():
    data = load("iris_species", standardise=False)
    assert np.array_equal(data.x, load_iris().data)
    assert np.array_equal(data.y.argmax(1), load_iris().target)
    assert (data.y.sum(1) == 1).all()
    assert np.allclose(load("iris_species").x.std(axis=0), 1)


def test_the_plane_is_mapped_as_a_square_maps_complex_numbers():
    data = load("planar_map", standardise=False)
    z = data.x[:, 0] + 1j * data.x[:, 1]
    assert np.allclose(data.y[:, 0] + 1j * data.y[:, 1], z**2, rtol=1e-14)
    # Standardising moves the points and leaves the targets.
    assert np.array_equal(load("planar_map").y, data.y)


def test_clouds_are_dealt_in_turn_about_their_corners():
    data = load("clouds", n=3000, classes=4, radius=10.0, standardise=False)
    means = [data.x[data.y[:, c] == 1].mean(axis=0) for c in range(4)]
    assert np.allclose(means, [[10, 0], [0, 10], [-10, 0], [0, -10]], atol=0.15)
    assert not np.array_equal(load("clouds", seed=1).x, load("clouds").x)


@pytest.mark.parametrize("settings", [{"classes": 1}, {"n": 5}, {"radius": -1}, {"seed": -1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match="problem"):
        load("clouds", **settings)
