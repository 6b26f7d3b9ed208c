"""Where training stopped: the distribution of the final loss, and the levels of the minima."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweep.inference.summary import Summary
from sweep.report.drawing import INK, WIDTH
from sweep.report.figures.panels import (
    MAX_LINES,
    MAX_PANELS,
    OUTCOME_STYLES,
    by_cell,
    colours_of,
    say_hidden,
    title,
    title_inches,
)

MAX_LEVELS = 12
"""Levels of minima marked per cell and arm, the most frequent ones."""

_TALLEST = 0.8
_KINDS = (
    ("bad_minimum", "v", "level of a bad minimum"),
    ("global_minimum", "^", "level of another minimum"),
)


def loss_figure(summary: Summary) -> Figure | None:
    """A histogram per cell and arm, arms below each other; triangles mark the minima's levels.

    Heights are shares of the arm's members, on one scale within a cell. Levels are those of the
    objective, which is the loss where the regularizers vanish.
    """
    known = summary.losses[summary.losses["low"].notna()]
    groups = by_cell(summary, known)
    if not groups:
        return None
    shown = groups[:MAX_PANELS]
    counts = [min(part["arm"].nunique(), MAX_LINES) for _, part in shown]
    height = 1.0 + 0.75 * len(shown) + 0.42 * sum(counts)
    height += title_inches(setting for setting, _ in shown)
    minima = summary.minima
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[n + 0.4 for n in counts])[
        :, 0
    ]
    colours = colours_of(summary)
    for ax, (setting, part) in zip(axes, shown, strict=True):
        _panel(ax, part, colours, _same_cell(summary.losses, part).groupby("arm")["n"].sum())
        _mark(ax, part, _same_cell(minima, part))
        title(ax, setting)
    axes[-1].set_xlabel("final loss")
    _legend(figure, minima)
    say_hidden(figure, len(shown), len(groups))
    return figure


def _same_cell(frame: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    first = part.iloc[0]
    same: pd.DataFrame = frame[
        (frame["study"] == first["study"]) & (frame["cell"] == first["cell"])
    ]
    return same


def _arms(part: pd.DataFrame) -> list[str]:
    return sorted(part["arm"].unique())[:MAX_LINES]


def _panel(ax: Axes, part: pd.DataFrame, colours: Mapping[str, str], members: pd.Series) -> None:
    drawn = _drawn(part)
    share = drawn["n"] / drawn["arm"].map(members).to_numpy()
    drawn = drawn.assign(height=share / share.max() * _TALLEST)
    arms = _arms(part)
    for position, arm in enumerate(arms):
        bars = drawn[drawn["arm"] == arm]
        ax.bar(
            bars["low"],
            -bars["height"],
            bars["high"] - bars["low"],
            bottom=position,
            align="edge",
            color=colours[arm],
            edgecolor=INK,
            linewidth=0.3,
        )
        ax.axhline(position, color=INK, linewidth=0.5)
    if (part["scale"] == "log").any():
        ax.set_xscale("log")
        if (part["low"] == 0).any():
            middle = np.sqrt(drawn["low"].min() * drawn["high"].min())
            ax.text(middle, len(arms) - 0.95, "≈ 0", ha="center", va="top", fontsize=7)
    ax.set_yticks(range(len(arms)), arms, parse_math=False, va="bottom")
    ax.set_ylim(len(arms) - 0.7, -1)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _drawn(part: pd.DataFrame) -> pd.DataFrame:
    """Bins as they are drawn: 0 stands left of a log scale, and every bin has some width."""
    low, high = part["low"].to_numpy(), part["high"].to_numpy()
    if (part["scale"] == "log").any():
        inner = low > 0
        step = np.median(high[inner] / low[inner])
        least = low[inner].min()
        high = np.where(inner, high, least / step)
        return part.assign(low=np.where(inner, low, least / step**4), high=high)
    pad = np.where(high > low, 0.0, 0.01 * np.maximum(np.abs(high), 1e-300))
    return part.assign(low=low - pad, high=high + pad)


def _mark(ax: Axes, part: pd.DataFrame, minima: pd.DataFrame) -> None:
    low, high = ax.get_xlim()
    for position, arm in enumerate(_arms(part) if len(minima) else []):
        own = minima[minima["arm"] == arm]
        own = own.sort_values(["n", "level"], ascending=[False, True]).head(MAX_LEVELS)
        for kind, marker, _ in _KINDS:
            some = own[(own["n_bad"] > 0) == (kind == "bad_minimum")]
            level = some["level"].to_numpy(dtype=float)
            level = level[np.isfinite(level)]
            if (part["scale"] == "log").any():
                level = np.maximum(level, low)
            inside = level[(level >= low) & (level <= high)]
            if not len(inside):  # unclipped, a line of no points would spoil the layout
                continue
            (line,) = ax.plot(inside, np.full(len(inside), position + 0.12), linestyle="none")
            line.set(marker=marker, markersize=4.5, color=OUTCOME_STYLES[kind][0])
            line.set(markeredgecolor=INK, markeredgewidth=0.4, clip_on=False)
    ax.set_xlim(low, high)


def _legend(figure: Figure, minima: pd.DataFrame) -> None:
    if minima.empty:
        return
    handles = []
    for kind, marker, label in _KINDS:
        handle = Line2D([], [], linestyle="none", marker=marker, label=label)
        handle.set(color=OUTCOME_STYLES[kind][0], markeredgecolor=INK, markeredgewidth=0.4)
        handles.append(handle)
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
