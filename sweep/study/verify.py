"""`sweep verify`: every stored row read back, judged again by the second route, and compared.

Files first (checksums, schema, keys, jobs), then the rows of every arm of every cell. A damaged
file is named and the rest is still checked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.audit import ArmRows, Audited, audit_arm
from sweep.job import arm_objective
from sweep.planning import jobs
from sweep.problems import PROBLEMS
from sweep.registry import require
from sweep.rows import KEY, as_kind, axis_columns, axis_values
from sweep.seeds import stream
from sweep.spec import Cell, Job, Store, Study
from sweep.storage.arrow_schema import row_schema
from sweep.storage.integrity import Fault, sound_files
from sweep.storage.layout import Layout
from sweep.storage.row_listing import jobs_in, row_paths
from sweep.study.stored import stored_study
from sweep.training.base import OPTIMIZERS
from sweep.training.trainer import trainer_of

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Verification:
    """What was checked and what was found.

    `stored` counts the rows on disk that could be read, `jobs_done` of `jobs_planned` the jobs
    whose rows are all there; `audited` is the account of the rows that were judged again.
    """

    results: Path
    files: int
    stored: int
    jobs_done: int
    jobs_planned: int
    audited: Audited
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether nothing at all was found."""
        return not self.audited.findings


def verify(path: str | Path, sample: int | None = None) -> Verification:
    """Check a results folder: all its files, and all rows or a sample of that many.

    The sample depends on the study alone, and a larger one contains the smaller. Raises `UserError`
    when the folder is none, or its study can no longer be composed as it was.
    """
    require(sample is None or sample >= 1, "--sample", sample, "a whole number ≥ 1")
    started = time.perf_counter()
    layout = Layout.at(path)
    stored = stored_study(layout)
    study, planned = stored.study, {job.id: job for job in jobs(stored.study, stored.blocks)}
    found = Audited()
    rows = _read(layout, study, found)
    done = _check_jobs(rows, study, planned, found)
    on_disk = len(rows["seed"])
    known = _known(rows, study)
    if sample is not None and sample < len(known):
        order = stream("audit", study.id).permutation(len(known))
        known = [known[i] for i in np.sort(order[:sample])]
    _audit(rows, known, study, stored.store, found)
    return Verification(
        results=layout.root,
        files=len(row_paths(layout.rows)),
        stored=on_disk,
        jobs_done=done,
        jobs_planned=len(planned),
        audited=found,
        seconds=time.perf_counter() - started,
    )


def _read(layout: Layout, study: Study, found: Audited) -> Columns:
    """All rows of all intact files, sorted by key; what is wrong with a file is noted."""
    parts: list[Columns] = []
    faults: list[Fault] = []
    for file in sound_files(layout, study.id, faults, row_schema(study.cells)):
        columns: Columns = file.rows.to_pydict()
        listed, there = jobs_in(file.path), set(columns["job"])
        for job in sorted(there - listed):
            found.add(file.path.name, "job", job, ", ".join(sorted(listed)))
        parts.append(columns)
    for fault in faults:
        found.add(fault.file, "file", fault.what, fault.details)
    names = list(parts[0]) if parts else [*KEY, "job", "verdict", "certificate"]
    joined = {name: [v for part in parts for v in part[name]] for name in names}
    order = sorted(range(len(joined["seed"])), key=lambda i: tuple(joined[k][i] for k in KEY))
    return {name: [values[i] for i in order] for name, values in joined.items()}


def _check_jobs(rows: Columns, study: Study, planned: Mapping[str, Job], found: Audited) -> int:
    """Jobs (a count) whose rows are all there; foreign, doubled and missing rows are noted."""
    keys: Counter[tuple[Any, ...]] = Counter()
    per_job: Counter[str] = Counter()
    for key in zip(*(rows[name] for name in (*KEY, "job")), strict=True):
        *_, draw, seed, name = key
        where = _where(key)
        keys[key[: len(KEY)]] += 1
        per_job[name] += 1
        job = planned.get(name)
        if key[0] != study.id:
            found.add(where, "study", key[0], study.id)
        if job is None:
            found.add(where, "job", name, "one of the study's jobs")
        elif job.cell.id != key[1] or not job.block.first <= seed < job.block.end:
            inside = f"a job of cell {key[1]} with that seed"
            found.add(where, "job", name, inside)
        elif (arm := _arm_of(job.cell, key[2])) is None or not 0 <= draw < arm.draws:
            found.add(where, "arm", f"{key[2]}, draw {draw}", "an arm and a draw of its cell")
    for doubled, count in keys.items():
        if count > 1:
            found.add(_where(doubled), "key", f"{count} rows", "one row")
    done = 0
    for name, count in per_job.items():
        job = planned.get(name)
        done += job is not None and count == job.members
        if job is not None and count != job.members:
            found.add(f"job {name}", "rows", count, job.members)
    return done


def _where(key: Sequence[Any]) -> str:
    return f"cell {key[1]}, arm {key[2]}, draw {key[3]}, seed {key[4]}"


def _arm_of(cell: Cell, name: str) -> Any:
    return next((arm for arm in cell.arms if arm.name == name), None)


def _known(rows: Columns, study: Study) -> list[int]:
    """Rows (indices) of arms and draws that the study has: only these can be judged again."""
    draws = {(cell.id, arm.name): arm.draws for cell in study.cells for arm in cell.arms}
    return [
        i
        for i, (cell, arm, draw) in enumerate(
            zip(rows["cell"], rows["arm"], rows["draw"], strict=True)
        )
        if 0 <= draw < draws.get((cell, arm), 0)
    ]


def _audit(
    rows: Columns, chosen: Sequence[int], study: Study, store: Store, found: Audited
) -> None:
    groups: dict[tuple[str, str], list[int]] = {}
    for i in chosen:
        groups.setdefault((rows["cell"][i], rows["arm"][i]), []).append(i)
    kinds = {column.name: column.kind for column in axis_columns(study.cells)}
    for cell in study.cells:
        given = axis_values(cell)
        setting = {name: as_kind(given.get(name), kind) for name, kind in kinds.items()}
        setting["problem"] = cell.problem.name
        source = PROBLEMS.build(cell.problem).load()
        optimizer = OPTIMIZERS.build(cell.optimizer)
        for arm in cell.arms:
            index = groups.get((cell.id, arm.name), [])
            if index:
                columns = {name: [values[i] for i in index] for name, values in rows.items()}
                words = setting | {
                    "trainer": trainer_of(arm_objective(cell, arm, source), optimizer)
                }
                some = ArmRows(cell, arm, words, columns, store.params)
                found.take(audit_arm(some, source, study.seeds.root))
