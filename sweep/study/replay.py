"""`sweep replay`: one stored row trained and judged again, alone, and compared bit by bit.

The member goes through the same `run_job` as in its study, as a job of one seed, one arm and one λ
draw, so that there is no second road that could differ.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sweep.errors import CheckError, UserError, nearest
from sweep.job import run_job
from sweep.planning import job_id, member_job
from sweep.registry import require
from sweep.report.trajectory import Caption, trajectory_files
from sweep.rows import KEY
from sweep.spec import Arm, Block, Cell, Job, Study
from sweep.storage.arrow_schema import to_table
from sweep.storage.durable import replace_files
from sweep.storage.layout import Layout
from sweep.storage.provenance import provenance
from sweep.storage.row_files import read_job
from sweep.study.stored import StoredStudy, settings_in_words, stored_study
from sweep.study.trajectory import trajectory

#: A sentence that names more cells or blocks is read by nobody.
NAMED = 8
#: Shown in place of a value whose column the file does not have.
MISSING = "no such column"
_ENVIRONMENT = ("sweep", "git_commit", "python", "platform", "packages")


@dataclass(frozen=True)
class Difference:
    """A column in which the stored row and its replay differ, with both values."""

    column: str
    stored: Any
    replayed: Any


@dataclass(frozen=True, eq=False)
class Replay:
    """One member trained and judged again.

    `key` maps study, cell, arm, draw and seed to their values, `setting` says the cell in words.
    `row` is the replayed row, `compared` the columns held against the stored one (all but `job`;
    without `params` where none are stored). `trajectory` has about twenty rows `step loss objective
    error error_base grad_norm augment_activity param_norm`, the last where training stopped;
    undefined measures are NaN. `made_elsewhere` names what differs between here and where the
    study began, if none of its runs was made in an environment like this one. `figures` are paths.
    """

    results: Path
    key: Mapping[str, Any]
    setting: str
    row: Mapping[str, Any]
    stored: bool
    compared: tuple[str, ...]
    differences: tuple[Difference, ...]
    trajectory: pd.DataFrame
    made_elsewhere: tuple[str, ...]
    figures: tuple[Path, ...]

    @property
    def equal(self) -> bool | None:
        """Whether the replay is the stored row bit by bit; None where no row is stored yet."""
        return not self.differences if self.stored else None

    @property
    def verdict(self) -> str:
        """What the judged point is."""
        return str(self.row["verdict"])

    @property
    def certificate(self) -> str:
        """The kind of proof behind the verdict."""
        return str(self.row["certificate"])

    @property
    def evidence(self) -> dict[str, Any]:
        """The numbers behind the verdict, by name."""
        found: dict[str, Any] = json.loads(self.row["evidence"])
        return found


def replay(
    path: str | Path, *, arm: str, seed: int, cell: str | None = None, draw: int | None = None
) -> Replay:
    """The member of a results folder trained and judged again; its figure is written there.

    `cell` and `draw` may be left out where there is only one, and of the cell's id the beginning
    is enough. A member whose job is not finished yet is trained all the same. Raises `UserError`
    when there is no such member, or this release, these data or this machine's devices are not
    those of the study; `CheckError` when the member's job is finished and has no row of it.
    """
    layout = Layout.at(path)
    known = stored_study(layout)
    job, block = _member(known, cell, arm, draw, seed)
    if known.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"the rows in '{layout.root}' were made on 'cuda', but no GPU is to be seen here."
        )
    stored = _stored_row(layout, job, block)
    result = run_job(job, known.device, params="all")
    (row,) = to_table(result.columns, known.study.cells).to_pylist()
    compared, differences = _compare(stored, row)
    course = trajectory(job, known.device, row["steps"])
    setting = settings_in_words(known.study.cells)[job.cell.id]
    name = f"replay-{row['cell']}-{row['arm']}-{row['draw']}-{row['seed']}"
    files = trajectory_files(name, course, Caption(setting, row))
    return Replay(
        results=layout.root,
        key={column: row[column] for column in KEY},
        setting=setting,
        row=row,
        stored=stored is not None,
        compared=compared,
        differences=differences,
        trajectory=course,
        made_elsewhere=_made_elsewhere(known.provenance),
        figures=tuple(replace_files(layout.figures, files)),
    )


def _member(
    known: StoredStudy, cell: str | None, arm: str, draw: int | None, seed: int
) -> tuple[Job, Block]:
    """The job of the member alone, and the block of the job that made its row in the study."""
    chosen = _cell(known.study, cell)
    treatment = chosen.arm(arm)
    draw = _draw(treatment, draw)
    block = next((b for b in known.blocks if b.first <= seed < b.end), None)
    if block is None:
        raise UserError(f"seed {seed} is not in this study: it has {_ranges(known.blocks)}.")
    return member_job(known.study, chosen, treatment, draw, seed), block


def _cell(study: Study, given: str | None) -> Cell:
    """The cell asked for, by its id or the beginning of it that no other has; or the only one."""
    found = {cell.id: cell for cell in study.cells}
    if given in found:
        return found[given]
    if given is None and len(found) == 1:
        return study.cells[0]
    if given is None:
        raise UserError(f"the cell is missing: this study has {_listed(study, list(found))}.")
    begun = [name for name in found if given and name.startswith(given)]
    if len(begun) == 1:
        return found[begun[0]]
    if begun:
        raise UserError(
            f"cell '{given}' is ambiguous: it begins {_listed(study, begun)}, of which one is"
            " accepted."
        )
    close = nearest(given, found)
    hint = f"; did you mean '{close}'?" if close else "."
    raise UserError(f"cell '{given}' is unknown: accepted are {_listed(study, list(found))}{hint}")


def _listed(study: Study, names: Sequence[str]) -> str:
    """Some of the study's cells by their ids, each with its settings; of many the first few."""
    words = settings_in_words(study.cells)
    listed = ", ".join(f"{name} ({words[name]})" for name in names[:NAMED])
    return f"{listed} and {len(names) - NAMED} more" if len(names) > NAMED else listed


def _draw(arm: Arm, given: int | None) -> int:
    """The λ draw asked for, or the only one."""
    last = arm.draws - 1
    if given is None:
        if last > 0:
            raise UserError(f"the draw is missing: arm '{arm.name}' has the λ draws 0 to {last}.")
        return 0
    accepted = f"a λ draw of arm '{arm.name}', 0 to {last}," if last else "0, the only draw,"
    require(0 <= given <= last, "the draw", given, accepted)
    return given


def _ranges(blocks: Sequence[Block]) -> str:
    """The seeds of blocks in order of their first seed, neighbours joined: 'seeds 0 to 99'."""
    joined: list[Block] = []
    for block in blocks:
        if joined and joined[-1].end == block.first:
            joined[-1] = Block(joined[-1].first, joined[-1].count + block.count)
        else:
            joined.append(block)
    said = ", ".join(f"{part.first} to {part.end - 1}" for part in joined[:NAMED])
    return f"the seeds {said}" + (", …" if len(joined) > NAMED else "")


def _stored_row(layout: Layout, job: Job, block: Block) -> Mapping[str, Any] | None:
    """The member's row in its study; None if the job of its block is not finished."""
    name = job_id(job.cell.id, block)
    table = read_job(layout, name)
    if table is None:
        return None
    member = {"arm": job.cell.arms[0].name, "draw": job.draw, "seed": job.block.first}
    found = [row for row in table.to_pylist() if member.items() <= row.items()]
    if len(found) != 1:
        said = ", ".join(f"{key} {value}" for key, value in member.items())
        has = (
            f"has {len(found)} rows of {said} instead of one" if found else f"has no row of {said}"
        )
        raise CheckError(f"job {name} in '{layout.root}' is finished, but {has}.")
    return dict(found[0])


def _compare(
    stored: Mapping[str, Any] | None, replayed: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[Difference, ...]]:
    """The columns that were compared, and those that differ."""
    if stored is None:
        return (), ()
    # Whether parameters are kept is a setting of the store, and may change from run to run.
    unkept = "params" in stored and stored["params"] is None
    left_out = {"job", "params"} if unkept else {"job"}
    names = tuple(name for name in {**replayed, **stored} if name not in left_out)
    return names, tuple(
        Difference(name, stored.get(name, MISSING), replayed.get(name, MISSING))
        for name in names
        if _bits(stored.get(name, MISSING)) != _bits(replayed.get(name, MISSING))
    )


def _bits(value: Any) -> Any:
    """A value that is equal where the bits are: NaN to itself, 0.0 not to −0.0."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, list):
        return [_bits(entry) for entry in value]
    return value


def _made_elsewhere(known: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What of code and machine differs from the first run's; empty if any run's was like here."""
    here = _flat(provenance())
    runs = [_flat(run) for run in known]
    if any(run == here for run in runs):
        return ()
    first = runs[0]
    names = [name for name in {**first, **here} if first.get(name) != here.get(name)]
    return tuple(f"{name} {first.get(name)}, here {here.get(name)}" for name in names)


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: environment.get(name) for name in _ENVIRONMENT}
    return {**(found.pop("packages") or {}), **found}
