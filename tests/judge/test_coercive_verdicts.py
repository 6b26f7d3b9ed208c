"""What the judge says of coercive networks: theorems hold, and near-misses are refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.coercive.plain import coordinates_of
from sweep.judge.coercive.proof import prove
from sweep.models.augmentations import ExpSkip, NoAugmentation
from sweep.models.coercive import Coercive, QuadraticModel, RequModel
from sweep.models.losses import HingePower, Logistic
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.models.simplex_minimum import simplex_minimum
from sweep.problems.base import Data
from sweep.problems.simplex import Simplex
from sweep.verdicts import Certificate, Stop, Verdict


@dataclass(frozen=True, eq=False)
class Ended:
    params: np.ndarray
    stop: np.ndarray


def judge(objective: Objective, params: np.ndarray, lam: np.ndarray | None) -> Judgement:
    stop = np.full(len(params), Stop.STEPS.value, dtype=object)
    return StandardJudge().judge(objective, Ended(params, stop), lam)


def random_data(N: int, D: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    return Data(rng.normal(size=(N, D)), np.where(rng.permutation(N) < N // 2, -1.0, 1.0))


@pytest.mark.parametrize("loss", [Logistic(), HingePower(3)])
def test_every_random_start_ends_in_a_certified_minimum(loss):
    data = random_data(8, 2, 0)
    objective = build_objective(data, RequModel(9), NoAugmentation(), loss, Coercive())
    rng = np.random.default_rng(1)
    params = rng.normal(size=(40, objective.n_params))
    lam = 0.01 * rng.random((40, 9))
    found = judge(objective, params, lam)
    assert (found.verdict == Verdict.LOCAL_MINIMUM.value).all()
    assert (found.certificate == Certificate.INACTIVE.value).all()
    measured = objective.measure(found.params, lam)
    before = objective.measure(params, lam)
    assert measured.error is not None and (measured.error == 0).all()
    assert (measured.objective <= before.objective).all()
    assert (found.certificate_radius > 0).all() and (found.certificate_radius < 1e-6).all()
    for evidence in found.evidence:
        assert evidence["balance"] < 1e-14 < evidence["balance_trained"]
        assert evidence["inactive"] > 0
    # A member's verdict depends on it alone.
    alone = judge(objective, params[7:8], lam[7:8])
    np.testing.assert_array_equal(alone.params[0], found.params[7])
    assert alone.evidence[0] == found.evidence[7]


@pytest.mark.parametrize(("n", "m"), [(4, 2), (8, 3), (32, 6)])
def test_the_simplex_minimum_is_strict_and_bad(n, m):
    data = Simplex(n, m).load()
    objective = build_objective(data, RequModel(m), NoAugmentation(), Logistic(), Coercive())
    lam = 0.5 * np.random.default_rng(n).random((3, m))
    exact = np.array([simplex_minimum(data, Logistic(), each) for each in lam])
    noise = np.random.default_rng(0).normal(size=exact.shape)
    found = judge(objective, exact + 1e-3 * noise, lam)
    assert (found.certificate == Certificate.STRICT.value).all()
    np.testing.assert_allclose(found.params, exact, atol=1e-9)
    error = objective.measure(found.params, lam).error
    assert error is not None
    np.testing.assert_allclose(error, 1 - m / n)


def test_an_inactive_neuron_of_too_small_a_strength_is_no_minimum():
    """The same point, proved for λ, is refused when one inactive neuron's λ is lowered."""
    data = random_data(6, 2, 3)
    objective = build_objective(data, RequModel(7), NoAugmentation(), Logistic(), Coercive())
    rng = np.random.default_rng(4)
    lam = 0.02 * rng.random((1, 7))
    found = judge(objective, rng.normal(size=(1, objective.n_params)), lam)
    plain = coordinates_of(objective)
    assert plain is not None
    a, _ = plain.split(found.params[0])
    assert prove(plain, found.params[0], lam[0]) is not None
    lower = lam.copy()
    lower[0, np.flatnonzero(a == 0)[0]] = 0.3 * lam[0, a != 0].min()
    assert prove(plain, found.params[0], lower[0]) is None
    # The polish takes the way down that the search of the sphere has shown.
    again = judge(objective, found.params, lower)
    fell = objective.measure(again.params, lower).objective
    assert fell < objective.measure(found.params, lower).objective
    assert again.verdict[0] == Verdict.LOCAL_MINIMUM.value


def test_points_beside_a_minimum_prove_nothing():
    data = random_data(6, 2, 5)
    objective = build_objective(data, RequModel(7), NoAugmentation(), HingePower(3), Coercive())
    rng = np.random.default_rng(6)
    lam = 0.02 * rng.random((1, 7))
    theta = judge(objective, rng.normal(size=(1, objective.n_params)), lam).params[0]
    plain = coordinates_of(objective)
    assert plain is not None and prove(plain, theta, lam[0]) is not None
    active = np.flatnonzero(theta)
    for _ in range(20):
        moved = theta.copy()
        moved[active] += 1e-3 * rng.normal(size=len(active))
        assert prove(plain, moved, lam[0]) is None
    # A neuron with a = 0 or (w, b) = 0 alone is not inactive.
    idle = int(np.flatnonzero(plain.split(theta)[0] == 0)[0])
    for place in (2 * 7 + idle, 3 * 7 + idle):
        half = theta.copy()
        half[place] = 0.5
        assert prove(plain, half, lam[0]) is None


def test_no_other_stage_mistakes_these_networks():
    """Without a regularizer what separates is scaled up, and nothing is called a minimum."""
    data = random_data(5, 2, 7)
    rng = np.random.default_rng(8)
    for model in (RequModel(6), QuadraticModel(6)):
        bare = build_objective(data, model, NoAugmentation(), Logistic(), NoRegularizer())
        params = rng.normal(size=(2, bare.n_params))
        found = judge(bare, params, None)
        escaping = found.verdict == Verdict.ESCAPING.value
        assert (found.certificate[escaping] == Certificate.RAY.value).all()
        error = bare.measure(found.params, None).error
        assert error is not None and (error[escaping] == 0).all()
        assert not (found.verdict == Verdict.LOCAL_MINIMUM.value).any()
        hinge = build_objective(data, model, NoAugmentation(), HingePower(3), NoRegularizer())
        found = judge(hinge, params, None)
        settled = found.verdict == Verdict.GLOBAL_MINIMUM.value
        assert settled.any()
        assert (hinge.measure(found.params[settled], None).objective == 0.0).all()


def test_an_exponential_neuron_beside_requ_is_not_taken_for_a_minimum():
    data = random_data(6, 2, 9)
    objective = build_objective(data, RequModel(3), ExpSkip(), HingePower(3), Augment())
    params = np.random.default_rng(10).normal(size=(2, objective.n_params))
    found = judge(objective, params, np.full((2, 1), 0.1))
    assert not (found.verdict == Verdict.LOCAL_MINIMUM.value).any()


def test_strengths_of_zero_are_not_called_coercive():
    data = random_data(6, 2, 11)
    objective = build_objective(data, RequModel(7), NoAugmentation(), Logistic(), Coercive())
    rng = np.random.default_rng(12)
    lam = 0.02 * rng.random((2, 7))
    lam[0, 3] = 0.0
    found = judge(objective, rng.normal(size=(2, objective.n_params)), lam)
    assert list(found.verdict) == [Verdict.UNRESOLVED.value, Verdict.LOCAL_MINIMUM.value]
