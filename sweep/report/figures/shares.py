"""How often each arm ends in a bad minimum, and in everything else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweep.inference.summary import Summary
from sweep.report.drawing import INK
from sweep.report.endings import Row
from sweep.report.figures.panels import (
    OUTCOME_STYLES,
    cell_panels,
    colours_of,
    outcome_legend,
    panel_figure,
    stacked,
)
from sweep.report.numerals import percent


def frequency_figure(summary: Summary) -> Figure | None:
    """Bad-minimum frequency of every cell and arm: bar = interval, tick = estimate.

    With unresolved members there are two ticks, one at either end, and hatching between them.
    """
    label = "bad minima, share of all members"
    pooled = _pooled(summary)
    draw = partial(_frequency_panel, colours=colours_of(summary))
    figure = panel_figure(cell_panels(summary, pooled), draw, label)
    if figure is not None:
        figure.axes[0].set_xlim(0, min(1.0, 1.04 * pooled["interval_high"].max()))
    return figure


def outcome_figure(summary: Summary) -> Figure | None:
    """Shares of all outcomes of every cell and arm, stacked."""
    pooled = _pooled(summary)
    figure = panel_figure(cell_panels(summary, pooled), _outcome_panel, "share of all members")
    if figure is not None:
        outcome_legend(figure, [name for name in OUTCOME_STYLES if pooled[name].sum() > 0])
    return figure


def interval_bar(
    ax: Axes, position: int, row: Row, ends: tuple[str, str], colour: str
) -> list[float]:
    """The estimate, once or as two ends, drawn as ticks on the bar of its interval.

    `ends` are the columns of its low and high end; between two ticks there are dots.
    """
    low, high = row["interval_low"], row["interval_high"]
    ticks = sorted({float(row[end]) for end in ends})
    ax.barh(position, high - low, left=low, height=0.62, color=colour, alpha=0.55)
    if len(ticks) == 2:
        ax.barh(
            *(position, ticks[1] - ticks[0], 0.62),
            left=ticks[0],
            facecolor="none",
            edgecolor=INK,
            hatch="..",
            linewidth=0,
        )
    ax.vlines(ticks, position - 0.31, position + 0.31, color=INK, linewidth=1.8)
    return ticks


def beside(ax: Axes, position: int, estimate: str, interval: str) -> None:
    """To the right of a line its estimate, and below that, smaller, the interval of its bar."""
    place = ax.get_yaxis_transform()
    ax.text(1.02, position - 0.14, estimate, transform=place, va="center")
    ax.text(1.02, position + 0.28, interval, transform=place, va="center", fontsize=7)


def interval_words(row: Row) -> str:
    """The interval of a share: '3.2 % to 9.1 %'."""
    return f"{percent(row['interval_low'])} to {percent(row['interval_high'])}"


def outcome_bar(ax: Axes, position: float, height: float, row: Row) -> None:
    """The outcomes of one row of `frequencies`, stacked to a whole."""
    parts = [(row[name] / row["n"], style[:2]) for name, style in OUTCOME_STYLES.items()]
    stacked(ax, position, height, parts)


def _pooled(summary: Summary) -> pd.DataFrame:
    return summary.frequencies.loc[summary.frequencies["level"] == "cell"]


def _frequency_panel(ax: Axes, lines: pd.DataFrame, colours: Mapping[str, str]) -> None:
    ends = ("bad_minimum_frequency", "bad_minimum_frequency_upper")
    for position, row in enumerate(lines.to_dict("records")):
        ticks = interval_bar(ax, position, row, ends, colours[row["arm"]])
        beside(ax, position, " – ".join(map(percent, ticks)), interval_words(row))


def _outcome_panel(ax: Axes, lines: pd.DataFrame) -> None:
    for position, row in enumerate(lines.to_dict("records")):
        outcome_bar(ax, position, 0.7, row)
    ax.set_xlim(0, 1)
