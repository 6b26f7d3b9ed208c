"""Truths about exponential arms: limits are reached, paths fall, minima withstand brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sweep.judge import JUDGES, Judgement
from sweep.judge.base import Judgement as Found
from sweep.judge.exponential.frozen import settle_frozen
from sweep.judge.exponential.kinks import _parameters, _start
from sweep.judge.exponential.limit import Setting, near_limit, solve
from sweep.judge.exponential.verdicts import settle_exponential
from sweep.judge.shallow import Shallow
from sweep.models.augmentations import ExpSkip
from sweep.models.losses import HingePower, Logistic, Loss
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.verdicts import Stop

JUDGE: Any = JUDGES.build(Choice("standard"))


class Ended:
    def __init__(self, params: np.ndarray) -> None:
        self.params = params
        self.stop = np.full(len(params), Stop.STEPS, dtype=object)


def problem(name: str) -> Data:
    found = PROBLEMS.build(Choice(name)).load()
    assert isinstance(found, Data)
    return found


def arm(
    data: Data, width: int = 2, lam: bool = True, activation: str = "relu", loss: Loss | None = None
) -> DataObjective:
    found = build_objective(
        data,
        Mlp(width, Choice(activation)),
        ExpSkip(),
        loss or HingePower(3),
        Augment() if lam else NoRegularizer(),
    )
    assert isinstance(found, DataObjective)
    return found


def starts(f: DataObjective, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, f.n_params))


def judge(f: DataObjective, params: np.ndarray, lam: float | None = 0.1) -> Judgement:
    strengths = None if lam is None else np.full((len(params), 1), lam)
    found: Judgement = JUDGE.judge(f, Ended(params), strengths)
    return found


def value(f: DataObjective, params: np.ndarray, lam: float | None) -> np.ndarray:
    strengths = None if lam is None else np.full((len(params), 1), lam)
    return f.measure(params, strengths).objective


# ------------------------------------------------------------------------------- λ > 0


@pytest.fixture(scope="module")
def moons() -> tuple[DataObjective, np.ndarray, Judgement]:
    f = arm(problem("two_moons"))
    points = starts(f, 60)
    return f, points, judge(f, points)


def test_a_penalised_neuron_never_rests(
    moons: tuple[DataObjective, np.ndarray, Judgement],
) -> None:
    f, points, found = moons
    assert set(found.verdict) <= {"global_minimum", "escaping", "unresolved"}
    assert (found.verdict == "unresolved").mean() <= 0.1
    assert (value(f, found.params, 0.1) <= value(f, points, 0.1) * (1 + 1e-12)).all()


def test_what_the_limits_say(moons: tuple[DataObjective, np.ndarray, Judgement]) -> None:
    f, _, found = moons
    charts = found.certificate == "chart"
    assert charts.sum() >= 20
    F = value(f, found.params, 0.1)[charts]
    assert (found.limit_objective[charts] <= F * (1 + 1e-12)).all()
    # Each misclassified point costs at least ℓ(0) = 1.
    wrong = np.round(found.limit_error[charts] * f.n_data)
    assert (found.limit_objective[charts] >= wrong - 1e-9).all()
    rays = found.certificate == "ray"
    assert (found.limit_objective[rays] == 0).all() and (found.limit_error[rays] == 0).all()
    assert (found.limit_error_base[rays] > 0).all()
    for evidence in (found.evidence[k] for k in np.flatnonzero(rays)):
        assert (np.diff(evidence["path"]) <= 0).all()


def test_finite_networks_come_as_near_to_a_limit_as_one_likes() -> None:
    """The stated limit objective is approached from above by real parameters."""
    f = arm(problem("two_moons"))
    shallow = Shallow.of(f)
    assert shallow is not None
    setting = Setting.of(shallow)
    assert setting is not None
    seen: dict[str, int] = {}
    for k, point in enumerate(starts(f, 60)):
        start = _start(setting, shallow.split(point[None]))
        assert start is not None
        limit = solve(setting, start)
        if limit.separates or not limit.stationary or not limit.approached():
            continue
        seen[limit.name] = seen.get(limit.name, 0) + 1
        with np.errstate(over="ignore", invalid="ignore"):
            way = [_parameters(shallow, limit, near, point, 0.1) for near in near_limit(limit)]
            F = value(f, np.array(way), 0.1) - limit.objective
        assert np.nanmin(np.abs(F)) <= 1e-5 * limit.objective, (k, limit.name)
        if limit.name != "finite":
            assert F[0] > 0 and F[1] < 0.5 * F[0], (k, limit.name)
    assert seen.get("points fitted", 0) >= 5 and len(seen) >= 2


def test_verdicts_do_not_depend_on_the_company(
    moons: tuple[DataObjective, np.ndarray, Judgement],
) -> None:
    f, points, found = moons
    for k in range(0, 60, 7):
        alone = judge(f, points[k : k + 1])
        assert alone.verdict[0] == found.verdict[k]
        assert alone.evidence[0] == found.evidence[k]
        np.testing.assert_array_equal(alone.params[0], found.params[k])


def test_a_rectifier_turned_over_has_the_verdicts_of_its_mirror_image(
    moons: tuple[DataObjective, np.ndarray, Judgement],
) -> None:
    """a·max(z, 0) is −a times the two-piece function of slopes 0 and −1, in every certificate."""
    _, points, found = moons
    assert {"quadratic", "points fitted"} <= {one.get("limit") for one in found.evidence}
    down = Choice("two_piece", {"negative_slope": 0.0, "positive_slope": -1.0})
    turned = build_objective(
        problem("two_moons"), Mlp(2, down), ExpSkip(), HingePower(3), Augment()
    )
    assert isinstance(turned, DataObjective)
    mirrored = points.copy()
    mirrored[:, 6:8] *= -1
    there = judge(turned, mirrored)
    np.testing.assert_array_equal(there.verdict, found.verdict)
    np.testing.assert_array_equal(there.certificate, found.certificate)
    np.testing.assert_allclose(there.limit_objective, found.limit_objective, rtol=1e-9)


def line() -> Data:
    return Data(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([-1.0, -1.0, 1.0, 1.0]))


def test_a_network_that_needs_the_neuron_escapes_to_zero() -> None:
    """f = −1 (constant), f̃ = −1 + e^x separates at x = 0; without λ that is attained."""
    f = arm(line(), width=1)
    point = np.array([[0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0.0]])
    found = judge(f, point)
    assert (found.verdict[0], found.certificate[0]) == ("escaping", "ray")
    assert found.limit_objective[0] == 0 and found.limit_error_base[0] == 0.5
    np.testing.assert_array_equal(found.params, point)
    free = arm(line(), width=1, lam=False)
    assert judge(free, point, None).verdict[0] == "global_minimum"
    logistic = arm(line(), width=1, loss=Logistic())
    assert judge(logistic, point).verdict[0] == "escaping"


def bad_minimum(data: Data) -> np.ndarray:
    """ReLU base network of width 2 at xor's affine minimum: units dead, f = 0 = the best affine."""
    assert len(data.x) == 4
    return np.array([1.0, 0.0, 0.0, 1.0, -5.0, -5.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("a", [0.0, 1e-200, 1e-3, 5.0])
def test_at_a_bad_minimum_the_neuron_leads_away(a: float) -> None:
    data = problem("xor")
    f = arm(data)
    base = bad_minimum(data)
    assert f.measure(np.append(base, [0.0, 0, 0, 0])[None], np.ones((1, 1))).objective[0] == 4.0
    for w in ([0.0, 0.0], [0.3, -0.2]):
        found = judge(f, np.concatenate([base, [a], w, [0.1]])[None])
        assert found.verdict[0] in ("escaping", "global_minimum")
        if found.verdict[0] == "escaping":
            assert found.limit_objective[0] < 4.0


def test_with_theta_frozen_every_neuron_escapes() -> None:
    data = problem("xor")
    f, rng = arm(data), np.random.default_rng(1)
    points = np.hstack([np.tile(bad_minimum(data), (1000, 1)), rng.standard_normal((1000, 4))])
    lam = 10.0 ** rng.uniform(-2, 0, (1000, 1))
    found = Found.unresolved(points)
    settle_frozen(found, f, lam)
    assert (found.verdict == "escaping").all()
    F = f.measure(points, lam).objective
    saved = lam[:, 0] * points[:, f.n_base] ** 2 / 2
    np.testing.assert_allclose(found.limit_objective, F - saved, rtol=1e-14)
    np.testing.assert_array_equal(found.params, points)


# ------------------------------------------------------------------------------- λ = 0


def test_unregularized_minima_withstand_brute_force() -> None:
    """[A] after Corollary 1: without the regularizer bad minima can remain. Here are some."""
    f = arm(problem("two_moons"), lam=False)
    found = judge(f, starts(f, 80), None)
    minima = np.flatnonzero(found.verdict == "local_minimum")
    assert len(minima) >= 2
    rng = np.random.default_rng(2)
    for k in minima.tolist():
        point, F = found.params[k], value(f, found.params[k : k + 1], None)[0]
        assert point[f.n_base] != 0 and F > 1
        assert found.certificate[k] in ("strict", "kink") and 0 < found.certificate_margin[k] <= 1
        for size in (1e-7, 1e-5, 1e-3):
            away = rng.standard_normal((500, len(point)))
            away *= size / np.linalg.norm(away, axis=1)[:, None]
            assert value(f, point + away, None).min() >= F * (1 - 1e-14)


def test_a_point_beside_a_minimum_is_not_taken_for_it() -> None:
    f = arm(problem("two_moons"), lam=False)
    found = judge(f, starts(f, 80), None)
    k = int(np.flatnonzero(found.verdict == "local_minimum")[0])
    beside = found.params[k] * (1 + 1e-4)
    again = judge(f, beside[None], None)
    assert again.verdict[0] == "local_minimum"
    assert np.linalg.norm(again.params[0] - beside) > 1e-6  # it was polished back, not certified


# ------------------------------------------------------------------------------- smooth units


@pytest.mark.parametrize("lam", [0.1, None])
def test_smooth_networks_with_the_neuron(lam: float | None) -> None:
    f = arm(problem("two_moons"), lam=lam is not None, activation="tanh")
    points = starts(f, 24)
    found = judge(f, points, lam)
    assert not (found.verdict == "local_minimum").any() or lam is None
    assert (value(f, found.params, lam) <= value(f, points, lam) * (1 + 1e-12)).all()
    assert (found.verdict == "unresolved").mean() <= 0.25
    settled = found.certificate != "none"
    escaping = (found.verdict == "escaping") & settled
    F = value(f, found.params, lam)
    assert (found.limit_objective[escaping] <= F[escaping] * (1 + 1e-9)).all()


def test_weight_decay_leaves_the_arm_open() -> None:
    found = build_objective(
        problem("xor"), Mlp(2, Choice("relu")), ExpSkip(), HingePower(3), Augment(), 1e-2
    )
    assert isinstance(found, DataObjective)
    open_members = Found.unresolved(starts(found, 4))
    settle_exponential(open_members, found, np.ones((4, 1)))
    assert open_members.open.all()
