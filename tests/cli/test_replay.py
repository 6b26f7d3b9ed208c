"""`sweep replay` at the terminal: what it prints, its exit status, and what it refuses."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweep
from sweep.cli.main import main
from sweep.storage.layout import Layout
from sweep.storage.row_files import serialise

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = (
    "study=quick",
    "seeds.count=4",
    "stopping.max_steps=40",
    "compute=serial",
    "compute.block_size=3",
    "tracking=none",
)
MEMBER = ("--arm", "exp", "--draw", "1", "--seed", "2")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep.run([*STUDY, f"store.root={tmp_path_factory.mktemp('store')}"]).path


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / study.name))


def alter(folder: Path, change: Callable[[Row], object]) -> None:
    """Change the stored row of `MEMBER` and give its file a checksum that fits."""
    path = sorted((folder / "rows").glob("*.parquet"))[0]
    rows = pq.read_table(path).to_pylist()
    change(next(r for r in rows if (r["arm"], r["draw"], r["seed"]) == ("exp", 1, 2)))
    data = serialise(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), [path.stem])
    path.write_bytes(data)
    record = Layout.at(folder).checksum_file(path.stem)
    record.write_text(f"{hashlib.sha256(data).hexdigest()}  rows/{path.name}\n")


def test_an_equal_row(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(study), *MEMBER]) == 0
    printed = capsys.readouterr().out
    found = sweep.replay(study, arm="exp", draw=1, seed=2)
    assert f"equal bit for bit in {len(found.compared)} columns, all but 'job'" in printed
    assert f"{found.verdict}, certificate {found.certificate}" in printed
    assert repr(found.row["lam"]) in printed
    for name in found.evidence:
        assert f"{name} = " in printed
    for path in found.figures:
        assert str(path) in printed
    lines = printed.splitlines()
    for step in found.trajectory["step"]:
        assert any(line.split()[:1] == [str(step)] for line in lines), step


def next_float(value: float) -> float:
    return value * (1 + 2**-52)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.update(final_loss=next_float(row["final_loss"])), "final_loss: stored "),
        (lambda row: row.update(judged_min_eig=1.5), "judged_min_eig: stored 1.5, replayed "),
        (lambda row: row.update(stop="gradient"), "stop: stored 'gradient', replayed 'steps'"),
        (lambda row: row.update(final_error=-0.0 * row["steps"]), "final_error: stored -0.0"),
        (
            lambda row: row["params"].__setitem__(4, next_float(row["params"][4])),
            "params at 1 of 13 entries, first [4]: stored ",
        ),
    ],
    ids=["one bit", "null", "word", "sign of zero", "one parameter"],
)
def test_a_row_that_differs_names_column_and_values(
    copy: Path,
    change: Callable[[Row], object],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    alter(copy, change)
    assert main(["replay", str(copy), *MEMBER]) == 1
    printed = capsys.readouterr().out
    assert "differs in 1 of " in printed
    assert said in printed


def test_a_row_that_is_not_there_yet(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (copy / "rows").glob("*.parquet"):
        path.unlink()
    assert main(["replay", str(copy), *MEMBER]) == 0
    assert "not there yet" in capsys.readouterr().out


def test_a_row_that_its_file_lacks_is_a_difference(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(copy, lambda row: row.update(draw=7))
    assert main(["replay", str(copy), *MEMBER]) == 1
    assert "no row of arm exp, draw 1, seed 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "1"], "an arm and a seed"),
        (["--arm", "plain"], "an arm and a seed"),
        (["--arm", "plian", "--seed", "1"], "did you mean 'plain'"),
        (["--arm", "plain", "--seed", "one"], "--seed"),
        (["--arm", "plain", "--seed", "4"], "seed 4 is not in this study: it has the seeds 0 to 3"),
        (["--arm", "plain", "--seed", "-1"], "the seeds 0 to 3"),
        (["--arm", "plain", "--seed", "1", "--draw", "1"], "0, the only draw"),
        (["--arm", "exp", "--seed", "1"], "arm 'exp' has the λ draws 0 to 1"),
        (["--arm", "exp", "--seed", "1", "--draw", "2"], "a λ draw of arm 'exp', 0 to 1"),
        (["--arm", "plain", "--seed", "1", "--cell", "c0"], "(xor)"),
        (["--arm", "plain", "--seed", "1", "--fast"], "--fast"),
        (["--arm", "plain", "--seed", "1", "elsewhere"], "one results folder"),
    ],
)
def test_bad_words_are_one_sentence(
    study: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(study), *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_cell_must_be_named_where_there_are_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ("model.width=2,3", "stopping.max_steps=2", f"store.root={tmp_path}")
    path = sweep.run([*STUDY, "seeds.count=1", *own]).path
    assert main(["replay", str(path), "--arm", "plain", "--seed", "0"]) == 2
    printed = capsys.readouterr().err
    assert "(xor, model.width = 2)" in printed
    assert "(xor, model.width = 3)" in printed
    cell = sweep.load_rows(path)["cell"].iloc[0]
    assert main(["replay", str(path), "--arm", "plain", "--seed", "0", "--cell", cell]) == 0
    words = ["replay", str(path), "--arm", "plain", "--seed", "0", "--cell"]
    capsys.readouterr()
    assert main([*words, cell[:5]]) == 0  # a beginning that one cell has
    assert f"cell      {cell} " in capsys.readouterr().out
    assert main([*words, "c"]) == 2  # and one that both have
    printed = capsys.readouterr().err
    assert "cell 'c' is ambiguous: it begins c" in printed
    assert "(xor, model.width = 2)" in printed
    assert "(xor, model.width = 3)" in printed
    assert main([*words, cell[:-1] + "?"]) == 2  # no beginning of any
    assert f"did you mean '{cell}'" in capsys.readouterr().err


def test_help_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--help"]) == 0
    assert "--arm A --seed N [--cell C] [--draw K]" in capsys.readouterr().out
    assert main(["replay"]) == 2
    assert main(["replay", str(tmp_path), *MEMBER]) == 2
    assert "no results folder" in capsys.readouterr().err
