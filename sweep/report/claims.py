"""The answers to claims in words: a table for people, a file for programs."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.inference.answers import Answer, Finding
from sweep.inference.claims import Expectation
from sweep.storage.durable import replace_files

HEADS = ("study", "claim", "expected", "observed", "95 % interval", "result")
_CSV = (
    *("study", "source", "statement", "expected", "observed", "low", "high", "rows", "result"),
    *("contradictions", "replay"),
)


def write_claims(answers: Sequence[Answer], folder: Path, name: str = "claims") -> None:
    """`NAME.md` and `NAME.csv` in the folder, in place of those that were there."""
    texts = {f"{name}.md": claims_markdown(answers), f"{name}.csv": claims_csv(answers)}
    replace_files(folder, {name: text.encode() for name, text in texts.items()})


def claims_markdown(answers: Sequence[Answer]) -> str:
    """A table with one line per expectation; then statements and notes, and rows to replay."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    for answer in answers:
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in table_rows(answer)]
    lines.append("")
    for answer in answers:
        claim = answer.claim
        text = f"- `{answer.study}`: {claim.source}. {claim.statement}"
        lines.append(f"{text} {claim.note}".rstrip())
        lines += [f"  - `{command}`" for command in replays(answer)]
    return "\n".join(lines) + "\n"


def claims_csv(answers: Sequence[Answer]) -> str:
    """One line per expectation, numbers with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for answer in answers:
        head = (answer.study, answer.claim.source, answer.claim.statement)
        if answer.fault:
            writer.writerow((*head, "", answer.fault, "", "", 0, str(answer.status), 0, ""))
        for one in answer.findings:
            ends = ("" if math.isnan(end) else repr(end) for end in (one.low, one.high))
            said = (expected(one.expectation), one.observed, *ends, one.rows, str(one.status))
            commands = "; ".join(_replay(answer, key) for key in one.examples)
            writer.writerow((*head, *said, one.contradictions, commands))
    return text.getvalue()


def table_rows(answer: Answer) -> list[tuple[str, ...]]:
    """The lines of a study, one per expectation, in the order of `HEADS`."""
    head = (answer.study, answer.claim.source)
    if answer.fault:
        return [(*head, "", answer.fault, "", str(answer.status))]
    return [
        (*head, expected(one.expectation), one.observed, interval(one), str(one.status))
        for one in answer.findings
    ]


def expected(asked: Expectation) -> str:
    """An expectation in words: 'plain: bad_minimum ≥ 0.01, in at least 2 cells'."""
    what = asked.measure if isinstance(asked.measure, str) else _condition(asked.measure)
    if asked.is_share:
        what = f"share of {what}"
    elif asked.statistic == "spread":
        what = f"spread of {what} within {', '.join(asked.within)}"
    else:
        what = f"every {what}"
    who = [asked.arm] if asked.arm else []
    who += [_condition(asked.where)] if asked.where else []
    text = f"{', '.join(who)}: {what}" if who else what
    if asked.versus is not None:
        text += f" minus that of {_condition(asked.versus)}"
    text += f" {asked.bounds}"
    if asked.cells is not None:
        text += ", in each cell" if asked.cells == "each" else f", in at least {asked.cells} cells"
    return text


def interval(finding: Finding) -> str:
    """The interval of a share in per cent, empty for a number of every row.

    Where cells are asked one by one, it is that of the cell that decides, and says so.
    """
    if not finding.expectation.is_share or math.isnan(finding.low):
        return ""
    ends = f"{100 * finding.low:.1f} to {100 * finding.high:.1f} %"
    return ends if finding.expectation.cells is None else f"{ends} in the deciding cell"


def replays(answer: Answer) -> list[str]:
    """Commands that train rows again that contradict an expectation."""
    keys = [key for finding in answer.findings for key in finding.examples]
    return list(dict.fromkeys(_replay(answer, key) for key in keys))


def _replay(answer: Answer, key: Mapping[str, object]) -> str:
    return (
        f"sweep replay {shlex.quote(str(answer.results))} --cell {key['cell']} --arm {key['arm']}"
        f" --draw {key['draw']} --seed {key['seed']}"
    )


def _condition(condition: Mapping[str, Any]) -> str:
    return ", ".join(_entry(str(name), value) for name, value in condition.items())


def _entry(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        ends = {"at_least": "≥", "at_most": "≤"}
        return ", ".join(
            f"{name} {sign} {value[end]:g}" for end, sign in ends.items() if end in value
        )
    if isinstance(value, (list, tuple)):
        return f"{name} = {' or '.join(map(str, value))}"
    # These say by themselves which column they are of.
    return (
        str(value) if name in ("arm", "verdict", "outcome", "certificate") else f"{name} = {value}"
    )


def _cell(text: str) -> str:
    return text.replace("|", "∣")
