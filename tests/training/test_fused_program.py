"""F and ∇F of the fused program: in numpy against autograd, in registers against numpy.

Over all entries of the registries that it serves; in registers all but a few of them are `slow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from sweep.formulas import primitives
from sweep.kernels import plain
from sweep.kernels.memory import store
from sweep.kernels.plain import LANES, TILE
from sweep.models.activations import ACTIVATIONS
from sweep.models.augmentations import ExpSkip, ExtraNeuron, Monomial, NoAugmentation
from sweep.models.base import AUGMENTATIONS
from sweep.models.layered import ExpPerLayer
from sweep.models.losses import LOSSES, CrossEntropy, HingePower, Logistic, Loss, VectorLoss
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.fused.build import (
    ARITHMETIC,
    MEMORY,
    PRIMITIVES,
    VECTORS,
    Machine,
    Scheme,
    loop,
)
from sweep.training.fused.scheme import FusedParts, fused_parts
from sweep.training.optimizers import GradientDescent

#: Settings besides the default ones, by entry.
MORE: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": -0.5}],
    "two_piece": [{"negative_slope": -0.5, "positive_slope": 2.0}],
    "hinge_power": [{"p": 5}],
}


def choices(name: str) -> list[Choice]:
    return [Choice(name, settings) for settings in [{}, *MORE.get(name, [])]]


MET = [
    activation
    for name in ACTIVATIONS.names()
    if ACTIVATIONS.entry(name).compiles
    for activation in choices(name)
]
UNIVARIATE: list[Loss] = [
    loss
    for name in LOSSES.names()
    for loss in map(LOSSES.build, choices(name))
    if isinstance(loss, Loss)
]
SEVERAL: list[VectorLoss] = [
    loss
    for name in LOSSES.names()
    for loss in map(LOSSES.build, choices(name))
    if isinstance(loss, VectorLoss)
]
ADDED = [
    NoAugmentation(),
    ExpSkip(),
    ExtraNeuron(),
    ExtraNeuron(2),
    *map(Monomial, (1, 2, 3, 6)),
    ExpPerLayer(),
]
WIDTHS = (3, 2, 4, 2)
RNG = np.random.default_rng(6)
LAM = RNG.uniform(0.1, 1, size=LANES)

_TWIN = {
    name: getattr(plain, name, None) or getattr(primitives, name)
    for name in f"{MEMORY} {ARITHMETIC} {PRIMITIVES}".split()
}
NUMPY = Machine(_TWIN, lambda function: function, lambda function: function)


def served(
    activation: Choice, loss: Loss, augmentation: Any, decay: float, depth: int, n: int = 6
) -> FusedParts:
    data = Data(RNG.normal(size=(n, 3)), np.sign(RNG.normal(size=n)))
    regularizer = Augment() if augmentation.penalised else NoRegularizer()
    model = Mlp(WIDTHS[:depth], activation)
    objective = build_objective(data, model, augmentation, loss, regularizer, decay)
    parts = fused_parts(objective, GradientDescent(lr=0.1))
    assert parts is not None
    return parts


def arguments(parts: FusedParts, theta: np.ndarray) -> list[Any]:
    """Of `evaluate`; the gradient, last, is what it leaves behind."""
    net, points = parts.net, parts.points
    h, s, delta = (np.full((net.n_units * TILE, LANES), np.nan) for _ in range(3))
    grad = np.full_like(theta, np.nan)
    rows = [theta, LAM[None], points.x, points.y, points.weights]
    return [*rows, parts.widths, net, h, s, delta, grad]


def of_several_outputs(
    activation: Choice, loss: VectorLoss, decay: float, depth: int, outputs: int
) -> FusedParts:
    n = depth + 3
    classes = np.eye(outputs)[RNG.integers(outputs, size=n)]
    data = Data(
        RNG.normal(size=(n, 3)), classes if loss.classifies else RNG.normal(size=classes.shape)
    )
    model = Mlp(WIDTHS[:depth], activation, outputs)
    plain_arm = (NoAugmentation(), loss, NoRegularizer())
    objective = build_objective(data, model, *plain_arm, decay)
    parts = fused_parts(objective, GradientDescent(lr=0.1))
    assert parts is not None
    return parts


Evaluation = Callable[[FusedParts, np.ndarray], tuple[np.ndarray, np.ndarray]]


def in_numpy(parts: FusedParts, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    given = arguments(parts, theta)
    with np.errstate(all="ignore"):
        value = loop(parts.scheme, NUMPY)["evaluate"](*given)
    return value, given[-1]


@njit(error_model="numpy")
def call(
    evaluate: Any,
    theta: Any,
    lam: Any,
    x: Any,
    y: Any,
    weights: Any,
    widths: Any,
    net: Any,
    h: Any,
    s: Any,
    delta: Any,
    grad: Any,
    value: Any,
) -> None:
    store(value, 0, evaluate(theta, lam, x, y, weights, widths, net, h, s, delta, grad))


COMPILED: dict[Scheme, Any] = {}


def compiled_call(scheme: Scheme, given: list[Any]) -> np.ndarray:
    """F; given[-1] is ∇F afterwards."""
    if scheme not in COMPILED:
        COMPILED[scheme] = loop(scheme, VECTORS)["evaluate"]
    value = np.zeros((1, LANES))
    call(COMPILED[scheme], *given, value)
    return value[0]


def in_registers(parts: FusedParts, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    given = arguments(parts, theta)
    value = compiled_call(parts.scheme, given)
    return value, given[-1]


def in_torch(parts: FusedParts, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value, grad = parts.objective.value_and_grad(torch.tensor(theta), torch.tensor(LAM[None]))
    return value.numpy(), grad.numpy()


def assert_agree(one: Evaluation, other: Evaluation, parts: FusedParts) -> None:
    # Exponentials of exponentials soon overflow, and those of far outputs lose digits.
    size = 0.3 if parts.scheme.neuron == "layers" or parts.net.n_outputs > 1 else 1.0
    theta = size * RNG.normal(size=(parts.net.n_params, LANES))
    value, grad = one(parts, theta)
    expected, slope = other(parts, theta)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(grad, slope, rtol=1e-12, atol=1e-13 * np.abs(slope).max())


@pytest.mark.parametrize("activation", MET, ids=repr)
def test_the_program_in_numpy_is_autograds_gradient(activation: Choice) -> None:
    for loss, augmentation, depth in product(UNIVARIATE, ADDED, (1, 2, 3, 4)):
        decay = 0.0 if depth % 2 else 0.03
        assert_agree(in_numpy, in_torch, served(activation, loss, augmentation, decay, depth))


@pytest.mark.parametrize("activation", MET, ids=repr)
def test_with_several_outputs_too(activation: Choice) -> None:
    for loss, depth, outputs in product(SEVERAL, (1, 2, 3, 4), (1, 2, 5)):
        decay = 0.0 if depth % 2 else 0.03
        parts = of_several_outputs(activation, loss, decay, depth, outputs)
        assert_agree(in_numpy, in_torch, parts)


def test_every_augmentation_is_met() -> None:
    assert {*map(type, ADDED)} == {AUGMENTATIONS.entry(name) for name in AUGMENTATIONS.names()}


#: What is compiled with one another, and what by itself.
KINDS: dict[str, list[Any]] = {
    "exp": [NoAugmentation(), ExpSkip()],
    "own": [ExtraNeuron(), ExtraNeuron(2)],
    "monomial": [Monomial(1), Monomial(4)],
    "layers": [ExpPerLayer()],
}


def shapes(activation: Choice, loss: Loss, kind: str) -> Iterator[FusedParts]:
    """Everything of a kind: depths, added neurons, decay, and numbers of points."""
    added = KINDS[kind]
    for augmentation, depth, decay in product(added, (1, 2, 3, 4), (0.0, 0.03)):
        yield served(activation, loss, augmentation, decay, depth, n=depth + 3)


#: Every way a formula is given its constants, and every kind of added neuron; the rest of the
#: product is `slow`.
CHOSEN = [
    (Choice("relu"), HingePower(), "exp"),
    (Choice("tanh"), HingePower(5), "own"),
    (Choice("two_piece", {"negative_slope": -0.5, "positive_slope": 2.0}), Logistic(), "own"),
    (Choice("relu"), HingePower(), "monomial"),
    (Choice("tanh"), HingePower(), "layers"),
]
ALL = product(MET, UNIVARIATE, KINDS)
REST = [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in CHOSEN]


@pytest.mark.parametrize(("activation", "loss", "kind"), [*CHOSEN, *REST], ids=repr)
def test_the_program_in_registers_is_the_one_in_numpy(
    activation: Choice, loss: Loss, kind: str
) -> None:
    for parts in shapes(activation, loss, kind):
        assert_agree(in_registers, in_numpy, parts)


OUTPUTS = [(Choice("relu"), loss) for loss in SEVERAL]
OTHERS = [
    pytest.param(*case, marks=pytest.mark.slow)
    for case in product(MET, SEVERAL)
    if case not in OUTPUTS
]


@pytest.mark.parametrize(("activation", "loss"), [*OUTPUTS, *OTHERS], ids=repr)
def test_several_outputs_in_registers_are_those_in_numpy(
    activation: Choice, loss: VectorLoss
) -> None:
    for decay, depth, outputs in product((0.0, 0.03), (1, 2, 3, 4), (1, 2, 5)):
        parts = of_several_outputs(activation, loss, decay, depth, outputs)
        assert_agree(in_registers, in_numpy, parts)


def test_far_outputs_have_a_cross_entropy() -> None:
    # The largest output decides however large it is: nothing overflows before the outputs do.
    parts = of_several_outputs(Choice("identity"), CrossEntropy(), 0.0, 1, 3)
    theta = 1e150 * RNG.normal(size=(parts.net.n_params, LANES))
    theta[:, 0] *= 1e-130
    for path in (in_registers, in_numpy):
        value, grad = path(parts, theta)
        expected, slope = in_torch(parts, theta)
        np.testing.assert_allclose(value, expected, rtol=1e-13)
        np.testing.assert_allclose(grad, slope, rtol=1e-12)


def test_what_is_not_finite_is_so_in_every_path() -> None:
    parts = served(Choice("relu"), HingePower(), ExpSkip(), 0.0, 1)
    theta = RNG.normal(size=(parts.net.n_params, LANES))
    theta[0, 1], theta[-1, 2], theta[-1, 3], theta[3, 4] = np.nan, 1e3, -np.inf, 1e300
    finite = []
    for path in (in_registers, in_numpy, in_torch):
        value, grad = path(parts, theta)
        finite.append(np.isfinite(value) & np.isfinite(grad).all(axis=0))
    assert np.array_equal(finite[0], finite[1])
    assert np.array_equal(finite[0], finite[2])
    assert finite[0].tolist()[:3] == [True, False, False]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_padding_never_counts(n: int) -> None:
    parts = served(Choice("relu"), HingePower(), ExpSkip(), 0.03, 2, n)
    theta = RNG.normal(size=(parts.net.n_params, LANES))
    given, other = arguments(parts, theta), arguments(parts, theta)
    x, y = other[2].reshape(3, -1), other[3]
    x[:, n:], y[n:] = RNG.normal(size=x[:, n:].shape), -y[n:]
    assert np.array_equal(compiled_call(parts.scheme, given), compiled_call(parts.scheme, other))
    assert np.array_equal(given[-1], other[-1])
