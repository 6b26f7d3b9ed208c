"""The tables of the report page: which columns a reader sees, and the command that counts them."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweep.inference.summary import Summary
from sweep.report.numerals import percent
from sweep.verdicts import Outcome

MAX_FIELDS = 3500
"""Entries of a table on the page, to keep it small; the files under summary/ have all of them."""
_LEAST_LINES = 60

_SHARES = {
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
    *("mean_final_error", "zero_error_share", "frequency", "frequency_upper"),
    *("difference", "difference_upper", "difference_low", "difference_high"),
    *("error_difference", "error_low", "error_high"),
    *("estimate", "estimate_upper", "low", "high", "half_width", "wanted"),
}
_FREQUENCY_COLUMNS = (
    *("arm", "draw", "lam", "n", "n_seeds", "bad_minimum", "unresolved", "failed"),
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "interval_low", "interval_high"),
    *("global_minimum", "good_minimum", "saddle", "escaping_good", "escaping_bad"),
    *("mean_final_error", "zero_error_share"),
)
_CONTRAST_COLUMNS = (
    *("arm", "draw", "lam", "n_pairs"),
    *("both_bad", "only_arm", "only_baseline", "neither"),
    *("difference", "difference_upper", "interval_low", "interval_high"),
    *("p_exact", "p_mid", "p_adjusted", "odds_ratio", "odds_low", "odds_high"),
    *("error_difference", "error_low", "error_high"),
)
_TITLES = {"lam": "λ", "lam_vector": "λ", "n": "networks", "n_seeds": "seeds"}
#: Two columns that are read together → their title; equal estimates are shown once.
_ESTIMATES = {
    ("bad_minimum_frequency", "bad_minimum_frequency_upper"): "bad minima",
    ("frequency", "frequency_upper"): "bad minima",
    ("difference", "difference_upper"): "difference",
    ("estimate", "estimate_upper"): "estimate",
    ("slope", "slope_upper"): "slope",
    ("q", "q_upper"): "q",
}
_INTERVALS = {
    ("interval_low", "interval_high"): "interval",
    ("difference_low", "difference_high"): "difference, interval",
    ("odds_low", "odds_high"): "odds ratio, interval",
    ("error_low", "error_high"): "error difference, interval",
    ("slope_low", "slope_high"): "slope, interval",
    ("low", "high"): "interval",
}
#: What a reader looks for first, whatever the order in the files.
_FIRST = (
    *("setting", "arm", "study", "draw", "axis", "value", "lam"),
    *("bad_minimum_frequency", "bad_minimum_frequency_upper", "frequency", "frequency_upper"),
    *("difference", "difference_upper", "difference_low", "difference_high"),
    *("estimate", "estimate_upper", "interval_low", "interval_high", "low", "high"),
)

_ROWS = "import sweep; rows = sweep.load_rows({results!r}); "
_PAIRS = (
    _ROWS + "pairs = rows.merge(rows[rows['arm'] == {baseline!r}], on=['cell', 'seed'], "
    "suffixes=('', '_baseline')); print(pairs.groupby({by!r}, observed=True)"
    "[['outcome_baseline', 'outcome']].value_counts().to_string())"
)
_COUNT = _ROWS + "print(rows.groupby({by!r}, observed=True)['outcome'].value_counts().to_string())"
_NAIVE = (
    _ROWS + "print(rows[rows['final_error'] > 0].groupby({by!r}, observed=True)['outcome']"
    ".value_counts().to_string())"
)
_READ = "import pandas; print(pandas.read_parquet({file!r}).to_string())"


@dataclass(frozen=True)
class Field:
    """One table entry: what is shown, and what sorting compares (empty for nothing)."""

    shown: str
    key: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table of the page; `more` counts the lines that were left out, `command` gives its numbers.

    `file` is its file under summary/.
    """

    title: str
    note: str
    head: tuple[str, ...]
    lines: tuple[tuple[Field, ...], ...]
    more: int
    file: str
    command: str


def page_tables(summary: Summary, results: str) -> list[Table]:
    """The summary's tables that are not empty; `results` is the folder as commands name it."""
    found = [*_frequencies(summary, results), *_contrasts(summary, results)]
    for field, name, title, note, command in _OTHERS:
        frame: pd.DataFrame = getattr(summary, field)
        if len(frame):
            line = command.format(results=results, file=_file(results, name), by=["cell", "arm"])
            shown = with_setting(summary, frame)
            found.append(page_table(title, note, shown, f"{name}.csv", line))
    note = "The best that is known, against which minima are bad, with the key that reached it."
    line = _READ.format(file=_file(results, "witnesses"))
    witnesses = with_setting(summary, summary.witnesses)
    found.append(page_table("Witnesses", note, witnesses, "witnesses.csv", line))
    cells = summary.cells.drop(columns="study")
    line = _READ.format(file=_file(results, "cells"))
    return [*found, page_table("Cells", "What the cells are.", cells, "cells.csv", line)]


def _file(results: str, name: str) -> str:
    return f"{results}/summary/{name}.parquet"


#: Frame of the summary, its file, title, note, and the Python that gives its numbers.
_OTHERS = (
    (
        *("responses", "lambda_response", "Levels of λ and of the grid's axes"),
        "Levels of one setting, arm and axis differ in the value alone.",
        _READ,
    ),
    (
        *("trends", "trends", "Dependence on λ and on the grid's axes"),
        "Cochran's Q and the slope of the log odds (clustered by seed); p are those of single "
        "tests. The interval of the largest difference holds for all pairs of levels at once.",
        _READ,
    ),
    (
        *("naive", "naive", "Naive against judged"),
        "Naive bad: training ended with an error above 0. Zero by neuron: it ended with error 0, "
        "but the network without its augmentation errs.",
        _NAIVE,
    ),
    (
        *("minima", "minima", "Certified minima"),
        "Merged by loss level, which merges symmetric copies and valleys. Replay the example seed.",
        _READ,
    ),
    (
        *("precision", "precision", "Precision"),
        "The intervals for which the study stopped: they hold whenever one stops. Where a baseline "
        "is named, of the difference to it.",
        _READ,
    ),
)


def with_setting(summary: Summary, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its cells named by their settings, without columns that hold nothing."""
    named = frame
    if "setting" not in frame:
        cells = summary.cells[["study", "cell", "setting"]]
        named = frame.merge(cells, on=["study", "cell"], how="left")
        named["setting"] = named["setting"].fillna("all cells")
    said = ["study", "cell", *_repeated(named)]
    if len(summary.cells) == 1 or (named["setting"] == "all cells").all():
        said.append("setting")
    return named.drop(columns=said).dropna(axis="columns", how="all")


def _repeated(frame: pd.DataFrame) -> list[str]:
    """Columns that say what another says: the label of a number, how all intervals were made."""
    found = [name for name in ("confidence", "method") if name in frame and "wanted" not in frame]
    if "label" in frame and frame["value"].notna().all():
        found.append("label")
    return found


def page_table(title: str, note: str, frame: pd.DataFrame, file: str, code: str) -> Table:
    """A frame as a table of the page, what matters most at the left; its first lines if it is long.

    `code` is Python that gives the numbers again, or empty.
    """
    limit = max(_LEAST_LINES, MAX_FIELDS // max(len(frame.columns), 1))
    order = sorted(frame.columns, key=lambda k: _FIRST.index(k) if k in _FIRST else len(_FIRST))
    columns = _columns(frame.head(limit)[order])
    shown, head = frame.head(limit), tuple(title for title, _ in columns)
    lines = tuple(zip(*(fields for _, fields in columns), strict=True))
    command = f"python -c {shlex.quote(code)}" if code else ""
    return Table(title, note, head, lines, len(frame) - len(shown), file, command)


def _columns(frame: pd.DataFrame) -> list[tuple[str, list[Field]]]:
    """Title and entries of each column, two ends of one number in one column."""
    found, taken = [], set()
    pairs = {low: (high, title) for (low, high), title in (_ESTIMATES | _INTERVALS).items()}
    for name in frame.columns:
        high, title = pairs.get(name, ("", ""))
        if name in taken:
            continue
        fields = [_field(name, value) for value in frame[name]]
        if high in frame:
            taken.add(high)
            ends = [_field(high, value) for value in frame[high]]
            once = (name, high) in _ESTIMATES
            fields = [_span(*both, once) for both in zip(fields, ends, strict=True)]
        else:
            title = _TITLES.get(name, str(name).replace("_", " "))
        found.append((title, fields))
    return found


def _span(low: Field, high: Field, once: bool) -> Field:
    """Two ends as one entry, sorted by the low one; `once` if equal ends are one number."""
    if not low.numeric or not high.numeric or (once and low.shown == high.shown):
        return low if low.numeric else high
    shown = f"{low.shown.removesuffix(' %')} to {high.shown}"
    return Field(shown, low.key, True)


def _frequencies(summary: Summary, results: str) -> list[Table]:
    found = []
    several = len(summary.cells) > 1
    for level, title, note, by in (
        *(
            (
                "cell",
                "Per cell and arm",
                "All λ draws of an arm; intervals count seeds.",
                "cell arm",
            ),
        ),
        *(("draw", "Per λ draw", "The same λ for every seed.", "cell arm draw"),),
        *(("arm", "Per arm", "All cells and draws.", "arm"),),
    ):
        if level == "arm" and not several:
            continue
        rows = summary.frequencies[summary.frequencies["level"] == level]
        counts = rows[list(map(str, Outcome))].sum()
        never = [name for name in _FREQUENCY_COLUMNS if counts.get(name) == 0]
        columns = ["study", "cell", *(name for name in _FREQUENCY_COLUMNS if name not in never)]
        shown = with_setting(summary, rows[columns])
        note = f"{note} Outcomes that nobody has are left out." if never else note
        code = _COUNT.format(results=results, by=by.split())
        found.append(page_table(title, note, shown, "frequencies.csv", code))
    return found


def _contrasts(summary: Summary, results: str) -> list[Table]:
    frame = summary.contrasts
    found = []
    for level, by, what in (
        ("cell", "cell arm", "all draws"),
        ("draw", "cell arm draw", "by draw"),
    ):
        rows = frame[frame["level"] == level] if len(frame) else frame
        if rows.empty:
            continue
        baseline = summary.baseline
        note = (
            "Pairs are the seeds that both have; with several draws each seed counts with its "
            "share of bad rows. Exact and mid-p McNemar; the exact p is adjusted "
            f"({rows['adjustment'].iloc[0]}) over {int(rows['family_size'].max())} contrasts. "
            "Where some rows are unresolved, p is the largest that any fate of theirs gives."
        )
        shown = with_setting(summary, rows[["study", "cell", *_CONTRAST_COLUMNS]])
        code = _PAIRS.format(results=results, baseline=baseline, by=by.split())
        found.append(page_table(f"Against {baseline}, {what}", note, shown, "contrasts.csv", code))
    return found


def _field(name: str, value: Any) -> Field:
    if pd.isna(value):
        return Field("–", "", False)
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        return Field(str(value), str(value), False)
    number = float(value)
    if math.isinf(number):
        # What sorting in a browser reads as the number that it is.
        return Field("∞" if number > 0 else "−∞", "Infinity" if number > 0 else "-Infinity", True)
    if name in _SHARES:
        return Field(percent(number).replace("-", "−"), repr(number), True)
    shown = f"{number:.4g}"
    if number.is_integer() and abs(number) < 1e15:
        # A seed is a name, to be typed as it is.
        shown = f"{int(number)}" if name.endswith("seed") else f"{int(number):,}"
    return Field(shown.replace("-", "−"), repr(number), True)
