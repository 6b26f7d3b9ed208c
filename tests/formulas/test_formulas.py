"""Every formula's derivatives against autograd and differences; every backend against numpy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from sweep.formulas import primitives
from sweep.formulas.activations import ACTIVATION_FORMULAS, EXPONENTIAL, ActivationFormula
from sweep.formulas.binding import bind
from sweep.formulas.losses import LOSS_FORMULAS, LossFormula
from sweep.kernels import plain
from sweep.kernels.memory import load, store
from sweep.kernels.vectors import LANES
from sweep.models.activations import ACTIVATIONS
from sweep.models.losses import LOSSES
from sweep.models.torch_primitives import TORCH
from sweep.training.fused.build import VECTORS

SETTINGS: dict[str, list[tuple[float, ...]]] = {
    "leaky_relu": [(0.01,), (-0.5,), (0.0,), (1.0,)],
    "two_piece": [(0.0, 1.0), (-0.5, 2.0), (1.5, 0.0), (0.25, 0.25)],
    # Slopes ½, 2 and −1 that meet at −1 and ¾.
    "piecewise_linear": [(0.5, 0.0, -1.0, 2.0, 1.5, 0.75, -1.0, 3.75)],
    "hinge_power": [(3,), (4,), (3.5,), (10,)],
}
ACTIVATION_CASES = [
    pytest.param(formula, settings, id=f"{name}{settings}")
    for name, formula in [*ACTIVATION_FORMULAS.items(), ("exponential", EXPONENTIAL)]
    for settings in SETTINGS.get(name, [()])
]
LOSS_CASES = [
    pytest.param(formula, settings, id=f"{name}{settings}")
    for name, formula in LOSS_FORMULAS.items()
    for settings in SETTINGS.get(name, [()])
]
RNG = np.random.default_rng(0)
#: No kink: slopes there are a convention, tested apart.
Z = np.concatenate([RNG.normal(size=60) * 3, RNG.uniform(-30, 30, size=64), [-1.5, -1e-9, 1e-9, 2]])
Z = Z[: len(Z) // LANES * LANES]


def derivatives(value: Callable[..., Any], z: np.ndarray) -> tuple[np.ndarray, ...]:
    """The function and its first two derivatives by autograd."""
    point = torch.tensor(z, requires_grad=True)
    zero = 0 * point * point  # a linear function has no graph of its own
    found = value(point) + zero
    (slope,) = torch.autograd.grad(found.sum(), point, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), point)
    return found.detach().numpy(), slope.detach().numpy(), bend.numpy()


def of(formula: ActivationFormula | LossFormula, names: dict[str, Any]) -> list[Callable[..., Any]]:
    """Value, slope and second derivative on a backend."""
    second = formula.bend if isinstance(formula, ActivationFormula) else formula.curvature
    return [bind(f, names) for f in (formula.value, formula.slope, second)]


def with_output(formula: Any, settings: tuple[float, ...], names: dict[str, Any]) -> Any:
    """The same as functions of z alone."""
    value, slope, second = of(formula, names)
    if isinstance(formula, LossFormula):
        return [lambda z, f=f: f(z, *settings) for f in (value, slope, second)]
    return [
        lambda z: value(z, *settings),
        *(lambda z, f=f: f(z, value(z, *settings), *settings) for f in (slope, second)),
    ]


@pytest.mark.parametrize(("formula", "settings"), [*ACTIVATION_CASES, *LOSS_CASES])
def test_derivatives_are_autograds_and_those_of_differences(
    formula: Any, settings: tuple[float, ...]
) -> None:
    on_numpy = with_output(formula, settings, vars(primitives))
    on_torch = with_output(formula, settings, TORCH)
    expected = derivatives(on_torch[0], Z)
    kinks = settings[2::3] if formula is ACTIVATION_FORMULAS["piecewise_linear"] else (0.0,)
    kinks = (-1.0, 1.0) if isinstance(formula, LossFormula) else kinks
    far = np.min([np.abs(Z - t) for t in kinks], axis=0) > 0.01
    for k, (f, here) in enumerate(zip(on_numpy, expected, strict=True)):
        size = np.abs(here).max()
        # 1 − h and 1 − h² lose what tanh and sigmoid have no digits for.
        np.testing.assert_allclose(f(Z), here, rtol=1e-12, atol=1e-15 * max(1.0, size))
        step = 1e-5 * np.maximum(1.0, np.abs(Z))
        if k < 2:
            difference = (f(Z + step) - f(Z - step)) / (2 * step)
            np.testing.assert_allclose(
                difference[far], expected[k + 1][far], rtol=1e-5, atol=1e-9 * max(1.0, size)
            )


@pytest.mark.parametrize(("formula", "settings"), [*ACTIVATION_CASES, *LOSS_CASES])
def test_torch_and_vectors_agree_with_numpy(formula: Any, settings: tuple[float, ...]) -> None:
    far = np.concatenate([Z, [0.0, -0.0, 200.0, -200.0, 700.0, -700.0, -1.0, 1e-300]])
    on_torch = with_output(formula, settings, TORCH)
    for k, f in enumerate(with_output(formula, settings, vars(primitives))):
        expected = f(far)
        size = np.abs(expected[: len(Z)]).max()
        found = on_torch[k](torch.tensor(far)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15 * max(1.0, size))
    if formula is ACTIVATION_FORMULAS["piecewise_linear"]:
        return  # not for kernels
    if all(float(c).is_integer() for c in settings) or isinstance(formula, ActivationFormula):
        for found, expected in zip(
            on_vectors(formula, settings, far),
            [f(far) for f in with_output(formula, settings, vars(primitives))],
            strict=True,
        ):
            size = np.abs(expected[: len(Z)]).max()
            np.testing.assert_allclose(found, expected, rtol=4e-15, atol=1e-15 * max(1.0, size))


def on_vectors(formula: Any, settings: tuple[float, ...], z: np.ndarray) -> list[np.ndarray]:
    inline = partial(njit, forceinline=True)
    value, slope, second = (inline(f) for f in of(formula, dict(VECTORS.names)))
    # Constants are known when compiled, as in a trainer's scheme.
    whole = tuple(int(c) if float(c).is_integer() else c for c in settings)
    constant, second_constant = (*whole, 0.0, 0.0)[:2]
    if isinstance(formula, LossFormula):
        body = _loss_with if whole else _loss
    else:
        body = (_activation, _activation_with, _activation_with_two)[len(whole)]
    names = {"value": value, "slope": slope, "second": second, "constant": constant}
    names["second_constant"] = second_constant
    rows = z.reshape(-1, LANES)
    results = np.zeros((3, *rows.shape))
    njit(error_model="numpy")(bind(body, names))(rows, results)
    return [row.ravel() for row in results]


def value(*arguments: Any) -> Any:
    """Bound by `on_vectors`, as the next three."""
    raise NotImplementedError


slope = second = value
constant = second_constant = 0.0


def _loss(z: Any, out: Any) -> None:
    for i in range(len(z)):
        at = load(z, i)
        store(out[0], i, value(at))
        store(out[1], i, slope(at))
        store(out[2], i, second(at))


def _loss_with(z: Any, out: Any) -> None:
    for i in range(len(z)):
        at = load(z, i)
        store(out[0], i, value(at, constant))
        store(out[1], i, slope(at, constant))
        store(out[2], i, second(at, constant))


def _activation(z: Any, out: Any) -> None:
    for i in range(len(z)):
        at = load(z, i)
        h = value(at)
        store(out[0], i, h)
        store(out[1], i, slope(at, h))
        store(out[2], i, second(at, h))


def _activation_with(z: Any, out: Any) -> None:
    for i in range(len(z)):
        at = load(z, i)
        h = value(at, constant)
        store(out[0], i, h)
        store(out[1], i, slope(at, h, constant))
        store(out[2], i, second(at, h, constant))


def _activation_with_two(z: Any, out: Any) -> None:
    for i in range(len(z)):
        at = load(z, i)
        h = value(at, constant, second_constant)
        store(out[0], i, h)
        store(out[1], i, slope(at, h, constant, second_constant))
        store(out[2], i, second(at, h, constant, second_constant))


@pytest.mark.parametrize(("formula", "settings"), ACTIVATION_CASES)
def test_by_output_means_that_z_may_be_forgotten(
    formula: ActivationFormula, settings: tuple[float, ...]
) -> None:
    z = np.concatenate([Z, [0.0, -0.0, 50.0, -50.0, 1e-300, -1e-300]])
    h = formula.value(z, *settings)
    same = np.array_equal(formula.slope(h, h, *settings), formula.slope(z, h, *settings))
    # Slopes ≥ 0 keep the sign too, but not every leaky slope does.
    keeping = {(0.01,), (0.0,), (1.0,), (0.0, 1.0), (0.25, 0.25)}
    assert same if formula.by_output else (not same or settings in keeping)


@pytest.mark.parametrize(("formula", "settings"), ACTIVATION_CASES)
def test_slopes_at_the_kink_are_torchs(
    formula: ActivationFormula, settings: tuple[float, ...]
) -> None:
    zero = np.zeros(1)
    value, slope, _ = derivatives(with_output(formula, settings, TORCH)[0], zero)
    h = formula.value(zero, *settings)
    assert np.allclose(h, value, rtol=1e-15)
    assert np.allclose(formula.slope(zero, h, *settings), slope, rtol=1e-15)


@pytest.mark.parametrize(
    ("registry", "formulas", "arguments"),
    [(ACTIVATIONS, ACTIVATION_FORMULAS, (1, 2, 2)), (LOSSES, LOSS_FORMULAS, (1, 1, 1))],
)
def test_every_entry_has_its_formula_and_every_formula_its_entry(
    registry: Any, formulas: dict[str, Any], arguments: tuple[int, ...]
) -> None:
    named = [name for name in registry.names() if hasattr(registry.entry(name), "formula")]
    assert {name: registry.entry(name).formula for name in named} == formulas
    for name, formula in formulas.items():
        if name == "piecewise_linear":
            continue
        constants = len(registry.entry(name)().settings)
        for function, own in zip(of(formula, {}), arguments, strict=True):
            assert len(inspect.signature(function).parameters) == own + constants
            # A trainer binds two constants.
            assert constants <= 2


def test_every_backend_offers_every_primitive() -> None:
    names = {
        name
        for name, f in vars(primitives).items()
        if inspect.isfunction(f) and f.__module__ == primitives.__name__
    }
    assert names == set(TORCH)
    assert names <= set(VECTORS.names)
    assert {"where", "sqrt"} <= set(vars(plain))


def test_a_bound_copy_leaves_the_original_alone() -> None:
    original = ACTIVATION_FORMULAS["tanh"].value
    copy = bind(original, {"tanh": lambda z: z + 1}, "__other")
    assert (copy(2.0), original(0.0)) == (3.0, 0.0)
    assert (copy.__code__.co_name, original.__code__.co_name) == ("hyperbolic__other", "hyperbolic")
