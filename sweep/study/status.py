"""How far a study is, from its results folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweep.planning import job_id
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs, read_rows
from sweep.storage.study_file import read_study
from sweep.verdicts import Verdict


@dataclass(frozen=True)
class Status:
    """Jobs and verdicts on disk.

    `missing` lists the ids of jobs without rows, in the order of their seeds: running, failed or
    not yet started, which the folder cannot tell apart. `verdicts` counts rows per arm.
    """

    results: Path
    name: str
    n_jobs: int
    missing: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, int]]

    @property
    def done(self) -> int:
        """Jobs whose rows are on disk."""
        return self.n_jobs - len(self.missing)


def status(path: str | Path) -> Status:
    """The status of a results folder; `UserError` when it is none, or damaged."""
    layout = Layout.at(path)
    study = read_study(layout)
    expected = [job_id(cell, block) for block in study.blocks for cell in study.header.cells]
    done = finished_jobs(layout)
    return Status(
        results=layout.root,
        name=study.header.name,
        n_jobs=len(expected),
        missing=tuple(job for job in expected if job not in done),
        verdicts=_verdicts(layout) if done else {},
    )


def _verdicts(layout: Layout) -> dict[str, dict[str, int]]:
    table = read_rows(layout, columns=["arm", "verdict"])
    counts = table.to_pandas().groupby(["arm", "verdict"], observed=True).size()
    found: dict[str, dict[str, int]] = {}
    for (arm, verdict), count in counts.items():
        found.setdefault(str(arm), dict.fromkeys(map(str, Verdict), 0))[str(verdict)] = int(count)
    return found
