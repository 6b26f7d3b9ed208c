"""The table of what became of training, with the errors of f̃ and of f: shares with intervals."""

from __future__ import annotations

import shlex

import pandas as pd

from sweep.inference.fates import FATES, Fate, Network
from sweep.inference.summary import Summary
from sweep.report.endings import Row
from sweep.report.numerals import percent
from sweep.report.page_tables import MAX_FIELDS, Field, Table, with_setting

_WORDS = {
    Fate.GLOBAL_ZERO_ERROR: "global minimum, error 0",
    Fate.GLOBAL_WITH_ERROR: "global minimum, error > 0",
    Fate.GLOBAL_UNKNOWN_ERROR: "global minimum, error not known",
    Fate.GOOD_MINIMUM: "good minimum",
    Fate.BAD_MINIMUM: "bad minimum",
    Fate.SADDLE: "saddle",
    Fate.ESCAPING_ZERO_ERROR: "escaping, error 0",
    Fate.ESCAPING_WITH_ERROR: "escaping, error > 0",
    Fate.ESCAPING_UNKNOWN_ERROR: "escaping, error not known",
    Fate.UNRESOLVED: "unresolved",
    Fate.FAILED: "failed",
}
_NETWORKS = {Network.AUGMENTED: "f̃", Network.BASE: "f"}

_NOTE = (
    "Shares of the networks with intervals, which count seeds and cover both ends while some may "
    "still turn out so. The error is that of f̃ (with what the arm adds) or of f (without it), for "
    "an escape that of its limit; an arm that adds nothing has f̃ = f. Fates that nobody has are "
    "left out."
)
_COMMAND = (
    "import sweep; from sweep.inference.fates import fates; "
    "from sweep.inference.frequencies import frequencies; "
    "rows = sweep.load_rows({results!r}); found = fates(rows, frequencies(rows)); "
    "print(found[found['level'] != 'draw'].to_string())"
)


def fate_table(summary: Summary, results: str) -> Table:
    """One line per arm and network, over all cells and in each; a column per fate that occurs.

    Bad minima have their column whether there are any or not. `results` is the folder as commands
    name it.
    """
    frame = summary.fates
    levels = ["arm", "cell"] if len(summary.cells) > 1 else ["cell"]
    rows = pd.concat([frame[frame["level"] == level] for level in levels], ignore_index=True)
    counts = rows.groupby("fate")["count"].sum()
    seen = [fate for fate in Fate if counts[fate] or fate is Fate.BAD_MINIMUM]
    named = with_setting(summary, rows)
    first = [name for name in ("setting", "arm") if name in named]
    head = (*first, "network", "networks", "seeds", *(_WORDS[fate] for fate in seen))
    starts = range(0, len(named), len(FATES))
    limit = MAX_FIELDS // len(head)
    lines = tuple(
        _line(named.iloc[start : start + len(FATES)], first, seen) for start in starts[:limit]
    )
    command = f"python -c {shlex.quote(_COMMAND.format(results=results))}"
    more = len(starts) - len(lines)
    return Table("Where training went", _NOTE, head, lines, more, "fates.csv", command)


def _line(group: pd.DataFrame, first: list[str], seen: list[Fate]) -> tuple[Field, ...]:
    """The entries of one network in one group, whose lines are all its fates."""
    lines = {row["fate"]: row for row in group.to_dict("records")}
    one = lines[seen[0]]
    words = [*(one[name] for name in first), _NETWORKS[Network(one["network"])]]
    sizes = [int(one[name]) for name in ("n", "n_seeds")]
    return (
        *(Field(word, word, False) for word in words),
        *(Field(f"{size:,}", repr(float(size)), True) for size in sizes),
        *(_share(lines[fate]) for fate in seen),
    )


def _share(row: Row) -> Field:
    """'73.8 % (71 to 76.4 %)'; both ends of the share where they differ. Sorted by the low one."""
    ends = [percent(row[name]) for name in ("share", "share_upper", "interval_low")]
    low, high, least = ends
    share = low if low == high else f"{low.removesuffix(' %')} to {high}"
    within = f"{least.removesuffix(' %')} to {percent(row['interval_high'])}"
    return Field(f"{share} ({within})", repr(float(row["share"])), True)
