"""The MLflow view made equal to the rows: what is missing added, what is broken repaired.

Asking twice adds nothing, and two calls at once on one folder take turns. A run that trains
meanwhile, or another machine without a common lock, may still add a job's child at the same moment:
the one too many is found here, at the end or by the next call, and moved to MLflow's bin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.environment import environment
from sweep.errors import UserError
from sweep.job_report import JobReport
from sweep.storage import tracking_server
from sweep.storage.layout import Layout
from sweep.storage.locks import locked
from sweep.storage.mlflow_names import JOB_TAG, Identity, job_metrics
from sweep.storage.mlflow_view import Status, View, lacking

_OPENING = 120.0  # a new database gets its tables first
_TURN = 3600.0  # while another call adds thousands of runs
Found = Literal["present", "added", "repaired"]


@dataclass(frozen=True)
class Synced:
    """What a synchronisation found and did: jobs (counts), and how the parent run was found.

    `present` jobs had a complete child, `added` none, `repaired` an incomplete one; `removed`
    counts the runs that showed a job a second time.
    """

    address: str
    parent: Found
    present: int = 0
    added: int = 0
    repaired: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Ended:
    """A job whose rows are on disk, and when they came there, in ms since 1970."""

    report: JobReport
    at: int


def sync_view(
    uri: str | None,
    layout: Layout,
    identity: Identity,
    jobs: Sequence[Ended],
    metrics: Mapping[str, float],
    *,
    complete: bool,
) -> Synced:
    """Exactly one complete child per job under a parent with these metrics and all artifacts.

    `complete` says that the study lacks no job: the parent is then marked as finished. Raises
    `UserError` when the server cannot be used or stops answering; what was sent until then stays,
    and the next call goes on from there.
    """
    view = View(uri, layout, identity)
    with _turn(layout), environment(tracking_server.WHILE_RUNNING):
        view.check()
        tracking_server.answer(view.address, lambda: view.experiment, _OPENING)
        try:
            return _sync(view, jobs, metrics, complete)
        except Exception as error:  # any driver's or server's error, for a person to read
            if "error code 403" in str(error):
                raise tracking_server.refused_user(view.address, "403") from error
            raise UserError(
                f"MLflow stopped answering ({tracking_server.reason(error)}): run this again."
            ) from error


@contextlib.contextmanager
def _turn(layout: Layout) -> Iterator[None]:
    """One call at a time per results folder, as far as that can be written."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(locked(layout.mirror_lock, _TURN))
        yield


def _sync(
    view: View, jobs: Sequence[Ended], metrics: Mapping[str, float], complete: bool
) -> Synced:
    parents = list(view.runs("parent"))
    parent = parents[0].info.run_id if parents else view.add_parent()
    living = {parent, *(run.info.run_id for run in parents)}
    children, removed = _without_doubles(view, (ended.report.job_id for ended in jobs))
    counts: dict[Found, int] = {"present": 0, "added": 0, "repaired": 0}
    for ended in jobs:
        child = children.get(ended.report.job_id)
        counts[_sync_child(view, child, ended, parent, living)] += 1
    if counts["added"]:  # somebody may have added the same meanwhile
        removed += _without_doubles(view, (ended.report.job_id for ended in jobs))[1]
    found = _sync_parent(view, parent, parents[0] if parents else None, metrics, complete)
    return Synced(view.address, found, **counts, removed=removed)


def _sync_child(view: View, child: Any, ended: Ended, parent: str, living: Iterable[str]) -> Found:
    """How the job's run was found; it is complete now."""
    report = ended.report
    if child is None:
        view.complete_child(view.add_child(report, parent, ended.at), report, ended.at)
        return "added"
    known = child.data.tags
    tags = view.child_tags(report, parent)
    if known.get("mlflow.parentRunId") in living:
        tags["mlflow.parentRunId"] = known["mlflow.parentRunId"]
    if "git_commit" in known:  # of the code that ran the job, not of today's
        tags = {key: text for key, text in tags.items() if "commit" not in key}
    logged = view.log(
        child.info.run_id,
        lacking(child, job_metrics(report)),
        {k: v for k, v in view.params_of(report).items() if k not in child.data.params},
        {key: text for key, text in tags.items() if known.get(key) != text},
    )
    if child.info.status != "FINISHED":
        view.close(child.info.run_id, "FINISHED", ended.at)
        return "repaired"
    return "repaired" if logged else "present"


def _sync_parent(
    view: View, run_id: str, known: Any, metrics: Mapping[str, float], complete: bool
) -> Found:
    """How the parent run was found; it has all its params, metrics and artifacts now."""
    changed = view.describe_parent(run_id, metrics, known)
    if known is None or view.artifacts_differ(known):
        view.send_artifacts(run_id)
        changed = True
    status: Status = "FINISHED" if complete else "KILLED"
    # An unfinished study's parent may belong to a run that is under way, or say how one ended.
    if known is None or (complete and known.info.status != status):
        view.close(run_id, status)
        changed = True
    if known is None:
        return "added"
    return "repaired" if changed else "present"


def _without_doubles(view: View, jobs: Iterable[str]) -> tuple[dict[str, Any], int]:
    """Job → its run, and how many others showed one of these jobs and were deleted.

    Whoever looks keeps the same one: the finished one, then the fullest, then the first.
    """
    shown: dict[str, list[Any]] = {job: [] for job in jobs}
    for run in view.runs("job"):
        if run.data.tags.get(JOB_TAG) in shown:
            shown[run.data.tags[JOB_TAG]].append(run)
    removed = 0
    for runs in shown.values():
        runs.sort(key=_merit)
        for double in runs[1:]:
            view.delete(double.info.run_id)
            removed += 1
    return {job: runs[0] for job, runs in shown.items() if runs}, removed


def _merit(run: Any) -> tuple[bool, int, int, str]:
    info = run.info
    return info.status != "FINISHED", -len(run.data.metrics), info.start_time, info.run_id
