"""How much an arm differs from the baseline, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sweep.inference.summary import Summary
from sweep.report.drawing import INK
from sweep.report.endings import Row
from sweep.report.figures.panels import Panel, cell_panels, colours_of, panel_figure
from sweep.report.figures.shares import beside, interval_bar
from sweep.report.numerals import points, span


def contrast_figure(summary: Summary) -> Figure | None:
    """Bad-minimum frequency of each arm, and of each of its draws, minus the baseline's.

    Bar = interval, tick = estimate, as in `frequency_figure`; the line is no difference. An arm
    with one draw has one line.
    """
    frame = summary.contrasts
    if frame.empty:
        return None
    several = frame.groupby(["study", "cell", "arm"])["draw"].transform("nunique") > 1
    shown = frame[(frame["level"] == "cell") | several]
    order = shown.assign(_pooled=shown["level"] != "cell").sort_values(
        ["study", "cell", "arm", "_pooled", "draw"], kind="stable"
    )
    panels = [
        Panel(panel.title, panel.lines, tuple(map(_name, panel.lines.to_dict("records"))))
        for panel in cell_panels(summary, order)
    ]
    label = f"bad minima: minus {summary.baseline}, percentage points".replace("$", r"\$")
    draw = partial(_contrast_panel, colours=colours_of(summary))
    figure = panel_figure(panels, draw, label)
    if figure is not None:
        for ax in figure.axes:
            ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: points(share)))
    return figure


def _name(row: Row) -> str:
    if row["level"] == "cell":
        return str(row["arm"])
    return f"draw {row['draw']}" + ("" if pd.isna(row["lam"]) else f", λ = {row['lam']:.3g}")


def _contrast_panel(ax: Axes, lines: pd.DataFrame, colours: Mapping[str, str]) -> None:
    for position, row in enumerate(lines.to_dict("records")):
        ends = ("difference", "difference_upper")
        ticks = interval_bar(ax, position, row, ends, colours[row["arm"]])
        around = f"{points(row['interval_low'])} to {points(row['interval_high'])}"
        beside(ax, position, span(ticks[0], ticks[-1]), around)
    ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
