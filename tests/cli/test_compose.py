from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sweep.cli.compose import compose, composed_tree
from sweep.cli.library import packaged_conf
from sweep.errors import UserError
from sweep.seeds import stream
from sweep.study.composed import Composed


def axes(*words: str, own: Path | None = None) -> list[dict[str, Any]]:
    return [dict(cell.axes) for cell in compose(words, own).cells]


def study(folder: Path, text: str, name: str = "mine") -> Path:
    (folder / "study").mkdir(exist_ok=True)
    body = f"# @package _global_\nname: {name}\nbaseline: plain\narms: {{plain: {{}}}}\n{text}"
    (folder / "study" / f"{name}.yaml").write_text(body, encoding="utf-8")
    return folder


def test_without_a_grid_there_is_one_cell() -> None:
    found = compose(["study=quick"])
    assert [dict(cell.axes) for cell in found.cells] == [{}]
    assert found.cells[0].settings["problem"]["name"] == "xor"
    assert found.cells[0].settings["stopping"]["max_steps"] == 1000


def test_a_command_line_axis_multiplies_every_mapping_of_the_grid() -> None:
    assert axes("optimizer.lr=0.1,0.2") == [
        {"problem": "iris_pair", "model.width": 2, "optimizer.lr": 0.1},
        {"problem": "iris_pair", "model.width": 2, "optimizer.lr": 0.2},
        {"problem": "two_moons", "model.width": 3, "optimizer.lr": 0.1},
        {"problem": "two_moons", "model.width": 3, "optimizer.lr": 0.2},
    ]


@pytest.mark.parametrize(
    "word",
    [
        "model.width=1,2,3",
        "model.width=range(1,4)",
        "model.width=choice(1,2,3)",
        "grid.model.width=[1,2,3]",
        "+grid.model.width=[1,2,3]",
        "grid={model.width: [1, 2, 3]}",
        "grid=[{model.width: [1, 2]}, {model.width: [2, 3]}]",
    ],
)
def test_all_ways_to_write_an_axis_agree(word: str) -> None:
    found = axes("study=quick", word)
    assert found == [{"model.width": 1}, {"model.width": 2}, {"model.width": 3}]


def test_a_plain_override_replaces_an_axis_and_equal_cells_are_merged() -> None:
    assert axes("problem=xor") == [
        {"problem": "xor", "model.width": 2},
        {"problem": "xor", "model.width": 3},
    ]
    assert axes("problem=xor", "model.width=4") == [{"problem": "xor", "model.width": 4}]


def test_a_group_axis_loads_the_options_and_takes_dotted_overrides() -> None:
    cells = compose(["study=quick", "problem=two_moons,random_labels", "problem.n=80"]).cells
    problems = [cell.settings["problem"] for cell in cells]
    assert [p["name"] for p in problems] == ["two_moons", "random_labels"]
    assert [p["n"] for p in problems] == [80, 80]
    assert "d" not in problems[0] and problems[1]["d"] == 2
    assert "noise" in problems[0] and "noise" not in problems[1]


def test_a_group_given_anew_keeps_the_axes_that_fit_it(tmp_path: Path) -> None:
    own = study(tmp_path, "grid: {problem: [two_moons], problem.n: [20, 40], model.width: [2]}")
    assert len(axes("study=mine", own=own)) == 2
    assert axes("study=mine", "problem=xor", own=own) == [{"problem": "xor", "model.width": 2}]
    kept = axes("study=mine", "problem=random_labels", own=own)
    assert [point["problem.n"] for point in kept] == [20, 40]
    given = axes("problem.n=20,30,40", "study=mine", "problem=random_labels", own=own)
    assert [point["problem.n"] for point in given] == [20, 30, 40]


def test_another_model_sheds_the_width_of_the_default_grid() -> None:
    assert axes("model=module", "model.factory=net") == [
        {"problem": "iris_pair"},
        {"problem": "two_moons"},
    ]
    assert len(axes("model=mlp")) == 2


def test_an_axis_that_only_one_mapping_has_is_filled_in_for_the_others(tmp_path: Path) -> None:
    own = study(tmp_path, "grid:\n  - {optimizer.lr: [0.5]}\n  - {loss: [squared, hinge_power]}")
    assert axes("study=mine", own=own) == [
        {"loss": "hinge_power", "optimizer.lr": 0.5},
        {"loss": "squared", "optimizer.lr": 0.01},
        {"loss": "hinge_power", "optimizer.lr": 0.01},
    ]


def test_an_override_below_an_axis_is_applied_to_each_of_its_values() -> None:
    law = "{{law: log_uniform, low: 0.1, high: {}}}"
    words = [f"arms.exp.lambda={law.format(1)},{law.format(2)}", "arms.exp.lambda.draws=3"]
    laws = [
        cell.settings["arms"]["exp"]["lambda"] for cell in compose(["study=quick", *words]).cells
    ]
    assert [(found["high"], found["draws"]) for found in laws] == [(1, 3), (2, 3)]


def test_a_sampled_axis_comes_from_the_grid_stream_and_its_prefix_stays() -> None:
    law = "grid={{optimizer.lr: {{law: log_uniform, low: 1e-3, high: 10, draws: {}}}}}"
    few = [a["optimizer.lr"] for a in axes("study=quick", law.format(3))]
    many = [a["optimizer.lr"] for a in axes("study=quick", law.format(5))]
    expected = 1e-3 * 1e4 ** stream("grid", 0, "optimizer.lr").random(5)
    np.testing.assert_allclose(many, expected, rtol=1e-11)
    assert many[:3] == few
    other = axes("study=quick", law.format(3), "seeds.root=1")
    assert [a["optimizer.lr"] for a in other] != few


def test_arms_can_be_added_changed_and_taken_away() -> None:
    words = ["study=quick", "+arms.two={augment: {name: extra_neuron, k: 2}}", "~arms.exp"]
    arms = compose([*words, "arms.plain.weight_decay=0.1"]).cells[0].settings["arms"]
    assert arms == {
        "plain": {"weight_decay": 0.1},
        "extra_neuron": {"augment": {"name": "extra_neuron", "k": 1}},
        "two": {"augment": {"name": "extra_neuron", "k": 2}},
    }
    assert list(compose(["study=quick", "arms={plain: {}}"]).cells[0].settings["arms"]) == ["plain"]


def test_a_named_mapping_replaces_and_a_bare_name_can_be_refined() -> None:
    words = ["study=quick", "arms.exp.lambda={law: fixed, value: 0.5}"]
    words += ["+arms.two.augment=extra_neuron", "arms.two.augment.k=2"]
    arms = compose(words).cells[0].settings["arms"]
    assert arms["exp"]["lambda"] == {"law": "fixed", "value": 0.5}
    assert arms["two"]["augment"] == {"name": "extra_neuron", "k": 2}


def test_interpolations_follow_overrides_and_axes() -> None:
    words = ["study=quick", "problem=two_moons", "problem.n=6,8", "model.width=${problem.n}"]
    cells = compose(words).cells
    assert [cell.settings["model"]["width"] for cell in cells] == [6, 8]


def test_running_settings_may_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    assert compose(["store.root=${oc.env:SCRATCH}/r"]).store["root"] == "/scratch/r"


def test_a_users_own_studies_and_options_are_found(tmp_path: Path) -> None:
    (tmp_path / "problem").mkdir()
    (tmp_path / "problem" / "tiny.yaml").write_text("defaults: [two_moons]\nn: 6\n")
    own = study(tmp_path, "grid: {problem: [tiny, xor]}")
    cells = compose(["study=mine"], own).cells
    assert [cell.settings["problem"]["name"] for cell in cells] == ["two_moons", "xor"]
    assert cells[0].settings["problem"]["n"] == 6
    assert [cell.axes["problem"] for cell in cells] == ["tiny", "xor"]


def test_a_study_may_set_what_it_also_varies_by_group(tmp_path: Path) -> None:
    own = study(tmp_path, "problem: {standardise: false}\ngrid: {problem: [xor, iris_pair]}")
    cells = compose(["study=mine"], own).cells
    assert [cell.settings["problem"]["standardise"] for cell in cells] == [False, False]


def test_the_resolved_config_is_json_and_reads_back() -> None:
    found = compose(["model.width=2,3", "problem=xor"])
    text = json.dumps(found.resolved)
    again = Composed.from_resolved(json.loads(text))
    assert again.resolved == found.resolved


def test_the_composed_tree_agrees_with_plain_hydra() -> None:
    words = ["problem=random_labels", "model.width=5", "arms.exp.lambda.draws=8"]
    with initialize_config_dir(str(packaged_conf()), version_base="1.3"):
        expected = hydra_compose("config", overrides=words)
    found = composed_tree(words)
    for key in ("problem", "model", "optimizer", "arms", "seeds", "compute"):
        assert found[key] == expected[key]


def test_an_outer_hydra_is_left_as_it_was() -> None:
    with initialize_config_dir(str(packaged_conf()), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        compose(["study=quick"])
        assert GlobalHydra.instance().hydra is outer


def test_a_broken_study_file_is_one_sentence(tmp_path: Path) -> None:
    own = study(tmp_path, "grid: {problem: [xor]\nseeds: 3: 4")
    with pytest.raises(UserError, match=r"cannot be composed: .*mine.yaml") as caught:
        compose(["study=mine"], own)
    assert "\n" not in str(caught.value)
