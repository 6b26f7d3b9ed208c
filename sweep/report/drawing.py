"""How every picture looks and is saved: one style, no state shared with pyplot, equal bytes.

An arm has the same colour in every figure and study, and none that an outcome has. Figures are
narrow, so that their letters stay legible on a telephone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any
from zlib import crc32

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#111213"
"""Colour of everything that is text or line."""

PALETTE = (
    *("#0072B2", "#CC79A7", "#6A3D9A", "#8C6D31", "#E7298A", "#1F2A6B", "#A6A832", "#8E8EDB"),
    "#5A3A22",
)
"""Colours of arms, studies and measures; the first is the baseline's."""

_KNOWN = ("exp", "exp_unregularized", "extra_neuron", "exp_per_layer", "plain", "coercive")
"""Arms of the studies that come along, in the order of the colours after the first."""

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


def arm_colours(arms: Iterable[str], baseline: str) -> dict[str, str]:
    """Arm → its colour, decided by its name; the baseline's is always the first of `PALETTE`.

    A name that is not ours gets a colour by its checksum, or the next one that is free in this
    study; they repeat only where there are more arms than colours.
    """
    others = PALETTE[1:]
    found = {baseline: PALETTE[0]}
    for arm in sorted({*arms} - {baseline}, key=lambda name: (name not in _KNOWN, name)):
        first = _KNOWN.index(arm) if arm in _KNOWN else crc32(arm.encode()) % len(others)
        wanted = [*others[first:], *others[:first]]
        free = [colour for colour in wanted if colour not in found.values()]
        found[arm] = (free or wanted)[0]
    return found


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
