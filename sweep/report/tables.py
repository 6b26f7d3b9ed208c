"""The summary as Parquet and CSV for programs, LaTeX for papers. Equal tables, equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import pandas as pd

from sweep.inference.summary import Summary
from sweep.report.endings import Row
from sweep.report.numerals import count, number, p_value, percent, points, span
from sweep.report.wording import family_words

_LATEX_HEAD = ("Setting", "Arm", "$n$", "bad", "unresolved", "failed", "frequency", "interval")
_CONTRAST_HEAD = (
    *("Setting", "Arm", "seeds", "only arm", "only baseline", "difference", "interval"),
    *("$p$ (adjusted)", "odds ratio"),
)
_LATEX_SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "–": "--",
    "−": "$-$",
    "∞": r"$\infty$",
}

_FILES = {
    "cells": "cells",
    "witnesses": "witnesses",
    "frequencies": "frequencies",
    "fates": "fates",
    "contrasts": "contrasts",
    "responses": "lambda_response",
    "trends": "trends",
    "naive": "naive",
    "minima": "minima",
    "flows": "flows",
    "losses": "losses",
    "stops": "stops",
    "precision": "precision",
}
"""Frame of the summary → name of its files."""


def table_files(summary: Summary) -> dict[str, bytes]:
    """File name → content: every frame as .parquet and .csv, two of them also as LaTeX.

    `precision` only where the number of seeds followed from one.
    """
    files: dict[str, bytes] = {}
    for frame, name in _FILES.items():
        table = getattr(summary, frame)
        if frame == "precision" and table.empty:
            continue
        files[f"{name}.parquet"] = _parquet(table)
        files[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n").encode()
    files["frequencies.tex"] = frequencies_latex(summary).encode()
    files["contrasts.tex"] = contrasts_latex(summary).encode()
    return files


def frequencies_latex(summary: Summary) -> str:
    """A booktabs table with one line per cell and arm, all λ draws pooled."""
    pooled = summary.frequencies.loc[summary.frequencies["level"] == "cell"]
    named = pooled.merge(summary.cells[["study", "cell", "setting"]], on=["study", "cell"])
    title = f"Bad minima with {100 * summary.confidence:g} % intervals ({summary.method})"
    return _booktabs(title, _LATEX_HEAD, [_latex_cells(row) for row in named.to_dict("records")])


def contrasts_latex(summary: Summary) -> str:
    """A booktabs table with one line per cell and arm against the baseline, λ draws pooled."""
    pooled = summary.contrasts.loc[summary.contrasts["level"] == "cell"]
    named = pooled.merge(summary.cells[["study", "cell", "setting"]], on=["study", "cell"])
    family = dict.fromkeys(family_words(row) for row in named.to_dict("records"))
    title = (
        f"Each arm minus {_escaped(summary.baseline)}, by seed, in percentage points with "
        f"{100 * summary.confidence:g} % intervals; exact McNemar, "
        f"{', '.join(family) or 'no contrasts'}"
    )
    lines = [_contrast_cells(row) for row in named.to_dict("records")]
    return _booktabs(title, _CONTRAST_HEAD, lines)


def latex_table(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A booktabs table of words, every one escaped; the first two columns flush left."""
    escaped = [[_escaped(cell) for cell in line] for line in (head, *lines)]
    return _booktabs(_escaped(title), escaped[0], escaped[1:])


def _booktabs(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A booktabs table of cells in LaTeX."""
    rows = [" & ".join(line) + r" \\" for line in (head, *lines)]
    columns = "ll" + "r" * (len(head) - 2)
    top = [f"% {title}; needs \\usepackage{{booktabs}}.", rf"\begin{{tabular}}{{{columns}}}"]
    frame = [*top, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join(frame) + "\n"


def _contrast_cells(row: Row) -> list[str]:
    counts = [str(row["n_pairs"]), *(count(row[name]) for name in ("only_arm", "only_baseline"))]
    ratio = number(row["odds_ratio"])
    cells = [
        *(str(row["setting"]), str(row["arm"]), *counts),
        span(row["difference"], row["difference_upper"]),
        f"{points(row['interval_low'])} to {points(row['interval_high'])}",
        p_value(row["p_adjusted"]).removeprefix("p ").removeprefix("= "),
        f"{ratio} ({number(row['odds_low'])} to {number(row['odds_high'])})",
    ]
    escaped = [_escaped(cell) for cell in cells]
    escaped[-2] = escaped[-2].replace("<", "$<$")  # the p-value: names keep what they were given
    return escaped


def _latex_cells(row: Row) -> list[str]:
    ends = [percent(row[f"bad_minimum_frequency{end}"]) for end in ("", "_upper")]
    frequency = ends[0] if ends[0] == ends[1] else " – ".join(ends)
    interval = f"{percent(row['interval_low'])} – {percent(row['interval_high'])}"
    counts = [str(row[name]) for name in ("n", "bad_minimum", "unresolved", "failed")]
    cells = [str(row["setting"]), str(row["arm"]), *counts, frequency, interval]
    return [_escaped(cell) for cell in cells]


def _escaped(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(char, char) for char in text)


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
