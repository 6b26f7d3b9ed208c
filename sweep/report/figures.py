"""Pictures of a summary, as `Figure` objects. Equal summaries give equal bytes.

Hatches and lightness carry the same distinctions as colours, so that grey prints read as well.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from sweep.inference.summary import Summary
from sweep.report.drawing import INK, PALETTE, WIDTH, saved, styled
from sweep.report.wording import percent

MAX_PANELS = 12
"""Cells that a figure shows; a title says when there are more. The tables have all of them."""

_OUTCOMES = {
    "global_minimum": ("#009E73", "", "global minimum"),
    "good_minimum": ("#56B4E9", "\\\\\\\\", "good minimum"),
    "escaping_good": ("#D6ECF8", "////", "escaping, good limit"),
    "saddle": ("#F0E442", "----", "saddle"),
    "unresolved": ("#F2F2F2", "..", "unresolved"),
    "escaping_bad": ("#E69F00", "++", "escaping, bad limit"),
    "bad_minimum": ("#A63A00", "xxx", "bad minimum"),
    "failed": ("#4D4D4D", "", "failed"),
}


def frequency_figure(summary: Summary) -> Figure:
    """Bad-minimum frequency of every cell and arm: bar = interval, tick = estimate.

    With unresolved members there are two ticks, one at either end, and hatching between them.
    """
    return _panels(summary, _frequency_panel, "bad minima, share of all members")


def outcome_figure(summary: Summary) -> Figure:
    """Shares of all outcomes of every cell and arm, stacked."""
    figure = _panels(summary, _outcome_panel, "share of all members")
    seen = summary.frequencies[list(_OUTCOMES)].sum()
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=label)
        for name, (colour, hatch, label) in _OUTCOMES.items()
        if seen[name] > 0
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
    return figure


FIGURES: dict[str, Callable[[Summary], Figure]] = {
    "frequencies": frequency_figure,
    "outcomes": outcome_figure,
}
"""File name (without its ending) → what draws it."""


def figure_files(summary: Summary) -> dict[str, bytes]:
    """File name → content of every figure, drawn once and saved twice (`drawing.saved`)."""
    files = {}
    with styled():
        for name, draw in FIGURES.items():
            files.update(saved(name, draw(summary)))
    return files


def _panels(summary: Summary, draw: Callable[[Axes, pd.DataFrame], None], label: str) -> Figure:
    """One panel per cell, one line per arm, a common horizontal axis."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    cells = summary.cells.head(MAX_PANELS)
    parts = [
        pooled[(pooled["study"] == cell.study) & (pooled["cell"] == cell.cell)]
        for cell in cells.itertuples()
    ]
    lines = sum(len(part) for part in parts)
    figure = Figure(figsize=(WIDTH, 1.1 + 0.55 * len(parts) + 0.3 * lines), layout="constrained")
    axes = figure.subplots(
        len(parts), 1, sharex=True, squeeze=False, height_ratios=[len(part) + 0.4 for part in parts]
    )[:, 0]
    for ax, cell, part in zip(axes, cells.itertuples(), parts, strict=True):
        draw(ax, part)
        # Names are the user's own: a dollar sign in one is no formula.
        ax.set_title(cell.setting, loc="left", parse_math=False)
        ax.set_yticks(range(len(part)), part["arm"].tolist(), parse_math=False)
        ax.set_ylim(len(part) - 0.5, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes[-1].set_xlabel(label)
    if len(summary.cells) > MAX_PANELS:
        figure.suptitle(f"the first {MAX_PANELS} of {len(summary.cells)} cells", fontsize=9)
    return figure


def _frequency_panel(ax: Axes, part: pd.DataFrame) -> None:
    for position, row in enumerate(part.to_dict("records")):
        low, high = row["interval_low"], row["interval_high"]
        ends = sorted({row["bad_minimum_frequency"], row["bad_minimum_frequency_upper"]})
        colour = PALETTE[position % len(PALETTE)]
        ax.barh(position, high - low, left=low, height=0.62, color=colour, alpha=0.55)
        if len(ends) == 2:
            ax.barh(
                position,
                ends[1] - ends[0],
                left=ends[0],
                height=0.62,
                facecolor="none",
                edgecolor=INK,
                hatch="..",
                linewidth=0,
            )
        ax.vlines(ends, position - 0.31, position + 0.31, color=INK, linewidth=1.8)
        said = percent(ends[0]) if len(ends) == 1 else f"{percent(ends[0])} – {percent(ends[1])}"
        ax.text(1.02, position, said, transform=ax.get_yaxis_transform(), va="center")
    ax.set_xlim(left=0)


def _outcome_panel(ax: Axes, part: pd.DataFrame) -> None:
    left = pd.Series(0.0, index=part.index)
    for name, (colour, hatch, _) in _OUTCOMES.items():
        share = part[name] / part["n"]
        ax.barh(
            range(len(part)),
            share,
            left=left,
            height=0.7,
            facecolor=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.4,
        )
        left = left + share
    ax.set_xlim(0, 1)
