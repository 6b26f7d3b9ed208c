from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sweep.inference.comparison import Study
from sweep.inference.outcomes import outcome
from sweep.inference.summary import Summary, summarise
from sweep.report.comparison import (
    Compared,
    compared,
    comparison_figure,
    comparison_latex,
    write_comparison,
)
from sweep.report.drawing import styled

RowMaker = Callable[..., pd.DataFrame]


def one_of(rows: pd.DataFrame, label: str, rate: float) -> Compared:
    summary: Summary = summarise(rows)
    judged = rows.assign(outcome=outcome(rows, summary.witnesses))
    cell = {"settings": {"optimizer": {"lr": rate, "name": "adam"}}}
    return Compared(
        Study(label, judged, summary.cells, 0), summary, {"cells": [cell]}, f"results/{label}"
    )


@pytest.fixture(scope="module")
def studies(make_rows: RowMaker) -> list[Compared]:
    """The first: 2 of 4 bad with width 2; the second: 1 of 4, and another cell with width 3."""

    def rows(study: str, cell: str, width: int, verdicts: str) -> pd.DataFrame:
        names = {"b": ("local_minimum", 0.5), "g": ("global_minimum", 0.0)}
        return make_rows(
            *(
                {
                    **{"study": study, "cell": cell, "model.width": width},
                    "verdict": names[letter][0],
                    **dict.fromkeys(("judged_error", "judged_error_base"), names[letter][1]),
                }
                for letter in verdicts
            )
        )

    second = pd.concat([rows("t", "d1", 2, "gbgg"), rows("t", "d2", 3, "gg")], ignore_index=True)
    return [
        one_of(rows("s", "c1", 2, "bbgg"), "slow & 5_%", 0.1),
        one_of(second, "fast <b>", 0.2),
    ]


def test_tables_hold_both_studies_and_what_they_share(studies: list[Compared]) -> None:
    found = compared(studies)
    assert found.axes == ("problem", "model.width")
    counts = found.frequencies[["setting", "study", "bad_minimum", "n"]].to_numpy().tolist()
    assert counts == [
        ["xor, model.width = 2", "slow & 5_%", 2, 4],
        ["xor, model.width = 2", "fast <b>", 1, 4],
        ["xor, model.width = 3", "fast <b>", 0, 2],
    ]
    (row,) = found.differences.to_dict("records")
    assert (row["n_pairs"], row["difference"], row["difference_upper"]) == (4, -0.25, -0.25)
    assert found.configuration.to_numpy().tolist() == [["optimizer.lr", "0.1", "0.2"]]


def test_files_say_the_same_and_interpret_no_name(studies: list[Compared], tmp_path: Path) -> None:
    found = write_comparison(studies, tmp_path / "both.html")
    names = {"both.html", "both.csv", "both-differences.csv", "both.tex"}
    assert {path.name for path in tmp_path.iterdir()} == names
    frequencies = pd.read_csv(tmp_path / "both.csv")
    assert list(frequencies["bad_minimum"]) == list(found.frequencies["bad_minimum"])
    page = (tmp_path / "both.html").read_text()
    assert "fast <b>" not in page
    assert "fast &lt;b&gt;" in page
    assert "1 of 2 settings (problem, model.width) are in all of them" in page
    assert not re.search(r"https?:|url\((?!#)", page)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    write_comparison(studies, tmp_path / "both.html")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_latex_has_a_column_per_study(studies: list[Compared]) -> None:
    text = comparison_latex(compared(studies))
    assert r"Setting & Arm & slow \& 5\_\% & fast <b> \\" in text
    assert r"xor, model.width = 3 & plain & -- & 0 \% (0 \% -- " in text
    assert "$-$25 & $-$" in text


def test_figure_has_a_line_per_study_of_a_setting(studies: list[Compared]) -> None:
    found = compared(studies)
    with styled():
        figure = comparison_figure(found)
    assert figure is not None
    lines = [[label.get_text() for label in ax.get_yticklabels()] for ax in figure.axes]
    assert lines == [["plain · slow & 5_%", "plain · fast <b>"], ["plain · fast <b>"]]
    bar = figure.axes[0].patches[0]
    first = found.frequencies.iloc[0]
    ends = (bar.get_x(), bar.get_x() + bar.get_width())
    assert ends == pytest.approx((first["interval_low"], first["interval_high"]))
