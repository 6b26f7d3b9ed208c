"""Initial parameters: the right law, and numbers that depend on (root, seed, purpose) alone."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.base import Augmentation
from sweep.models.initialisers import INITIALISERS, KaimingUniform, Normal, landscape_params
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.objective import build_objective
from sweep.models.regularizers import NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.seeds import member_streams, stream, stream_key

DATA = Data(np.zeros((4, 5)), np.array([1.0, -1, 1, -1]))
WIDTH = 8
LAWS = [name for name in INITIALISERS.names() if name != "constructed"]
BASE = WIDTH * 5 + WIDTH + WIDTH + 1


def initial(name: str, augmentation: Augmentation, seeds: range, root: int = 0) -> np.ndarray:
    settings = {"std": 0.3} if name == "normal" else {}
    objective = build_objective(DATA, Mlp(WIDTH), augmentation, HingePower(), NoRegularizer())
    return objective.initial(INITIALISERS.build(Choice(name, settings)), root, seeds)


def test_streams_member_by_member_are_the_streams_one_at_a_time() -> None:
    for seed, generator in enumerate(member_streams("initial", 3, range(50))):
        alone = stream("initial", 3, seed)
        assert np.array_equal(
            stream_key("initial", 3, seed), alone.bit_generator.state["state"]["key"]
        )
        # A half-used word and a half-used block must not reach the next member.
        assert generator.integers(2**32, dtype=np.uint32) == alone.integers(2**32, dtype=np.uint32)
        assert np.array_equal(generator.standard_normal(5), alone.standard_normal(5))


@pytest.mark.parametrize("name", LAWS)
def test_all_arms_of_a_seed_share_the_base_and_a_seed_its_numbers(name: str) -> None:
    plain = initial(name, NoAugmentation(), range(20))
    exp = initial(name, ExpSkip(), range(20))
    neuron = initial(name, ExtraNeuron(k=2), range(20))
    assert np.array_equal(exp[:, :BASE], plain)
    assert np.array_equal(neuron[:, :BASE], plain)
    assert np.array_equal(exp[:, BASE:], neuron[:, BASE : BASE + 7])
    assert np.array_equal(initial(name, ExpSkip(), range(7, 12)), exp[7:12])
    assert not np.array_equal(initial(name, NoAugmentation(), range(20), root=1), plain)


@pytest.mark.parametrize(
    ("name", "hidden", "bias", "output"),
    [
        ("kaiming_uniform", (1 / 15) ** 0.5, (1 / 15) ** 0.5, (1 / 24) ** 0.5),
        ("kaiming_normal", (2 / 5) ** 0.5, 0, (2 / 8) ** 0.5),
        ("xavier_uniform", (2 / 13) ** 0.5, 0, (2 / 9) ** 0.5),
        ("xavier_normal", (2 / 13) ** 0.5, 0, (2 / 9) ** 0.5),
        ("normal", 0.3, 0.3, 0.3),
    ],
)
def test_standard_deviations_are_those_of_the_law(
    name: str, hidden: float, bias: float, output: float
) -> None:
    theta = initial(name, ExpSkip(), range(3000))
    # 24,000 and more numbers: three standard errors of a standard deviation are below 2 %.
    parts = theta[:, : 5 * WIDTH], theta[:, 5 * WIDTH : 6 * WIDTH], theta[:, 6 * WIDTH : 7 * WIDTH]
    for part, std in zip(parts, (hidden, bias, output), strict=True):
        assert np.std(part) == pytest.approx(std, rel=0.02)
        assert abs(np.mean(part)) <= 0.02 * max(std, 1e-9)
    a, w, b = theta[:, BASE], theta[:, BASE + 1 : -1], theta[:, -1]
    assert np.std(a) == pytest.approx(0.1, rel=0.05)
    assert np.std(w) == pytest.approx(5**-0.5, rel=0.03)
    assert not b.any()


def test_uniform_laws_keep_their_bounds() -> None:
    theta = initial("kaiming_uniform", NoAugmentation(), range(500))
    assert 0.99 * 5**-0.5 < np.abs(theta[:, : 6 * WIDTH]).max() <= 5**-0.5


def test_a_landscape_starts_normal() -> None:
    found = landscape_params(Normal(std=2.0), 4, 0, range(2000))
    assert np.std(found) == pytest.approx(2, rel=0.03)
    assert np.array_equal(landscape_params(KaimingUniform(), 4, 0, range(2000)), found / 2)
