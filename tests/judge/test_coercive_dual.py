"""Dual bounds of coercive networks: global minima, flat local ones, and near-misses refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.coercive.dual import dual_bound, dual_value, largest, sphere_maximum
from sweep.judge.coercive.kernels import activations, loss_rows, outputs
from sweep.judge.coercive.plain import Coordinates, coordinates_of
from sweep.judge.coercive.polish import polish_member
from sweep.judge.coercive.valley import prove_valley
from sweep.models.augmentations import NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.objective import Objective, build_objective
from sweep.models.simplex_minimum import simplex_minimum
from sweep.problems.base import Data
from sweep.problems.simplex import Simplex
from sweep.verdicts import Certificate, Stop, Verdict

LOSSES = (Logistic(), HingePower(3), HingePower(4.5), Squared())


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


def judge(objective: Objective, params: np.ndarray, lam: np.ndarray) -> Judgement:
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return StandardJudge().judge(objective, Ended(params, stop), lam)


def some_objective(loss, model=None, N=7, seed=0) -> tuple[Objective, Coordinates]:
    rng = np.random.default_rng(seed)
    data = Data(rng.normal(size=(N, 2)), np.where(rng.permutation(N) < N // 2, -1.0, 1.0))
    model = RequModel(N + 2) if model is None else model
    objective = build_objective(data, model, NoAugmentation(), loss, Coercive())
    plain = coordinates_of(objective)
    assert plain is not None
    return objective, plain


def at_rest(plain: Coordinates, lam: np.ndarray, seed: int) -> np.ndarray:
    start = np.random.default_rng(seed).normal(size=(plain.m, plain.D + 1))
    signs = np.where(np.arange(plain.m) % 2 == 0, 1.0, -1.0)
    end = polish_member(plain.task, start, signs, lam)
    return plain.balanced(end.Z, end.s)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_infimum_of_every_term_is_the_one_that_a_search_finds(loss):
    _, plain = some_objective(loss)
    y = plain.task.y
    f = np.random.default_rng(1).normal(size=len(y))
    q = 0.9 * loss_rows(f, plain.task)[1]

    def least(i: int) -> float:
        def term(t: np.ndarray) -> float:
            rows = loss_rows(np.where(np.arange(len(y)) == i, t[0], 0.0), plain.task)
            return float(rows[0, i] - q[i] * t[0])

        return float(minimize(term, [f[i]], method="Nelder-Mead", tol=1e-12).fun)

    assert dual_value(q, plain.task) == pytest.approx(sum(map(least, range(len(y)))), abs=1e-9)
    at = loss_rows(f, plain.task)
    # At the point's own q the infima are at its outputs.
    assert dual_value(at[1], plain.task) == pytest.approx((at[0] - at[1] * f).sum(), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rectified", [True, False])
def test_no_point_is_below_a_bound(loss, rectified):
    """Whatever point it rests on, and whatever λ: random points, descents and growing ones."""
    objective, plain = some_objective(loss, RequModel(9) if rectified else QuadraticModel(9))
    rng, found = np.random.default_rng(2), 0
    for seed in range(3):
        lam = np.full(9, 0.02 * 10**seed)
        bound = dual_bound(plain, at_rest(plain, lam, seed), lam)
        if bound is None:
            continue
        found += 1
        strengths = np.tile(lam, (400, 1))
        points = rng.normal(size=(400, objective.n_params)) * rng.exponential(size=(400, 1))
        points = np.vstack([points[:390], [at_rest(plain, lam, 10 + k) for k in range(10)]])
        value = objective.measure(points, strengths).objective
        assert (value >= bound.value).all()
        assert bound.excess >= 1
        assert value.min() - bound.value < 1e-10
    assert found >= 2


def test_the_sphere_maximum_is_bounded_from_above_and_tight():
    _, plain = some_objective(Logistic())
    lam = np.full(plain.m, 0.01)
    Z, s = plain.reduced(at_rest(plain, lam, 3))
    active = (Z != 0).any(axis=1)
    X, q = plain.task.X, loss_rows(outputs(activations(Z, plain.task), s), plain.task)[1]
    top = sphere_maximum(q, s[active], Z[active], plain.task, 0.01)
    u = np.random.default_rng(0).normal(size=(100_000, X.shape[1]))
    u = np.vstack([u, Z[active]])
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    seen = np.abs(np.maximum(u @ X.T, 0) ** 2 @ q).max()
    assert seen <= top <= seen * (1 + 1e-11)
    # One neuron of those that reach λ is forgotten: its surroundings are no longer settled.
    some = np.flatnonzero(active)[1:]
    forgotten = sphere_maximum(q, s[some], Z[some], plain.task, 0.01)
    assert forgotten == np.inf or np.isclose(forgotten, top)
    # A q that is infeasible by a millionth, by a thousandth, and elsewhere.
    for factor in (1 + 1e-5, 1.001):
        assert sphere_maximum(factor * q, s[active], Z[active], plain.task, 0.01) == np.inf
    lifted = q.copy()
    lifted[int(np.argmax(np.abs(q)))] *= 1.5
    assert sphere_maximum(lifted, s[active], Z[active], plain.task, 0.01) == np.inf


def test_the_largest_eigenvalue_is_never_underestimated():
    rng = np.random.default_rng(4)
    for _ in range(200):
        X, q = rng.normal(size=(6, 3)), rng.normal(size=6)
        value = largest(q, X)
        exact = np.linalg.eigvalsh((X.T * q) @ X)[-1]
        assert exact <= value <= exact + 1e-13 * (np.abs(q) @ (X**2).sum(axis=1))


@pytest.mark.parametrize("loss", [Logistic(), HingePower(3)])
def test_equal_strengths_end_at_the_global_minimum(loss):
    objective, _ = some_objective(loss, N=8)
    rng = np.random.default_rng(5)
    params = rng.normal(size=(30, objective.n_params))
    lam = np.repeat([[0.001], [0.01], [0.1]], 10, axis=0)
    found = judge(objective, params, lam)
    settled = found.verdict == Verdict.GLOBAL_MINIMUM.value
    assert settled.mean() > 0.9
    assert set(found.certificate[settled]) == {Certificate.LOWER_BOUND.value}
    F = objective.measure(found.params, lam).objective
    for k in range(0, 30, 10):
        some = F[k : k + 10][settled[k : k + 10]]
        assert np.ptp(some) < 1e-11  # one value, from many places
        assert (F[k : k + 10] >= some.min() - 1e-12).all()
    for k in np.flatnonzero(settled).tolist():
        evidence = found.evidence[k]
        assert evidence["gap"] <= 1e-12 * max(1.0, evidence["bound"])
        assert evidence["sphere_maximum"] >= 1
    alone = judge(objective, params[7:8], lam[7:8])
    np.testing.assert_array_equal(alone.params[0], found.params[7])


def test_points_near_a_global_minimum_are_not_at_the_bound():
    objective, plain = some_objective(Logistic())
    lam = np.full(plain.m, 0.01)
    theta = at_rest(plain, lam, 6)
    bound = dual_bound(plain, theta, lam)
    assert bound is not None
    F = float(objective.measure(theta[None], lam[None]).objective[0])
    assert F - bound.value <= 1e-12
    rng = np.random.default_rng(7)
    for size in (1e-2, 1e-4, 1e-5):
        moved = theta + size * rng.normal(size=len(theta))
        there = float(objective.measure(moved[None], lam[None]).objective[0])
        again = dual_bound(plain, moved, lam)
        assert there > F + 1e-12
        assert again is None or there - again.value > 1e-12
    # One λ that is lower than those of the active neurons: a lower F is possible.
    a, _ = plain.split(theta)
    lower = lam.copy()
    lower[np.flatnonzero(a == 0)[0]] *= 0.999
    again = dual_bound(plain, theta, lower)
    assert again is None or F - again.value > 1e-9


def halved(theta: np.ndarray, m: int, D: int, share: float) -> np.ndarray:
    """Every neuron as two of its kind, which do `share` and the rest of its work."""
    W, b, a = theta[: m * D].reshape(m, D), theta[m * D : m * D + m], theta[m * D + m :]
    roots = np.cbrt([share, 1 - share])
    parts = [np.concatenate([r * part for r in roots]) for part in (W, b, a)]
    return np.concatenate([part.ravel() for part in parts])


def test_equal_strengths_have_bad_local_minima_with_more_neurons_than_data():
    """[B] Prop. 1's minimum, its m < N neurons in two halves each: 2m > N, and R = 1 − m/N."""
    n, m = 8, 5
    data = Simplex(n, m).load()
    lam = 0.1
    theta = simplex_minimum(data, Logistic(), np.full(m, lam))
    objective = build_objective(data, RequModel(2 * m), NoAugmentation(), Logistic(), Coercive())
    rng = np.random.default_rng(8)
    points = np.array([halved(theta, m, data.x.shape[1], share) for share in (0.5, 0.3)])
    found = judge(objective, points + 1e-5 * rng.normal(size=points.shape), np.full((2, 1), lam))
    assert (found.certificate == Certificate.VALLEY.value).all()
    assert (found.verdict == Verdict.LOCAL_MINIMUM.value).all()
    assert (found.flat_dim == m).all() and np.isnan(found.min_eig).all()
    measured = objective.measure(found.params, np.full((2, 1), lam))
    assert measured.error is not None
    np.testing.assert_allclose(measured.error, 1 - m / n)
    np.testing.assert_allclose(measured.objective, measured.objective[0], rtol=1e-13)
    for point in found.params:
        moved = point + 1e-3 * rng.normal(size=(2000, len(point)))
        there = objective.measure(moved, np.full((2000, 1), lam)).objective
        assert (there >= measured.objective[0] * (1 - 1e-14)).all()


def test_flat_points_that_are_no_minimum_are_refused():
    n, m = 8, 5
    data = Simplex(n, m).load()
    theta = simplex_minimum(data, Logistic(), np.full(m, 0.1))
    objective = build_objective(data, RequModel(2 * m), NoAugmentation(), Logistic(), Coercive())
    plain = coordinates_of(objective)
    assert plain is not None
    point = halved(theta, m, data.x.shape[1], 0.4)
    assert prove_valley(plain, point, 0.1) is not None
    # Beside it, under another λ, with one neuron at rest: F falls there.
    rng = np.random.default_rng(9)
    assert prove_valley(plain, point + 1e-3 * rng.normal(size=len(point)), 0.1) is None
    assert prove_valley(plain, point, 0.11) is None
    shifted = prove_valley(plain, point, 0.1 * (1 + 1e-6))
    assert shifted is not None and shifted.radius > 1e-7
    resting = halved(theta, m, data.x.shape[1], 1.0)
    assert prove_valley(plain, resting, 0.1) is None
    found = judge(objective, resting[None], np.full((1, 1), 0.1))
    fell = objective.measure(found.params, np.full((1, 1), 0.1)).objective[0]
    assert fell < objective.measure(resting[None], np.full((1, 1), 0.1)).objective[0] - 1e-3
    # Different λ: the halves are no longer a minimum, as the weaker one pays less.
    unequal = np.full((1, 2 * m), 0.1)
    unequal[0, 0] = 0.0999
    assert judge(objective, point[None], unequal).certificate[0] != Certificate.VALLEY.value
