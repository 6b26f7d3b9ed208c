"""Pictures of a summary, as `Figure` objects that share no state with pyplot.

Colours are those of Okabe and Ito (distinct to colour-blind readers); hatches and lightness carry
the same distinctions, so that grey prints read as well. Figures are narrow (4.4 inches), so that
their letters stay legible on a telephone. Equal summaries give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from sweep.inference.summary import Summary
from sweep.report.wording import percent

INK = "#111213"
"""Colour of everything that is text or line; the page replaces it by the reader's text colour."""

MAX_PANELS = 12
"""Cells that a figure shows; a title says when there are more. The tables have all of them."""

_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
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
_STYLE = {
    "font.family": "DejaVu Sans",  # bundled with matplotlib: the layout is the same everywhere
    "font.size": 9,
    "hatch.linewidth": 0.6,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "sweep",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.titlecolor"), INK),
}
_NO_DATE = {"Date": None, "Creator": None, "Format": None, "Type": None}


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
    """File name → content of every figure, drawn once and saved twice.

    .svg has a transparent ground, text kept as text and no date; .png is on white.
    """
    files = {}
    with _styled():
        for name, draw in FIGURES.items():
            figure = draw(summary)
            files[f"{name}.svg"] = _saved(figure, "svg", metadata=_NO_DATE)
            files[f"{name}.png"] = _saved(
                figure, "png", dpi=200, facecolor="white", metadata={"Software": None}
            )
    return files


def _saved(figure: Figure, kind: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **settings)
    return buffer.getvalue()


def _styled() -> AbstractContextManager[None]:
    """Our settings on top of matplotlib's defaults, whatever the reader's matplotlibrc says."""
    return matplotlib.style.context(["default", _STYLE])


def _panels(summary: Summary, draw: Callable[[Axes, pd.DataFrame], None], label: str) -> Figure:
    """One panel per cell, one line per arm, a common horizontal axis."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    cells = summary.cells.head(MAX_PANELS)
    parts = [
        pooled[(pooled["study"] == cell.study) & (pooled["cell"] == cell.cell)]
        for cell in cells.itertuples()
    ]
    lines = sum(len(part) for part in parts)
    figure = Figure(figsize=(4.4, 1.1 + 0.55 * len(parts) + 0.3 * lines), layout="constrained")
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
        colour = _PALETTE[position % len(_PALETTE)]
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
