"""What changes a study's id, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli.compose import compose
from sweep.errors import UserError
from sweep.study.composed import CellSettings, Composed
from sweep.study.resolve import resolve

# XOR alone and one optimizer: quick to load.
BASE = ["study=quick"]


def identity(*words: str) -> str:
    return resolve(compose([*BASE, *words]))[0].id


@pytest.fixture(scope="module")
def base() -> str:
    return identity()


@pytest.mark.parametrize(
    "words",
    [
        "name=other",
        "baseline=exp",
        "seeds.count=7",
        "seeds.first=100",
        "seeds.count=1e3",
        "compute=serial",
        "compute.block_size=13",
        "compute.workers=1",
        "store.root=elsewhere",
        "store.params=none",
        "tracking=none",
        "tracking.uri='http://localhost:5000'",
        # defaults given explicitly
        "optimizer.lr=0.01",
        "optimizer.lr=1e-2",
        "optimizer.schedule={name:constant}",
        "loss.p=3",
        "loss.p=3.0",
        "model.width=2",
        "model.activation={name:relu}",
        "arms.plain.weight_decay=0",
        "arms.plain.augment=none",
        "arms.plain={augment:{name:none},regularizer:{name:none},weight_decay:0.0,lambda:null}",
        "arms.exp.augment=exp_skip",
        "arms.extra_neuron.augment=extra_neuron",
        "problem=xor",
        "problem.standardise=true",
        "init.augment_scale=0.1",
    ],
)
def test_does_not_change_the_id(words: str, base: str) -> None:
    assert identity(words) == base


@pytest.mark.parametrize(
    "words",
    [
        "seeds.root=1",
        "optimizer.lr=0.02",
        "optimizer=gd",
        "optimizer.schedule={name:cosine,steps:1000}",
        "optimizer.schedule={name:step,every:100}",
        "loss.p=4",
        "loss=squared",
        "init=xavier_uniform",
        "stopping.max_steps=1001",
        "model.width=3",
        "model.width=[2]",
        "model.activation=tanh",
        "problem=two_moons",
        "problem.standardise=false",
        "arms.exp.lambda.draws=3",
        "arms.exp.lambda.high=2",
        "arms.exp.lambda={law:uniform_shared,high:1,draws:2}",
        "arms.plain.weight_decay=0.1",
        "arms.extra_neuron.augment.k=2",
        "~arms.extra_neuron",
        "+arms.more={}",
        "model.width=2,3",
        "optimizer.lr=0.01,0.02",
    ],
)
def test_changes_the_id(words: str, base: str) -> None:
    assert identity(words) != base


def test_a_schedule_is_known_by_its_settings_however_they_are_written() -> None:
    plain = identity("optimizer.schedule={name:cosine,steps:1000}")
    assert identity("optimizer.schedule={name:cosine,steps:1e3,final:0}") == plain
    assert identity("optimizer.schedule={name:cosine,steps:1000,final:0.1}") != plain
    assert identity("optimizer.schedule={name:cosine,steps:999}") != plain


def test_the_order_of_cells_and_arms_does_not_matter() -> None:
    assert identity("model.width=2,3") == identity("model.width=3,2")
    forward = "arms={plain:{},exp:{augment:exp_skip}}"
    backward = "arms={exp:{augment:exp_skip},plain:{}}"
    assert identity(forward) == identity(backward)


def test_equal_cells_with_other_columns_are_other_studies(base: str) -> None:
    # One folder has one schema: a grid key is a column, a plain setting is none.
    assert identity("grid.optimizer.lr=[0.01]") != base
    assert identity("grid.model.width=[2]") == base


def test_a_table_is_known_by_its_numbers_and_not_by_its_path(tmp_path: Path) -> None:
    for name, last in (("one", 0), ("two", 0), ("other", 1)):
        text = f"a,b,target\n0,1,0\n1,0,1\n1,1,{last}\n"
        (tmp_path / f"{name}.csv").write_text(text)
    one, two, other = (
        identity("problem=table", f"problem.path={tmp_path / name}.csv")
        for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_a_relative_table_path_is_made_absolute_for_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("a,target\n0,0\n1,1\n2,1\n")
    monkeypatch.chdir(tmp_path)
    cell = resolve(compose([*BASE, "problem=table", "problem.path=t.csv"]))[0].cells[0]
    assert cell.problem.settings["path"] == str(tmp_path / "t.csv")


def test_axes_are_typed_and_equal_cells_merged() -> None:
    study = resolve(compose([*BASE, "model.width=2,2.0,3", "optimizer.lr=1,1.0"]))[0]
    assert [dict(cell.axes) for cell in study.cells] == [
        {"model.width": 2, "optimizer.lr": 1.0},
        {"model.width": 3, "optimizer.lr": 1.0},
    ]
    assert all(isinstance(cell.axes["optimizer.lr"], float) for cell in study.cells)
    activations = resolve(compose([*BASE, "model.activation=tanh,relu"]))[0].cells
    assert [cell.axes["model.activation"] for cell in activations] == ["tanh", "relu"]


def test_the_stored_config_gives_the_same_study() -> None:
    composed = compose([*BASE, "model.width=2,3", "seeds.count=5"])
    assert resolve(Composed.from_resolved(composed.resolved)) == resolve(composed)


def test_settings_are_typed_and_complete() -> None:
    study, compute, store, tracking = resolve(compose([*BASE, "seeds.count=1e3", "optimizer.lr=1"]))
    assert (study.seeds.count, type(study.seeds.count)) == (1000, int)
    assert study.cells[0].optimizer.settings == {
        "lr": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "batch_size": None,
        "schedule": {"name": "constant"},
    }
    assert (compute.name, store.root, tracking.enabled) == ("local", "results", True)


def test_a_baseline_must_be_in_every_cell() -> None:
    composed = compose(BASE)
    first = composed.cells[0]
    other = CellSettings({}, {**first.settings, "arms": {"lonely": {}}})
    both = Composed.from_resolved({**composed.resolved, "cells": []})
    broken = Composed(**{**vars(both), "cells": (first, other)})
    with pytest.raises(UserError, match="baseline 'plain' is unknown: accepted are lonely"):
        resolve(broken)


def test_a_missing_group_is_named() -> None:
    composed = compose(BASE)
    settings = {k: v for k, v in composed.cells[0].settings.items() if k != "loss"}
    broken = Composed(**{**vars(composed), "cells": (CellSettings({}, settings),)})
    with pytest.raises(UserError, match="loss is missing"):
        resolve(broken)


def test_the_default_study_keeps_its_id() -> None:
    """Golden: a change here makes every stored default study a stranger to this release."""
    assert resolve(compose())[0].id == "a4c181067d99"


def test_a_users_module_is_known_by_its_version_and_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "identified_nets.py"
    source.write_text("import torch\n\n\ndef net(d):\n    return torch.nn.Linear(d, 1)\n")
    info = tmp_path / "identified_nets-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[sweep.models]\nidentified = identified_nets:net\n")
    metadata = "Metadata-Version: 2.1\nName: identified-nets\nVersion: {}\n"
    (info / "METADATA").write_text(metadata.format("1.0"))
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["model=module", "model.factory=identified", "~arms.extra_neuron"]

    first = identity(*words)
    assert identity(*words) == first
    (info / "METADATA").write_text(metadata.format("1.1"))
    second = identity(*words)
    source.write_text(source.read_text() + "# another word\n")
    assert len({first, second, identity(*words)}) == 3
