"""Several studies on one page: their frequencies side by side, and how far apart their arms are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweep.inference.comparison import Study, differences, settings, shared_axes
from sweep.inference.summary import Summary
from sweep.report.drawing import arm_colours, saved, styled
from sweep.report.figures.panels import Panel, panel_figure
from sweep.report.figures.shares import beside, interval_bar, interval_words
from sweep.report.numerals import percent, span
from sweep.report.page_figures import BARS, DOTS, PageFigure, inline_svg
from sweep.report.page_tables import page_table
from sweep.report.render import template
from sweep.report.tables import latex_table
from sweep.storage.durable import replace_files
from sweep.verdicts import Outcome

_LONGEST = 120
"""Letters of a setting's value that the page shows."""
_FREQUENCIES = [
    *("setting", "arm", "study", "n", "n_seeds", *map(str, Outcome)),
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
]
_NOTE = (
    "The second study's share of bad minima minus the first's, in cells that agree in {axes}. "
    "Paired by seed where n pairs is above 0 (one root); else two independent samples. Each "
    "interval is for itself: none is widened for how many there are."
)


@dataclass(frozen=True, eq=False)
class Compared:
    """A study of the comparison: its summary, its rows, what study.json says, how to name it.

    `results` is the folder as commands should name it; `caveats` are sentences without which its
    numbers must not be read.
    """

    study: Study
    summary: Summary
    config: Mapping[str, Any]
    results: str
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The tables of a comparison: `frequencies`, `differences`, and `configuration` (what differs).

    `axes` are those in which cells had to agree to be called the same, `baseline` is the first
    study's.
    """

    labels: tuple[str, ...]
    baseline: str
    axes: tuple[str, ...]
    frequencies: pd.DataFrame
    differences: pd.DataFrame
    configuration: pd.DataFrame

    @property
    def nothing_compared(self) -> str:
        """One sentence that there are no differences, and why; empty where there are some."""
        if len(self.differences):
            return ""
        return (
            "No difference could be taken: no two of these studies have an arm of the same name "
            f"and λ in a setting ({', '.join(self.axes)}) that both have."
        )


def compared(studies: Sequence[Compared]) -> Comparison:
    """The tables of these studies; differences are taken between each two, in the given order."""
    axes = shared_axes([one.study.cells for one in studies])
    frequencies = pd.concat([_frequencies(one, axes) for one in studies], ignore_index=True)
    frequencies = frequencies.sort_values(["setting", "arm"], kind="stable", ignore_index=True)
    confidence = studies[0].summary.confidence
    found = [
        differences(first.study, second.study, axes, confidence)
        for first, second in combinations(studies, 2)
    ]
    labels = tuple(one.study.label for one in studies)
    apart = pd.concat(found, ignore_index=True)
    baseline = studies[0].summary.baseline
    return Comparison(labels, baseline, tuple(axes), frequencies, apart, _configuration(studies))


def write_comparison(
    studies: Sequence[Compared], page: Path, named: str | None = None
) -> Comparison:
    """`page` and, beside it under the same name, .csv (frequencies), -differences.csv and .tex.

    `named` is the page as the command named it, None where it did not.
    """
    found = compared(studies)
    files = {
        f"{page.stem}.csv": _csv(found.frequencies),
        f"{page.stem}-differences.csv": _csv(found.differences),
        f"{page.stem}.tex": comparison_latex(found).encode(),
        page.name: comparison_page(found, studies, named).encode(),
    }
    replace_files(page.parent, files)
    return found


def comparison_page(found: Comparison, studies: Sequence[Compared], page: str | None = None) -> str:
    """The page as text: words, figure, tables, commands; `page` is its file where one was named."""
    axes = ", ".join(found.axes)
    places = [one.results for one in studies]
    out = "" if page is None else f" --out {shlex.quote(page)}"
    code = (
        f"import sweep; [print(p, sweep.load_rows(p).groupby(['cell', 'arm'], observed=True)"
        f"['outcome'].value_counts().to_string()) for p in {places!r}]"
    )
    tables = [
        page_table(
            "Frequencies",
            "All λ draws of an arm; intervals count seeds.",
            found.frequencies,
            "",
            code,
        )
    ]
    if len(found.differences):
        tables.append(page_table("Differences", _NOTE.format(axes=axes), found.differences, "", ""))
    if len(found.configuration):
        note = "Settings of the studies that differ."
        tables.append(page_table("What sets the studies apart", note, found.configuration, "", ""))
    return template("comparison.html.j2").render(
        labels=found.labels,
        opening=[*_opening(found), *_caveats(studies)],
        figures=_figures(found),
        tables=tables,
        command=f"sweep report {' '.join(map(shlex.quote, places))}{out}",
    )


def comparison_figure(found: Comparison) -> Figure | None:
    """Bad-minimum frequency, a panel per setting, a line per arm and study."""
    panels = [
        Panel(str(setting), lines, tuple(lines["arm"] + " · " + lines["study"]))
        for setting, lines in found.frequencies.groupby("setting", sort=True)
    ]
    colours = arm_colours(found.frequencies["arm"].unique(), found.baseline)
    ends = ("bad_minimum_frequency", "bad_minimum_frequency_upper")

    def draw(ax: Axes, lines: pd.DataFrame) -> None:
        for position, row in enumerate(lines.to_dict("records")):
            ticks = interval_bar(ax, position, row, ends, colours[row["arm"]])
            beside(ax, position, " – ".join(map(percent, ticks)), interval_words(row))

    figure = panel_figure(panels, draw, "bad minima, share of all members")
    if figure is not None:
        figure.axes[0].set_xlim(0, min(1.0, 1.04 * found.frequencies["interval_high"].max()))
    return figure


def comparison_latex(found: Comparison) -> str:
    """Two booktabs tables: frequencies with a column per study, and the differences if any."""
    said = found.frequencies.assign(
        words=[
            f"{_ends(row)} ({percent(row['interval_low'])} – {percent(row['interval_high'])})"
            for row in found.frequencies.to_dict("records")
        ]
    )
    wide = said.groupby(["setting", "arm", "study"], sort=False)["words"].agg("; ".join).unstack()
    wide = wide.reindex(columns=list(found.labels)).fillna("–").reset_index()
    head = ("Setting", "Arm", *found.labels)
    texts = [latex_table("bad minima, side by side", head, wide.to_numpy(dtype=str).tolist())]
    if found.nothing_compared:
        return f"{texts[0]}\n% {found.nothing_compared}\n"
    lines = [
        (
            *(row["setting"], row["arm"], str(row["draw"]), row["first"], row["second"]),
            str(row["n_pairs"] or "–"),
            span(row["difference"], row["difference_upper"]),
            span(row["interval_low"], row["interval_high"]),
        )
        for row in found.differences.to_dict("records")
    ]
    head = ("Setting", "Arm", "draw", "first", "second", "pairs", "second − first", "interval")
    texts.append(latex_table("differences in percentage points", head, lines))
    return "\n".join(texts)


def _frequencies(one: Compared, axes: list[str]) -> pd.DataFrame:
    pooled = one.summary.frequencies
    pooled = pooled[pooled["level"] == "cell"].drop(columns="study")
    names = pd.DataFrame(
        {"cell": one.study.cells["cell"], "setting": settings(one.study.cells, axes)}
    )
    return pooled.merge(names, on="cell").assign(study=one.study.label)[_FREQUENCIES]


def _configuration(studies: Sequence[Compared]) -> pd.DataFrame:
    """One line per setting that differs: `setting` and a column per study, several values by ∣."""
    flat = {one.study.label: _settings(one) for one in studies}
    names = sorted({name for own in flat.values() for name in own})
    table = {label: [own.get(name, "–") for name in names] for label, own in flat.items()}
    found = pd.DataFrame({"setting": names, **table}, dtype="string")
    return found[found[list(flat)].nunique(axis=1) > 1].reset_index(drop=True)


def _settings(one: Compared) -> dict[str, str]:
    """Dotted name → what the cells of a study have there, as words."""
    values: dict[str, dict[str, None]] = {"seeds.root": {str(one.study.root): None}}
    for cell in one.config.get("cells", []):
        for name, value in _flat(cell.get("settings", {}), ""):
            values.setdefault(name, {})[str(value)] = None
    words = {name: " ∣ ".join(own) for name, own in values.items()}
    return {k: v if len(v) <= _LONGEST else f"{v[:_LONGEST]}…" for k, v in words.items()}


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _opening(found: Comparison) -> list[str]:
    both = found.frequencies.groupby("setting")["study"].nunique()
    shared = int((both == len(found.labels)).sum())
    said = [
        f"{len(found.labels)} studies: {', '.join(found.labels)}. {shared} of {len(both)} settings "
        f"({', '.join(found.axes)}) are in all of them."
    ]
    apart = found.differences
    if apart.empty:
        return [*said, found.nothing_compared]
    clear = int(((apart["interval_low"] > 0) | (apart["interval_high"] < 0)).sum())
    said.append(
        f"{len(apart)} differences between the same arms in the same settings; the interval of "
        f"{clear} of them leaves out 0, each taken for itself."
    )
    return said


def _caveats(studies: Sequence[Compared]) -> list[str]:
    return [f"{one.study.label}: {said}" for one in studies for said in one.caveats]


def _figures(found: Comparison) -> list[PageFigure]:
    with styled():
        figure = comparison_figure(found)
        if figure is None:
            return []
        svg = saved("comparison", figure)["comparison.svg"]
    title = "How often training ends in a certified bad minimum, study by study"
    note = f"{BARS} {DOTS}"
    return [PageFigure(title, note, inline_svg(svg, "comparison", title))]


def _ends(row: Mapping[Any, Any]) -> str:
    ends = [percent(row[f"bad_minimum_frequency{end}"]) for end in ("", "_upper")]
    return ends[0] if ends[0] == ends[1] else " – ".join(ends)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
