from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sweep.cli.claims_view import claiming_studies, studies_with_claims
from sweep.cli.compose import compose
from sweep.cli.library import Library
from sweep.cli.main import main
from sweep.execution.serial import SerialExecutor
from sweep.execution.shared import SharedExecutor
from sweep.spec import Compute
from sweep.study.resolve import claim_of, resolve

pytestmark = pytest.mark.usefixtures("undrawn")

CLAIMING = studies_with_claims(Library())

STUDY = """\
# @package _global_
defaults:
  - override /problem: xyz_product
name: {name}
baseline: plain
arms:
  plain: {{}}
stopping:
  max_steps: 400
claim:
  source: "[t] {name}"
  statement: "Said beforehand [by [/us] all]."
  seeds: 12
  expect: [{expect}]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three studies of (xyz − 1)², whose descent ends at F = 0: right, wrong and open claims."""
    folder = tmp_path / "own"
    (folder / "study").mkdir(parents=True)
    expect = {
        "right": "{measure: escaping, at_most: 0}",
        "wrong": "{measure: global_minimum, at_most: 0}",
        "open": "{measure: escaping, at_most: 0, min_rows: 1000}",
    }
    for name, text in expect.items():
        path = folder / "study" / f"{name}.yaml"
        path.write_text(STUDY.format(name=name, expect=text), encoding="utf-8")
    return folder


def run(own: Path, *words: str) -> int:
    root = own.parent / "results"
    given = ("compute=serial", f"store.root={root}", "--config-dir", str(own))
    return main(["claims", *words, *given])


def test_claims_are_run_compared_and_written(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(own, "right", "open", "wrong") == 1
    said = capsys.readouterr().out
    assert "12 networks to train" in said
    # Brackets are the author's: nothing is read into them.
    assert "Said beforehand [by [/us] all]." in said and "right: [t] right" in said
    folder = own.parent / "results"
    with (folder / "claims-right-open-wrong.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["study"], row["result"]) for row in rows] == [
        ("right", "holds"),
        ("open", "undecided"),
        ("wrong", "does not hold"),
    ]
    assert rows[0]["observed"].startswith("0 of 12")
    assert rows[0]["expected"] == "share of escaping ≤ 0"
    table = (folder / "claims-right-open-wrong.md").read_text(encoding="utf-8")
    assert "| right | [t] right | share of escaping ≤ 0 | 0 of 12" in table
    # A row that contradicts is named by the command that trains it again.
    command = next(line for line in said.splitlines() if line.startswith("contradicts: "))
    words = command.removeprefix("contradicts: sweep ").split()
    assert words[0] == "replay" and words[1].startswith(str(folder / "wrong-"))
    assert words[2:4] == ["--cell", words[3]] and words[-2:] == ["--seed", "0"]
    assert command.removeprefix("contradicts: ") in rows[2]["replay"]
    assert run(own, "right") == 0
    assert "all rows are on disk" in capsys.readouterr().out


def test_the_file_or_the_command_chooses_how_many_seeds(own: Path) -> None:
    def count(seeds: int | None, full: bool) -> int:
        (found,) = claiming_studies(["right"], own, seeds, full)
        assert not found.tracking.enabled
        return found.study.seeds.count

    assert count(None, False) == 12
    assert count(3, False) == 3
    assert count(None, True) == 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rigth"], "did you mean 'right'"),
        (["--seeds", "0"], "--seeds is 0"),
        (["study=right"], "write 'sweep claims STUDY"),
        (["misspelt"], "did you mean 'saddle'"),
        (["right", "problem=xor"], "would change what is claimed"),
        (["quick"], "states no claim"),
        (["--seeds", "abc"], "--seeds is abc"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    own: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY.format(name="misspelt", expect="{measure: saddel, at_most: 0}")
    (own / "study" / "misspelt.yaml").write_text(text, encoding="utf-8")
    assert run(own, *words) == 2
    assert sentence in capsys.readouterr().err
    assert not (own.parent / "results").exists()


def test_all_claims_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "study=all_claims"]) == 2
    assert "'sweep claims' runs every study" in capsys.readouterr().err


def test_help_names_the_studies(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--help", "--config-dir", str(own)]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("right", "wrong", "xyz", "teacher_student"))


@pytest.mark.parametrize("name", CLAIMING)
def test_a_claim_changes_no_identity_and_says_where_it_comes_from(name: str) -> None:
    composed = compose([f"study={name}"])
    study, *_ = resolve(composed)
    claim = claim_of(composed, study)
    assert claim is not None and claim.source and claim.statement.endswith(".")
    silent, *_ = resolve(compose([f"study={name}", "~claim"]))
    assert silent.id == study.id


def test_one_executor_serves_all_studies_of_this_machine() -> None:
    opened: list[str] = []

    def probe() -> None:
        opened.append("probe")

    with SharedExecutor() as opener:
        with opener(Compute("serial"), probe) as first:
            assert isinstance(first, SerialExecutor)
        with opener(Compute("serial"), probe) as second:
            assert second is first
        with opener(Compute("serial", retries=1), probe) as third:
            assert third is not first
    assert opened == ["probe"] * 3


@pytest.mark.slow  # every study with a claim, at its reduced size
@pytest.mark.timeout(7200)
def test_no_claim_fails(tmp_path: Path) -> None:
    assert main(["claims", f"store.root={tmp_path}"]) == 0
