"""Reduced coordinates, polish, bounds and the search of the sphere, each against plain numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sweep.judge.coercive.bounds import Centre
from sweep.judge.coercive.inactive import against
from sweep.judge.coercive.kernels import (
    Task,
    activations,
    energy,
    gradient,
    hessian,
    loss_rows,
    outputs,
    switched_on,
)
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.polish import polish_member
from sweep.judge.coercive.proof import active_hessian, minimum_around, prove
from sweep.judge.coercive.sphere import ABOVE, BELOW, climb, on_direction, search
from sweep.judge.numerics.kernel_losses import code_of
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.objective import DataObjective, build_objective
from sweep.problems.base import Data

LOSSES = (Logistic(), HingePower(3), HingePower(4.5), Squared())


def some_objective(rectified: bool, loss, N=7, D=2, m=9, seed=0) -> DataObjective:
    rng = np.random.default_rng(seed)
    data = Data(rng.normal(size=(N, D)), np.where(rng.permutation(N) < N // 2, -1.0, 1.0))
    model = RequModel(m) if rectified else QuadraticModel(m)
    objective = build_objective(data, model, NoAugmentation(), loss, Coercive())
    assert isinstance(objective, DataObjective)
    return objective


def plain_of(objective: DataObjective) -> Coordinates:
    plain = coordinates_of(objective)
    assert plain is not None
    return plain


def value(objective: DataObjective, theta: np.ndarray, lam: np.ndarray) -> float:
    return float(objective.measure(theta[None], lam[None]).objective[0])


@pytest.mark.parametrize("rectified", [True, False])
def test_energy_is_the_least_objective_of_equal_outputs(rectified):
    rng = np.random.default_rng(1)
    objective = some_objective(rectified, Logistic())
    plain = plain_of(objective)
    for _ in range(20):
        theta, lam = rng.normal(size=objective.n_params), rng.random(plain.m)
        theta[-1] = 0.0
        Z, s = plain.reduced(theta)
        E = energy(Z, s, lam, plain.task)
        balanced = plain.balanced(Z, s)
        assert value(objective, theta, lam) >= E
        assert value(objective, balanced, lam) == pytest.approx(E, rel=1e-13)
        again, _ = plain.reduced(balanced)
        np.testing.assert_allclose(again, Z, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rectified", [True, False])
def test_derivatives_are_those_of_autograd(rectified, loss):
    rng = np.random.default_rng(2)
    objective = some_objective(rectified, loss)
    plain, (code, p) = plain_of(objective), code_of(loss)
    task, lam, k = plain.task, rng.random(4), 4
    assert (task.loss, task.p) == (code, p)
    Z, s = rng.normal(size=(k, 3)), np.array([1.0, -1.0, 1.0, -1.0])
    X, y = torch.as_tensor(task.X), torch.as_tensor(task.y)

    def reduced(flat: torch.Tensor) -> torch.Tensor:
        z = flat.reshape(k, 3)
        t = z @ X.T
        f = torch.as_tensor(s) @ (torch.clamp(t, min=0) if rectified else t) ** 2
        return loss(-y * f).sum() + (torch.as_tensor(lam) * (z**2).sum(1)).sum()

    flat = torch.as_tensor(Z.ravel())
    h = activations(Z, task)
    _, q, c = loss_rows(outputs(h, s), task)
    g = gradient(Z, s, lam, h, q, task)
    H = hessian(s, lam, h, q, c, switched_on(h, task), task)
    assert energy(Z, s, lam, task) == pytest.approx(float(reduced(flat)), rel=1e-13)
    np.testing.assert_allclose(g, torch.func.grad(reduced)(flat).numpy(), rtol=1e-11, atol=1e-11)
    expected = torch.func.jacrev(torch.func.grad(reduced))(flat).numpy()
    np.testing.assert_allclose(H, expected, rtol=1e-11, atol=1e-11)


def best_by_patterns(q: np.ndarray, X: np.ndarray) -> float:
    """max Σ qᵢ ReQU(u·x̃ᵢ) for x̃ in three dimensions, by all half-space patterns.

    In each pattern's cone the sum is a quadratic form: its maximum is at an eigenvector inside, or
    on a face, where one dimension is gone, or on an edge, where two planes meet.
    """
    n = X.shape[1]
    best = 0.0
    for held in itertools.chain(
        [()], itertools.combinations(range(len(X)), 1), itertools.combinations(range(len(X)), 2)
    ):
        rows = X[list(held)]
        _, _, basis = np.linalg.svd(rows) if held else (0, 0, np.eye(n))
        space = basis[len(held) :].T
        if space.shape[1] == 1:
            for u in (space[:, 0], -space[:, 0]):
                best = max(best, float(np.maximum(X @ u, 0) ** 2 @ q))
            continue
        # Directions of the space, dense enough to meet every pattern in it.
        angles = np.random.default_rng(0).normal(size=(4000, space.shape[1])) @ space.T
        for on in np.unique(angles @ X.T > 0, axis=0):
            M = space.T @ (X.T * (q * on)) @ X @ space
            for u in np.linalg.eigh(M)[1].T @ space.T:
                for side in (u, -u):
                    best = max(best, float(np.maximum(X @ side, 0) ** 2 @ q))
    return best


def test_the_search_brackets_the_maximum_over_the_sphere():
    rng = np.random.default_rng(3)
    for _ in range(8):
        X = np.column_stack([rng.normal(size=(7, 2)), np.ones(7)])
        q = rng.normal(size=7) * np.exp(rng.normal(size=7))
        best = best_by_patterns(q, X)
        nothing = np.zeros((0, len(q)), dtype=bool)
        high, low = best * (1 + 1e-6), best * (1 - 1e-6)
        assert search(q, X, high, 100_000, nothing, high)[0] == BELOW
        ended, u, _ = search(q, X, low, 100_000, nothing, low)
        assert ended == ABOVE
        value = on_direction(u, q, X, True)
        assert value >= best * (1 - 1e-6)
        assert on_direction(climb(u, q, X, 50), q, X, True) >= value * (1 - 1e-12)


def test_a_point_on_a_kink_is_seen_from_both_sides():
    X = np.column_stack([np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), np.zeros(3)])
    task = Task(X, np.ones(3), 2, 1.0, True)
    q = np.array([1.0, -5.0, 0.2])
    assert not against(q, task, 4.9999).below
    assert against(-q, task, 5.0001).below
    quadratic = Task(X, np.ones(3), 2, 1.0, False)
    assert against(q, quadratic, 4.0001).below
    seen = against(q, quadratic, 3.9999)
    assert seen.u is not None and seen.value == pytest.approx(-4.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rectified", [True, False])
def test_curvature_stays_within_its_bound(rectified, loss):
    """Hessians at random points of the neighbourhood, kinks included, against what is promised."""
    rng = np.random.default_rng(4)
    objective = some_objective(rectified, loss, m=4)
    plain = plain_of(objective)
    lam, task, checked = 0.02 * (0.1 + rng.random(4)), plain.task, 0
    for _ in range(6):
        end = polish_member(task, rng.normal(size=(4, 3)), rng.choice([-1.0, 1.0], 4), lam)
        active = np.flatnonzero((end.Z != 0).any(axis=1))
        centre = Centre.of(task, end.Z[active], end.s[active], lam[active]) if len(active) else None
        if centre is None:
            continue
        for r in (1e-3, 1e-2, 1e-1):
            promised = centre.least(centre.on(r)[0]) - centre.curvature_change(r)
            reach = centre.changes(r)
            for _ in range(20):
                w = rng.normal(size=centre.S.shape[0])
                Z = centre.Z + (centre.S @ (r * w / np.linalg.norm(w))).reshape(centre.Z.shape)
                h = activations(Z, task)
                f = outputs(h, centre.s)
                _, q, c = loss_rows(f, task)
                H = hessian(centre.s, centre.lam, h, q, c, switched_on(h, task), task)
                assert np.linalg.eigvalsh(centre.S.T @ H @ centre.S)[0] >= promised
                assert (np.abs(f - centre.f) <= reach.phi).all()
                assert (np.abs(q - centre.q) <= reach.dq).all()
                assert (np.abs(c - centre.c) <= reach.dc).all()
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("rectified", [True, False])
def test_a_proof_survives_every_perturbation(rectified):
    """Around proved minima nothing is lower, with inactive neurons woken and kinks crossed."""
    rng = np.random.default_rng(5)
    for loss in (Logistic(), HingePower(3)):
        objective = some_objective(rectified, loss)
        plain, proved = plain_of(objective), 0
        for _ in range(4):
            lam = 0.05 * rng.random(plain.m)
            start = plain.reduced(rng.normal(size=objective.n_params))
            end = polish_member(plain.task, *start, lam)
            theta = plain.balanced(end.Z, end.s)
            proof = prove(plain, theta, lam)
            if proof is None or proof.ball is None:
                continue
            proved += 1
            F = value(objective, theta, lam)
            size = proof.ball.outer * np.linalg.norm(minimum(plain, theta, lam).S, 2)
            for scale in (1e-3 * size, 1e-2, 1e-4):
                moved = theta + scale * rng.normal(size=(300, len(theta))) / 30
                there = objective.measure(moved, np.tile(lam, (300, 1))).objective
                assert (there >= F - 1e-13 * (1 + F)).all()
            # The row's eigenvalue is that of F in θ.
            point = torch.as_tensor(theta)
            strengths = torch.as_tensor(lam)[:, None]
            whole = torch.autograd.functional.hessian(
                lambda t, s=strengths, o=objective: o.value(t[:, None], s)[0], point
            ).numpy()
            places = np.flatnonzero(np.abs(whole).sum(axis=1))
            expected = np.linalg.eigvalsh(whole[np.ix_(places, places)])[0]
            found = np.linalg.eigvalsh(active_hessian(plain, theta, lam))[0]
            assert found == pytest.approx(expected, rel=1e-7)
        assert proved >= 3


def minimum(plain: Coordinates, theta: np.ndarray, lam: np.ndarray) -> Centre:
    Z, s = plain.reduced(theta)
    active = np.flatnonzero((Z != 0).any(axis=1))
    centre = Centre.of(plain.task, Z[active], s[active], lam[active])
    assert centre is not None and minimum_around(centre) is not None
    return centre
