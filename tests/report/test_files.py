from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sweep.errors import UserError
from sweep.inference.summary import Summary, summarise
from sweep.planning import job_id
from sweep.report.coverage import coverage
from sweep.report.fates import fate_table
from sweep.report.figures import FIGURES, MAX_PANELS, figure_files
from sweep.report.page import write_report
from sweep.report.page_figures import inline_svg, is_plain
from sweep.report.render import render
from sweep.report.tables import contrasts_latex, frequencies_latex, table_files
from sweep.spec import Block
from sweep.storage.layout import Layout

SummaryMaker = Callable[..., Summary]
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Balanced(HTMLParser):
    """Collects text, attributes and ids of a page and insists that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="session")
def svgs(summary: Summary) -> dict[str, bytes]:
    files = figure_files(summary)
    return {name: files[f"{name}.svg"] for name in FIGURES if f"{name}.svg" in files}


@pytest.fixture(scope="session")
def page(summary: Summary, study: dict[str, object], svgs: dict[str, bytes]) -> str:
    return render(summary, study, "results/default-0123456789ab", svgs)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    found = parsed(page)
    assert len(found.ids) == len(set(found.ids))
    assert all(source.startswith("#") for source in found.sources)
    assert not re.search(r"https?:|//\w+\.\w+|@import|url\((?!#)", page)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(found.ids)
    assert {source[1:] for source in found.sources} <= set(found.ids)
    assert len(page.encode()) < 5e6


def test_page_says_the_numbers_first_and_names_the_commands(page: str) -> None:
    found = parsed(page)
    text = " ".join(" ".join(found.text).split())
    assert text.index("73 of 1,000 (7.3 %, 95 % interval 5.85 % to 9.08 %)") < text.index("Figures")
    assert "none of 4,000 (0 %) certified bad and 400 unresolved" in text
    assert "7 failed" in text
    assert "exp <b>$x$ & 50%_{y}" in text  # shown as it is, interpreted by nobody
    assert "<script>alert(1)</script>" in text
    assert "sweep report results/default-0123456789ab" in text
    assert "sweep verify results/default-0123456789ab" in text
    assert "rows = sweep.load_rows(" in text
    assert "seeds per cell 1,000" in text


def test_an_incomplete_study_says_so_at_the_top(
    summary: Summary, study: dict[str, object], svgs: dict[str, bytes]
) -> None:
    planned = {**study, "blocks": [[0, 570], [570, 430]], "cells": {"c2": {}, "c3": {}}}
    jobs = [job_id(cell, Block(0, 570)) for cell in ("c2", "c3")]
    known = coverage(planned, jobs)
    page = parsed(render(summary, planned, "results/x", svgs, known))
    text = " ".join("".join(page.text).split())
    assert "2 of its 4 jobs are on disk, 570 of 1,000 seeds of a cell;" in text
    assert text.index("not complete") < text.index("training runs in")
    assert "seeds per cell570 of 1,000" in text
    assert coverage(planned, jobs[:1]).seeds_per_cell == "0 to 570 of 1,000"
    rest = [job_id(cell, Block(570, 430)) for cell in ("c2", "c3")]
    assert coverage(planned, jobs + rest).sentence == ""
    # A precision that was reached with the first block needs no other.
    sought = {**planned, "config": {"seeds": {"half_width": 0.1}}}
    found = pd.DataFrame({"first_seed": [0], "n": [570], "reached": [True]})
    assert coverage(sought, jobs, found).seeds_per_cell == "570"
    assert not coverage(sought, jobs, found.assign(reached=False)).complete
    assert not coverage(planned, jobs, found).complete  # a later run asked for so many seeds


def test_a_figure_from_elsewhere_draws_and_does_nothing_else(svgs: dict[str, bytes]) -> None:
    """What HTML reads in another way than XML is no drawing either."""
    assert all(map(is_plain, svgs.values()))
    script = "<script>alert(1)</script>"
    hidden = (
        *(f"<!-->{script}-->", f"<text><![CDATA[x>{script}]]></text>", "<?x y?>", script),
        *("<title><g/></title>", '<image href="x.png"/>', '<a href="#x"/>', "<foreignObject/>"),
        *(
            '<g onload="alert(1)"/>',
            '<use href="//else.where/x"/>',
            "<style>*{display: none}</style>",
        ),
    )
    whole = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'
    assert is_plain(whole.format('<g id="a"/><use href="#a"/><!-- a -->').encode())
    before = (f"<!-- <svg >{script}</svg> -->", '<!DOCTYPE svg [<!ENTITY a "b">]>', "\xff")
    found = [whole.format(inside) for inside in hidden] + [f"{one}{whole}" for one in before]
    assert [text for text in found if is_plain(text.encode("latin-1"))] == []


def test_every_table_line_is_as_long_as_its_head(page: str) -> None:
    tables = re.findall(r"<table>.*?</table>", page, flags=re.DOTALL)
    assert len(tables) == 12
    for table in tables:
        width = table.count("<th ")
        lines = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)[1:]
        assert lines
        assert {line.count("<td") for line in lines} == {width}


def test_the_page_says_where_training_went_for_both_networks(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    escape = {"arm": "exp", "verdict": "escaping", "augment_activity": 1.0, "limit_error": 0.0}
    bases = [0.0] * 10 + [0.25] * 30
    exp = [{**escape, "seed": seed, "limit_error_base": base} for seed, base in enumerate(bases)]
    plain = [{"seed": seed, "verdict": "unresolved"} for seed in range(40)]
    table = fate_table(summarise(make_rows(*exp, *plain)), "results/x")
    shown = ([field.shown for field in line] for line in table.lines)
    lines = [dict(zip(table.head, line, strict=True)) for line in shown]
    assert [(one["arm"], one["network"], one["seeds"]) for one in lines] == [
        *(("exp", "f̃", "40"), ("exp", "f", "40"), ("plain", "f", "40")),
    ]
    own, base, other = lines
    # Wilson (1927) for 10, 30, 0 and 40 of 40.
    assert own["escaping, error 0"] == "100 % (91.2 to 100 %)"
    assert base["escaping, error 0"] == "25 % (14.2 to 40.2 %)"
    assert base["escaping, error > 0"] == "75 % (59.8 to 85.8 %)"
    assert base["bad minimum"] == "0 % (0 to 8.76 %)"
    assert other["bad minimum"] == "0 to 100 % (0 to 100 %)"
    assert other["unresolved"] == "100 % (91.2 to 100 %)"
    assert "saddle" not in table.head


def test_figures_are_deterministic_whatever_the_settings_around_them(summary: Summary) -> None:
    expected = figure_files(summary)
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert figure_files(summary) == expected
        assert dict(mpl.rcParams) == before
    assert {Path(name).suffix for name in expected} == {".svg", ".png"}
    for name in {Path(file).stem for file in expected}:
        assert b"<dc:date>" not in expected[f"{name}.svg"]
        ElementTree.fromstring(expected[f"{name}.svg"])
        ElementTree.fromstring(inline_svg(expected[f"{name}.svg"], name, "said <aloud>"))


def test_figures_show_both_ends_and_every_arm_by_its_name(svgs: dict[str, bytes]) -> None:
    for name in ("frequencies", "outcomes"):
        svg = svgs[name]
        words = {
            element.text
            for element in ElementTree.fromstring(svg).iter()
            if element.tag.endswith("text")
        }
        assert {"plain", "extra_neuron", "exp <b>$x$ & 50%_{y}", "xor, model.width = 2"} <= words
        assert ("0 % – 10 %" in words) == (name == "frequencies")
        assert {"unresolved", "bad minimum", "failed"} <= words or name == "frequencies"


def test_bars_are_the_intervals_and_ticks_the_estimates(summary: Summary) -> None:
    figure = FIGURES["frequencies"](summary)
    rows = summary.frequencies[summary.frequencies["level"] == "cell"].head(3)
    panel = figure.axes[0]
    plain = rows[rows["arm"] == "plain"].iloc[0]
    position = list(rows["arm"]).index("plain")
    bar = next(p for p in panel.patches if round(p.get_y() + p.get_height() / 2) == position)
    ends = (bar.get_x(), bar.get_x() + bar.get_width())
    assert ends == pytest.approx((plain["interval_low"], plain["interval_high"]))
    ticks = {segment[0][0] for lines in panel.collections for segment in lines.get_segments()}
    assert {0.0, 0.073, 0.1} == {round(tick, 12) for tick in ticks}


def test_outcome_bars_fill_the_whole(summary: Summary) -> None:
    figure = FIGURES["outcomes"](summary)
    for panel in figure.axes:
        for position in range(3):
            widths = [p.get_width() for p in panel.patches if round(p.get_y() + 0.35) == position]
            assert sum(widths) == pytest.approx(1)


def test_many_cells_are_cut_with_a_word_about_it(make_summary: SummaryMaker) -> None:
    cells = {f"c{i}": {"plain": {"global_minimum": 2}} for i in range(10, 12 + MAX_PANELS)}
    figure = FIGURES["frequencies"](make_summary(**cells))
    assert len(figure.axes) == MAX_PANELS
    assert figure.get_suptitle() == f"the first {MAX_PANELS} of {MAX_PANELS + 2} cells"


def test_tables_hold_the_frames(summary: Summary, tmp_path: Path) -> None:
    for file_name, content in table_files(summary).items():
        (tmp_path / file_name).write_bytes(content)
    frames = [
        *("cells", "witnesses", "frequencies", "fates", "contrasts", "flows", "losses", "stops"),
        *("responses", "trends", "naive", "minima"),
    ]
    for frame in frames:
        name = {"responses": "lambda_response"}.get(frame, frame)
        expected = getattr(summary, frame)
        assert len(expected)
        stored = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert_frame_equal(stored, expected, check_dtype=False)
        text = pd.read_csv(tmp_path / f"{name}.csv")
        assert list(text.columns) == list(expected.columns)
        numbers = expected.select_dtypes("float64").columns
        assert_frame_equal(text[numbers], expected[numbers], check_exact=True)


def test_latex_escapes_names_and_has_eight_columns(summary: Summary) -> None:
    lines = frequencies_latex(summary).splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == 6
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {7}
    assert r"exp <b>\$x\$ \& 50\%\_\{y\}" in body[0]
    assert r"7.3 \% & 5.85 \% -- 9.08 \%" in body[2]


def test_the_latex_of_contrasts_says_difference_interval_and_p(summary: Summary) -> None:
    text = contrasts_latex(summary)
    assert "% Each arm minus plain, by seed" in text.splitlines()[0]
    assert "Holm over 4" in text.splitlines()[0]
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert len(body) == 4
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {8}
    # 73 of 1,000 seeds are bad with plain only: p = 2·2⁻⁷³, four contrasts of which two are equal.
    assert (
        r"& extra_neuron & 1000 & 0 & 73 & $-$7.3 & $-$9.08 to $-$5.".replace("_", r"\_") in body[1]
    )
    assert "& 8.5e-22 & 0 (0 to 0.0518)" in body[1]


def test_the_page_says_each_contrast_and_how_to_compute_it(page: str) -> None:
    text = " ".join("".join(parsed(page).text).split())
    assert "−7.3 points against plain (95 % interval −9.08 to −5." in text
    assert "from sweep.inference.contrasts import contrasts" in text


def test_the_whole_report_has_equal_bytes_the_second_time(
    summary: Summary, study: dict[str, object], tmp_path: Path
) -> None:
    layout = Layout.at(tmp_path / "results" / "default-0123456789ab")
    files = write_report(summary, study, layout)
    first = {path: path.read_bytes() for path in files}
    assert layout.report in first
    assert {path.parent for path in files} == {layout.root, layout.summary, layout.figures}
    assert write_report(summary, study, layout) == files
    assert {path: path.read_bytes() for path in files} == first
    assert (layout.figures / "outcomes.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in layout.report.read_text()
    assert {path for path in layout.root.rglob("*") if path.is_file()} == set(files)


def test_a_folder_that_cannot_be_made_is_one_sentence(
    make_summary: SummaryMaker, study: dict[str, object], tmp_path: Path
) -> None:
    summary = make_summary(c2={"plain": {"global_minimum": 1}})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(summary, study, Layout.at(tmp_path / "file" / "x"))


@pytest.mark.slow
def test_the_page_of_many_cells_stays_small(
    make_summary: SummaryMaker, study: dict[str, object]
) -> None:
    arms = {
        name: {"global_minimum": 3, "local_minimum": 2, "unresolved": 1, "saddle": 1}
        for name in ("plain", "exp", "exp_unregularized", "extra_neuron", "monomial", "other")
    }
    summary = make_summary(**{f"c{width}": arms for width in range(100, 300)})
    files = figure_files(summary)
    svgs = {name: files[f"{name}.svg"] for name in FIGURES if f"{name}.svg" in files}
    page = render(summary, study, "results/default-0123456789ab", svgs)
    assert len(page.encode()) < 5e6
    assert "more lines are in summary/frequencies.csv" in page
