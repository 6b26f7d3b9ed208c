"""How every picture looks and is saved: one style, no state shared with pyplot, equal bytes.

Colours are those of Okabe and Ito (distinct to colour-blind readers). Figures are narrow, so that
their letters stay legible on a telephone.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#111213"
"""Colour of everything that is text or line."""

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")

WIDTH = 4.4
"""Width of a figure in inches."""

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


def styled() -> AbstractContextManager[None]:
    """Our settings on top of matplotlib's defaults, whatever the reader's matplotlibrc says."""
    return matplotlib.style.context(["default", _STYLE])


def saved(name: str, figure: Figure) -> dict[str, bytes]:
    """`name`.svg and `name`.png with their content; to be called where the figure was `styled`.

    .svg has a transparent ground, text kept as text and no date; .png is on white.
    """
    _lay_out(figure)
    return {f"{name}.svg": _svg(figure), f"{name}.png": _png(figure)}


def _lay_out(figure: Figure) -> None:
    """Everything put in its place, once for both formats, and free of the solver's last bits.

    Those differ from call to call, and an SVG's ids are hashes of coordinates.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position(tuple(round(side, 6) for side in ax.get_position().bounds))


# The canvases themselves, which have no types: `Figure.savefig` would draw twice, the first time to
# lay out again.
def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    dpi = figure.dpi  # left at 72
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata=_NO_DATE)
    figure.dpi = dpi
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    dpi, ground = figure.dpi, figure.get_facecolor()
    figure.set(dpi=200, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer, metadata={"Software": None})
    figure.set(dpi=dpi, facecolor=ground)
    return buffer.getvalue()
