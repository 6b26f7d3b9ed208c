"""How the bad-minimum frequency goes with λ, and with the axes of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sweep.inference.responses import LAM
from sweep.inference.summary import Summary
from sweep.report.drawing import INK, WIDTH
from sweep.report.endings import Row
from sweep.report.figures.panels import (
    MAX_LINES,
    MAX_PANELS,
    by_cell,
    colours_of,
    say_hidden,
    title,
    title_inches,
)
from sweep.report.numerals import percent

_MARKERS = "osD^vPX"
_STYLES = ("-", "--", "-.", ":")
#: An axis whose values span more than this factor is drawn in log scale; λ always is.
_LOG_FROM = 20.0
#: A wider log scale has ticks at powers of ten alone.
_DECADES_ONLY_FROM = 300.0


class _Part(NamedTuple):
    """One panel: its title, axis and points, and the frequency of the baseline if it has one."""

    title: str
    axis: str
    points: pd.DataFrame
    level: Row | None


def lambda_figure(summary: Summary) -> Figure | None:
    """Frequency against λ: a panel per cell, a line per arm with λ, its interval as a band.

    The dashed line is the frequency of the contrasts' baseline, where that has no λ of its own.
    """
    points = summary.responses
    if points.empty:
        return None
    points = points[points["axis"] == LAM]
    parts = [
        _Part(setting, "λ", part, _baseline(summary, part))
        for setting, part in by_cell(summary, points)
    ]
    return _figure(parts, "cells", colours_of(summary))


def axis_figure(summary: Summary) -> Figure | None:
    """Frequency against each numeric axis of the grid: a panel per axis and rest of setting."""
    points = summary.responses
    if points.empty:
        return None
    points = points[(points["axis"] != LAM) & points["value"].notna()]
    parts = [
        _Part(str(setting), str(axis), part, None)
        for (_, axis, setting), part in points.groupby(["study", "axis", "setting"], sort=True)
        if part["value"].nunique() > 1
    ]
    return _figure(parts, "axes and settings", colours_of(summary))


def _figure(parts: list[_Part], noun: str, colours: Mapping[str, str]) -> Figure | None:
    if not parts:
        return None
    shown = parts[:MAX_PANELS]
    height = 0.6 + 2.0 * len(shown) + title_inches(part.title for part in shown)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    arms = sorted({arm for part in shown for arm in part.points["arm"]})[:MAX_LINES]
    labelled: dict[str, Line2D] = {}
    for ax, part in zip(axes, shown, strict=True):
        for position, arm in enumerate(arms):
            own = part.points[part.points["arm"] == arm]
            if len(own):
                labelled.setdefault(arm, _line(ax, own, position, colours[arm]))
        if part.level is not None:
            labelled.setdefault(f"{part.level['arm']} (no λ)", _level(ax, part.level))
        _axes(ax, part)
    lines, names = list(labelled.values()), list(labelled)
    legend = figure.legend(lines, names, loc="outside upper left", ncols=2)
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    say_hidden(figure, len(shown), len(parts), noun)
    return figure


def _line(ax: Axes, points: pd.DataFrame, position: int, colour: str) -> Line2D:
    points = points.assign(value=points["value"].astype(float)).sort_values("value", kind="stable")
    at = points["value"].to_numpy()
    ends = points[["interval_low", "interval_high"]].to_numpy(dtype=float)
    ax.fill_between(at, ends[:, 0], ends[:, 1], color=colour, alpha=0.25, linewidth=0)
    # A lone point has no band: its interval is a bar.
    ax.vlines(at, ends[:, 0], ends[:, 1], color=colour, linewidth=1)
    frequency = points["frequency"].to_numpy(dtype=float)
    upper = points["frequency_upper"].to_numpy(dtype=float)
    style: dict[str, Any] = {
        "color": colour,
        "linestyle": _STYLES[position % len(_STYLES)],
        "markersize": 4,
    }
    marker = _MARKERS[position % len(_MARKERS)]
    (line,) = ax.plot(at, frequency, marker=marker, markeredgecolor=INK, **style)
    if (upper > frequency).any():
        ax.plot(at, upper, marker=marker, markerfacecolor="none", **style)
    return line


def _level(ax: Axes, row: Row) -> Line2D:
    ax.axhspan(row["interval_low"], row["interval_high"], color=INK, alpha=0.12, linewidth=0)
    line = ax.axhline(row["bad_minimum_frequency"], color=INK, linestyle=(0, (5, 3)), linewidth=1)
    if row["bad_minimum_frequency_upper"] > row["bad_minimum_frequency"]:
        ax.axhline(row["bad_minimum_frequency_upper"], color=INK, linestyle=":", linewidth=1)
    return line


def _axes(ax: Axes, part: _Part) -> None:
    values = part.points["value"].astype(float).to_numpy()
    least, largest = values.min(), values.max()
    if least > 0 and (part.axis == "λ" or largest / least > _LOG_FROM):
        ax.set_xscale("log")
        some = (1.0,) if largest / least > _DECADES_ONLY_FROM else (1.0, 2.0, 5.0)
        ax.xaxis.set_major_locator(LogLocator(subs=some, numticks=7))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    elif np.array_equal(values, np.round(values)):
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_ylim(0, 1.06 * max(ax.get_ylim()[1], 0.01))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(part.axis)
    ax.set_ylabel("bad minima")
    title(ax, part.title)


def _baseline(summary: Summary, part: pd.DataFrame) -> Row | None:
    """The frequencies of the baseline's members of a cell, None when it has a λ of its own."""
    rows = summary.frequencies
    study, cell = part[["study", "cell"]].iloc[0]
    same = (rows["level"] == "draw") & (rows["study"] == study) & (rows["cell"] == cell)
    own = rows[same & (rows["arm"] == summary.baseline)]
    return own.iloc[0].to_dict() if len(own) == 1 and pd.isna(own["lam"].iloc[0]) else None
