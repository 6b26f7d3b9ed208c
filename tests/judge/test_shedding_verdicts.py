"""Verdicts of arms with a monomial neuron, or exponential ones inside the layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sweep.judge import StandardJudge
from sweep.judge.base import Judgement
from sweep.judge.exponential.limit_problem import Bare, BareOfLayers, BareOfMonomial
from sweep.judge.monomial.rest import classes_agree
from sweep.judge.numerics.rounding import output_errors
from sweep.judge.smooth.autograd import polish_block
from sweep.judge.smooth.trust_region import STATIONARY
from sweep.models.augmentations import Monomial
from sweep.models.base import Augmenting
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import HingePower, Loss, Squared
from sweep.models.mlp import Mlp
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment
from sweep.problems import PROBLEMS, Data
from sweep.registry import Choice
from sweep.verdicts import Certificate, Stop, Verdict

XOR = PROBLEMS.build(Choice("xor")).load()
assert isinstance(XOR, Data)
LAM = 0.1
ROUNDS = 40


class Ended:
    def __init__(self, params: np.ndarray) -> None:
        self.params = params
        self.stop = np.full(len(params), Stop.STEPS.value, dtype=object)


def objective_of(
    added: Augmenting, data: Data = XOR, model: Mlp | None = None, loss: Loss | None = None
) -> tuple[DataObjective, np.ndarray]:
    """The objective, and some random points of it (4, P)."""
    found = build_objective(data, model or Mlp(2), added, loss or HingePower(), Augment())
    assert isinstance(found, DataObjective)
    return found, np.random.default_rng(3).normal(size=(4, found.n_params))


def judged(objective: DataObjective, points: np.ndarray, lam: float = LAM) -> Judgement:
    return StandardJudge().judge(objective, Ended(points), np.full((len(points), 1), lam))


def bare_of(objective: DataObjective, point: np.ndarray) -> Bare:
    """The limit problem of a point (1, P)."""
    if isinstance(objective.augmentation, Monomial):
        return BareOfMonomial.of(objective, float(np.sign(point[0, objective.n_base])))
    return BareOfLayers.of(objective)


def constant_networks(p: int, data: Data) -> tuple[DataObjective, np.ndarray]:
    """ReLU networks that are 0 on the data, all units active, with the neuron at rest: a = 0."""
    objective, points = objective_of(Monomial(p), data)
    D = data.x.shape[1]
    points[:, 2 * D : 2 * D + 2] = 10.0
    points[:, 2 * D + 2 : 2 * D + 4] = [1.0, -1.0]
    points[:, D : 2 * D] = points[:, :D]  # the two units cancel
    points[:, 2 * D + 4 :][:, :2] = 0.0
    return objective, points


@pytest.mark.parametrize("t", [2, 3])
def test_below_the_separating_degree_a_bad_minimum_stays(t: int) -> None:
    """[A] Prop. 1 needs p ≥ t: with p < t the resting neuron is in a minimum, with p = t not."""
    data = PROBLEMS.build(Choice("polynomial", {"degree": t, "d": t})).load()
    assert isinstance(data, Data)
    for p in range(1, t + 1):
        objective, points = constant_networks(p, data)
        found = judged(objective, points)
        if p == t:
            assert not (found.verdict == Verdict.LOCAL_MINIMUM).any()
            assert not (found.verdict == Verdict.UNRESOLVED).any()
            continue
        assert (found.verdict == Verdict.LOCAL_MINIMUM).all()
        assert (found.certificate == Certificate.AFFINE).all()
        measured = objective.measure(found.params, np.full((4, 1), LAM))
        np.testing.assert_allclose(measured.objective, len(data.y))
        assert measured.error is not None and (measured.error > 0).all()
        # Brute force within the certified radius, the neuron switched on at every size.
        rng = np.random.default_rng(0)
        for point, radius in zip(found.params, found.certificate_radius, strict=True):
            step = rng.normal(size=(300, len(point)))
            step *= radius / np.linalg.norm(step, axis=1, keepdims=True)
            around = point + step * 10 ** rng.uniform(-4, 0, size=(300, 1))
            F = objective.measure(around, np.full((300, 1), LAM)).objective
            assert (len(data.y) - 1e-12 <= F).all()


def test_classes_agree_in_their_means_below_the_degree_of_a_parity_only() -> None:
    for t in (1, 2, 3, 4):
        cube = np.array(list(itertools.product((-1.0, 1.0), repeat=t)))
        y = cube.prod(axis=1)
        assert [classes_agree(cube, y, p) for p in (1, 2, 3, 4)] == [p < t for p in (1, 2, 3, 4)]
    moved = np.array([[-1.0], [1.0 + 1e-15], [-1.0], [1.0]])
    assert not classes_agree(moved, np.array([1.0, 1.0, -1.0, -1.0]), 1)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_no_point_where_the_neuron_sends_anything_is_a_minimum(p: int) -> None:
    objective, points = constant_networks(p, XOR)
    points[:, objective.n_base] = 0.3
    found = judged(objective, points)
    lam = np.full((4, 1), LAM)
    resting = found.params[:, objective.n_base] == 0
    assert resting[found.verdict == Verdict.LOCAL_MINIMUM].all()
    before, after = objective.measure(points, lam), objective.measure(found.params, lam)
    assert (after.objective <= before.objective * (1 + 1e-12)).all()


def moons_with_outliers() -> Data:
    """Points that small networks do not separate: limits with errors left."""
    rng = np.random.default_rng(11)
    return Data(rng.normal(size=(24, 2)), rng.choice([-1.0, 1.0], size=24))


CASES = [
    (Monomial(2), Mlp(2)),
    (Monomial(3), Mlp(2)),
    pytest.param(Monomial(2), Mlp(2, Choice("tanh")), marks=pytest.mark.slow),
    pytest.param(ExpPerLayer(), Mlp((2, 1), Choice("softplus")), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("added", "model"), CASES)
def test_a_limit_is_where_long_descent_ends(added: Augmenting, model: Mlp) -> None:
    """F near the judged point comes as near to the limit as one likes, and not below it."""
    data = moons_with_outliers()
    objective, points = objective_of(added, data, model)
    found = judged(objective, points)
    lam = np.full((4, 1), LAM)
    F = objective.measure(found.params, lam).objective
    charts = np.flatnonzero(found.certificate == Certificate.CHART)
    assert (found.verdict[charts] == Verdict.ESCAPING).all()
    np.testing.assert_allclose(F[charts], found.limit_objective[charts], rtol=1e-9)
    for member in charts.tolist():
        point = found.params[member : member + 1]
        bare = bare_of(objective, point)
        start = bare.into(point)[0]

        limit = found.limit_objective[member]
        # The best of 256 random steps that stay in the basin, again and again: a descent that knows
        # neither derivatives nor kinks.
        rng, lowest = np.random.default_rng(0), np.inf
        for _ in range(ROUNDS):
            steps = rng.normal(size=(256, len(start))) * 10 ** rng.uniform(-7, -2, size=(256, 1))
            around = np.vstack([start, start + steps])[:256]
            G = bare.objective.measure(around).objective
            start, lowest = around[G.argmin()], G.min()
        assert limit * (1 - 1e-6) <= lowest <= limit * (1 + 1e-9)


@pytest.mark.parametrize(
    ("added", "neuron"), [(Monomial(2), (0.5, 1.0, -1.0)), (ExpPerLayer(), (1.5, 0.0, 0.05))]
)
def test_the_slope_on_one_side_of_a_kink_is_no_rest(
    added: Augmenting, neuron: tuple[float, ...]
) -> None:
    """A hard tanh on its kink: autograd sees the flat side alone, and F falls on the other."""
    data = Data(np.arange(6.0)[:, None] / 2, np.array([-1.0, 1.0, -1.0, -1.0, 1.0, 1.0]))
    objective, _ = objective_of(added, data, Mlp(1, Choice("piecewise_linear")), Squared())
    point = np.array([[0.0, -1.0, 0.8, 0.3, *neuron]])
    bare = bare_of(objective, point)
    rest = polish_block(bare.objective, bare.into(point), None, 100)
    assert rest.status[0] == STATIONARY and (rest.theta[0, :2] == [0.0, -1.0]).all()
    # The unit alone moves: were G differentiable there, it would fall by the square of the step.
    way = np.zeros((64, rest.theta.shape[1]))
    way[:, :2] = np.random.default_rng(0).normal(size=(64, 2))
    for size in (1e-3, 1e-6):
        fall = rest.objective - bare.objective.measure(rest.theta + size * way).objective
        assert fall.max() > 0.1 * size
    found = judged(objective, point)
    assert found.verdict[0] == Verdict.UNRESOLVED and found.certificate[0] == Certificate.NONE


HARD = Choice("piecewise_linear", {"level": 1e6})


@pytest.mark.parametrize("activation", [Choice("requ"), Choice("square"), HARD, Choice("tanh")])
def test_the_rounding_bound_inside_the_layers_holds_for_every_activation(
    activation: Choice,
) -> None:
    """Against extended precision: slopes of squares have no bound, pieces have constants."""
    rng = np.random.default_rng(5)
    data = Data(rng.standard_normal((20, 3)), np.ones(20))
    objective, _ = objective_of(ExpPerLayer(), data, Mlp(5, activation))
    points = rng.standard_normal((64, objective.n_params))
    points[:, : objective.n_base] *= 10.0 ** rng.uniform(-3, 6, (64, objective.n_base))
    theta = torch.as_tensor(points.T.copy())
    errors = output_errors(objective, theta)
    assert errors is not None
    computed = objective.outputs(theta)[1].numpy()
    for s, point in enumerate(points.astype(np.longdouble)):
        weight, bias, v, c, w, b, a = np.split(point, np.cumsum([15, 5, 5, 1, 3, 1]))
        x = data.x.astype(np.longdouble)
        z = x @ weight.reshape(5, 3).T + bias
        h = {
            "requ": lambda z: np.maximum(z, 0) ** 2,
            "square": lambda z: z**2,
            "piecewise_linear": lambda z: 1e6 + np.clip(z, -1, 1) + 1,
            "tanh": np.tanh,
        }[activation.name](z)
        exact = h @ v + c + a * np.exp(x @ w + b)
        assert (np.abs(computed[:, s] - exact) <= errors[1].numpy()[:, s]).all()


@pytest.mark.parametrize("offset", [0.0, 100.0, 1000.0])
def test_a_line_improves_on_the_best_constant_of_a_dead_network(offset: float) -> None:
    """[A] Prop. 1 with p = t = 1: no minimum, though all moments are small far from the origin."""
    data = Data(np.array([[0.0], [1.0], [2.0], [3.0]]) + offset, np.array([-1.0, -1.0, 1.0, 1.0]))
    objective, points = objective_of(Monomial(1), data)
    points[:, 2:4] = -1e6
    points[:, [6, 7]] = 0.0
    F = objective.measure(points, np.full((4, 1), LAM)).objective
    found = judged(objective, points)
    after = objective.measure(found.params, np.full((4, 1), LAM)).objective
    assert not ((found.verdict == Verdict.LOCAL_MINIMUM) & (after >= F * (1 - 1e-9))).any()
