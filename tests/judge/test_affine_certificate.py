from __future__ import annotations

import numpy as np
import pytest

from sweep.constructions.layers import affine_net
from sweep.controls.fits import BestFit, draw_fit
from sweep.controls.piecewise import objective_for
from sweep.judge.affine.maps import Layers, affine_map
from sweep.judge.affine.verdicts import polish_affine, settle_affine
from sweep.judge.base import Judgement
from sweep.judge.kinks.deep import polish_deep
from sweep.models.activations import LeakyRelu
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import stream

LEAKY = LeakyRelu(0.3).pieces
LOSSES = (HingePower(), HingePower(4.5), Logistic(), Squared())


def constructed(loss, widths, slope, count=6, key=0):
    rng = stream("controls", "test", str(loss), str(widths), str(slope), key)
    fit = draw_fit(rng, loss)
    nets = [affine_net(rng, fit.x, fit.A, widths, (slope, 1.0)) for _ in range(count)]
    return fit, np.stack([net.flat() for net in nets]), rng


def settled(objective, points, lam=None):
    found = Judgement.unresolved(points)
    settle_affine(found, objective, lam)
    return found


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("widths", [(1,), (3,), (3, 2), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.3, -0.2, 1.0])
def test_constructed_minima_hold_within_their_radius(loss, widths, slope):
    fit, points, rng = constructed(loss, widths, slope)
    objective = objective_for(fit, widths, slope)
    found = settled(objective, points)
    assert (found.certificate == "affine").all()
    assert (found.verdict == "local_minimum").all()
    here = objective.measure(points).objective
    assert np.abs(here - fit.value).max() < 1e-10 * max(1.0, fit.value)
    for point, radius, value in zip(points, found.certificate_radius, here, strict=True):
        step = rng.normal(size=(60, len(point)))
        step *= (radius * rng.uniform(0, 1, size=60) / np.linalg.norm(step, axis=1))[:, None]
        around = objective.measure(point + step).objective
        assert (around >= value - 1e-12 * max(1.0, value)).all()


def test_the_radius_is_a_ball_without_a_change_of_piece():
    fit, points, rng = constructed(Squared(), (3, 3), 0.3)
    objective = objective_for(fit, (3, 3), 0.3)
    for point in points:
        here = affine_map(Layers.of(objective, point), fit.x, LEAKY)
        assert here is not None
        for _ in range(40):
            step = rng.normal(size=len(point))
            step *= here.radius / np.linalg.norm(step)
            there = affine_map(Layers.of(objective, point + step), fit.x, LEAKY)
            same = zip(there.pieces, here.pieces, strict=True) if there else ()
            assert there is not None and all((a == b).all() for a, b in same)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_what_is_no_minimum_gets_nothing(loss):
    fit, points, rng = constructed(loss, (3, 2), 0.3)
    objective = objective_for(fit, (3, 2), 0.3)
    off = points.copy()
    off[:, -1] += 1e-5
    assert settled(objective, off).open.all()
    steep = points + 1e-4 * rng.normal(size=points.shape)
    assert settled(objective, steep).open.all()


def test_a_penalty_or_an_exponential_neuron_refuses():
    fit, points, _ = constructed(Squared(), (2,), 0.0)
    with_neuron = objective_for(fit, (2,), 0.0, ExpSkip())
    added = np.hstack([points, np.zeros((len(points), fit.x.shape[1] + 2))])
    assert settled(with_neuron, added, np.ones((len(points), 1))).open.all()
    decayed = build_objective(
        Data(fit.x, fit.y), Mlp((2,)), NoAugmentation(), fit.loss, NoRegularizer(), 0.1
    )
    assert settled(decayed, points).open.all()
    free = build_objective(Data(fit.x, fit.y), Mlp((2,)), ExpSkip(), fit.loss, Augment())
    polished = Judgement.unresolved(added)
    polish_affine(polished, free, np.zeros((len(points), 1)))
    assert (polished.params == added).all()


def test_separable_data_have_no_affine_minimum():
    rng = stream("controls", "test", "separable")
    x = rng.normal(size=(20, 2))
    fit = BestFit(x, np.where(x[:, 0] > 0, 1.0, -1.0), Logistic(), np.zeros(3), np.zeros(20), 1.0)
    objective = objective_for(fit, (2,), 0.3)
    nets = [affine_net(rng, x, np.array([30.0, 0.0, 0.0]), (2,), (0.3, 1.0)) for _ in range(5)]
    found = Judgement.unresolved(np.stack([net.flat() for net in nets]))
    for _ in range(3):
        polish_affine(found, objective, None)
    settle_affine(found, objective, None)
    assert found.open.all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize(("widths", "extra"), [((2,), 0), ((3, 2), 0), ((3, 2), 2)], ids=str)
def test_polish_comes_to_the_best_fit(loss, widths, extra):
    fit, points, rng = constructed(loss, widths, 0.3)
    augmentation = ExtraNeuron(extra) if extra else NoAugmentation()
    leaky = Choice("leaky_relu", {"negative_slope": 0.3})
    objective = build_objective(
        Data(fit.x, fit.y), Mlp(widths, leaky), augmentation, loss, NoRegularizer()
    )
    neurons = rng.normal(size=(len(points), extra, fit.x.shape[1] + 2))
    neurons[:, :, -1] = 50.0
    points = np.hstack([points, neurons.reshape(len(points), -1)])
    points[:, -1] += 0.3
    found = Judgement.unresolved(points)
    before = objective.measure(points).objective
    polish_affine(found, objective, None)
    after = objective.measure(found.params).objective
    assert (after <= before * (1 + 1e-13)).all()
    assert np.abs(after - fit.value).max() < 1e-9 * max(1.0, fit.value)
    assert np.allclose(found.moved, np.linalg.norm(found.params - points, axis=1))
    settle_affine(found, objective, None)
    assert not found.open.any()
    alone = Judgement.unresolved(points[2:3])
    polish_affine(alone, objective, None)
    settle_affine(alone, objective, None)
    assert (alone.params[0] == found.params[2]).all()
    assert alone.evidence[0] == found.evidence[2]


def test_constant_columns_act_as_the_bias():
    fit, points, _ = constructed(HingePower(), (2, 2), 0.0)
    wide = BestFit(np.insert(fit.x, 0, 2.5, axis=1), fit.y, fit.loss, fit.A, fit.q, fit.value)
    objective = objective_for(wide, (2, 2), 0.0)
    d, free = fit.x.shape[1], points.shape[1] - 2 * fit.x.shape[1]
    first = points[:, : 2 * d].reshape(-1, 2, d)
    shifted = np.insert(first, 0, 0.0, axis=2).reshape(len(points), -1)
    found = settled(objective, np.hstack([shifted, points[:, -free:]]))
    assert (found.certificate == "affine").all()


def test_a_dead_layer_needs_the_best_constant():
    rng = stream("controls", "test", "dead")
    x, y = rng.normal(size=(12, 2)), np.repeat([1.0, -1.0, -1.0], 4)
    fit = BestFit(x, y, Squared(), np.zeros(3), np.zeros(12), 0.0)
    objective = objective_for(fit, (3, 2), 0.0)
    theta = rng.normal(size=(1, objective.n_params))
    # Kinks of the first layer lie among the data; the second layer is dead.
    theta[0, 9:15], theta[0, 15:17], theta[0, -1] = rng.normal(size=6), -30.0, -1 / 3
    found = settled(objective, theta)
    assert found.certificate[0] == "affine" and found.evidence[0]["constant"]
    step = rng.normal(size=(200, objective.n_params))
    step *= found.certificate_radius[0] / np.linalg.norm(step, axis=1)[:, None]
    around = objective.measure(theta + step).objective
    assert (around >= objective.measure(theta).objective - 1e-12).all()
    theta[0, -1] = 0.0
    assert settled(objective, theta).open.all()
    found = Judgement.unresolved(theta)
    polish_affine(found, objective, None)
    assert found.params[0, -1] == pytest.approx(-1 / 3, abs=1e-15)


def test_deep_polish_descends_alone_as_in_company():
    rng = stream("controls", "test", "deep polish")
    x = rng.normal(size=(20, 2))
    y = np.where((x[:, 0] * x[:, 1] > 0) ^ (rng.random(20) < 0.2), 1.0, -1.0)
    fit = BestFit(x, y, HingePower(), np.zeros(3), np.zeros(20), 0.0)
    objective = objective_for(fit, (3, 2), 0.0)
    points = rng.normal(size=(12, objective.n_params))
    found = Judgement.unresolved(points)
    polish_deep(found, objective, None)
    before, after = objective.measure(points), objective.measure(found.params)
    assert (after.objective <= before.objective * (1 + 1e-12)).all()
    # Those that end on a kink keep a gradient; some come to rest inside a cell.
    assert (after.objective < 0.5 * before.objective).mean() > 0.5
    assert (after.grad_norm < 1e-9).sum() >= 2
    alone = Judgement.unresolved(points[7:8])
    polish_deep(alone, objective, None)
    assert (alone.params[0] == found.params[7]).all()
    shallow = Judgement.unresolved(points[:2, :13])
    polish_deep(shallow, objective_for(fit, (3,), 0.0), None)
    assert (shallow.params == points[:2, :13]).all()
