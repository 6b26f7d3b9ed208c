"""The fused trainer against the torch one, and each member's bits in any company.

Seven schemes meet every optimizer with full and mini-batches, every loss and every kind of added
neuron, each with another activation, and formulas with no constant, one and two; their machine code
is built once and serves every shape below. Every activation with every scheme is `slow`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import sweep.training  # noqa: F401  (fills the registries)
from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExpSkip, ExtraNeuron, Monomial, NoAugmentation
from sweep.models.base import AUGMENTATIONS, Augmenting
from sweep.models.initialisers import KaimingUniform
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import (
    LOSSES,
    CrossEntropy,
    HingePower,
    Logistic,
    Loss,
    Squared,
    VectorLoss,
)
from sweep.models.mlp import Mlp
from sweep.models.objective import Objective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.base import STOPS, Ending, Optimizer, Standard
from sweep.training.batched import train_batched
from sweep.training.batches import BatchOrder
from sweep.training.fused.build import trainer
from sweep.training.fused.cpu import batch_keys, train_fused
from sweep.training.fused.members import Queue, Results, Rule
from sweep.training.fused.scheme import FirstOrder, fused_parts
from sweep.training.lbfgs import Lbfgs
from sweep.training.optimizers import Adam, GradientDescent, Momentum
from sweep.training.schedules import CONSTANT, SCHEDULES
from sweep.training.trainer import trainer_of
from sweep.verdicts import Stop

ROOT = 12


@dataclass(frozen=True)
class Case:
    """A configuration; the shape may change without compiling anew."""

    optimizer: FirstOrder
    activation: Choice
    loss: Loss | VectorLoss
    augmentation: Augmenting
    width: int | tuple[int, ...] = (4, 3)
    n: int = 22
    d: int = 3
    outputs: int | None = None

    @property
    def objective(self) -> Objective:
        rng = np.random.default_rng(self.n)
        x, y = rng.normal(size=(self.n, self.d)), np.sign(rng.normal(size=self.n))
        if self.outputs is not None:
            y = np.eye(self.outputs)[rng.integers(self.outputs, size=self.n)]
        data = Data(x, y)
        regularizer = Augment() if self.augmentation.penalised else NoRegularizer()
        model = Mlp(self.width, self.activation, self.outputs or 1)
        return build_objective(data, model, self.augmentation, self.loss, regularizer, 0.02)

    def start(self, members: int) -> np.ndarray:
        return self.objective.initial(KaimingUniform(), ROOT, range(members))

    def lam(self, members: int) -> np.ndarray | None:
        if not self.augmentation.penalised:
            return None
        return np.random.default_rng(1).uniform(0.01, 1, size=(members, 1))

    def train(
        self, rule: Standard, start: np.ndarray, chosen: Any = slice(None), how: Any = None
    ) -> Ending:
        """Members `chosen` of those that start there, by the fused trainer or by `how`."""
        lam = self.lam(len(start))
        order = BatchOrder(ROOT, np.arange(len(start))[chosen].tolist())
        some = None if lam is None else lam[chosen]
        if how is not None:
            ending: Ending = how(self.objective, start[chosen], some, self.optimizer, rule, order)
            return ending
        parts = fused_parts(self.objective, self.optimizer)
        assert parts is not None
        return train_fused(parts, start[chosen], some, rule, order)


TWO_PIECE = Choice("two_piece", {"negative_slope": -0.3, "positive_slope": 1.2})
CASES = {
    "gd": Case(GradientDescent(lr=1e-3), Choice("sigmoid"), HingePower(5), NoAugmentation()),
    "momentum": Case(Momentum(lr=5e-4), Choice("tanh"), Squared(), ExtraNeuron(2)),
    "adam": Case(Adam(lr=2e-3), Choice("relu"), HingePower(), ExpSkip()),
    "gd, batches": Case(GradientDescent(1e-3, 5), Choice("leaky_relu"), Logistic(), ExpSkip()),
    "momentum, batches": Case(Momentum(2e-5, batch_size=22), TWO_PIECE, HingePower(), Monomial(3)),
    "adam, batches": Case(
        Adam(lr=1e-3, batch_size=8), Choice("softplus"), Logistic(), ExpPerLayer()
    ),
    "classes": Case(
        Momentum(lr=1e-3, batch_size=8), Choice("requ"), CrossEntropy(), NoAugmentation(), outputs=3
    ),
}
#: Every activation that compiles; by default settings where it is not said otherwise.
ACTIVATIONS_MET = [
    TWO_PIECE if name == TWO_PIECE.name else Choice(name)
    for name in ACTIVATIONS.names()
    if ACTIVATIONS.entry(name).compiles
]
#: Cosines shorter and longer than any training here.
SCHEDULES_MET = [
    Choice("cosine", {"steps": 15, "final": 0.1}),
    Choice("cosine", {"steps": 1000}),
    Choice("step", {"every": 7, "factor_per_step": 0.7}),
    Choice("exponential", {"half_life": 12.5}),
]
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def under(case: Case, schedule: Choice) -> Case:
    return replace(case, optimizer=replace(case.optimizer, schedule=schedule))


def assert_same(a: Ending, b: Ending) -> None:
    assert np.array_equal(a.params, b.params, equal_nan=True)
    assert np.array_equal(a.steps, b.steps)
    assert a.stop.tolist() == b.stop.tolist()


def part(ending: Ending, chosen: Any) -> Ending:
    return Ending(ending.params[chosen], ending.steps[chosen], ending.stop[chosen])


def assert_close(a: Ending, b: Ending, tolerance: float) -> None:
    assert np.array_equal(a.steps, b.steps)
    assert a.stop.tolist() == b.stop.tolist()
    size = np.abs(b.params).max(axis=1, keepdims=True)
    assert np.all(np.abs(a.params - b.params) <= tolerance * size)


@every_case
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_first_steps_are_the_torch_trainers(case: Case, steps: int) -> None:
    rule, start = Standard(max_steps=steps, gradient=0), case.start(11)
    found = case.train(rule, start)
    assert found.steps.tolist() == [steps] * 11
    assert_close(found, case.train(rule, start, how=train_batched), 1e-12)


def test_every_loss_augmentation_and_schedule_is_met() -> None:
    assert {*map(LOSSES.entry, LOSSES.names())} == {type(c.loss) for c in CASES.values()}
    met = {type(case.augmentation) for case in CASES.values()}
    assert met == {AUGMENTATIONS.entry(name) for name in AUGMENTATIONS.names()}
    assert {*(schedule.name for schedule in SCHEDULES_MET), "constant"} == {*SCHEDULES.names()}


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS_MET, ids=repr)
@every_case
def test_every_activation_agrees_with_the_torch_trainer(case: Case, activation: Choice) -> None:
    # On the way to an overflow rounding grows too: networks of squares need smaller steps.
    rate = case.optimizer.lr * (0.1 if activation.name == "square" else 1)
    other = replace(case, activation=activation, optimizer=replace(case.optimizer, lr=rate))
    rule, start = Standard(max_steps=100, gradient=0), other.start(9)
    assert_close(other.train(rule, start), other.train(rule, start, how=train_batched), 1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES_MET, ids=repr)
@every_case
def test_every_schedule_agrees_with_the_torch_trainer(case: Case, schedule: Choice) -> None:
    other, rule, start = under(case, schedule), Standard(max_steps=100, gradient=0), case.start(9)
    found = other.train(rule, start)
    assert_close(found, other.train(rule, start, how=train_batched), 1e-12)
    # Nobody stepped as if there were no schedule.
    assert not np.isclose(found.params, case.train(rule, start).params, rtol=1e-9).all(1).any()


SHAPES = [(1, 1, 1), (1, 2, 30), (64, 3, 2), (2, 5, 1), ((2, 64), 6, 30), ((3, 1, 2, 4), 9, 2)]


@pytest.mark.parametrize("name", ["adam", "gd, batches"])
@pytest.mark.parametrize(("width", "n", "d"), SHAPES)
def test_every_shape_is_served(name: str, width: Any, n: int, d: int) -> None:
    case = CASES[name]
    size = case.optimizer.batch_size and min(n, case.optimizer.batch_size)
    case = replace(case, width=width, n=n, d=d, optimizer=replace(case.optimizer, batch_size=size))
    rule, start = Standard(max_steps=30, gradient=0), case.start(9)
    assert_close(case.train(rule, start), case.train(rule, start, how=train_batched), 1e-12)


def early_and_late(case: Case, start: np.ndarray) -> Standard:
    """A rule by which some members stop at once and some early."""
    sizes = case.objective.measure(start, case.lam(len(start))).grad_norm
    return Standard(max_steps=25, gradient=float(np.quantile(sizes, 0.3)))


@every_case
def test_a_members_bits_are_its_own(case: Case) -> None:
    start = case.start(40)
    start[5], start[6, 0], start[7] = np.nan, np.inf, 1e200
    start[8], start[9] = 1e60, start[8] * 0
    rule = early_and_late(case, start[10:])
    whole = case.train(rule, start)
    assert len(set(whole.steps.tolist())) > 2
    for length in range(1, 41):
        assert_same(case.train(rule, start, slice(length)), part(whole, slice(length)))
    for alone in range(40):
        assert_same(case.train(rule, start, [alone]), part(whole, [alone]))
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(40)
        assert_same(case.train(rule, start, order), part(whole, order))


def digest() -> str:
    """Of the endings of one case, all bits."""
    case = CASES["gd, batches"]
    found = case.train(Standard(max_steps=50), case.start(19))
    return hashlib.sha256(found.params.tobytes() + found.steps.tobytes()).hexdigest()


def test_another_process_finds_the_same_bits() -> None:
    code = (
        "import runpy, sys;"
        f"print(runpy.run_path({__file__!r}, run_name='tests.training.test_fused_training')"
        "['digest']())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


@every_case
def test_members_stop_where_the_torch_trainer_stops_them(case: Case) -> None:
    start = case.start(24)
    first = case.objective.measure(start, case.lam(24))
    quick = replace(case, optimizer=replace(case.optimizer, lr=0.01))
    for rule in (
        Standard(max_steps=0),
        Standard(max_steps=1),
        Standard(max_steps=40, gradient=float(np.quantile(first.grad_norm, 0.4))),
        Standard(max_steps=40, loss=float(np.quantile(first.objective, 0.4))),
        Standard(max_steps=40, gradient=1e9),
    ):
        found = quick.train(rule, start)
        assert_close(found, quick.train(rule, start, how=train_batched), 1e-11)
        at_start = found.steps == 0
        assert np.array_equal(found.params[at_start], start[at_start])
    assert at_start.all()


@pytest.mark.parametrize("schedule", [CONSTANT, *SCHEDULES_MET], ids=repr)
@every_case
def test_points_before_the_end_do_not_depend_on_max_steps(case: Case, schedule: Choice) -> None:
    assert_one_course(under(case, schedule))


@pytest.mark.parametrize("name", ["adam", "gd, batches"])
@pytest.mark.parametrize("schedule", [CONSTANT, *SCHEDULES_MET], ids=repr)
def test_nor_do_those_of_the_torch_trainer(name: str, schedule: Choice) -> None:
    assert_one_course(under(CASES[name], schedule), train_batched)


def assert_one_course(case: Case, how: Any = None) -> None:
    """Some stop by their loss, before max_steps; alone, by max_steps alone: the same bits."""
    start = case.start(96)
    later = case.train(Standard(max_steps=20, gradient=0), start, how=how).params
    level = float(np.quantile(case.objective.measure(later, case.lam(96)).objective, 0.6))
    whole = case.train(Standard(max_steps=40, gradient=0, loss=level), start, how=how)
    sooner = (whole.stop == Stop.LOSS) & (whole.steps > 0)
    assert sooner.sum() >= 3
    for member in np.argsort(np.where(sooner, whole.steps, 0))[-3:]:  # the latest
        rule = Standard(int(whole.steps[member]), gradient=0)
        alone = case.train(rule, start, [member], how=how)
        assert alone.stop.tolist() == [Stop.STEPS]
        assert np.array_equal(alone.params[0], whole.params[member])


@pytest.mark.parametrize(
    ("name", "rate"),
    [("gd", 10.0), ("momentum", 100.0), ("gd, batches", 1.0), ("momentum, batches", 1e-3)],
)
def test_an_overflow_ends_at_the_last_finite_point(name: str, rate: float) -> None:
    case = CASES[name]
    wild = replace(case, optimizer=replace(case.optimizer, lr=rate))
    start = case.start(12)
    start[3] = np.nan
    rule = Standard(max_steps=400, gradient=0)
    found = wild.train(rule, start)
    expected = wild.train(rule, start, how=train_batched)
    assert found.stop[3] is Stop.OVERFLOW
    assert found.steps[3] == 0
    assert Stop.OVERFLOW in found.stop[found.steps > 0]
    assert np.array_equal(found.stop == Stop.OVERFLOW, expected.stop == Stop.OVERFLOW)
    assert np.array_equal(found.steps, expected.steps)
    if wild.optimizer.batch_size is None:  # otherwise it is the batch's F that is finite
        measured = wild.objective.measure(found.params)
        assert np.isfinite(np.delete(measured.objective, 3)).all()
        assert np.isfinite(np.delete(measured.grad_norm, 3)).all()


@pytest.mark.parametrize("name", ["adam, batches", "momentum, batches"])
def test_a_regularizer_of_strength_zero_overflows_as_it_does_in_the_torch_trainer(
    name: str,
) -> None:
    # w̃⁶ overflows long before w̃ does; 0·∞ is not a number, whoever trains.
    optimizer = replace(CASES[name].optimizer, lr=1e-3, batch_size=22)
    case = replace(CASES[name], width=(2, 3, 2), optimizer=optimizer)
    start = case.start(9)
    first = case.objective.n_params - case.objective.n_base
    start[2:6, -first:] *= np.array([1e20, 1e52, 1e60, 1e160])[:, None]
    parts = fused_parts(case.objective, optimizer)
    assert parts is not None
    lam, rule = np.zeros((9, 1)), Standard(max_steps=3, gradient=0)
    order = BatchOrder(ROOT, range(9))
    found = train_fused(parts, start, lam, rule, order)
    expected = train_batched(case.objective, start, lam, optimizer, rule, order)
    assert {Stop.OVERFLOW, Stop.STEPS} == set(expected.stop)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("name", ["momentum", "adam", "adam, batches"])
def test_every_member_has_its_own_step_size_and_strength(name: str) -> None:
    case, members = CASES[name], 13
    parts = fused_parts(case.objective, case.optimizer)
    assert parts is not None
    start, lam = case.start(members), case.lam(members)
    rates = np.geomspace(1e-5, 1e-2, members)
    keys = batch_keys(parts, BatchOrder(ROOT, range(members)), members)
    found = np.zeros_like(start)
    results = Results(found, np.zeros(members, np.int64), np.zeros(members, np.int64))
    queue = Queue(start, np.zeros((members, 0)) if lam is None else lam, rates, keys)
    tables, rule = parts.tables(20), Rule(20, 0.0, 0.0)
    trainer(parts.scheme)(queue, parts.points, parts.widths, parts.net, tables, rule, results)
    assert [STOPS[code] for code in results.stop] == [Stop.STEPS] * members
    for s in range(members):
        own = replace(case, optimizer=replace(case.optimizer, lr=float(rates[s])))
        alone = own.train(Standard(max_steps=20, gradient=0), start, [s])
        assert np.array_equal(alone.params[0], found[s])


def test_nobody_to_train_is_an_empty_ending() -> None:
    case = CASES["adam"]
    found = case.train(Standard(), case.start(3), slice(0))
    assert found.params.shape == (0, case.objective.n_params)


MLP, TANH = Mlp(3), Mlp((3, 3), Choice("tanh"))


@pytest.mark.parametrize(
    ("model", "loss", "optimizer", "dtype", "expected"),
    [
        (MLP, HingePower(), Adam(), torch.float64, "fused"),
        (TANH, HingePower(4.0), Momentum(0.1, batch_size=3), torch.float64, "fused"),
        (Mlp((64, 64, 64, 64)), Squared(), GradientDescent(0.1), torch.float64, "fused"),
        (Mlp((2, 2, 2, 2, 2)), Squared(), Adam(), torch.float64, "torch"),
        (Mlp(65), Squared(), Adam(), torch.float64, "torch"),
        (MLP, HingePower(3.5), Adam(), torch.float64, "torch"),
        (MLP, HingePower(), Lbfgs(), torch.float64, "torch"),
        (MLP, HingePower(), Adam(), torch.float32, "torch"),
    ],
)
def test_the_trainer_follows_from_the_configuration(
    model: Mlp, loss: Loss, optimizer: Optimizer, dtype: torch.dtype, expected: str
) -> None:
    data = Data(np.ones((4, 2)), np.ones(4))
    f = build_objective(data, model, ExpSkip(), loss, Augment(), dtype=dtype)
    assert trainer_of(f, optimizer) == expected
