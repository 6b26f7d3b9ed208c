from __future__ import annotations

import numpy as np
import pytest

from sweep.judge.base import Judgement
from sweep.judge.cells.place import Place
from sweep.judge.cells.polish import polish_kinks, setting_of
from sweep.judge.kinks.polish import GROWING, SEPARATES, STATIONARY
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS
from sweep.registry import Choice


def objective(
    problem: str = "two_moons",
    width: int = 3,
    activation: Choice | None = None,
    loss: object = None,
    augment: object = None,
    decay: float = 0.0,
) -> DataObjective:
    penalty = Augment() if isinstance(augment, ExpSkip) else NoRegularizer()
    found = build_objective(
        PROBLEMS.build(Choice(problem)).load(),
        Mlp(width, activation or Choice("relu")),
        augment or NoAugmentation(),  # type: ignore[arg-type]  # any of the registered ones
        loss or HingePower(3),  # type: ignore[arg-type]  # any of the registered ones
        penalty,
        decay,
    )
    assert isinstance(found, DataObjective)
    return found


def starts(f: DataObjective, count: int) -> np.ndarray:
    return 2 * f.initial(KaimingUniform(), 7, list(range(count)))


def polished(f: DataObjective, points: np.ndarray, lam: np.ndarray | None = None) -> Judgement:
    found = Judgement.unresolved(points)
    polish_kinks(found, f, lam)
    return found


CASES = {
    "relu": objective(),
    "iris": objective("iris_pair", 2),
    "xor": objective("xor", 2),
    "leaky": objective(activation=Choice("leaky_relu", {"negative_slope": 0.2})),
    "bent": objective(activation=Choice("leaky_relu", {"negative_slope": -0.5})),
    "linear": objective(activation=Choice("identity")),
    "squared": objective(loss=Squared()),
    "power": objective(loss=HingePower(3.5)),
    "extra": objective(width=2, augment=ExtraNeuron(1)),
}


@pytest.mark.parametrize("name", CASES)
def test_from_the_start_of_training_it_descends_to_stationary_points(name: str) -> None:
    f = CASES[name]
    points = starts(f, 24)
    found = polished(f, points)
    before, after = f.measure(points).objective, f.measure(found.params).objective
    assert (after <= before * (1 + 1e-14)).all() and (after < before).any()
    known = setting_of(f)
    assert known is not None
    shallow, setting = known
    units, arrived = shallow.split(found.params), 0
    for k in range(len(points)):
        place = Place.polished(setting, units.a[k], units.W[k], units.c[k], 3, 1e-12)
        arrived += place.status in (STATIONARY, SEPARATES)
        np.testing.assert_allclose(place.F, after[k], rtol=1e-10, atol=1e-30)
    assert arrived >= 23
    np.testing.assert_allclose(
        found.moved, np.linalg.norm(found.params - points, axis=1), rtol=1e-12
    )


def test_a_member_is_polished_the_same_alone_and_among_others() -> None:
    f = CASES["relu"]
    points = starts(f, 12)
    together = polished(f, points).params
    backwards = polished(f, points[::-1]).params[::-1]
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[5:6], polished(f, points[5:6]).params)


def test_a_polished_point_stays() -> None:
    f = CASES["relu"]
    once = polished(f, starts(f, 12))
    again = polished(f, once.params)
    moved = np.linalg.norm(again.params - once.params, axis=1)
    assert (moved <= 1e-6 * np.linalg.norm(once.params, axis=1)).all()


def test_units_that_are_switched_off_or_dead_keep_their_weights() -> None:
    f = objective(width=3)
    shallow = setting_of(f)[0]  # type: ignore[index]  # known for this objective
    points = starts(f, 6)
    units = shallow.split(points)
    units.a[:, 0] = 0.0
    units.W[:, 1] = [0.0, 0.0, -3.0]
    points = shallow.join(units)
    after = shallow.split(polished(f, points).params)
    np.testing.assert_array_equal(after.a[:, 0], 0.0)
    np.testing.assert_array_equal(after.W[:, :2], units.W[:, :2])


def test_logistic_loss_on_data_that_it_separates_grows() -> None:
    f = objective("xor", 4, loss=Logistic())
    known = setting_of(f)
    assert known is not None
    setting = known[1]
    net = np.array([[1, 1, 0], [-1, -1, 0], [1, -1, 0], [-1, 1, 0]], dtype=float)
    place = Place.polished(setting, np.array([-1.0, -1, 1, 1]), net, 0.0, 300, 1e-12)
    assert place.status == GROWING and place.F < 1e-10


def test_what_the_theory_does_not_speak_about_is_left_alone() -> None:
    for f, lam in (
        (objective(decay=1e-3), None),
        (objective(activation=Choice("tanh")), None),
        (objective(augment=ExpSkip()), np.full((4, 1), 0.1)),
    ):
        points = starts(f, 4)
        found = polished(f, points, lam)
        np.testing.assert_array_equal(found.params, points)
        assert not found.polish_steps.any()


def test_an_exponential_arm_at_rest_is_polished_and_stays_at_rest() -> None:
    f = objective(augment=ExpSkip())
    points = starts(f, 4)
    points[:, f.n_base] = 0.0
    lam = np.full((4, 1), 0.1)
    found = polished(f, points, lam)
    assert (f.measure(found.params, lam).objective < f.measure(points, lam).objective).all()
    np.testing.assert_array_equal(found.params[:, f.n_base :], points[:, f.n_base :])
