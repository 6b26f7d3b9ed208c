"""What the README says is run and compared with the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import sweep
from sweep.cli.main import main
from sweep.rows import columns
from sweep.storage.layout import Layout
from sweep.storage.study_file import read_study

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

QUICK = ("seeds.count=3", "stopping.max_steps=4", "compute=serial", "tracking=none")


def commands() -> list[str]:
    """Every line of a bash block that calls this program, without its comment."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:scripts/)?sweep [^`]*)`", README)
    found = [line for line in [*lines, *inline] if re.match(r"(scripts/)?sweep ", line)]
    return sorted(set(found))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    return sweep.run([*QUICK, f"store.root={folder}"]).path


def cell_of(results: Path) -> str:
    """A cell of the short study, whose stopping rule gives it another id than the default's."""
    return next(iter(read_study(Layout.at(results)).header.cells))


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "study").mkdir(parents=True)
    text = (ROOT / "conf" / "study" / "quick.yaml").read_text().replace("name: quick", "name: mine")
    text += "\nclaim:\n  source: mine\n  statement: So it is.\n"
    text += "  expect: [{measure: escaping, at_most: 1}]\n"
    (folder / "study" / "mine.yaml").write_text(text)
    return folder


def install_own_package(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README asks of a reader with a model of their own."""
    info = site / "my_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sweep.models]\nmy_net = my_package.nets:build\n")
    (site / "my_package").mkdir()
    (site / "my_package" / "__init__.py").touch()
    (site / "my_package" / "nets.py").write_text(
        "from torch import nn\n\n\ndef build(n_inputs):\n"
        "    return nn.Sequential(nn.Linear(n_inputs, 2), nn.Tanh(), nn.Linear(2, 1))\n"
    )
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.slow  # the default study at full size
@pytest.mark.timeout(1800)
def test_the_default_study_has_every_row_once(tmp_path: Path) -> None:
    results = sweep.run([f"store.root={tmp_path}"])
    rows = sweep.load_rows(results.path)
    assert results.complete
    assert len(rows) == 2 * 1000 * 7
    assert not rows.duplicated(["cell", "arm", "draw", "seed"]).any()


def as_parameter(command: str) -> object:
    """A user's own module is polished through torch.func, and controls judge all families: minutes.

    `tests/controls` has the quick families in the fast suite.
    """
    slow = "model=module" in command or command.startswith("sweep controls")
    marks = [pytest.mark.slow] if slow else []
    return pytest.param(command, marks=marks, id=command)


@pytest.mark.parametrize("command", [as_parameter(command) for command in commands()])
def test_every_command_works(
    command: str,
    results: Path,
    study_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install_own_package(tmp_path / "site", monkeypatch)
    table = tmp_path / "mine.csv"
    table.write_text("a,b,label\n1,1,n\n1,-1,y\n-1,1,y\n-1,-1,n\n")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    words = [str(results) if word.startswith("results/default-") else word for word in words]
    words = [str(study_folder) if word == "FOLDER" else word for word in words]
    words = [cell_of(results) if re.fullmatch("c[0-9a-f]{8}", word) else word for word in words]
    if words[0] in ("run", "plan") and not {"--help", "--cfg"} & set(words):
        own = {word.split("=")[0] for word in words}
        if "seeds.half_width" in own:
            own.add("seeds.count")
            words = ["seeds.half_width=0.4" if "half_width" in word else word for word in words]
            words.append("compute.block_size=5")
        words += [word for word in QUICK if word.split("=")[0] not in own]
        words = ["seeds.count=5" if word.startswith("seeds.count") else word for word in words]
        words.append(f"store.root={tmp_path / 'results'}")
    if words[0] == "claims":
        own = [] if any("=" not in word for word in words[1:]) else ["xyz"]
        words = [word for word in words if word not in ("--full", "--seeds", "200")]
        words += [*own, "--seeds", "3", "compute=serial", f"store.root={tmp_path / 'results'}"]
        assert main(words) in (0, 1)  # whatever three seeds say of a claim
        assert "result" in capsys.readouterr().out
        return
    assert main(words) == 0
    assert capsys.readouterr().out


def test_the_row_table_is_the_code(results: Path) -> None:
    documented = re.findall(r"^\| `([a-z_0-9]+)` \| (\w+) \| (.*) \|$", README, re.MULTILINE)
    stated = {name: (kind, meaning.replace("∣", "|")) for name, kind, meaning in documented}
    for column in columns([]):
        if column.name != "model.width":
            assert stated[column.name] == (column.kind, column.meaning), column.name


def test_links_resolve() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
