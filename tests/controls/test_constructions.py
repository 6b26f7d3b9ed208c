from __future__ import annotations

import numpy as np
import pytest
import torch

from sweep.constructions.layers import (
    affine_net,
    leaky,
    objective_of,
    preactivations,
    unflat,
)
from sweep.constructions.theorems import Bend, Kink, bent_net, better_net
from sweep.controls import piecewise, separating, strict_minima
from sweep.controls.confusion import FAMILIES
from sweep.controls.fits import derivatives, draw_data, draw_fit, features
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.seeds import stream

LOSSES = (HingePower(), HingePower(5), Logistic(), Squared())


def rng_of(*key):
    return stream("controls", "test", *key)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_derivatives_are_torch_s(loss):
    z = np.linspace(-4, 4, 41)
    point = torch.tensor(z, requires_grad=True)
    value = loss(point)
    (first,) = torch.autograd.grad(value.sum(), point, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), point)
    for ours, theirs in zip(derivatives(loss, z), (value, first, second), strict=True):
        assert np.allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_best_fit_beats_its_neighbours(loss):
    fit = draw_fit(rng_of("fit", str(loss)), loss)
    X = features(fit.x)
    assert np.allclose(X.T @ fit.q, 0, atol=1e-10 * np.abs(fit.q).sum())
    rng = rng_of("around")
    for size in (1e-6, 1e-3, 1.0, 10.0):
        A = fit.A + size * rng.normal(size=(50, len(fit.A)))
        values = derivatives(loss, -fit.y[:, None] * (X @ A.T))[0].sum(axis=0)
        assert (values >= fit.value * (1 - 1e-14)).all()


@pytest.mark.parametrize("widths", [(1,), (4,), (3, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.3, -0.2, 1.7])
def test_affine_networks_are_stationary_and_in_one_piece(widths, slope):
    rng = rng_of("affine", str(widths), str(slope))
    fit = draw_fit(rng)
    net = affine_net(rng, fit.x, fit.A, widths, (slope, 1.0))
    *hidden, output = preactivations(net, fit.x, leaky((slope, 1.0)))
    assert np.allclose(output[:, 0], features(fit.x) @ fit.A, atol=1e-11)
    for z in hidden:
        assert ((z > 0).all(axis=0) | (z < 0).all(axis=0)).all()
    assert objective_of(fit, net, leaky((slope, 1.0))) == pytest.approx(fit.value, rel=1e-12)
    objective = piecewise.objective_for(fit, widths, slope)
    theta = net.flat()
    measures = objective.measure(theta[None])
    scale = np.abs(fit.q).sum() * max(1.0, np.abs(theta).max()) ** len(widths)
    assert measures.grad_norm[0] < 1e-11 * scale
    assert measures.objective[0] == pytest.approx(fit.value, rel=1e-12)
    back = unflat(theta, fit.x.shape[1], widths)
    assert (back.flat() == theta).all()


@pytest.mark.parametrize("widths", [(2,), (4,), (2, 3), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.3, -0.2, 1.7])
def test_better_points_are_lower(widths, slope):
    rng = rng_of("better", str(widths), str(slope))
    fit = draw_fit(rng)
    net = better_net(rng, fit, widths, Kink.at_zero(slope, 1.0))
    assert net is not None
    value = objective_of(fit, net, leaky((slope, 1.0)))
    assert value < fit.value * (1 - 1e-6)
    objective = piecewise.objective_for(fit, widths, slope)
    assert objective.measure(net.flat()[None]).objective[0] == pytest.approx(value, rel=1e-12)


def test_the_pair_changes_the_loss_as_the_formula_says():
    rng = rng_of("pair")
    fit, slopes = draw_fit(rng, Squared()), (0.3, 1.0)
    values = np.sort(features(fit.x) @ fit.A)
    k = int(np.diff(values)[2:-2].argmax()) + 2
    level, gamma = float(values[k : k + 2].mean()), 1e-6
    above = fit.q[features(fit.x) @ fit.A > level].sum()
    net = bent_net(rng, fit, Bend(0, fit.A, level, gamma), (3,), Kink.at_zero(*slopes))
    kappa = (slopes[1] - slopes[0]) / (slopes[1] + slopes[0])
    change = objective_of(fit, net, leaky(slopes)) - fit.value
    assert change == pytest.approx(2 * kappa * gamma * above, rel=1e-3)


def test_no_better_point_without_a_kink_or_a_second_unit():
    rng = rng_of("none")
    fit = draw_fit(rng)
    assert better_net(rng, fit, (1,), Kink.at_zero(0.0, 1.0)) is None
    assert better_net(rng, fit, (3,), Kink.at_zero(-1.0, 1.0)) is None
    assert better_net(rng, fit, (3,), Kink.at_zero(1.0, 1.0)) is None


def test_pushed_points_have_descent():
    for batch in piecewise.pushed(rng_of("pushed")):
        measures = batch.objective.measure(batch.points)
        torch_points = torch.tensor(batch.points.T)
        _, gradient = batch.objective.value_and_grad(torch_points)
        length = gradient.norm(dim=0)
        lower = [
            batch.objective.measure((torch_points - t * gradient / length).T.numpy()).objective
            for t in 10.0 ** np.arange(-8.0, -2.0)
        ]
        assert (np.min(lower, axis=0) < measures.objective).all()


def test_minima_with_an_exponential_neuron_have_descent():
    for batch in piecewise.with_exponential(rng_of("exp")):
        start = batch.objective.measure(batch.points, batch.lam).objective
        best = start.copy()
        rng = rng_of("exp search")
        for _ in range(120):
            trial = batch.points.copy()
            D = batch.objective.x.shape[1]
            w = rng.normal(size=(len(trial), D)) * 10 ** rng.uniform(-0.5, 1)
            reach = (w @ batch.objective.x.numpy().T).max(axis=1)
            a = 10 ** rng.uniform(-5, -1, size=len(trial)) * rng.choice([-1, 1], size=len(trial))
            trial[:, -D - 2], trial[:, -D - 1 : -1], trial[:, -1] = 1e-9 * np.sign(a), w, 0
            trial[:, -1] = np.log(np.abs(a) / 1e-9) - reach
            best = np.minimum(best, batch.objective.measure(trial, batch.lam).objective)
        assert (best < start - 1e-9)[~batch.near].all()


@pytest.mark.parametrize("make", [strict_minima.decayed, strict_minima.noisy])
def test_strict_minima_are_stationary_with_positive_curvature(make):
    batches = [batch for key in range(4) for batch in make(rng_of("strict", key))]
    assert len(batches) > 2
    for batch in batches:
        theta = torch.tensor(batch.points[0])

        def value(point, objective=batch.objective):
            return objective.value(point.unsqueeze(1))[0]

        H = torch.autograd.functional.hessian(value, theta)
        measures = batch.objective.measure(batch.points[:1])
        assert measures.grad_norm[0] < 1e-11
        assert torch.linalg.eigvalsh(H)[0] > 0.9e-3
        assert measures.objective[0] == pytest.approx(batch.value, rel=1e-13)


def test_separating_networks_separate():
    for make in (separating.interpolants, separating.slides):
        for batch in make(rng_of("separating")):
            assert (batch.objective.measure(batch.points).error == 0).all()
            assert len(batch.points) > 12
    for batch in separating.slides(rng_of("slides")):
        # ℓ(0) = 1: whoever is below it has no error, and keeps it so downhill.
        assert (batch.objective.measure(batch.points).objective < 1).all()


def test_data_are_distinct_and_both_labels_present():
    for key in range(20):
        x, y = draw_data(rng_of("data", key))
        assert len(np.unique(x, axis=0)) == len(x)
        assert set(y) == {-1.0, 1.0}


def test_families_draw_the_same_points_again():
    for family in (f for f in FAMILIES if f.name not in ("better point", "tanh, noisy labels")):
        first = [b.points for b in family.make(rng_of("again", family.name))]
        second = [b.points for b in family.make(rng_of("again", family.name))]
        assert all((p == r).all() for p, r in zip(first, second, strict=True))
