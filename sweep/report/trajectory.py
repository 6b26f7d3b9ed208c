"""The picture of one member's training: how its measures went, and what it was judged to be."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sweep.report.drawing import INK, PALETTE, WIDTH, saved, styled
from sweep.report.numerals import percent

#: Per panel: its measures (column of the trajectory → label), and the row's column at the judged
#: point, each drawn where it is defined.
_PANELS: tuple[dict[str, tuple[str, str]], ...] = (
    {"objective": ("F", "judged_objective"), "loss": ("loss", "judged_loss")},
    {"error": ("error of f̃", "judged_error"), "error_base": ("error of f", "judged_error_base")},
    {"grad_norm": ("‖∇F‖", "judged_grad_norm")},
    {
        "param_norm": ("‖θ̃‖", "param_norm"),
        "augment_activity": ("max |f̃ − f|", "augment_activity"),
    },
)
_ERRORS = ("error", "error_base")
_STYLES = ("-", "--")
#: Letters of the evidence's small type in the figure's width.
_LETTERS = 68
_LINE_INCHES = 0.13
#: Where the judged point stands, in multiples of the last step: to its right, for judging is none.
_JUDGED_AT = 1.6


@dataclass(frozen=True)
class Caption:
    """What the figure says in words: the cell's setting, and the row of the member."""

    setting: str
    row: Mapping[str, Any]


def trajectory_files(name: str, course: pd.DataFrame, caption: Caption) -> dict[str, bytes]:
    """`name`.svg and `name`.png with their content; equal input gives equal bytes.

    `course` has the column `step` (whole numbers from 0) and any of `loss objective error
    error_base grad_norm param_norm augment_activity`, NaN where undefined.
    """
    with styled():
        return saved(name, trajectory_figure(course, caption))


def trajectory_figure(course: pd.DataFrame, caption: Caption) -> Figure:
    """Measures over steps (0, then log t), diamonds at the judged point, the evidence below."""
    panels = [
        shown
        for panel in _PANELS
        if (shown := {k: v for k, v in panel.items() if np.isfinite(course[k]).any()})
    ]
    words = evidence_lines(caption.row)
    small = _LINE_INCHES * (len(words) + 1)
    figure = Figure(figsize=(WIDTH, 0.9 + 1.25 * len(panels) + small), layout="constrained")
    axes = figure.subplots(
        len(panels) + 1, 1, squeeze=False, height_ratios=[*[1.25] * len(panels), small]
    )[:, 0]
    for ax, panel in zip(axes, panels, strict=False):
        _panel(ax, course, panel, caption.row)
    for ax in axes[: len(panels) - 1]:
        ax.tick_params(labelbottom=False)
    axes[len(panels) - 1].set_xlabel("step")
    axes[0].set_title(_title(caption), loc="left", parse_math=False)
    axes[-1].axis("off")
    text = axes[-1].text(0, 1, "\n".join(words), transform=axes[-1].transAxes)
    text.set(va="top", family="DejaVu Sans Mono", size=6.5, parse_math=False)
    return figure


def evidence_lines(row: Mapping[str, Any]) -> list[str]:
    """A row's verdict, certificate and evidence, line by line, for small type."""
    certificate = [
        f"{name} = {row[name]:.6g}"
        for name in ("certificate_radius", "certificate_margin")
        if row[name] is not None
    ]
    head = [f"{row['verdict']}, certificate {row['certificate']}", *certificate]
    numbers = [f"{name} = {_said(value)}" for name, value in json.loads(row["evidence"]).items()]
    return [line for text in (*head, *numbers) for line in textwrap.wrap(text, _LETTERS)]


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _title(caption: Caption) -> str:
    row = caption.row
    lam = "" if row["lam"] is None else f", draw {row['draw']}, λ = {row['lam']:.4g}"
    member = f"arm {row['arm']}{lam}, seed {row['seed']}"
    return "\n".join([*textwrap.wrap(caption.setting, 60), member])


def _panel(
    ax: Axes, course: pd.DataFrame, panel: Mapping[str, tuple[str, str]], row: Mapping[str, Any]
) -> None:
    for position, (name, (label, _)) in enumerate(panel.items()):
        (line,) = ax.plot(course["step"], course[name], marker=".", markersize=3, label=label)
        line.set(color=PALETTE[position], linestyle=_STYLES[position], linewidth=1.4)
    judged = [row[column] for _, column in panel.values()]
    known = [value for value in judged if value is not None]
    _vertical(ax, list(panel), [*course[list(panel)].to_numpy().ravel(), *known])
    last = max(int(course["step"].iloc[-1]), 1)
    for position, value in enumerate(judged):
        if value is not None:
            _diamond(ax, _JUDGED_AT * last, value, PALETTE[position])
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(-0.2, 1.5 * _JUDGED_AT * last)
    if known:
        ax.plot([], [], marker="D", markersize=4, color=INK, linestyle="none", label="judged")
    ax.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _diamond(ax: Axes, step: float, value: float, colour: str) -> None:
    """The judged point; a zero that a log scale cannot show stands on its lower edge, with "0"."""
    off = ax.get_yscale() == "log" and value == 0
    edge = ax.get_xaxis_transform() if off else ax.transData
    height = 0.0 if off else value
    (marker,) = ax.plot([step], [height], clip_on=False, linestyle="none", transform=edge)
    marker.set(marker="D", markersize=4, color=colour, markeredgecolor=INK, zorder=5)
    if off:
        ax.text(1.15 * step, 0.04, "0", size=7, transform=edge)


def _vertical(ax: Axes, names: Sequence[str], values: Sequence[float]) -> None:
    """Shares in per cent; other measures in log scale where none is negative and not all are 0."""
    if set(names) & set(_ERRORS):
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
        ax.set_ylim(bottom=-0.01)
        return
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if finite.min() >= 0 and finite.max() > 0:
        ax.set_yscale("log")
