from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

import sweep
from sweep import registry
from sweep.cli import library as library_module
from sweep.cli.compose import TOP_LEVEL, compose
from sweep.cli.library import GROUPS, SCIENCE, Library, packaged_conf
from sweep.spec import Compute, Store, Tracking
from sweep.study.resolve import REGISTRIES, resolve

CONF = Path(sweep.__file__).parent.parent / "conf"
OPTIONS = [(group, option) for group in GROUPS for option in Library().options(group)]
SCIENTIFIC = [(group, option) for group, option in OPTIONS if group in SCIENCE]
STUDIES = Library().options("study")
RUNNING = {"compute": Compute, "tracking": Tracking}


@pytest.fixture
def installed_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The entry point of a package that is installed for this test."""
    site = tmp_path / "site"
    info = site / "toynets-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "toynets.py").write_text(
        "import torch\n\n\ndef tiny(n_inputs: int) -> torch.nn.Module:\n"
        "    return torch.nn.Sequential(torch.nn.Linear(n_inputs, 2), torch.nn.Tanh(),"
        " torch.nn.Linear(2, 1))\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toynets\nVersion: 1.0\n")
    (info / "RECORD").write_text("toynets.py,,\n")
    (info / "entry_points.txt").write_text("[sweep.models]\ntiny = toynets:tiny\n")
    monkeypatch.syspath_prepend(str(site))
    return "tiny"


def read(group: str, option: str) -> dict[str, object]:
    return yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))


def test_the_promised_options_are_there() -> None:
    promised = {
        "problem": "iris_pair breast_cancer wine_pair digits_pair two_moons xor random_labels"
        " table xyz_product teacher_student",
        "model": "mlp module",
        "loss": "hinge_power logistic squared",
        "init": "kaiming_uniform kaiming_normal xavier_uniform xavier_normal normal",
        "optimizer": "gd momentum adam lbfgs",
        "stopping": "standard",
        "judge": "standard",
        "compute": "serial local cluster",
        "tracking": "mlflow none",
        "study": "default",
    }
    for group, names in promised.items():
        assert set(names.split()) <= set(Library().options(group)), group


@pytest.mark.parametrize(("group", "option"), SCIENTIFIC)
def test_a_file_lists_exactly_the_settings_of_its_entry(group: str, option: str) -> None:
    found = read(group, option)
    assert found["name"] == option
    entry = REGISTRIES[group].entry(option)
    assert set(found) - {"name"} == {field.name for field in dataclasses.fields(entry)}


@pytest.mark.parametrize(("group", "option"), SCIENTIFIC)
def test_a_file_shows_the_defaults_of_its_entry(group: str, option: str) -> None:
    # Otherwise a bare `{name: …}` in a study and the file would be two different experiments.
    found = {key: value for key, value in read(group, option).items() if value != "???"}
    for field in dataclasses.fields(REGISTRIES[group].entry(option)):
        if field.default is not dataclasses.MISSING and field.name in found:
            given = registry._plain(field.default)
            shown = found[field.name]
            named = {"name": shown} if isinstance(given, dict) else shown
            assert float(shown) == given if isinstance(given, float) else named == given, field.name


@pytest.mark.parametrize(("group", "option"), [o for o in OPTIONS if o[0] in RUNNING])
def test_running_files_hold_only_known_settings_at_their_defaults(group: str, option: str) -> None:
    found = read(group, option)
    built = registry.build(RUNNING[group], found, group)
    own = {"name", "enabled", "address"}
    default = registry.settings_of(RUNNING[group]())
    for key, value in registry.settings_of(built).items():
        assert key in own or value == default[key]
    if group == "compute":
        assert found["name"] == option


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_resolves(
    group: str, option: str, tmp_path: Path, installed_factory: str
) -> None:
    table = tmp_path / "small.csv"
    table.write_text("a,b,target\n0,1,0\n1,0,1\n1,1,0\n")
    only_plain = ["~arms.exp", "~arms.exp_unregularized", "~arms.extra_neuron"]
    needed = {
        ("problem", "iris_species"): ["model.outputs=3", "loss=squared", *only_plain],
        ("problem", "clouds"): ["model.outputs=3", "loss=cross_entropy", *only_plain],
        ("problem", "planar_map"): ["model.outputs=2", "loss=squared", *only_plain],
        ("loss", "cross_entropy"): ["problem=clouds", "model.outputs=3", *only_plain],
        ("problem", "table"): [f"problem.path={table}"],
        ("model", "module"): [f"model.factory={installed_factory}", "~arms.extra_neuron"],
        ("model", "convolution"): ["~arms.extra_neuron"],
    }
    words = [f"{group}={option}", *needed.get((group, option), [])]
    given = any(word.startswith("problem=") for word in words)
    base = [] if group == "study" or given else ["problem=xor"]
    study, _, _, _ = resolve(compose([*base, *words]))
    assert study.cells
    if group in SCIENCE:
        assert {getattr(cell, group).name for cell in study.cells} == {option}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_opens_with_claim_command_and_cost(name: str) -> None:
    text = (CONF / "study" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n")
    opening = text.split("\ndefaults:")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    for word in ("Claim", "Run:  sweep run", "Cost:"):
        assert f"# {word}" in opening
    assert read("study", name)["name"] == name


def test_arms_baseline_and_grid_stand_in_study_files_only() -> None:
    config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    assert not {"arms", "baseline", "grid"} & set(config)
    assert set(config) - {"defaults"} <= set(TOP_LEVEL)
    assert registry.build(Store, config["store"], "store") == Store()


def test_the_default_study_is_the_promised_one() -> None:
    study, _, _, _ = resolve(compose())
    assert study.name == "default"
    assert study.baseline == "plain"
    assert study.seeds.count == 1000
    described = [
        (c.problem.name, c.model.settings["width"], c.model.settings["activation"]["name"])
        for c in study.cells
    ]
    assert described == [("iris_pair", 2, "relu"), ("two_moons", 3, "relu")]
    assert study.cells[1].problem.settings["n"] == 40
    for cell in study.cells:
        assert (cell.loss.name, cell.loss.settings["p"]) == ("hinge_power", 3)
        arms = {arm.name: arm for arm in cell.arms}
        assert {name: arm.draws for name, arm in arms.items()} == {
            "plain": 1,
            "exp": 4,
            "exp_unregularized": 1,
            "extra_neuron": 1,
        }
        assert arms["plain"].augment.name == "none"
        assert arms["exp"].augment.name == arms["exp_unregularized"].augment.name == "exp_skip"
        assert arms["exp"].regularizer.name == "augment"
        assert arms["exp"].lam is not None
        assert arms["exp"].lam.name == "log_uniform"
        assert (arms["exp"].lam.settings["low"], arms["exp"].lam.settings["high"]) == (1e-3, 1.0)
        assert arms["exp_unregularized"].regularizer.name == "none"
        assert arms["extra_neuron"].augment.name == "extra_neuron"


def test_an_installed_package_brings_its_conf_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "sweep"
    (package / "conf").mkdir(parents=True)
    monkeypatch.setattr(library_module.sweep, "__file__", str(package / "__init__.py"))
    assert packaged_conf() == package / "conf"
