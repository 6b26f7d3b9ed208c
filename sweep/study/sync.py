"""`sweep sync-mlflow`: the MLflow view of a study, made equal to its results folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweep.job_report import JobReport
from sweep.storage.layout import Layout
from sweep.storage.mlflow_sync import Ended, Synced, sync_view
from sweep.storage.row_files import read_rows, row_paths
from sweep.storage.study_file import read_study
from sweep.storage.tracking_server import require_accepted
from sweep.study.results import summary_of
from sweep.study.tracking import identity_of, summary_metrics

_COLUMNS = ("job", "cell", "arm", "seed", "verdict", "stop", "final_error")


def sync_mlflow(path: str | Path, uri: str | None = None) -> Synced:
    """What the view of a folder lacked and now has: a parent, and one child per job on disk.

    `uri` None means the address in study.json, or else the sqlite file of the store. Needs neither
    the study's data nor a model. How long a job took is in no row: a child that is restored has no
    `seconds/*`, and ends when its rows came to disk. Raises `UserError` when the folder is none, a
    file of it is damaged, or the address does not serve.
    """
    layout = Layout.at(path)
    known = read_study(layout)
    if uri is None:
        uri = (known.header.config.get("tracking") or {}).get("uri")
    else:
        require_accepted(uri)
    header = known.header
    identity = identity_of(
        header.name, header.study_id, header.cells, header.config, known.provenance
    )
    jobs = [Ended(report, _ended(layout, report.job_id)) for report in job_reports(layout)]
    metrics = summary_metrics(summary_of(layout)) if jobs else {}
    complete = {ended.report.job_id for ended in jobs} >= set(known.job_ids)
    return sync_view(uri, layout, identity, jobs, metrics, complete=complete)


def job_reports(layout: Layout) -> list[JobReport]:
    """What each job on disk had to say when it ended, but for its times, in order of its seeds."""
    if not row_paths(layout.rows):
        return []
    rows: pd.DataFrame = read_rows(layout, list(_COLUMNS), encoded=True).to_pandas()
    return sorted(_reports(rows), key=lambda report: (report.first_seed, report.job_id))


def _reports(rows: pd.DataFrame) -> Iterator[JobReport]:
    finite = rows[np.isfinite(rows["final_error"].to_numpy(dtype=float, na_value=np.nan))]
    means = _per_job(finite.groupby(["job", "arm"], observed=True)["final_error"].mean())
    counts = {
        column: rows.groupby(["job", "arm", column], observed=True).size()
        for column in ("verdict", "stop")
    }
    words = {column: _per_job_and_arm(found) for column, found in counts.items()}
    for (job, cell), own in rows.groupby(["job", "cell"], observed=True)["seed"]:
        yield JobReport(
            job_id=str(job),
            cell=str(cell),
            first_seed=int(own.min()),
            n_seeds=int(own.nunique()),
            n_rows=len(own),
            verdicts=words["verdict"][str(job)],
            stops=words["stop"][str(job)],
            mean_final_error=means.get(str(job), {}),
            seconds={},
        )


def _per_job(found: Any) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for (job, arm), value in found.items():
        table.setdefault(str(job), {})[str(arm)] = float(value)
    return table


def _per_job_and_arm(found: Any) -> dict[str, dict[str, dict[str, int]]]:
    table: dict[str, dict[str, dict[str, int]]] = {}
    for (job, arm, word), count in found.items():
        table.setdefault(str(job), {}).setdefault(str(arm), {})[str(word)] = int(count)
    return table


def _ended(layout: Layout, job: str) -> int:
    """When a job's rows came to disk, in ms since 1970; when they were merged, if they are."""
    path = layout.row_file(job)
    paths = [path] if path.exists() else row_paths(layout.rows)
    return max(found.stat().st_mtime_ns for found in paths) // 1_000_000
