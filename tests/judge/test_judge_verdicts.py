from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sweep.errors import UserError
from sweep.judge import JUDGES, Judgement
from sweep.judge.numerics.rounding import output_errors
from sweep.judge.separates import power_to_one
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.base import Piece
from sweep.models.losses import HingePower, Logistic, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, LandscapeObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.verdicts import Stop


@pytest.fixture(autouse=True)
def proven_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the stage of global minima: what it leaves open would go on to polish and proofs."""
    monkeypatch.setattr("sweep.judge.standard.POLISHES", ())
    monkeypatch.setattr("sweep.judge.standard.CERTIFICATES", ())


TIGHT: Any = JUDGES.build(Choice("standard"))


@dataclass
class Ended:
    params: np.ndarray
    stop: np.ndarray


def xor() -> Data:
    found = PROBLEMS.build(Choice("xor")).load()
    assert isinstance(found, Data)
    return found


def line(n: int) -> Data:
    x = np.linspace(-1, 1, n)[:, None]
    return Data(x, np.where(x[:, 0] > 0, 1.0, -1.0))


def objective(
    data: Data,
    width: Any = 2,
    activation: str = "relu",
    loss: Any = None,
    augment: Any = None,
    regularizer: Any = None,
    weight_decay: float = 0.0,
) -> DataObjective:
    found = build_objective(
        data,
        Mlp(width, Choice(activation)),
        augment or NoAugmentation(),
        loss or HingePower(3),
        regularizer or NoRegularizer(),
        weight_decay,
    )
    assert isinstance(found, DataObjective)
    return found


def judge(f: Any, params: np.ndarray, lam: np.ndarray | None = None, stop: Any = None) -> Judgement:
    params = np.atleast_2d(params)
    stops = np.full(len(params), stop or Stop.STEPS, dtype=object)
    found: Judgement = TIGHT.judge(f, Ended(params, stops), lam)
    return found


def said(found: Judgement) -> list[tuple[str, str]]:
    return list(zip(found.verdict, found.certificate, strict=True))


GLOBAL_SEPARATES = ("global_minimum", "separates")
GLOBAL_BOUND = ("global_minimum", "lower_bound")
OPEN = ("unresolved", "none")


def xor_net(scale: float = 1.0, c: float = 1.0) -> np.ndarray:
    """f = scale·(c − relu(x₁+x₂) − relu(−x₁−x₂)); for c = 1 it is scale·y on all corners."""
    return np.array([1, 1, -1, -1, 0, 0, -scale, -scale, scale * c], dtype=float)


# ---------------------------------------------------------------- hinge: separates


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e-3, 0.7, 0.999])
def test_a_separating_network_is_scaled_to_exactly_zero(scale: float) -> None:
    f = objective(xor())
    found = judge(f, xor_net(scale))
    assert said(found) == [GLOBAL_SEPARATES]
    assert f.measure(found.params).objective[0] == 0.0
    np.testing.assert_array_equal(found.params[0, :6], xor_net()[:6])
    factor = found.evidence[0]["factor"]
    assert factor == 2.0 ** round(np.log2(factor)) and 1 <= factor * scale < 2
    moved = np.linalg.norm(found.params[0] - xor_net(scale))
    assert found.moved[0] == pytest.approx(moved)
    assert 0 < found.certificate_margin[0] <= scale


@pytest.mark.parametrize("scale", [1.5, 5.0, 1e100])
def test_a_point_already_at_zero_keeps_its_place(scale: float) -> None:
    found = judge(objective(xor()), xor_net(scale))
    assert said(found) == [GLOBAL_BOUND] and found.moved[0] == 0
    np.testing.assert_array_equal(found.params[0], xor_net(scale))


def test_what_does_not_separate_is_unresolved() -> None:
    f = objective(xor())
    zero_output = xor_net(c=2.0)  # f = 0 on two corners: an error, by definition
    points = np.array([-xor_net(), np.zeros(9), xor_net(c=5.0), zero_output])
    found = judge(f, points)
    assert said(found) == [OPEN] * 4
    np.testing.assert_array_equal(found.params, points)
    assert (found.moved == 0).all() and np.isnan(found.certificate_margin).all()


def test_a_margin_that_rounding_could_have_made_separates_nothing() -> None:
    """4e-16 beside terms of size 2: scaling it up would only scale the rounding error up."""
    f = objective(xor())
    thin = xor_net(c=2 - 4.5e-16)
    assert f.measure(thin[None]).error[0] == 0  # type: ignore[index]  # data have errors
    assert said(judge(f, thin)) == [OPEN]
    assert said(judge(f, xor_net(c=2 - 1e-12))) == [GLOBAL_SEPARATES]


def test_cancellation_that_only_seems_to_separate_is_refused() -> None:
    """Exactly f = k·x has one sign on x > 0; computed from terms of 1e16 it changes sign."""
    data = Data(np.array([[0.1], [0.3]]), np.array([1.0, -1.0]))
    f = objective(data, width=2)
    w = np.random.default_rng(0).uniform(0.5, 1.5, (2000, 2))
    v = np.array([1e16, -1e16]) / w
    points = np.hstack([w, np.zeros((2000, 2)), v, np.zeros((2000, 1))])
    error = f.measure(points).error
    assert error is not None and (error == 0).sum() > 20
    assert (judge(f, points).verdict == "unresolved").all()


def test_a_margin_beyond_scaling_is_unresolved() -> None:
    assert said(judge(objective(xor()), xor_net(5e-324))) == [OPEN]


def test_weight_decay_prevents_separates() -> None:
    for decay in (1e-2, 1e-30):
        f = objective(xor(), weight_decay=decay)
        assert said(judge(f, np.array([xor_net(), xor_net(0.1)]))) == [OPEN] * 2


@pytest.mark.parametrize("loss", [Logistic(), Squared()])
def test_only_the_hinge_proves_by_scaling(loss: Any) -> None:
    assert said(judge(objective(xor(), loss=loss), xor_net(0.5))) == [OPEN]


def test_logistic_loss_on_separable_data_is_never_global() -> None:
    """At scale 1e4 the loss underflows to exactly 0.0, yet no network attains it."""
    f = objective(xor(), loss=Logistic())
    assert f.measure(xor_net(1e4)[None]).objective[0] == 0.0
    assert said(judge(f, np.array([xor_net(), xor_net(50), xor_net(1e4)]))) == [OPEN] * 3


def test_random_networks_are_global_exactly_when_they_separate() -> None:
    f = objective(line(5), width=4)
    points = np.random.default_rng(1).standard_normal((2000, f.n_params))
    found = judge(f, points)
    separates = f.measure(points).error == 0
    assert 20 < separates.sum() < 1980
    np.testing.assert_array_equal(found.verdict == "global_minimum", separates)
    after = f.measure(found.params)
    assert (after.objective[separates] == 0).all()
    np.testing.assert_array_equal(found.params[~separates], points[~separates])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "leaky_relu", "identity"])
def test_deep_networks_of_every_activation_are_scaled_by_their_output_layer(
    activation: str,
) -> None:
    f = objective(line(5), width=(3, 2), activation=activation)
    points = np.random.default_rng(2).standard_normal((1000, f.n_params))
    found = judge(f, points)
    separates = f.measure(points).error == 0
    assert separates.sum() > 5
    np.testing.assert_array_equal(found.verdict == "global_minimum", separates)
    assert (f.measure(found.params).objective[separates] == 0).all()
    hidden = slice(0, f.n_base - 3)
    np.testing.assert_array_equal(found.params[:, hidden], points[:, hidden])


# ---------------------------------------------------------------- added neurons


def exp_only(a: float, level: float) -> np.ndarray:
    """On the line: f = −2, and a·e^{wx+b} = level·e^{4x}, which alone makes positives positive."""
    return np.array([0, 0, 0, 0, 0, 0, -2, a, 4, np.log(level / a)], dtype=float)


def test_separation_by_the_exponential_neuron_alone_is_no_global_minimum() -> None:
    f = objective(line(4), augment=ExpSkip(), regularizer=Augment())
    points = np.array([exp_only(a, 2.0) for a in (1.0, 1e-3, 1e-30, 1e-170)])
    lam = np.full((4, 1), 0.1)
    measured = f.measure(points, lam)
    assert measured.error is not None and measured.error_base is not None
    assert (measured.error == 0).all() and (measured.error_base > 0).all()
    # λa²/2 underflows: F computes to exactly zero at a point of an escape.
    assert measured.objective[-1] == 0.0
    assert said(judge(f, points, lam)) == [OPEN] * 4


def test_without_a_regularizer_the_same_points_are_global() -> None:
    points = np.array([exp_only(1.0, 2.0), exp_only(1e-170, 2.0), exp_only(1.0, 2.0)])
    points[2, [6, 7]] *= 0.1  # separates, but by less than 1
    free = objective(line(4), augment=ExpSkip())
    zero = objective(line(4), augment=ExpSkip(), regularizer=Augment())
    for f, lam in ((free, None), (zero, np.zeros((3, 1)))):
        found = judge(f, points, lam)
        assert said(found) == [GLOBAL_BOUND] * 3
        assert (f.measure(found.params, lam).objective == 0).all()
        assert found.moved[0] == 0 and found.moved[2] > 0


def test_a_separating_base_loses_its_exponential_neuron() -> None:
    f = objective(xor(), augment=ExpSkip(), regularizer=Augment())
    points = np.array([[*xor_net(s), 0.3, 1.0, -2.0, 0.5] for s in (0.01, 1.0, 4.0)])
    lam = np.array([[1e-2], [0.0], [1.0]])
    found = judge(f, points, lam)
    assert [v for v, _ in said(found)] == ["global_minimum"] * 3
    assert said(found)[0] == said(found)[2] == GLOBAL_SEPARATES
    assert (found.params[[0, 2], 9] == 0).all()
    np.testing.assert_array_equal(found.params[:, 10:], points[:, 10:])
    measured = f.measure(found.params, lam)
    assert measured.error_base is not None
    assert (measured.objective == 0).all() and (measured.error_base == 0).all()


def test_an_extra_neuron_counts_as_part_of_an_unpenalised_network() -> None:
    """Base f = 0.3(1 − 2relu(−s)) leaves one corner; the extra neuron −0.6·relu(s) mends it."""
    f = objective(xor(), width=1, augment=ExtraNeuron())
    point = np.array([-1, -1, 0, -0.3, 0.3, -0.3, 1, 1, 0], dtype=float)
    measured = f.measure(point[None])
    assert measured.error is not None and measured.error_base is not None
    assert measured.error[0] == 0 and measured.error_base[0] > 0
    found = judge(f, point)
    assert said(found) == [GLOBAL_BOUND]
    assert found.evidence[0]["scaled"] == "base and added neuron"
    assert f.measure(found.params).objective[0] == 0
    decayed = objective(xor(), width=1, augment=ExtraNeuron(), weight_decay=1e-9)
    assert said(judge(decayed, point)) == [OPEN]


# ---------------------------------------------------------------- exact outputs


def fitted(f: DataObjective, hidden: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Members with the given hidden layer and output weights of least squares."""
    points = np.zeros((len(hidden), f.n_params))
    points[:, : hidden.shape[1]] = hidden
    features = []
    for j in range(hidden.shape[1], f.n_base):
        probe = points.copy()
        probe[:, j] = 1.0
        with torch.no_grad():
            features.append(f.outputs(torch.as_tensor(probe.T))[0].numpy())
    for s in range(len(points)):
        matrix = np.column_stack([feature[:, s] for feature in features])
        points[s, hidden.shape[1] : f.n_base] = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    return points


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus", "leaky_relu"])
def test_squared_loss_near_an_interpolating_network_is_global(activation: str) -> None:
    data = xor()
    f = objective(data, width=5, activation=activation, loss=Squared())
    hidden = np.random.default_rng(0).standard_normal((60, 15))
    exact = fitted(f, hidden, data.y)
    points = exact + 1e-9 * np.random.default_rng(1).standard_normal(exact.shape)
    value = f.measure(points).objective
    found = judge(f, points)
    good = found.verdict == "global_minimum"
    assert good.mean() > 0.7 and (value[good] <= 1e-12).all()
    # The certified solution exists: Newton finds one inside the stated radius.
    for s in np.flatnonzero(good)[:10]:
        solution = newton(f, points[s], data.y)
        assert np.linalg.norm(solution - points[s]) <= found.certificate_radius[s]
    assert found.moved[good].max() == 0
    far = judge(f, exact + 1e-3)
    assert (far.verdict == "unresolved").all()


def newton(f: DataObjective, point: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    theta = torch.as_tensor(point)

    def output(t: torch.Tensor) -> torch.Tensor:
        return f.outputs(t.unsqueeze(1))[1][:, 0]

    for _ in range(4):
        jacobian = torch.autograd.functional.jacobian(output, theta)
        missing = torch.as_tensor(wanted) - output(theta)
        theta = theta + torch.linalg.lstsq(jacobian, missing, driver="gelsd").solution
    assert float((output(theta) - torch.as_tensor(wanted)).abs().max()) < 1e-13
    return theta.detach().numpy()


def test_a_saturating_slide_to_zero_is_no_global_minimum() -> None:
    """tanh(1e4·x) equals ±1 on every point in float64, so F computes to 0.0; it is never 0."""
    f = objective(line(10), width=1, activation="tanh", loss=Squared())
    points = np.array([[w, 0.0, 1.0, 0.0] for w in (150.0, 1e4)])
    value = f.measure(points).objective
    assert 0 <= value[1] <= value[0] < 1e-12
    assert said(judge(f, points)) == [OPEN] * 2


def conflicting() -> Data:
    x = np.array([-1.0, -1, -1, 0, 0.5, 1, 1, 2])[:, None]
    return Data(x, np.array([1.0, 1, -1, -1, 1, -1, 1, 1]))


@pytest.mark.parametrize("loss", [HingePower(3), HingePower(4), Squared()], ids=repr)
def test_conflicting_labels_reach_the_bound(loss: Any) -> None:
    from sweep.judge.bounds import proven_bound

    data = conflicting()
    bound = proven_bound(loss, data.x, data.y)
    wanted = np.zeros(8)
    for k, i in enumerate(bound.first):
        free = np.isnan(bound.target[k])
        wanted[data.x[:, 0] == data.x[i, 0]] = 1.5 * bound.label[k] if free else bound.target[k]
    f = objective(data, width=5, loss=loss)
    hidden = np.random.default_rng(3).standard_normal((80, 10))
    points = fitted(f, hidden, wanted)
    value = f.measure(points).objective
    reached = value <= bound.value * (1 + 1e-12)
    assert bound.value > 1 and reached.sum() > 5
    found = judge(f, points)
    good = found.verdict == "global_minimum"
    assert good.sum() >= 0.8 * reached.sum() and not (good & ~reached).any()
    assert set(found.certificate[good]) == {"lower_bound"}
    off = points.copy()
    off[:, -1] += 1e-4
    assert (judge(f, off).verdict == "unresolved").all()
    decayed = objective(data, width=5, loss=loss, weight_decay=1e-20)
    assert (judge(decayed, points).verdict == "unresolved").all()


def test_at_a_bound_the_exponential_neuron_is_judged_at_a_equals_zero() -> None:
    data = xor()
    f = objective(data, width=5, loss=Squared(), augment=ExpSkip(), regularizer=Augment())
    hidden = np.random.default_rng(0).standard_normal((40, 15))
    points = fitted(f, hidden, data.y)
    good = judge(f, points, np.ones((40, 1))).verdict == "global_minimum"
    assert good.sum() > 20
    tiny = points.copy()
    tiny[:, f.n_base] = 1e-9
    found = judge(f, tiny, np.ones((40, 1)))
    np.testing.assert_array_equal(found.verdict == "global_minimum", good)
    assert (found.params[good, f.n_base] == 0).all()
    np.testing.assert_allclose(found.moved[good], 1e-9)
    # The base misses by 1e-3·e^{b}; the exponential neuron with a = 1e-9 makes up for it.
    escape = points.copy()
    escape[:, f.n_base - 1] -= 1e-3
    escape[:, f.n_base] = 1e-9
    escape[:, f.n_base + 3] = np.log(1e6)
    lam = np.full((40, 1), 1e-3)
    assert (f.measure(escape, lam).objective[good] < 1e-12).all()
    assert (judge(f, escape, lam).verdict == "unresolved").all()


# ---------------------------------------------------------------- the rest


def test_a_landscape_is_global_at_its_bound() -> None:
    landscape: Any = PROBLEMS.build(Choice("xyz_product")).load()
    f = LandscapeObjective(landscape, "cpu", torch.float64)
    points = np.array([[1, 1, 1], [2, 0.5, 1 + 1e-8], [0, 5, 0], [1, 1, 1.01]])
    found = judge(f, points)
    assert said(found) == [GLOBAL_BOUND, GLOBAL_BOUND, OPEN, OPEN]


def test_overflow_and_non_finite_points_fail() -> None:
    f = objective(xor())
    found = judge(f, xor_net(), stop=Stop.OVERFLOW)
    assert said(found) == [("failed", "none")]
    bad = np.array([xor_net(), xor_net(), xor_net(1e200)])
    bad[0, 3] = np.nan
    bad[1, 3] = np.inf
    bad[2] *= -1  # separates nothing, and its loss overflows
    found = judge(f, bad)
    assert said(found)[:2] == [("failed", "none")] * 2
    assert found.verdict[2] == "failed"
    np.testing.assert_array_equal(found.params, bad)


def test_a_member_is_judged_alone() -> None:
    f = objective(xor(), width=3, augment=ExpSkip(), regularizer=Augment())
    rng = np.random.default_rng(4)
    points = rng.standard_normal((600, f.n_params))
    lam = rng.uniform(0, 1, (600, 1))
    lam[::7] = 0
    together = judge(f, points, lam)
    for s in (0, 3, 255, 256, 257, 431, 599):
        one = judge(f, points[s], lam[s : s + 1])
        assert said(one)[0] == said(together)[s]
        np.testing.assert_array_equal(one.params[0], together.params[s])
        np.testing.assert_array_equal(one.certificate_margin[0], together.certificate_margin[s])
        assert one.evidence[0] == together.evidence[s]


def test_no_members_give_no_verdicts() -> None:
    found = TIGHT.judge(objective(xor()), Ended(np.zeros((0, 9)), np.zeros(0, dtype=object)), None)
    assert len(found.verdict) == len(found.evidence) == 0 and found.params.shape == (0, 9)


@dataclass(frozen=True)
class Foreign:
    """A user's own network: θ₁·x₁x₂ + θ₂, whose inside the judge does not know."""

    n_params: int = 2
    pieces: tuple[Piece, ...] = (Piece("all", (2,), 2, "weight"),)
    activation: None = None
    widths: ClassVar[tuple[int, ...]] = ()

    def forward(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return theta[0] * (x[:, 0] * x[:, 1]).unsqueeze(1) + theta[1]

    def dead_units(self, theta: torch.Tensor, x: torch.Tensor) -> None:
        return None


def test_a_users_own_network_is_global_only_where_it_evaluates_to_zero() -> None:
    def build(loss: Any, weight_decay: float = 0.0) -> DataObjective:
        return DataObjective(
            xor(),
            Foreign(),
            NoAugmentation(),
            loss,
            NoRegularizer(),
            weight_decay,
            "cpu",
            torch.float64,
        )

    points = np.array([[-1.0, 0.0], [-0.5, 0.0], [1.0, 0.0]])
    found = judge(build(HingePower(3)), points)
    assert said(found) == [GLOBAL_BOUND, OPEN, OPEN]
    assert found.evidence[0]["rounding"] == "unknown"
    assert said(judge(build(Squared()), points)) == [OPEN] * 3
    assert said(judge(build(HingePower(3), 1e-3), points)) == [OPEN] * 3


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
def test_the_rounding_bound_holds_against_extended_precision(activation: str) -> None:
    rng = np.random.default_rng(5)
    data = Data(rng.standard_normal((20, 3)), np.ones(20))
    f = objective(data, width=(7, 5), activation=activation)
    points = rng.standard_normal((64, f.n_params)) * 10.0 ** rng.uniform(-6, 6, (64, f.n_params))
    theta = torch.as_tensor(points.T.copy())
    errors = output_errors(f, theta)
    assert errors is not None
    computed = f.outputs(theta)[0].numpy()
    slope = {"relu": 0.0, "leaky_relu": np.longdouble(0.01), "identity": 1.0}[activation]
    for s in range(64):
        t = points[s].astype(np.longdouble)
        w1, b1, w2, b2, v, c = np.split(t, np.cumsum([21, 7, 35, 5, 5]))
        h = data.x.astype(np.longdouble)
        for w, b in ((w1.reshape(7, 3), b1), (w2.reshape(5, 7), b2)):
            z = h @ w.T + b
            h = np.where(z > 0, z, slope * z)
        exact = h @ v + c
        bound = errors[0].numpy()[:, s]
        assert (np.abs(computed[:, s] - exact) <= bound).all()
        assert (bound < 1e-12 * max(1.0, float(np.abs(t).max()) ** 3 * 1e3)).all()


def test_the_scaling_factor_is_the_least_power_of_two() -> None:
    margins = np.array([1e-300, 0.25, 0.3, 0.5, 0.999, 1.0, 7.0])
    factor = power_to_one(margins)
    assert (factor * margins >= 1).all()
    assert ((factor == 1) | (factor * margins < 2)).all()
    assert power_to_one(np.array([5e-324]))[0] == np.inf


def test_settings_of_the_judge_are_checked() -> None:
    with pytest.raises(UserError, match="a number ≥ 0"):
        JUDGES.build(Choice("standard", {"tolerance": -1.0}))
    with pytest.raises(UserError, match="did you mean 'tolerance'"):
        JUDGES.build(Choice("standard", {"tolerence": 1e-9}))


def test_single_precision_is_refused() -> None:
    landscape: Any = PROBLEMS.build(Choice("xyz_product")).load()
    with pytest.raises(ValueError, match="float64"):
        judge(LandscapeObjective(landscape, "cpu", torch.float32), np.ones((1, 3)))
