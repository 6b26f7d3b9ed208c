"""A user's own torch module, offered by a small package that is really found by importlib."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sweep.errors import UserError
from sweep.models.augmentations import ExpSkip, ExtraNeuron, NoAugmentation
from sweep.models.base import MODELS, Augmentation
from sweep.models.initialisers import KaimingUniform
from sweep.models.losses import HingePower
from sweep.models.mlp import Mlp
from sweep.models.module import Module, ModuleNetwork, source_identity
from sweep.models.objective import DataObjective, build_objective
from sweep.models.regularizers import Augment, NoRegularizer
from sweep.problems.base import Data
from sweep.registry import Choice
from sweep.training.base import Standard
from sweep.training.batched import train_batched as train
from sweep.training.optimizers import Adam

SOURCE = """
import torch
from torch import nn

def two_layers(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 3), nn.ReLU(), nn.Linear(3, 1))

class Product(nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.inner = nn.Parameter(torch.zeros(n_inputs, 7))
        self.norm = nn.LayerNorm(7)
        self.outer = nn.Linear(7, 1)

    def forward(self, x):
        return self.outer(torch.tanh(self.norm(x @ self.inner))).squeeze(-1)

def with_buffer(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 1), nn.BatchNorm1d(1))

def two_outputs(n_inputs):
    return nn.Linear(n_inputs, 2)

def no_module(n_inputs):
    return "a string"
"""
RNG = np.random.default_rng(0)
DATA = Data(RNG.normal(size=(97, 13)), np.sign(RNG.normal(size=97)))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package 'tinynets' 1.2 with five factories."""
    folder = tmp_path / "tinynets"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(SOURCE)
    info = tmp_path / "tinynets-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tinynets\nVersion: 1.2\n")
    names = ("two_layers", "Product", "with_buffer", "two_outputs", "no_module")
    lines = "\n".join(f"{name} = tinynets.nets:{name}" for name in names)
    (info / "entry_points.txt").write_text(f"[sweep.models]\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "tinynets"]:
        del sys.modules[name]


def objective(factory: str, added: Augmentation) -> DataObjective:
    regularizer = Augment() if added.penalised else NoRegularizer()
    built = build_objective(DATA, Module(factory), added, HingePower(), regularizer)
    assert isinstance(built, DataObjective)
    return built


def test_a_module_equals_the_same_network_of_our_own(package: Path) -> None:
    ours = build_objective(DATA, Mlp(3), ExpSkip(), HingePower(), Augment())
    theirs = objective("two_layers", ExpSkip())
    theta, lam = RNG.normal(size=(5, ours.n_params)), RNG.uniform(size=(5, 1))
    a, b = ours.measure(theta, lam), theirs.measure(theta, lam)
    np.testing.assert_allclose(a.objective, b.objective, rtol=1e-13)
    np.testing.assert_allclose(a.grad_norm, b.grad_norm, rtol=1e-12)
    assert b.dead_units is None
    seeds = range(4)
    assert np.array_equal(
        ours.initial(KaimingUniform(), 0, seeds), theirs.initial(KaimingUniform(), 0, seeds)
    )


@pytest.mark.parametrize(("factory", "movable"), [("two_layers", True), ("Product", False)])
def test_a_modules_members_are_the_same_bits_in_any_company(
    package: Path, factory: str, movable: bool
) -> None:
    built = objective(factory, NoAugmentation())
    assert isinstance(built.network, ModuleNetwork)
    assert built.network.movable == movable
    start = built.initial(KaimingUniform(), 0, range(70))
    rule = Standard(max_steps=5)
    together = train(built, start, None, Adam(), rule)
    backwards = train(built, start[::-1], None, Adam(), rule)
    alone = train(built, start[[67]], None, Adam(), rule)
    assert np.array_equal(together.params, backwards.params[::-1])
    assert np.array_equal(together.params[67], alone.params[0])
    assert not np.array_equal(together.params, start)


def test_a_normalisation_layer_starts_at_one(package: Path) -> None:
    network = Module("Product").network(13)
    pieces = {piece.name: piece for piece in network.pieces}
    start = objective("Product", NoAugmentation()).initial(KaimingUniform(), 0, range(2))
    position = pieces["inner"].size
    assert pieces["norm.weight"].role == "gain"
    assert (start[:, position : position + 7] == 1).all()
    assert pieces["outer.bias"].fan_in == 7


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("two_layer", "did you mean 'two_layers'"),
        ("with_buffer", "has buffers"),
        ("two_outputs", r"\(2, 2\)"),
        ("no_module", "returned str"),
    ],
)
def test_a_module_that_cannot_serve_is_refused(package: Path, factory: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        MODELS.build(Choice("module", {"factory": factory})).network(13)


def test_an_extra_neuron_needs_a_known_activation(package: Path) -> None:
    with pytest.raises(UserError, match="activation"):
        objective("two_layers", ExtraNeuron())


def test_other_code_or_another_version_is_another_identity(package: Path) -> None:
    before = source_identity("two_layers")
    assert before["package"] == "tinynets" and before["version"] == "1.2"
    assert source_identity("Product") == before
    (package / "nets.py").write_text(SOURCE + "# changed\n")
    assert source_identity("two_layers")["source"] != before["source"]


def test_without_such_packages_the_sentence_says_so() -> None:
    with pytest.raises(UserError, match=r"sweep\.models"):
        Module("two_layers").network(2)
