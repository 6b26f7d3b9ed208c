"""Learning-rate schedules: their factors by hand, when each counts, and what is refused.

That both trainers step alike under a schedule is in `test_fused_training`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import sweep.training  # noqa: F401  (fills the registries)
from sweep.errors import UserError
from sweep.models.augmentations import NoAugmentation
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.registry import Choice
from sweep.training.base import OPTIMIZERS, Standard
from sweep.training.batched import train_batched
from sweep.training.optimizers import GradientDescent
from sweep.training.schedules import SCHEDULES

ROOT_HALF = math.sqrt(0.5)
#: Per schedule settings, updates applied, and the factors by hand.
BY_HAND: dict[str, tuple[dict[str, Any], list[int], list[float]]] = {
    "constant": ({}, [0, 1, 10**9], [1, 1, 1]),
    # Cosines of 0, π/4, π/3, π/2, 2π/3, π; then it stays at `final`.
    "cosine": (
        {"steps": 12, "final": 0.2},
        [0, 3, 4, 6, 8, 12, 13, 10**9],
        [1, 0.6 + 0.4 * ROOT_HALF, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2],
    ),
    "step": (
        {"every": 3, "factor_per_step": 0.5},
        [0, 1, 2, 3, 5, 6, 9, 30],
        [1, 1, 1, 0.5, 0.5, 0.25, 0.125, 2**-10],
    ),
    "exponential": (
        {"half_life": 4.0},
        [0, 1, 2, 4, 8, 40],
        [1, math.sqrt(ROOT_HALF), ROOT_HALF, 0.5, 0.25, 2**-10],
    ),
}


def test_every_schedule_is_here() -> None:
    assert sorted(BY_HAND) == SCHEDULES.names()


@pytest.mark.parametrize("name", BY_HAND)
def test_factors_by_hand(name: str) -> None:
    settings, taken, expected = BY_HAND[name]
    schedule = SCHEDULES.build(Choice(name, settings))
    found = schedule.factor(np.array(taken))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert np.array_equal(schedule.factor(np.array(taken)[:, None])[:, 0], found)


def test_defaults_by_hand() -> None:
    to_zero = SCHEDULES.build(Choice("cosine", {"steps": 2})).factor(np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(to_zero, [1, 0.5, 0, 0], rtol=1e-15)
    tenths = SCHEDULES.build(Choice("step", {"every": 1})).factor(np.array([0, 1, 2]))
    np.testing.assert_allclose(tenths, [1, 0.1, 0.01], rtol=1e-15)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_factors_bits_do_not_depend_on_its_neighbours(name: str) -> None:
    """The fused trainer asks for 0 … max_steps − 1 at once, torch for every lane's own t."""
    schedule = SCHEDULES.build(Choice(name, BY_HAND[name][0]))
    t = np.arange(3000)
    whole = schedule.factor(t)
    for length in [*range(1, 66), 1000, 2999]:
        assert np.array_equal(schedule.factor(t[:length]), whole[:length])
        assert np.array_equal(schedule.factor(t[length - 1 :]), whole[length - 1 :])
    order = np.random.default_rng(0).permutation(t)
    assert np.array_equal(schedule.factor(order), whole[order])


class Bowl:
    """F = θ²/2: an update with step size a takes θ to (1 − a)·θ."""

    n_params = 1
    lower_bound: float | None = 0.0
    digest = "bowl"

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        """θ²/2."""
        return theta[0].square() / 2


@pytest.mark.parametrize("name", BY_HAND)
def test_an_update_takes_the_factor_of_those_before_it(name: str) -> None:
    settings, *_ = BY_HAND[name]
    optimizer = GradientDescent(lr=0.3, schedule=Choice(name, settings))
    f = build_objective(Bowl(), Mlp(1), NoAugmentation(), HingePower(), NoRegularizer())
    start = np.array([[2.0], [-1.0]])
    factor = SCHEDULES.build(Choice(name, settings)).factor(np.arange(15))
    for steps in (1, 2, 15):
        found = train_batched(f, start, None, optimizer, Standard(max_steps=steps, gradient=0))
        expected = start * np.prod(1 - 0.3 * factor[:steps])
        np.testing.assert_allclose(found.params, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ("cosin", r"did you mean 'cosine'\?"),
        ("cosine", r"optimizer\.schedule\.steps is missing: it has no default\."),
        ({"name": "cosine", "steps": 0}, r"optimizer\.schedule\.steps is 0: a whole number ≥ 1"),
        ({"name": "cosine", "steps": 1.5}, r"optimizer\.schedule\.steps is 1\.5: a whole number"),
        ({"name": "cosine", "steps": 9, "final": 2}, r"optimizer\.schedule\.final is 2\.0: .*0, 1"),
        ({"name": "cosine", "steps": 9, "final": -0.1}, r"optimizer\.schedule\.final is -0\.1"),
        ("step", r"optimizer\.schedule\.every is missing"),
        ({"name": "step", "every": -1}, r"optimizer\.schedule\.every is -1: a whole number ≥ 1"),
        (
            {"name": "step", "every": 5, "factor_per_step": 0},
            r"optimizer\.schedule\.factor_per_step is 0\.0: a number in \(0, 1\]",
        ),
        (
            {"name": "step", "every": 5, "factor_per_step": 1.1},
            r"optimizer\.schedule\.factor_per_step is 1\.1",
        ),
        ("exponential", r"optimizer\.schedule\.half_life is missing"),
        (
            {"name": "exponential", "half_life": 0},
            r"optimizer\.schedule\.half_life is 0\.0: a finite number > 0",
        ),
        (
            {"name": "exponential", "half_life": math.inf},
            r"optimizer\.schedule\.half_life is inf: a finite number > 0",
        ),
        ({"name": "constant", "steps": 5}, r"optimizer\.schedule setting 'steps'"),
        (5, r"optimizer\.schedule is 5: give a name"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(schedule: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refusal:
        OPTIMIZERS.build(Choice("adam", {"schedule": schedule}))
    said = str(refusal.value)
    assert "\n" not in said
    assert said.endswith((".", "?"))
    assert ". " not in said
