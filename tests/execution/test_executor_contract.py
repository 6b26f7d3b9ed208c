"""The executors' contract (sweep/execution/base.py), checked for each of them."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from sweep.errors import UserError
from sweep.execution import open_executor
from sweep.execution.base import Executor, Listed, reason
from sweep.execution.ray_tune import RayExecutor
from sweep.job_report import JobFailure, JobReport
from sweep.seeds import stream
from sweep.spec import Compute, Job

# Workers cannot import a test module, so its functions travel to them by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

RETRIES = 1
PLACES = {
    "serial": Compute(name="serial", retries=RETRIES),
    "ray": Compute(name="local", workers=2, retries=RETRIES, memory_per_job_gb=0.1),
}


@dataclass(frozen=True)
class Fake:
    """Work that notes each attempt in a file of its own and behaves as the job's id is told."""

    folder: Path
    behave: dict[str, str] = field(default_factory=dict)

    def __call__(self, job: Job) -> JobReport:
        attempt = len(list(self.folder.glob(f"{job.id}-*")))
        (self.folder / f"{job.id}-{attempt}").write_text(os.environ.get("OMP_NUM_THREADS", ""))
        behave = self.behave.get(job.id, "works")
        if behave == "fails" or (behave == "fails once" and attempt == 0):
            raise UnpicklableError(f"job {job.id}\nhas a bad day")
        if behave == "dies" or (behave == "dies once" and attempt == 0):
            os._exit(1)
        if behave == "refuses":
            raise UserError("The disk is read-only.")
        if behave == "sleeps":
            time.sleep(600)
        return report(job)

    def attempts(self) -> Counter[str]:
        return Counter(path.name.split("-")[0] for path in self.folder.iterdir())


@dataclass(frozen=True)
class Deadly(Job):
    """A job whose first arrival at a worker ends it, as a node does that is lost at that moment."""

    driver: int = 0
    marker: Path = Path()

    def __reduce__(self) -> tuple[object, ...]:
        return arrive, tuple(getattr(self, each.name) for each in fields(self))


def arrive(*values: Any) -> Deadly:
    job = Deadly(*values)
    if os.getpid() != job.driver and not job.marker.exists():
        job.marker.touch()
        os._exit(1)
    return job


class UntilFour:
    """A source that has no more jobs once four of them succeeded."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = iter(jobs)
        self.outcomes: dict[str, bool] = {}

    def next(self) -> Job | None:
        return None if sum(self.outcomes.values()) >= 4 else next(self._jobs, None)

    def ended(self, job: Job, succeeded: bool) -> None:
        if job.id in self.outcomes:
            raise UserError(f"{job.id} ended twice.")
        self.outcomes[job.id] = succeeded


class UnpicklableError(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("not for travel")


def report(job: Job) -> JobReport:
    """A report whose numbers depend on the job's key alone."""
    mean = float(stream("initial", job.root, job.block.first).random())
    counts = {"plain": {"unresolved": job.block.count}}
    first, count = job.block.first, job.block.count
    return JobReport(job.id, "c0", first, count, count, counts, counts, {"plain": mean}, {})


@pytest.mark.slow  # a Ray of its own, and every death costs a worker's start
def test_a_job_that_kills_its_workers_is_named_and_others_finish(
    jobs: list[Job], tmp_path: Path
) -> None:
    work = Fake(tmp_path, {"job0": "dies"})
    with open_executor(PLACES["ray"]) as executor:
        ends = {end.job_id: end for end in executor.run(jobs[:2], work)}
    failure = ends["job0"]
    assert isinstance(failure, JobFailure)
    assert failure.reason.startswith("the worker process died: ")
    assert ends["job1"] == report(jobs[1])
    assert work.attempts() == {"job0": 1 + RETRIES, "job1": 1}


@pytest.fixture(scope="module", params=list(PLACES))
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with open_executor(PLACES[request.param]) as opened:
        yield opened


class TestContract:
    def test_every_job_ends_once_whatever_happens_to_one(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        on_ray = isinstance(executor, RayExecutor)
        mishap = "dies once" if on_ray else "fails once"  # a death here would be the tests' own
        work = Fake(tmp_path, {"job1": "fails", "job4": mishap})
        ends = list(executor.run(jobs, work))

        assert sorted(end.job_id for end in ends) == [job.id for job in jobs]
        assert {end.job_id: end for end in ends if isinstance(end, JobReport)} == {
            job.id: report(job) for job in jobs if job.id != "job1"
        }
        (failure,) = [end for end in ends if isinstance(end, JobFailure)]
        assert failure.reason.startswith("UnpicklableError: job job1 has a bad day (")
        assert "\n" not in failure.reason
        assert work.attempts() == {
            job.id: 1 + RETRIES * (job.id in ("job1", "job4")) for job in jobs
        }
        if on_ray:
            assert {path.read_text() for path in tmp_path.iterdir()} == {"1"}

    def test_bad_input_found_by_a_worker_ends_the_run(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        work = Fake(tmp_path, {"job0": "refuses", "job1": "refuses"})
        with pytest.raises(UserError, match=r"^The disk is read-only\.$"):
            list(executor.run(jobs[:2], work))
        assert work.attempts()["job0"] <= 1

    def test_a_source_hears_of_every_end_and_decides_what_comes_next(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        source = UntilFour(jobs)
        work = Fake(tmp_path, {"job1": "fails"})
        ends = [end.job_id for end in executor.run(source, work)]
        assert sorted(ends) == sorted(source.outcomes)
        assert source.outcomes.pop("job1") is False
        assert all(source.outcomes.values())
        # Four succeeded before it said so; a few more were on their way, none came after that.
        assert 4 <= len(source.outcomes) <= 4 + 2
        assert sorted(work.attempts()) == sorted(ends)

    def test_a_worker_that_dies_as_it_gets_a_job_costs_one_try(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        """Workers that are free are given the later jobs, and three of these kill them once."""
        markers = {job.id: tmp_path / f"{job.id} came" for job in jobs[3:6]}
        deadly = [Deadly(*vars(job).values(), os.getpid(), markers[job.id]) for job in jobs[3:6]]
        source = Listed([*jobs[:3], *deadly, *jobs[6:]])
        (tmp_path / "attempts").mkdir()
        work = Fake(tmp_path / "attempts")
        ends = {end.job_id: end for end in executor.run(source, work)}
        assert ends == {job.id: report(job) for job in jobs}
        assert set(work.attempts().values()) == {1}
        if isinstance(executor, RayExecutor):
            assert all(marker.exists() for marker in markers.values())

    def test_what_a_source_raises_comes_out_of_run(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        source = UntilFour(jobs)
        source.outcomes["job0"] = True  # ends twice
        with pytest.raises(UserError, match="twice"):
            list(executor.run(source, Fake(tmp_path)))

    def test_no_jobs_no_ends(self, executor: Executor) -> None:
        assert list(executor.run([], report)) == []

    def test_a_job_that_takes_too_long_fails_alone_and_is_not_tried_again(
        self, executor: Executor, jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not isinstance(executor, RayExecutor):
            pytest.skip("its only process is the study's own")
        hurried = replace(PLACES["ray"], seconds_per_job=2.0)
        monkeypatch.setattr(executor, "_compute", hurried)
        work = Fake(tmp_path, {"job1": "sleeps"})
        ends = {end.job_id: end for end in executor.run(jobs[:4], work)}
        failure = JobFailure("job1", "it ran for longer than compute.seconds_per_job, 2 s")
        assert ends == {job.id: report(job) for job in jobs[:4]} | {"job1": failure}
        assert work.attempts() == {job.id: 1 for job in jobs[:4]}

    def test_leaving_early_drops_what_runs(
        self, executor: Executor, jobs: list[Job], tmp_path: Path
    ) -> None:
        work = Fake(tmp_path, {job.id: "sleeps" for job in jobs[1:]})
        with closing(executor.run(jobs, work)) as ends:
            assert next(ends) == report(jobs[0])
            started = time.monotonic()
        assert time.monotonic() - started < 15
        assert work.attempts()["job7"] == 0


@pytest.mark.parametrize("place", list(PLACES))
def test_a_failing_probe_stops_before_anything_starts(place: str) -> None:
    def probe() -> None:
        raise UserError("No such folder.")

    with pytest.raises(UserError, match="No such folder"), open_executor(PLACES[place], probe):
        pass


def test_a_reason_is_one_short_line() -> None:
    assert reason(ValueError()) == "ValueError"
    assert reason(UserError("Plain words.")) == "Plain words."
    assert reason(ValueError("a\n  b")) == "ValueError: a b"
    assert len(reason(ValueError("x" * 1000))) == 300
