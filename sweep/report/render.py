"""The report page: one HTML file that needs nothing else, the finding in words first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2

from sweep.inference.summary import Summary
from sweep.report.coverage import Coverage, numerics_sentence, whole
from sweep.report.endings import meanings
from sweep.report.fates import fate_table
from sweep.report.page_figures import page_figures
from sweep.report.page_tables import page_tables
from sweep.report.stopping import stopping_sentences
from sweep.report.unfinished import unfinished_sentences
from sweep.report.wording import Statement, arms_in_order, findings, opening
from sweep.rows import NUMERICS_VERSION

MAX_CELLS = 40
"""Cells that the page speaks of, to stay small; the files under summary/ have all of them."""


def render(
    summary: Summary,
    study: Mapping[str, Any],
    results: str,
    svgs: Mapping[str, bytes],
    known: Coverage | None = None,
) -> str:
    """The whole page as text.

    `study` is what study.json says; of `name study numerics device blocks config provenance` and
    further keys of provenance those that are there are shown (blocks as pairs of first seed and
    count; numerics where they are not those of this release).
    `results` is the results folder as commands should name it; `svgs` maps the name of each figure
    to its file; `known` says how much of the study is on disk, None for all of it.
    """
    known = known or whole(study)
    arms = _arms(study)
    other = numerics_sentence(int(study.get("numerics", NUMERICS_VERSION)))
    caveats = filter(None, (other, known.sentence))
    return template("page.html.j2").render(
        name=study.get("name", "study"),
        facts=_facts(summary, study, known),
        opening=[*caveats, *opening(summary, arms), *_on_stopping(summary)],
        meanings=meanings(summary),
        findings=findings(summary, MAX_CELLS, arms),
        hidden_cells=max(0, len(summary.cells) - MAX_CELLS),
        count_command=lambda statement: count_command(results, statement),
        figures=page_figures(svgs),
        tables=[fate_table(summary, results), *page_tables(summary, results)],
        commands=_commands(results, summary, study),
        config=_json(study.get("config", {})),
        provenance=_json({k: study[k] for k in _PROVENANCE if k in study}),
    )


def _on_stopping(summary: Summary) -> list[str]:
    """Why training and seeds ended where they did, as far as it matters."""
    return [*unfinished_sentences(summary), *stopping_sentences(summary)]


def template(name: str) -> jinja2.Template:
    """A template of this package that escapes what it is given and refuses what it is not."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweep.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


_PROVENANCE = ("first_config", "later_config", "provenance", "later_provenance")


def count_command(results: str, statement: Statement) -> str:
    """A shell line that counts, from the rows alone, the outcomes behind a statement."""
    if statement.baseline is not None:
        return _contrast_command(results, statement)
    chosen = f"rows['arm'] == {statement.arm!r}"
    if statement.cell is not None:
        chosen = f"({chosen}) & (rows['cell'] == {statement.cell!r})"
    code = (
        f"import sweep; rows = sweep.load_rows({results!r}); "
        f"print(rows[{chosen}]['outcome'].value_counts())"
    )
    return f"python -c {shlex.quote(code)}"


def _contrast_command(results: str, statement: Statement) -> str:
    code = (
        f"import sweep; from sweep.inference.contrasts import contrasts; "
        f"found = contrasts(sweep.load_rows({results!r}), {statement.baseline!r}); "
        f"print(found[(found['level'] == 'cell') & (found['cell'] == {statement.cell!r}) "
        f"& (found['arm'] == {statement.arm!r})].T)"
    )
    return f"python -c {shlex.quote(code)}"


def _arms(study: Mapping[str, Any]) -> list[str]:
    """The arms in the order of the study's configuration."""
    cells = study.get("config", {}).get("cells", [])
    return list(dict.fromkeys(arm for cell in cells for arm in cell["settings"]["arms"]))


def _facts(summary: Summary, study: Mapping[str, Any], known: Coverage) -> list[tuple[str, str]]:
    facts = {
        "study": study.get("study", ""),
        "jobs": "" if known.complete else f"{known.done:,} of {known.jobs:,}",
        "rows": f"{summary.n_rows:,}",
        "cells": f"{len(summary.cells):,}",
        "arms": ", ".join(arms_in_order(summary, _arms(study))),
        "seeds per cell": known.seeds_per_cell if known.seeds else "",
        "device": study.get("device", ""),
        "intervals": f"{summary.method.replace('_', '-')}, {100 * summary.confidence:g} %",
    }
    return [(name, str(value)) for name, value in facts.items() if value]


def _commands(results: str, summary: Summary, study: Mapping[str, Any]) -> list[tuple[str, str]]:
    place = shlex.quote(results)
    member = summary.frequencies[summary.frequencies["level"] == "cell"].iloc[0]
    first, _ = (study.get("blocks") or [(0, 1)])[0]
    chosen = f"--cell {member['cell']} --arm {shlex.quote(member['arm'])} --draw 0 --seed {first}"
    return [
        ("this page, its tables and figures, from the rows", f"sweep report {place}"),
        ("every verdict judged again by a second route", f"sweep verify {place}"),
        ("one network trained again and compared bit by bit", f"sweep replay {place} {chosen}"),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
