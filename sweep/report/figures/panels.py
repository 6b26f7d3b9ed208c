"""One panel per cell, one line per arm: what most figures look like, and their limits."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sweep.inference.summary import Summary
from sweep.report.drawing import WIDTH, arm_colours
from sweep.report.numerals import percent

MAX_PANELS = 12
"""Panels that a figure shows; a title says when there are more. The tables have all of them."""
MAX_LINES = 24
"""Lines that a panel shows, with a word about the rest."""
_MAX_ALL_LINES = 96

#: What a title may take of the narrow figure; longer ones push the layout aside.
_TITLE_LETTERS, _TITLE_LINES = 40, 4
_LINE_INCHES = 0.15

#: Outcome → its colour, hatch and name.
OUTCOME_STYLES = {
    "global_minimum": ("#009E73", "", "global minimum"),
    "good_minimum": ("#56B4E9", "\\\\\\\\", "good minimum"),
    "escaping_good": ("#D6ECF8", "////", "escaping, good limit"),
    "saddle": ("#F0E442", "----", "saddle"),
    "unresolved": ("#F2F2F2", "..", "unresolved"),
    "escaping_bad": ("#E69F00", "++", "escaping, bad limit"),
    "bad_minimum": ("#A63A00", "xxx", "bad minimum"),
    "failed": ("#4D4D4D", "", "failed"),
}

#: What a bar is filled with: colour and hatch.
Fill = tuple[str, str]


@dataclass(frozen=True)
class Panel:
    """A cell's part of a figure: its title, its lines, and a name for each line."""

    title: str
    lines: pd.DataFrame
    names: tuple[str, ...]


def colours_of(summary: Summary) -> dict[str, str]:
    """The colour of every arm of the study."""
    return arm_colours(summary.frequencies["arm"].unique(), summary.baseline)


def by_cell(summary: Summary, frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each cell's setting with its lines of the frame, in the order of the cells; none empty."""
    if frame.empty:
        return []
    groups = dict(tuple(frame.groupby(["study", "cell"], sort=False)))
    cells = [(cell.setting, (cell.study, cell.cell)) for cell in summary.cells.itertuples()]
    return [(str(setting), groups[key]) for setting, key in cells if key in groups]


def cell_panels(summary: Summary, frame: pd.DataFrame) -> list[Panel]:
    """A panel per cell of which the frame has lines, in the order of the cells, lines by arm."""
    found = by_cell(summary, frame)
    return [Panel(setting, lines, tuple(lines["arm"])) for setting, lines in found]


def panel_figure(
    panels: Sequence[Panel],
    draw: Callable[[Axes, pd.DataFrame], None],
    label: str,
    *,
    line_inches: float = 0.3,
) -> Figure | None:
    """Panels below each other with a common horizontal axis of shares; None without any.

    `draw` puts line i of its frame at the vertical place i, from the top down.
    """
    if not panels:
        return None
    shown = [_cut(panel) for panel in panels[:MAX_PANELS]]
    # Many lines in many panels would make a file that no page should carry.
    while sum(len(panel.lines) for panel in shown) > _MAX_ALL_LINES:
        shown.pop()
    counts = [len(panel.lines) for panel in shown]
    height = 1.1 + 0.55 * len(shown) + line_inches * sum(counts)
    height += title_inches(panel.title for panel in shown)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(
        len(shown), 1, sharex=True, squeeze=False, height_ratios=[n + 0.4 for n in counts]
    )[:, 0]
    for ax, panel in zip(axes, shown, strict=True):
        draw(ax, panel.lines)
        title(ax, panel.title)
        ax.set_yticks(range(len(panel.names)), panel.names, parse_math=False)
        ax.set_ylim(len(panel.names) - 0.5, -0.6)
        ax.tick_params(axis="y", length=0)
        shares(ax)
    axes[-1].set_xlabel(label)
    say_hidden(figure, len(shown), len(panels))
    return figure


def title(ax: Axes, text: str) -> None:
    """A panel's title, wrapped. Names are the user's own: a dollar sign in one is no formula."""
    ax.set_title(_wrapped(text), loc="left", parse_math=False)


def title_inches(titles: Iterable[str]) -> float:
    """The height that the lines of wrapped titles after their first need in a figure."""
    return _LINE_INCHES * sum(_wrapped(text).count("\n") for text in titles)


def _wrapped(text: str) -> str:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _TITLE_LETTERS)]
    if len(lines) > _TITLE_LINES:
        lines = [*lines[: _TITLE_LINES - 2], f"{lines[_TITLE_LINES - 2]} …", lines[-1]]
    return "\n".join(lines)


def shares(ax: Axes) -> None:
    """The horizontal axis in per cent, with few enough ticks for the narrow figure."""
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    ax.xaxis.set_major_locator(MaxNLocator(3))


def say_hidden(figure: Figure, shown: int, count: int, noun: str = "cells") -> None:
    """A word above the figure when only the first of its `count` panels are shown."""
    if count > shown:
        figure.suptitle(f"the first {shown} of {count} {noun}", fontsize=9)


def legend(figure: Figure, fills: dict[str, Fill]) -> None:
    """Fills with their names, above the panels."""
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=label)
        for label, (colour, hatch) in fills.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)


def outcome_legend(figure: Figure, seen: Sequence[str]) -> None:
    """The styles of those outcomes, in the order of `OUTCOME_STYLES`."""
    legend(figure, {s[2]: (s[0], s[1]) for name, s in OUTCOME_STYLES.items() if name in seen})


def stacked(ax: Axes, position: float, height: float, parts: Sequence[tuple[float, Fill]]) -> None:
    """Bars of these lengths one after the other from 0; those of no length are left out."""
    left = 0.0
    for length, (colour, hatch) in parts:
        if length > 0:
            ax.barh(
                *(position, length, height),
                left=left,
                facecolor=colour,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.4,
            )
        left += length


def _cut(panel: Panel) -> Panel:
    hidden = len(panel.lines) - MAX_LINES
    if hidden <= 0:
        return panel
    words = f"{panel.title}\n(the first {MAX_LINES} of {len(panel.lines)} lines)"
    return Panel(words, panel.lines.head(MAX_LINES), panel.names[:MAX_LINES])
