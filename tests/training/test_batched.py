"""The training loop: same bits in any company, honest endings, refused settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import sweep.training  # noqa: F401  (fills the registries)
from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.base import OPTIMIZERS, STOPPING, Ending, Optimizer, Standard
from sweep.training.batched import preferred_lanes
from sweep.training.batched import train_batched as train
from sweep.training.batches import BatchOrder
from sweep.training.lbfgs import Lbfgs
from sweep.training.optimizers import Adam, GradientDescent, Momentum
from sweep.verdicts import Stop

ROOT = 3
SHAPES: dict[str, tuple[int, int, int | tuple[int, ...], str]] = {
    "small": (40, 2, 3, "relu"),
    "odd": (97, 13, 7, "tanh"),
    "deep": (50, 3, (4, 5), "sigmoid"),
    "loop": (119, 13, 3, "softplus"),  # large enough for the other form of the contraction
}


def objective(n: int, d: int, width: int | tuple[int, ...], activation: str) -> Objective:
    rng = np.random.default_rng(n)
    data = Data(rng.normal(size=(n, d)), np.sign(rng.normal(size=n)))
    model = Mlp(width, Choice(activation))
    return build_objective(data, model, ExpSkip(), HingePower(), Augment(), 0.01)


def assert_same(a: Ending, b: Ending) -> None:
    assert np.array_equal(a.params, b.params)
    assert np.array_equal(a.steps, b.steps)
    assert a.stop.tolist() == b.stop.tolist()


CASES = [
    ("small", Adam(), 700, 60),
    ("small", Momentum(lr=1e-4, batch_size=16), 300, 30),
    ("small", Lbfgs(), 300, 30),
    ("odd", Adam(batch_size=40), 700, 12),
    ("odd", Lbfgs(), 150, 10),
    ("deep", GradientDescent(lr=1e-3), 400, 20),
    ("loop", Adam(), 150, 12),
]


@pytest.mark.parametrize(("shape", "optimizer", "members", "steps"), CASES)
def test_a_members_bits_do_not_depend_on_the_others(
    shape: str, optimizer: Optimizer, members: int, steps: int
) -> None:
    f = objective(*SHAPES[shape])
    seeds = np.arange(members)
    start = f.initial(KaimingUniform(), ROOT, seeds.tolist())
    lam = np.random.default_rng(0).uniform(0.01, 1, size=(members, 1))
    # Some members stop early, so that lanes are refilled while others go on.
    middle = float(np.quantile(f.measure(start, lam).grad_norm, 0.1))
    rule = Standard(max_steps=steps, gradient=middle)

    def run(chosen: np.ndarray, lanes: int | None = None) -> Ending:
        order = BatchOrder(ROOT, seeds[chosen].tolist())
        return train(f, start[chosen], lam[chosen], optimizer, rule, order, lanes)

    whole = run(seeds)
    assert len(set(whole.steps.tolist())) > 2
    order = np.random.default_rng(1).permutation(members)
    shuffled = run(order)
    assert_same(shuffled, Ending(whole.params[order], whole.steps[order], whole.stop[order]))
    narrow = run(seeds[:130], lanes=64)
    assert_same(narrow, Ending(whole.params[:130], whole.steps[:130], whole.stop[:130]))
    for s in (0, members - 1):
        alone = run(seeds[[s]])
        assert_same(alone, Ending(whole.params[[s]], whole.steps[[s]], whole.stop[[s]]))


def test_neighbours_may_be_anything_even_not_a_number() -> None:
    f = objective(*SHAPES["small"])
    start = f.initial(KaimingUniform(), ROOT, range(100))
    lam, rule = np.full((100, 1), 0.1), Standard(max_steps=40)
    before = train(f, start, lam, Adam(), rule)
    spoilt = start.copy()
    spoilt[1::2] = np.nan
    spoilt[3::4] = 1e200
    after = train(f, spoilt, lam, Adam(), rule)
    assert np.array_equal(before.params[::2], after.params[::2])
    assert set(after.stop[1::2]) == {Stop.OVERFLOW}
    assert not after.steps[1::2].any()


def test_the_number_of_threads_is_restored_and_plays_no_part() -> None:
    f = objective(*SHAPES["odd"])
    start = f.initial(KaimingUniform(), ROOT, range(20))
    lam, rule = np.full((20, 1), 0.1), Standard(max_steps=10)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(train(f, start, lam, Adam(), rule))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_same(found[0], found[1])


class Bowl:
    """F = Σ θ⁴/4 + shift: gradient descent with lr = 1 diverges from |θ| > √2."""

    n_params = 1
    lower_bound: float | None = 0.0
    digest = "bowl"

    def __init__(self, shift: float = 1.0) -> None:
        self.shift = shift

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """Θ⁴/4 + shift."""
        return theta[0].pow(4) / 4 + self.shift


def landscape(shift: float = 1.0) -> Objective:
    return build_objective(Bowl(shift), Mlp(2), ExpSkip(), HingePower(), NoRegularizer())


def test_an_overflow_keeps_the_last_finite_point() -> None:
    start = np.array([[2.0], [1.0], [0.5], [3.0]])
    rule = Standard(max_steps=50, gradient=5e-4)
    found = train(landscape(), start, None, GradientDescent(lr=1.0), rule)
    assert found.stop.tolist() == [Stop.OVERFLOW, Stop.GRADIENT, Stop.STEPS, Stop.OVERFLOW]
    for s in range(4):
        path = [start[s, 0]]
        # An overflow is one of F or of the squared gradient norm.
        with np.errstate(over="ignore"):
            while rule.gradient < abs(path[-1] ** 3) and np.isfinite(path[-1] ** 6):
                if len(path) > rule.max_steps:
                    break
                path.append(path[-1] - path[-1] ** 3)
        if found.stop[s] is Stop.OVERFLOW:
            path.pop()
        assert found.steps[s] == len(path) - 1
        assert found.params[s, 0] == pytest.approx(path[-1], rel=1e-12)
    assert found.steps.tolist()[1:3] == [1, 50]


def test_a_start_without_a_finite_objective_is_an_overflow_of_zero_steps() -> None:
    start = np.array([[1e100], [0.5]])
    found = train(landscape(), start, None, Adam(), Standard(max_steps=5))
    assert found.stop.tolist() == [Stop.OVERFLOW, Stop.STEPS]
    assert found.steps.tolist() == [0, 5]
    assert found.params[0, 0] == 1e100


@pytest.mark.parametrize("optimizer", [Adam(), Lbfgs(), Momentum(lr=0.01)])
def test_members_stop_by_their_own_rule(optimizer: Optimizer) -> None:
    start = np.array([[0.0], [1e-4], [0.9], [1.2]])
    rule = Standard(max_steps=3, gradient=1e-9, loss=1.0)
    found = train(landscape(), start, None, optimizer, rule)
    # At 0 and 1e-4 (θ⁴/4 is below half an ulp of 1) the objective is exactly 1.
    assert found.stop.tolist()[:2] == [Stop.LOSS, Stop.LOSS]
    assert found.steps.tolist()[:2] == [0, 0]
    assert found.steps.max() <= 3
    below = Standard(max_steps=3, gradient=1e-9, loss=0.0)
    again = train(landscape(), start, None, optimizer, below)
    assert again.stop.tolist()[:2] == [Stop.GRADIENT, Stop.GRADIENT]


def test_a_zero_loss_stops_exactly_at_zero() -> None:
    data = Data(np.array([[1.0], [-1.0]]), np.array([1.0, -1.0]))
    f = build_objective(data, Mlp(2, Choice("identity")), ExpSkip(), HingePower(), Augment())
    theta = np.zeros((2, f.n_params))
    theta[:, 0] = theta[:, 4] = [1.0, 0.9]  # f = x separates with margin 1, 0.81x does not
    lam = np.ones((2, 1))
    found = train(f, theta, lam, GradientDescent(lr=1e-3), Standard(max_steps=2))
    assert found.stop.tolist() == [Stop.LOSS, Stop.STEPS]
    assert found.steps.tolist() == [0, 2]


def test_nobody_to_train_is_an_empty_ending() -> None:
    f = objective(*SHAPES["small"])
    found = train(f, np.zeros((0, f.n_params)), np.zeros((0, 1)), Adam(), Standard())
    assert found.params.shape == (0, f.n_params)
    assert len(found.steps) == len(found.stop) == 0


def test_float32_trains_in_float32_and_reports_float64() -> None:
    rng = np.random.default_rng(0)
    data = Data(rng.normal(size=(20, 2)), np.sign(rng.normal(size=20)))
    f = build_objective(data, Mlp(3), ExpSkip(), HingePower(), Augment(), dtype=torch.float32)
    start = f.initial(KaimingUniform(), 0, range(5))
    found = train(f, start, np.ones((5, 1)), Adam(), Standard(max_steps=10))
    assert found.params.dtype == np.float64
    assert np.array_equal(found.params, found.params.astype(np.float32))
    assert (
        f.measure(found.params, np.ones((5, 1))).loss < f.measure(start, np.ones((5, 1))).loss
    ).all()


def test_lanes_suit_the_shape_alone() -> None:
    assert preferred_lanes(objective(*SHAPES["small"])) == 256
    assert preferred_lanes(objective(569, 30, 16, "relu")) == 64
    assert preferred_lanes(landscape()) == 256


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: GradientDescent(lr=0.0), r"optimizer\.lr is 0\.0"),
        (lambda: Momentum(lr=float("nan")), r"optimizer\.lr is nan"),
        (lambda: Adam(lr=float("inf")), r"optimizer\.lr is inf"),
        (lambda: Lbfgs(lr=-1.0), r"optimizer\.lr is -1"),
        (lambda: Momentum(lr=1.0, momentum=1.0), r"optimizer\.momentum is 1"),
        (lambda: Adam(beta2=1.0), r"optimizer\.beta2"),
        (lambda: Adam(eps=0.0), r"optimizer\.eps"),
        (lambda: Adam(batch_size=0), r"optimizer\.batch_size"),
        (lambda: Lbfgs(memory=0), r"optimizer\.memory"),
        (lambda: OPTIMIZERS.build(Choice("lbfgs", {"batch_size": 8})), "batch_size"),
        (lambda: OPTIMIZERS.build(Choice("gd")), r"optimizer\.lr is missing"),
        (lambda: OPTIMIZERS.build(Choice("adan")), "did you mean 'adam'"),
        (lambda: STOPPING.build(Choice("standard", {"max_steps": -1})), r"stopping\.max_steps"),
        (lambda: STOPPING.build(Choice("standard", {"gradient": -1.0})), r"stopping\.gradient"),
    ],
)
def test_impossible_settings_are_refused(build: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build()


def test_mini_batches_need_enough_data() -> None:
    f = objective(*SHAPES["small"])
    start = f.initial(KaimingUniform(), 0, range(2))
    order = BatchOrder(0, (0, 1))
    with pytest.raises(UserError, match=r"optimizer\.batch_size is 41"):
        train(f, start, np.ones((2, 1)), Adam(batch_size=41), Standard(), order)
    with pytest.raises(UserError, match="without data"):
        train(landscape(), np.ones((2, 1)), None, Adam(batch_size=1), Standard(), order)
