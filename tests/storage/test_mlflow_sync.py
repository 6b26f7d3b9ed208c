"""The MLflow view made equal to the rows: whatever it lacked, and nothing when asked again."""

from __future__ import annotations

import shutil
import threading

import pytest

from sweep.errors import UserError
from sweep.storage.mlflow_mirror import Mirror
from sweep.storage.mlflow_names import JOB_TAG, job_metrics
from sweep.storage.mlflow_sync import Ended, Synced, sync_view
from sweep.storage.mlflow_view import View

# MLflow's own tables use an option that SQLAlchemy 2.1 wants to drop; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

METRICS = {"bad_minimum_frequency/exp": 0.25, "outcome/exp/bad_minimum": 2.0}
AT = 1_700_000_000_000


@pytest.fixture
def sync(local, identity, report):
    """`sync(5)`: the study has five jobs on disk."""

    def call(jobs: int = 3, uri: str | None = None, *, complete: bool = True) -> Synced:
        found = [Ended(report(number), AT + number) for number in range(jobs)]
        return sync_view(uri, local, identity, found, METRICS, complete=complete)

    return call


@pytest.fixture
def view(local, identity) -> View:
    return View(None, local, identity)


def counts(synced: Synced) -> tuple[str, int, int, int, int]:
    return synced.parent, synced.present, synced.added, synced.repaired, synced.removed


def shown(view: View) -> list[str]:
    """The jobs that the view shows, sorted, doubles too."""
    return sorted(run.data.tags[JOB_TAG] for run in view.runs("job"))


JOBS = ["c1-s0", "c1-s1", "c1-s2"]
NOTHING = ("present", 3, 0, 0, 0)


def test_an_empty_view_is_filled_and_then_left_alone(sync, view, report, local):
    assert counts(sync()) == ("added", 0, 3, 0, 0)
    (parent,) = view.runs("parent")
    children = list(view.runs("job"))
    assert shown(view) == JOBS
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == METRICS
    assert parent.data.params == {"problem": "xor", "model.width": "2"}
    assert parent.data.tags["params_left_out"] == "too_long"
    uploaded = {path.name for path in local.tracking_artifacts.rglob("*") if path.is_file()}
    assert uploaded == {"study.json", "report.html", "frequencies.svg", "frequencies.csv"}
    for child in children:
        number = JOBS.index(child.data.tags["job"])
        assert child.info.status == "FINISHED"
        assert child.info.end_time == AT + number
        assert child.data.metrics == job_metrics(report(number))
        assert child.data.params == {"problem": "xor", "model.width": "2"}
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["study_id"] == "0123456789ab"
        assert child.data.tags["cell"] == "c1"
        assert child.data.tags["git_commit"] == "f00d"

    before = local.tracking_database.read_bytes()
    assert counts(sync()) == NOTHING
    assert local.tracking_database.read_bytes() == before, "not even a metric was logged again"
    assert counts(sync(4)) == ("present", 3, 1, 0, 0)
    assert counts(sync(4)) == ("present", 4, 0, 0, 0)


def test_what_a_run_mirrored_needs_nothing(sync, local, identity, report):
    mirror = Mirror.open(None, local, identity, warn=pytest.fail)
    for number in range(3):
        mirror.job_done(report(number))
    assert mirror.finish(METRICS) == 0
    assert counts(sync()) == NOTHING


@pytest.mark.parametrize("step", ["created", "logged", "ended without a word"])
def test_a_child_that_was_cut_off_is_completed_not_doubled(sync, view, report, step):
    sync()
    parent = next(view.runs("parent")).info.run_id
    child = view.add_child(report(3), parent)
    if step == "logged":
        view.log(child, job_metrics(report(3)))
    elif step != "created":
        view.close(child, "FINISHED")
    assert counts(sync(4)) == ("present", 3, 0, 1, 0)
    run = view.client.get_run(child)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == job_metrics(report(3))
    assert run.data.params == {"problem": "xor", "model.width": "2"}
    assert counts(sync(4)) == ("present", 4, 0, 0, 0)


def test_a_number_that_somebody_changed_is_put_right(sync, view):
    sync()
    child = next(view.runs("job")).info.run_id
    view.log(child, {"n_rows": 21.0})
    parent = next(view.runs("parent")).info.run_id
    view.log(parent, {"bad_minimum_frequency/exp": 0.5})
    assert counts(sync()) == ("repaired", 2, 0, 1, 0)
    assert view.client.get_run(child).data.metrics["n_rows"] == 20.0
    assert view.client.get_run(parent).data.metrics == METRICS
    assert counts(sync()) == NOTHING


def test_deleted_runs_are_added_again_and_orphans_get_a_parent(sync, view):
    sync()
    view.delete(next(view.runs("job")).info.run_id)
    assert counts(sync()) == ("present", 2, 1, 0, 0)
    view.delete(next(view.runs("parent")).info.run_id)
    assert counts(sync()) == ("added", 0, 0, 3, 0)
    (parent,) = view.runs("parent")
    assert {run.data.tags["mlflow.parentRunId"] for run in view.runs("job")} == {parent.info.run_id}
    assert counts(sync()) == NOTHING


def test_a_deleted_experiment_comes_back(sync, view):
    sync()
    view.client.delete_experiment(view.experiment)
    sync()
    assert shown(view) == JOBS
    assert counts(sync()) == NOTHING


def test_a_wiped_database_is_filled_again(sync, local, empty_database, view):
    sync()
    shutil.copy(empty_database, local.tracking_database)
    assert counts(sync()) == ("added", 0, 3, 0, 0)
    assert shown(view) == JOBS


def test_a_wiped_artifact_store_is_filled_again(sync, local):
    sync()
    next(local.tracking_artifacts.rglob("report.html")).unlink()
    assert counts(sync()) == ("repaired", 3, 0, 0, 0)
    assert next(local.tracking_artifacts.rglob("report.html")).read_text() == "<html></html>"
    local.report.write_text("<html>more</html>")
    assert counts(sync()) == ("repaired", 3, 0, 0, 0)
    assert next(local.tracking_artifacts.rglob("report.html")).read_text() == "<html>more</html>"
    assert counts(sync()) == NOTHING


def test_another_server_gets_a_view_of_its_own(sync, server, identity):
    sync()
    assert counts(sync(3, server.uri)) == ("added", 0, 3, 0, 0)
    assert counts(sync(3, server.uri)) == NOTHING
    parents, children = server.runs(identity.name)
    assert len(parents) == 1
    assert sorted(child.tags["job"] for child in children) == JOBS
    listed = server.ask(f"artifacts/list?run_id={parents[0].id}")["files"]
    assert {file["path"] for file in listed} == {"study.json", "report.html", "figures", "summary"}


def test_more_runs_than_a_page_holds(sync, view, monkeypatch):
    monkeypatch.setattr("sweep.storage.mlflow_view._PAGE", 2)
    assert counts(sync(5)) == ("added", 0, 5, 0, 0)
    assert counts(sync(5)) == ("present", 5, 0, 0, 0)
    assert len(shown(view)) == 5


def test_a_job_shown_twice_keeps_its_fullest_run(sync, view, report):
    sync()
    parent = next(view.runs("parent")).info.run_id
    full = {run.info.run_id for run in view.runs("job")}
    for number in (0, 0, 2):
        view.add_child(report(number), parent)
    assert counts(sync()) == ("present", 3, 0, 0, 3)
    assert {run.info.run_id for run in view.runs("job")} == full
    assert counts(sync()) == NOTHING


def test_a_run_that_adds_the_same_job_meanwhile_leaves_no_double(sync, view, report, monkeypatch):
    sync()
    parent = next(view.runs("parent")).info.run_id
    add = View.add_child

    def raced(self, report, parent, ended=None):
        view.complete_child(add(view, report, parent), report)
        return add(self, report, parent, ended)

    monkeypatch.setattr(View, "add_child", raced)
    assert counts(sync(4)) == ("present", 3, 1, 0, 1)
    assert shown(view) == [*JOBS, "c1-s3"]
    monkeypatch.undo()
    # A run's queue may also come later than the sync: the next one finds it.
    view.complete_child(view.add_child(report(3), parent), report(3))
    assert counts(sync(4)) == ("present", 4, 0, 0, 1)


def test_two_at_once_add_each_job_once(sync, view):
    found: list[Synced] = []
    threads = [threading.Thread(target=lambda: found.append(sync(6))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(map(counts, found)) == [("added", 0, 6, 0, 0), ("present", 6, 0, 0, 0)]
    assert len(shown(view)) == 6
    assert len(list(view.runs("parent"))) == 1


def test_other_peoples_runs_are_left_alone(sync, view):
    foreign = view.client.create_run(view.experiment, tags={"study_id": "0123456789ab"})
    other = view.client.create_run(view.experiment, tags={"sweep.kind": "job", JOB_TAG: "c1-s0"})
    assert counts(sync()) == ("added", 0, 3, 0, 0)
    for run in (foreign, other):
        assert view.client.get_run(run.info.run_id).info.lifecycle_stage == "active"


def test_the_parent_of_an_unfinished_study_is_not_called_finished(
    sync, local, identity, view, report, until
):
    mirror = Mirror.open(None, local, identity, warn=pytest.fail)
    mirror.job_done(report(0))
    until(lambda: mirror.left_out == 0)  # a sync that comes before the parent makes one, ended
    assert counts(sync(2, complete=False))[1:] == (1, 1, 0, 0)
    assert next(view.runs("parent")).info.status == "RUNNING", "its run may be under way"
    mirror.finish({})
    assert counts(sync(3, complete=True))[1:] == (2, 1, 0, 0)
    assert next(view.runs("parent")).info.status == "FINISHED"


def test_a_server_that_fails_midway_is_a_sentence_and_the_next_call_goes_on(
    sync, view, monkeypatch
):
    sync(1)
    log = View.log

    def failing(self, run_id, metrics, *rest, **more):
        if metrics.get("first_seed") == 20.0:
            raise ConnectionError("the line is dead")
        return log(self, run_id, metrics, *rest, **more)

    monkeypatch.setattr(View, "log", failing)
    with pytest.raises(UserError, match=r"stopped answering \(the line is dead\)"):
        sync()
    monkeypatch.undo()
    assert counts(sync()) == ("present", 2, 0, 1, 0)
    assert shown(view) == JOBS
