"""Pictures of a summary, as `Figure` objects. Equal summaries give equal bytes.

Hatches and lightness carry the same distinctions as colours, so that grey prints read as well. A
figure for which the summary has nothing is None and left out.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from sweep.inference.summary import Summary
from sweep.report.drawing import saved, styled
from sweep.report.figures.contrasts import contrast_figure
from sweep.report.figures.flows import flow_figure
from sweep.report.figures.losses import loss_figure
from sweep.report.figures.naive import naive_figure
from sweep.report.figures.panels import MAX_LINES, MAX_PANELS
from sweep.report.figures.responses import axis_figure, lambda_figure
from sweep.report.figures.shares import frequency_figure, outcome_figure

__all__ = ["FIGURES", "MAX_LINES", "MAX_PANELS", "figure_files"]

FIGURES: dict[str, Callable[[Summary], Figure | None]] = {
    "frequencies": frequency_figure,
    "contrasts": contrast_figure,
    "outcomes": outcome_figure,
    "flows": flow_figure,
    "lambda_response": lambda_figure,
    "axis_response": axis_figure,
    "losses": loss_figure,
    "naive": naive_figure,
}
"""File name (without its ending) → what draws it, in the order of the page."""


def figure_files(summary: Summary) -> dict[str, bytes]:
    """File name → content of every figure, drawn once and saved twice (`drawing.saved`)."""
    files = {}
    with styled():
        for name, draw in FIGURES.items():
            figure = draw(summary)
            if figure is not None:
                files.update(saved(name, figure))
    return files
