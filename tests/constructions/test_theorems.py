"""[C]'s constructions: stationary at the loss of the best affine fit, and lower next to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sweep.constructions import INITIALISERS, Constructed
from sweep.constructions.fits import best_fit, features, point_losses
from sweep.constructions.layers import preactivations, unflat
from sweep.errors import UserError
from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.losses import CrossEntropy, HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice

MOONS = PROBLEMS.build(Choice("two_moons")).load()
CLOUDS = PROBLEMS.build(Choice("clouds")).load()
PLANE = PROBLEMS.build(Choice("planar_map")).load()
TASKS = [
    (MOONS, HingePower()),
    (MOONS, Logistic()),
    (MOONS, Squared()),
    (CLOUDS, CrossEntropy()),
    (PLANE, Squared()),
]
STEEP = {"breakpoints": [-0.5, 0.3, 1.0], "slopes_between": [0.2, 1.5, -0.4, 0.1], "level": 0.7}
TWO_PIECE = [
    Choice("relu"),
    Choice("leaky_relu", {"negative_slope": -0.3}),
    Choice("two_piece", {"negative_slope": -2.0, "positive_slope": 0.5}),
    Choice("two_piece", {"negative_slope": 2.0, "positive_slope": 0.0}),
]
ANY = [TWO_PIECE[0], TWO_PIECE[3], Choice("piecewise_linear"), Choice("piecewise_linear", STEEP)]
SEEDS = range(5)


def objective_of(data, loss, widths, activation, augmentation=None):
    model = Mlp(widths, activation, data.outputs or 1)
    added = NoAugmentation() if augmentation is None else augmentation
    return build_objective(data, model, added, loss, NoRegularizer())


def cases(lemma):
    activations = ANY if lemma == 5 else TWO_PIECE
    for data, loss in TASKS:
        c = data.outputs or 1
        widths = (c + 2,) if lemma == 3 else (c + 1, c + 3, c + 1)
        for activation in activations:
            yield data, loss, widths, activation


@pytest.mark.parametrize(("data", "loss"), TASKS, ids=str)
def test_the_affine_fit_is_scipys(data, loss):
    fit = best_fit(data.x, data.y, loss)
    assert fit is not None
    X = features(data.x)

    def value(A):
        return float(point_losses(loss, data.y, X @ A.reshape(fit.maps.shape).T).values.sum())

    found = minimize(value, np.zeros(fit.maps.size), method="BFGS", options={"gtol": 1e-9})
    assert fit.value == pytest.approx(found.fun, rel=1e-9)
    assert fit.value <= found.fun * (1 + 1e-13)


@pytest.mark.parametrize("lemma", [3, 4, 5])
def test_minima_have_no_gradient_and_the_affine_fits_loss_whatever_is_free(lemma):
    for data, loss, widths, activation in cases(lemma):
        objective = objective_of(data, loss, widths, activation)
        fit = best_fit(data.x, data.y, loss)
        theta = objective.initial(Constructed(lemma), 0, SEEDS)
        measures = objective.measure(theta)
        assert measures.objective == pytest.approx(fit.value, rel=1e-12)
        # Terms q·x·(weights behind them) cancel; h(t) ≠ 0 is cancelled once more by the biases.
        scale = np.abs(fit.q).sum() * (1 + measures.param_norm) ** 2
        assert (measures.grad_norm < 1e-13 * scale).all()
        assert (np.abs(theta - theta[0]).max(axis=1)[1:] > 1e-3).all()


@pytest.mark.parametrize("lemma", [3, 4, 5])
def test_the_better_points_are_lower(lemma):
    for data, loss, widths, activation in cases(lemma):
        objective = objective_of(data, loss, widths, activation)
        fit = best_fit(data.x, data.y, loss)
        theta = objective.initial(Constructed(lemma, "better"), 0, SEEDS)
        assert (objective.measure(theta).objective < fit.value * (1 - 1e-4)).all()


def test_units_of_lemma_5_lie_between_the_kink_and_its_neighbour():
    pieces = ACTIVATIONS.build(ANY[3]).pieces
    objective = objective_of(MOONS, Squared(), (2, 3), ANY[3])
    for theta in objective.initial(Constructed(5), 0, range(20)):
        *hidden, _ = preactivations(unflat(theta, 2, (2, 3)), MOONS.x, pieces)
        for z in hidden:
            k = pieces.of(z)
            assert (k == k[0]).all()
            assert k[0].min() >= 1


def test_arms_share_the_point_and_an_added_neuron_may_rest():
    plain = objective_of(MOONS, HingePower(), (3,), Choice("relu"))
    exp = objective_of(MOONS, HingePower(), (3,), Choice("relu"), ExpSkip())
    init = INITIALISERS.build(Choice("constructed", {"augment_scale": 0.0}))
    base, full = plain.initial(init, 3, range(4)), exp.initial(init, 3, range(4))
    assert np.array_equal(full[:, : base.shape[1]], base)
    assert (full[:, base.shape[1]] == 0).all()
    assert full[:, base.shape[1] + 1 :].any()
    assert np.array_equal(plain.initial(init, 3, range(2, 4)), base[2:])


@pytest.mark.parametrize(
    ("settings", "model", "problem", "sentence"),
    [
        ({"lemma": 3}, {"width": [3, 3]}, "two_moons", r"lemma is 3.*2: lemma 4 or 5"),
        ({"lemma": 4}, {"width": 1}, "two_moons", "wider than the output: at least 2"),
        ({"lemma": 3}, {"width": 3, "activation": "tanh"}, "two_moons", "not piecewise linear"),
        ({"lemma": 4}, {"width": 3, "activation": "piecewise_linear"}, "two_moons", "lemma 5"),
        ({"point": "better"}, {"width": 3, "activation": "identity"}, "two_moons", "no lower"),
        ({}, {"width": 3}, "wine_pair", "best affine fit"),
    ],
)
def test_scenes_without_the_theorem_are_refused(settings, model, problem, sentence):
    data = PROBLEMS.build(Choice(problem)).load()
    activation = Choice.parse(model.get("activation", "relu"), "model.activation")
    width = tuple(model["width"]) if isinstance(model["width"], list) else model["width"]
    objective = objective_of(data, HingePower(), width, activation)
    with pytest.raises(UserError, match=sentence):
        objective.initial(INITIALISERS.build(Choice("constructed", settings)), 0, [0])


def test_an_unknown_construction_is_refused():
    with pytest.raises(UserError, match=r"init\.lemma '6' is unknown"):
        INITIALISERS.build(Choice("constructed", {"lemma": 6}))


def test_slopes_of_opposite_sign_have_no_better_point():
    absolute = Choice("two_piece", {"negative_slope": -1.0, "positive_slope": 1.0})
    objective = objective_of(MOONS, HingePower(), (3,), absolute)
    with pytest.raises(UserError, match="slopes of equal size"):
        objective.initial(Constructed(3, "better"), 0, [0])


def test_a_problem_that_fits_needs_no_construction():
    data = Data(np.arange(6.0)[:, None], np.column_stack([np.arange(6.0), -np.arange(6.0)]))
    assert best_fit(data.x, data.y, Squared()) is None
