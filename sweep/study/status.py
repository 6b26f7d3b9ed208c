"""How far a study is, from its results folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweep.report.coverage import numerics_sentence
from sweep.storage.journal import Entry, read_journal
from sweep.storage.layout import Layout
from sweep.storage.row_files import finished_jobs, read_rows
from sweep.storage.study_file import read_study
from sweep.verdicts import Verdict


@dataclass(frozen=True)
class Status:
    """Jobs and verdicts on disk, each job in exactly one of four states.

    `done`, `running`, `failed` and `missing` are ids in the order of their seeds: rows are on disk;
    a living process works on it (→ where and since when); it failed for good when it was last tried
    (→ why); none of these. The same `sweep run` does all that is not done. `verdicts` counts rows
    per arm. `other_numerics` says that they are not of this release's numerics; else it is empty.
    """

    results: Path
    name: str
    done: tuple[str, ...]
    running: Mapping[str, Entry]
    failed: Mapping[str, str]
    missing: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, int]]
    other_numerics: str = ""

    @property
    def n_jobs(self) -> int:
        """All jobs that the study has so far."""
        return len(self.done) + len(self.running) + len(self.failed) + len(self.missing)


def status(path: str | Path) -> Status:
    """The status of a results folder; `UserError` when it is none, or damaged."""
    layout = Layout.at(path)
    study = read_study(layout)
    # The journal first: a job that is committed in between has ended, and counts as done.
    journal = read_journal(layout)
    on_disk = finished_jobs(layout)
    done = [job for job in study.job_ids if job in on_disk]
    left = [job for job in study.job_ids if job not in on_disk]
    running = {job: journal.running[job] for job in left if job in journal.running}
    reasons = journal.failed
    failed = {job: reasons[job] for job in left if job in reasons and job not in running}
    return Status(
        results=layout.root,
        name=study.header.name,
        done=tuple(done),
        running=running,
        failed=failed,
        missing=tuple(job for job in left if job not in running and job not in failed),
        verdicts=_verdicts(layout) if on_disk else {},
        other_numerics=numerics_sentence(study.numerics),
    )


def _verdicts(layout: Layout) -> dict[str, dict[str, int]]:
    table = read_rows(layout, columns=["arm", "verdict"])
    counts = table.to_pandas().groupby(["arm", "verdict"], observed=True).size()
    found: dict[str, dict[str, int]] = {}
    for (arm, verdict), count in counts.items():
        found.setdefault(str(arm), dict.fromkeys(map(str, Verdict), 0))[str(verdict)] = int(count)
    return found
