"""Where each seed's outcome goes when the baseline is replaced by another arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sweep.inference.summary import Summary
from sweep.report.drawing import INK, WIDTH
from sweep.report.figures.panels import (
    MAX_PANELS,
    OUTCOME_STYLES,
    by_cell,
    say_hidden,
    title,
    title_inches,
)

_SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", "#0072B2", "#00253B"])
#: Shares from which white letters read better than black ones.
_DARK = 0.45


def flow_figure(summary: Summary) -> Figure | None:
    """A table per cell and arm: rows the baseline's outcome, columns the arm's at the same seed.

    Numbers count rows of the arm; the darker, the larger the share of the table's row.
    """
    groups = [
        (f"{arm}\n{setting}", flow)
        for setting, part in by_cell(summary, summary.flows)
        for arm, flow in part.groupby("arm", sort=True)
    ]
    if not groups:
        return None
    shown = groups[:MAX_PANELS]
    seen = {*summary.flows["outcome"]}
    columns = [name for name in OUTCOME_STYLES if name in seen]
    tables = [_table(flow, columns) for _, flow in shown]
    heights = [
        0.4 + 0.24 * len(table) + title_inches([name])
        for (name, _), table in zip(shown, tables, strict=True)
    ]
    figure = Figure(figsize=(WIDTH, 1.5 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, _), table in zip(axes, shown, tables, strict=True):
        _panel(ax, table)
        title(ax, name)
        ax.tick_params(labelbottom=ax is axes[-1])
    names = [OUTCOME_STYLES[name][2].replace(", ", ",\n") for name in columns]
    axes[-1].set_xticks(range(len(columns)), names, rotation=40, ha="right", fontsize=8)
    figure.supylabel("outcome of the baseline", fontsize=9)
    axes[-1].set_xlabel("outcome of the arm at the same seed")
    say_hidden(figure, len(shown), len(groups), "pairs of cell and arm")
    return figure


def _table(flow: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    counts = flow.pivot_table(
        index="baseline_outcome", columns="outcome", values="n", aggfunc="sum", fill_value=0
    )
    rows = [name for name in OUTCOME_STYLES if name in counts.index]
    return counts.reindex(index=rows, columns=columns, fill_value=0)


def _panel(ax: Axes, table: pd.DataFrame) -> None:
    counts = table.to_numpy(dtype=float)
    share = counts / counts.sum(axis=1, keepdims=True)
    ax.pcolormesh(
        np.arange(counts.shape[1] + 1) - 0.5,
        np.arange(counts.shape[0] + 1) - 0.5,
        share,
        cmap=_SHADES,
        vmin=0,
        vmax=1,
        edgecolors="#9AA0A6",
        linewidth=0.4,
    )
    for (row, column), n in np.ndenumerate(counts):
        if n:
            dark = share[row, column] > _DARK
            colour = "white" if dark else "black"
            ax.text(column, row, f"{int(n):,}", ha="center", va="center", color=colour, fontsize=8)
    ax.set_yticks(range(len(table)), [OUTCOME_STYLES[name][2] for name in table.index], fontsize=8)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xticks(range(counts.shape[1]))
    ax.tick_params(length=0, colors=INK)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
