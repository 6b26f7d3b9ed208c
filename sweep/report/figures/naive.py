"""What counting errors at the end of training would have said, against what the judge says."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweep.inference.summary import Summary
from sweep.report.figures.panels import (
    OUTCOME_STYLES,
    Fill,
    cell_panels,
    legend,
    panel_figure,
    stacked,
)
from sweep.report.figures.shares import outcome_bar

#: What a training that ended is to one who counts errors only.
_NAIVE: dict[str, Fill] = {
    "error 0": ("#BFE5D8", ""),
    "error 0 by the neuron": ("#BFE5D8", "||"),
    "error > 0": ("#D9825B", "\\\\"),
    "no error known": ("#BDBDBD", ""),
}


def naive_figure(summary: Summary) -> Figure | None:
    """Two bars per cell and arm: the errors where training stopped, and the judged outcomes."""
    naive = summary.naive
    if naive.empty:
        return None
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    counts = pooled[["study", "cell", "arm", "n", *OUTCOME_STYLES]]
    counted = naive[["study", "cell", "arm", "naive_bad", "zero_error", "zero_by_neuron"]]
    lines = counts.merge(counted, on=["study", "cell", "arm"])
    figure = panel_figure(
        cell_panels(summary, lines), _panel, "share of all members", line_inches=0.46
    )
    if figure is not None:
        outcomes = {s[2]: s[:2] for n, s in OUTCOME_STYLES.items() if lines[n].sum() > 0}
        sums = _naive_parts(lines)
        seen = {name: _NAIVE[name] for name, part in sums.items() if part.sum() > 0}
        legend(figure, {**{f"upper bar: {name}": fill for name, fill in seen.items()}, **outcomes})
    return figure


def _naive_parts(lines: pd.DataFrame) -> dict[str, pd.Series]:
    """Counts of every line, in the order of `_NAIVE`; they add up to n."""
    own = lines["zero_error"] - lines["zero_by_neuron"]
    rest = lines["n"] - lines["zero_error"] - lines["naive_bad"]
    parts = (own, lines["zero_by_neuron"], lines["naive_bad"], rest)
    return dict(zip(_NAIVE, parts, strict=True))


def _panel(ax: Axes, lines: pd.DataFrame) -> None:
    parts = {name: part.to_numpy() for name, part in _naive_parts(lines).items()}
    for position, row in enumerate(lines.to_dict("records")):
        naive = [(part[position] / row["n"], _NAIVE[name]) for name, part in parts.items()]
        stacked(ax, position - 0.19, 0.34, naive)
        outcome_bar(ax, position + 0.19, 0.34, row)
    ax.set_xlim(0, 1)
