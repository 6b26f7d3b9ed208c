"""`sweep report` of several folders, and the commands that the page offers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from sweep.cli.main import main
from sweep.report.coverage import numerics_sentence
from sweep.rows import NUMERICS_VERSION
from sweep.storage.layout import Layout
from sweep.study.results import load_rows

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = (
    *("study=quick", "stopping.max_steps=60", "seeds.count=6", "compute=serial", "tracking=none"),
)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two studies that differ in the learning rate alone."""
    store = tmp_path_factory.mktemp("rows' store")
    for name, rate in (("slow", "0.01"), ("fast", "0.05")):
        words = [f"name={name}", f"optimizer.lr={rate}", f'store.root="{store}"']
        assert main(["run", *SMALL, *words]) == 0
    return [next(store.glob(f"{name}-*")) for name in ("slow", "fast")]


def test_two_folders_are_compared_from_rows_alone(
    studies: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in studies:
        Layout.at(path).report.unlink()
    assert main(["report", *map(str, studies)]) == 0
    page = studies[0].parent / "comparison.html"
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in printed] == [
        *(["report", str(path / "report.html")] for path in studies),
        ["comparison", str(page)],
    ]
    assert all((path / "report.html").exists() for path in studies)
    apart = pd.read_csv(page.with_name("comparison-differences.csv"))
    rows = [load_rows(path) for path in studies]
    for row in apart.to_dict("records"):
        bad = [
            own[(own["arm"] == row["arm"]) & (own["draw"] == row["draw"])]["outcome"].eq(
                "bad_minimum"
            )
            for own in rows
        ]
        assert row["n_pairs"] == 6  # one root: the same seeds
        assert row["difference"] <= bad[1].mean() - bad[0].mean() <= row["difference_upper"]
    assert set(apart["arm"]) == {"plain", "exp", "extra_neuron"}
    assert "optimizer.lr" in page.read_text()


def test_studies_that_share_no_setting_are_told_so(
    studies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = ["problem=two_moons", "problem.n=8", "seeds.count=2", f"store.root={tmp_path}"]
    assert main(["run", *SMALL, "name=apart", *apart]) == 0
    other = next(tmp_path.glob("apart-*"))
    capsys.readouterr()
    page = tmp_path / "two.html"
    assert main(["report", str(studies[0]), str(other), "--out", str(page)]) == 0
    *_, note = capsys.readouterr().out.splitlines()
    word, sentence = note.split(maxsplit=1)
    assert (word, sentence[:30]) == ("note", "No difference could be taken: ")
    assert sentence in unescape(page.read_text())
    assert page.with_suffix(".tex").read_text().endswith(f"% {sentence}\n")


def test_rows_of_older_numerics_are_counted_and_named(
    studies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = Path(shutil.copytree(studies[0], tmp_path / studies[0].name))
    content = json.loads((older / "study.json").read_text())
    (older / "study.json").write_text(json.dumps({**content, "numerics": NUMERICS_VERSION - 1}))
    counts = (older / "summary" / "frequencies.csv").read_bytes()
    said = numerics_sentence(NUMERICS_VERSION - 1)
    assert said.startswith(f"These rows are of numerics {NUMERICS_VERSION - 1}, this release makes")
    for command in ("status", "report"):
        assert main([command, str(older)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("note")] == [said]
        assert main([command, str(studies[1])]) == 0
        assert "note" not in capsys.readouterr().out
    assert (older / "summary" / "frequencies.csv").read_bytes() == counts
    assert said in unescape((older / "report.html").read_text())
    page = tmp_path / "two.html"
    assert main(["report", str(studies[1]), str(older), "--out", str(page)]) == 0
    assert f"note        '{older.name}': {said}" in capsys.readouterr().out.splitlines()
    assert f"slow: {said}" in unescape(page.read_text())


def test_the_page_may_go_elsewhere(studies: list[Path], tmp_path: Path) -> None:
    assert main(["report", *map(str, studies), "--out", str(tmp_path / "two.html")]) == 0
    names = {"two.html", "two.csv", "two-differences.csv", "two.tex"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{0}", "{store}"], "is no results folder"),
        (["{0}", "{0}"], "hold the same study"),
        (["{0}", "{store}/../{storename}/{0name}"], "hold the same study"),
        (["{0}", "--out", "{store}/x.html"], "two or more studies"),
        (["{0}", "{1}", "--out", "{store}/x.pdf"], "ends in .html"),
        (["{0}", "{1}", "--out", "{store}/none/x.html"], "its folder does not exist"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    studies: list[Path], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = studies[0].parent
    given = {"store": str(store), "storename": store.name, "0name": studies[0].name}
    filled = [re.sub(r"\{(\d)\}", lambda m: str(studies[int(m[1])]), word) for word in words]
    filled = [re.sub(r"\{(\w+)\}", lambda m: given[m[1]], word) for word in filled]
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.html")}
    assert main(["report", *filled]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.html")} == before


def test_every_command_of_the_page_counts(
    studies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands name the folder as seen from where the store lies."""
    monkeypatch.chdir(studies[0].parent.parent)
    page = (studies[0] / "report.html").read_text()
    commands = [
        unescape(one) for one in re.findall(r'<pre class="command">(.*?)</pre>', page, re.S)
    ]
    codes = [words[2] for one in commands if (words := shlex.split(one))[0] == "python"]
    assert len(codes) > 10
    for code in dict.fromkeys(codes):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, {})
        assert output.getvalue().strip()


def test_the_command_of_the_contrasts_gives_their_tables(
    studies: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(studies[0].parent.parent)
    page = unescape((studies[0] / "report.html").read_text())
    code = next(
        shlex.split(one)[2]
        for one in re.findall(r'<pre class="command">(.*?)</pre>', page, re.S)
        if "_baseline" in one and "'draw'" in one
    )
    names: dict[str, object] = {}
    exec(code, names)
    capsys.readouterr()
    pairs = names["pairs"]
    assert isinstance(pairs, pd.DataFrame)
    stored = pd.read_parquet(studies[0] / "summary" / "contrasts.parquet")
    for row in stored[stored["level"] == "draw"].to_dict("records"):
        own = pairs[(pairs["arm"] == row["arm"]) & (pairs["draw"] == row["draw"])]
        bad, base = own["outcome"] == "bad_minimum", own["outcome_baseline"] == "bad_minimum"
        assert (row["both_bad"], row["only_arm"]) == ((bad & base).sum(), (bad & ~base).sum())
        assert row["only_baseline"] == (~bad & base).sum()
