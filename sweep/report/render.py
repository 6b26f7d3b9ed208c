"""The report page: one HTML file that needs nothing else, the finding in words first."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from sweep.inference.summary import Summary
from sweep.report.drawing import INK
from sweep.report.stopping import stopping_sentences
from sweep.report.wording import Statement, findings, opening, percent

MAX_CELLS = 40
MAX_LINES = 1000
MAX_FURTHER_LINES = 300
"""What the page shows of a large study, to stay small; the files under summary/ have all of it."""

_CAPTIONS = {
    "frequencies": (
        "How often training ends in a certified bad minimum. Bar: interval; tick: estimate. Dots "
        "between two ticks: unresolved, anywhere in between."
    ),
    "outcomes": "What the judged points are, as shares of all members.",
}
_PRECISION = (
    "The intervals for which the study stopped: they hold whenever one stops. Where a baseline is "
    "named, of the difference to it."
)
_SHARES = {
    *("estimate", "estimate_upper", "low", "high", "half_width", "wanted"),
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
    *("mean_final_error", "zero_error_share", "difference", "difference_upper"),
    *("error_difference", "error_low", "error_high"),
    *("frequency", "frequency_upper", "difference_low", "difference_high"),
}
_FREQUENCY_COLUMNS = [
    *("arm", "draw", "lam", "n", "n_seeds", "bad_minimum", "unresolved", "failed"),
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
    *("global_minimum", "good_minimum", "saddle", "escaping_good", "escaping_bad"),
    *("mean_final_error", "zero_error_share"),
]
_FURTHER = (
    (
        "responses",
        "Levels of λ and of the grid's axes",
        "Levels of one setting, arm and axis differ in the value alone.",
        "lambda_response.csv",
    ),
    (
        "trends",
        "Dependence on λ and on the grid's axes",
        "Cochran's Q and the slope of the log odds (clustered by seed); p are those of single "
        "tests. The interval of the largest difference holds for all pairs of levels at once.",
        "trends.csv",
    ),
    (
        "naive",
        "Naive against judged",
        "Naive bad: training ended with an error above 0. Zero by neuron: it ended with error 0, "
        "but the network without its augmentation errs.",
        "naive.csv",
    ),
    (
        "minima",
        "Certified minima",
        "Merged by loss level, which merges symmetric copies and valleys. Replay the example seed.",
        "minima.csv",
    ),
)
"""Frame of the summary, title, note and file of the tables that show a whole frame."""

_TITLES = {
    "lam": "λ",
    "bad_minimum_frequency": "bad, low end",
    "bad_minimum_frequency_upper": "bad, high end",
}


@dataclass(frozen=True)
class Field:
    """One table entry: what is shown, and what sorting compares (empty for nothing)."""

    shown: str
    key: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table of the page; `more` counts the lines that were left out."""

    title: str
    note: str
    head: tuple[str, ...]
    lines: tuple[tuple[Field, ...], ...]
    more: int
    file: str


def render(
    summary: Summary, study: Mapping[str, Any], results: str, svgs: Mapping[str, bytes]
) -> str:
    """The whole page as text.

    `study` is what study.json says; of `name study_id device blocks config provenance
    later_provenance` those that are there are shown (blocks as pairs of first seed and count).
    `results` is the results folder as commands should name it; `svgs` maps the name of each figure
    to its file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweep.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        name=study.get("name", "study"),
        facts=_facts(summary, study),
        opening=[*opening(summary), *stopping_sentences(summary)],
        findings=findings(summary, MAX_CELLS),
        hidden_cells=max(0, len(summary.cells) - MAX_CELLS),
        count_command=lambda statement: count_command(results, statement),
        figures=[(name, _CAPTIONS[name], inline_svg(svg, name)) for name, svg in svgs.items()],
        tables=_tables(summary),
        commands=_commands(results, summary, study),
        config=_json(study.get("config", {})),
        provenance=_json({k: study[k] for k in _PROVENANCE if k in study}),
    )


_PROVENANCE = ("provenance", "later_provenance")


def count_command(results: str, statement: Statement) -> str:
    """A shell line that counts, from the rows alone, the outcomes behind a statement."""
    if statement.baseline is not None:
        return _contrast_command(results, statement)
    chosen = f"rows['arm'] == {statement.arm!r}"
    if statement.cell is not None:
        chosen = f"({chosen}) & (rows['cell'] == {statement.cell!r})"
    code = (
        f"import sweep; rows = sweep.load_rows({results!r}); "
        f"print(rows[{chosen}]['outcome'].value_counts())"
    )
    return f"python -c {shlex.quote(code)}"


def _contrast_command(results: str, statement: Statement) -> str:
    code = (
        f"import sweep; from sweep.inference.contrasts import contrasts; "
        f"found = contrasts(sweep.load_rows({results!r}), {statement.baseline!r}); "
        f"print(found[(found['level'] == 'cell') & (found['cell'] == {statement.cell!r}) "
        f"& (found['arm'] == {statement.arm!r})].T)"
    )
    return f"python -c {shlex.quote(code)}"


def inline_svg(svg: bytes, name: str) -> Markup:
    """An SVG file as an element of the page: its ids made unique, its ink the text colour."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = text.replace(INK, "currentColor")
    text = re.sub(
        r'<svg width="[^"]*" height="[^"]*"', f'<svg role="img" aria-label="{name}"', text
    )
    # Our own figure: matplotlib has escaped every name in it.
    return Markup(text)


def _facts(summary: Summary, study: Mapping[str, Any]) -> list[tuple[str, str]]:
    seeds = sum(int(count) for _, count in study.get("blocks", []))
    facts = {
        "study": study.get("study_id", ""),
        "rows": f"{summary.n_rows:,}",
        "cells": f"{len(summary.cells):,}",
        "arms": ", ".join(sorted(summary.frequencies["arm"].unique())),
        "seeds per cell": f"{seeds:,}" if seeds else "",
        "device": study.get("device", ""),
        "intervals": f"{summary.method.replace('_', '-')}, {100 * summary.confidence:g} %",
    }
    return [(name, str(value)) for name, value in facts.items() if value]


def _commands(results: str, summary: Summary, study: Mapping[str, Any]) -> list[tuple[str, str]]:
    place = shlex.quote(results)
    member = summary.frequencies[summary.frequencies["level"] == "cell"].iloc[0]
    first, _ = (study.get("blocks") or [(0, 1)])[0]
    chosen = f"--cell {member['cell']} --arm {shlex.quote(member['arm'])} --draw 0 --seed {first}"
    return [
        ("this page, its tables and figures, from the rows", f"sweep report {place}"),
        ("every verdict judged again by a second route", f"sweep verify {place}"),
        ("one network trained again and compared bit by bit", f"sweep replay {place} {chosen}"),
    ]


def _tables(summary: Summary) -> list[Table]:
    named = summary.frequencies.merge(
        summary.cells[["study", "cell", "setting"]], on=["study", "cell"], how="left"
    )
    named["setting"] = named["setting"].fillna("all cells")
    found = []
    for level, title, note in (
        ("cell", "Per cell and arm", "All λ draws of an arm; the intervals count seeds."),
        ("draw", "Per λ draw", "A draw is a treatment: the same λ for every seed."),
        ("arm", "Per arm", "All cells and draws."),
    ):
        rows = named[named["level"] == level]
        shown = rows[["setting", *_FREQUENCY_COLUMNS]].dropna(axis="columns", how="all")
        found.append(_table(title, note, shown, "frequencies.csv"))
    found.append(_contrast_table(summary))
    for name, title, note, file in _FURTHER:
        shown = getattr(summary, name).drop(columns="study").dropna(axis="columns", how="all")
        found.append(_table(title, note, shown, file, MAX_FURTHER_LINES))
    note = "The best that is known, against which minima are bad, with the key that reached it."
    columns = [name for name in summary.witnesses.columns if name != "study"]
    found.append(_table("Witnesses", note, summary.witnesses[columns], "witnesses.csv"))
    if not summary.precision.empty:
        found.append(_table("Precision", _PRECISION, summary.precision, "precision.csv"))
    cells = summary.cells.drop(columns="study")
    return [*found, _table("Cells", "What the cells are.", cells, "cells.csv")]


def _contrast_table(summary: Summary) -> Table:
    named = summary.cells[["study", "cell", "setting"]].merge(summary.contrasts)
    shown = named.drop(columns=["study", "cell", "baseline"]).sort_values("level", kind="stable")
    note = (
        "Pairs are the seeds that both have. Level cell: all λ draws of an arm, each seed with its "
        "share of bad rows. Exact and mid-p McNemar; the exact p is adjusted over its family."
    )
    return _table(f"Against {summary.baseline}", note, shown, "contrasts.csv")


def _table(title: str, note: str, frame: pd.DataFrame, file: str, most: int = MAX_LINES) -> Table:
    shown = frame.head(most)
    head = tuple(_TITLES.get(name, str(name).replace("_", " ")) for name in frame.columns)
    columns = [[_field(name, value) for value in shown[name]] for name in shown.columns]
    lines = tuple(zip(*columns, strict=True))
    return Table(title, note, head, lines, len(frame) - len(shown), file)


def _field(name: str, value: Any) -> Field:
    if pd.isna(value):
        return Field("–", "", False)
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        return Field(str(value), str(value), False)
    number = float(value)
    if name in _SHARES:
        return Field(percent(number), repr(number), True)
    shown = f"{int(number)}" if number.is_integer() and abs(number) < 1e15 else f"{number:.4g}"
    return Field(shown, repr(number), True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
