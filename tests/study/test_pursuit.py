"""A study that ends when it is precise enough ends at the same seed wherever and however it runs.

Rows are made up (each a function of its key), so that hundreds of blocks cost seconds; the last
test trains.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.cli.compose import compose
from sweep.errors import UserError
from sweep.execution.base import JobSource, Listed, Probe, Work
from sweep.inference.sequence import sequence
from sweep.inference.summary import Summary
from sweep.job import JobResult
from sweep.job_report import JobFailure, JobReport
from sweep.report.tables import table_files
from sweep.rows import axis_values, columns
from sweep.seeds import stream
from sweep.spec import Compute, Job
from sweep.storage.layout import Layout
from sweep.study import results as results_module
from sweep.study.observer import Ending, Silent
from sweep.study.resolve import resolve
from sweep.study.results import Results, load_rows, write_summary
from sweep.study.run import run_study
from sweep.study.status import status

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("study=quick", "tracking=none", "compute=serial", "compute.block_size=25")
TARGET = ("seeds.half_width=0.07", "seeds.max=1000")
BAD = {"plain": 0.06, "exp": 0.0, "extra_neuron": 0.03}
SEPARATING = 170  # the first seed whose network has error 0, when searches find none


def made_up(job: Job, error: float = 0.0) -> JobResult:
    """Rows whose verdicts depend on their keys alone.

    Local minima have error 1/4; the others have `error`, and from seed SEPARATING on 0. Searches
    find nothing better than `error`.
    """
    rows: list[dict[str, Any]] = []
    arms = job.cell.arms[:1] if job.reference else job.cell.arms
    for arm, seed in itertools.product(arms, range(job.block.first, job.block.end)):
        for draw in job.draws(arm):
            chance = stream("test", "made up", arm.name, draw, seed).random()
            bad = not job.reference and chance < BAD[arm.name]
            least = 0.0 if seed >= SEPARATING and not job.reference else error
            here = 0.25 if bad else least
            rows.append(
                {
                    **{column.name: None for column in columns([job.cell])},
                    **{"study": job.study_id, "cell": job.cell.id, "arm": arm.name, "draw": draw},
                    **{"seed": seed, "job": job.id, "problem": job.cell.problem.name},
                    **{"verdict": "local_minimum" if bad else "global_minimum"},
                    **{"evidence": "{}", "certificate": "none", "trainer": "fused"},
                    **{"stop": "steps", "steps": 1, "polish_steps": 0, "moved": 0.0},
                    **dict.fromkeys(("final_error", "judged_error"), here),
                    **dict.fromkeys(("final_error_base", "judged_error_base"), here),
                    **dict.fromkeys(("final_objective", "judged_objective"), here),
                }
            )
            rows[-1].update(axis_values(job.cell))
    return JobResult(job, {name: [row[name] for row in rows] for name in rows[0]}, {})


class Scrambled:
    """An executor with jobs in flight, that ends the latest, the earliest or any one next."""

    def __init__(self, flying: int, order: str) -> None:
        self._flying, self._order = flying, order
        self._rng = stream("test", "scrambled", order)

    def run(self, jobs: Sequence[Job] | JobSource, work: Work) -> Iterator[JobReport | JobFailure]:
        source = Listed(jobs) if isinstance(jobs, Sequence) else jobs
        flying: list[Job] = []
        over = False
        while True:
            while not over and len(flying) < self._flying:
                job = source.next()
                over = job is None
                flying += [job] if job is not None else []
            if not flying:
                return
            place = {"last": -1, "first": 0, "any": int(self._rng.integers(len(flying)))}
            job = flying.pop(place[self._order])
            report = work(job)
            source.ended(job, True)
            yield report


class Heard(Silent):
    """Remembers how the study ended, and the jobs that ran in this run."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.ending: Ending | None = None

    def job_finished(self, report: JobReport) -> None:
        self.ran.append(report.job_id)

    def finished(self, ending: Ending) -> None:
        self.ending = ending


Run = Callable[..., tuple[Results, Heard]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the small study of made-up rows in a subfolder; `page` with figures and report."""
    monkeypatch.setattr("sweep.study.run.machine_code_at_hand", lambda: True)
    whole_page = results_module.write_report

    def tables(summary: Summary, study: Any, layout: Layout) -> None:
        layout.summary.mkdir(exist_ok=True)
        for name, content in table_files(summary).items():
            (layout.summary / name).write_bytes(content)

    def one(
        *words: str,
        place: str = "r",
        executor: Scrambled | None = None,
        error: float = 0.0,
        page: bool = False,
    ) -> tuple[Results, Heard]:
        monkeypatch.setattr(results_module, "write_report", whole_page if page else tables)
        monkeypatch.setattr("sweep.study.work.run_job", lambda job, *_: made_up(job, error))
        monkeypatch.setattr("sweep.study.work.run_reference", lambda job, *_: made_up(job, error))
        composed = compose([*SMALL, *words, f"store.root={tmp_path / place}"])
        study, compute, store, tracking = resolve(composed)
        heard = Heard()
        given = {} if executor is None else {"opener": opener_of(executor)}
        results = run_study(study, compute, store, tracking, composed.resolved, heard, **given)
        return results, heard

    return one


def opener_of(executor: Scrambled) -> Any:
    def opener(compute: Compute, probe: Probe | None) -> Any:
        return nullcontext(executor)

    return opener


def precision_of(results: Results) -> pd.DataFrame:
    """The table on disk, which `sweep report` writes again from rows alone."""
    first = (results.path / "summary/precision.csv").read_bytes()
    write_summary(Layout.at(results.path))
    assert (results.path / "summary/precision.csv").read_bytes() == first
    return results.summary.precision


def decided(results: Results) -> int:
    (n,) = set(results.summary.precision["n"])
    return int(n)


def test_the_first_prefix_that_is_narrow_enough_ends_the_study(run: Run) -> None:
    results, heard = run(*TARGET, page=True)
    rows = load_rows(results.path)
    stopped = int(rows["seed"].max()) + 1
    widths = {}
    for n in range(25, stopped + 1, 25):
        found = rows[rows["seed"] < n]
        bad = (found["outcome"] == "bad_minimum").groupby(found["arm"], observed=True).mean()
        ends = [sequence(share * n, n, 0.95) for share in bad]
        widths[n] = max(float(high - low) / 2 for low, high in ends)
    assert [n for n, width in widths.items() if width <= 0.07] == [stopped]
    table = precision_of(results)
    assert table["reached"].all()
    assert table["half_width"].max() == pytest.approx(widths[stopped])
    assert decided(results) == stopped
    assert heard.ending is not None
    assert f"reached with {stopped} seeds from 0" in heard.ending.stopping[0]
    page = (results.path / "report.html").read_text(encoding="utf-8")
    assert f"reached with {stopped} seeds from 0" in page
    assert status(results.path).missing == ()


@pytest.mark.parametrize("words", [(), ("seeds.target=extra_neuron", "problem=xor,two_moons")])
def test_blocks_in_flight_have_no_say(run: Run, words: tuple[str, ...]) -> None:
    """Local minima become bad with the first network of error 0, which a late block brings."""
    words = (*TARGET, *words, "compute.block_size=50")
    alone, _ = run(*words, place="serial", error=0.25)
    expected = precision_of(alone)
    for flying, order in ((3, "last"), (8, "any")):
        executor = Scrambled(flying, order)
        results, _ = run(*words, place=f"{flying}", executor=executor, error=0.25)
        pd.testing.assert_frame_equal(precision_of(results), expected)
        rows = load_rows(results.path)
        assert not rows.duplicated(["cell", "arm", "draw", "seed"]).any()
        assert results.summary.n_rows >= alone.summary.n_rows
        if flying == 8:
            assert results.summary.n_rows > alone.summary.n_rows


def test_it_goes_on_from_what_is_on_disk_and_then_does_nothing(run: Run) -> None:
    class PowerError(Exception):
        pass

    class Fails(Scrambled):
        def run(
            self, jobs: Sequence[Job] | JobSource, work: Work
        ) -> Iterator[JobReport | JobFailure]:
            for count, end in enumerate(super().run(jobs, work)):
                yield end
                if count == 3:
                    raise PowerError

    with pytest.raises(PowerError):
        run(*TARGET, executor=Fails(4, "last"))
    results, heard = run(*TARGET)
    assert 0 < len(heard.ran) < decided(results) / 25
    whole, _ = run(*TARGET, place="whole")
    pd.testing.assert_frame_equal(results.summary.precision, whole.summary.precision)
    rows = load_rows(results.path)
    assert not rows.duplicated(["cell", "arm", "draw", "seed"]).any()
    again, heard = run(*TARGET)
    assert heard.ran == []
    pd.testing.assert_frame_equal(again.summary.precision, results.summary.precision)


def test_a_fixed_number_of_seeds_is_counted_first(run: Run) -> None:
    whole, _ = run(*TARGET, place="whole")
    results, _ = run("seeds.count=130")
    assert results.summary.precision.empty
    results, heard = run(*TARGET)
    assert not any("s00000000" in job for job in heard.ran)
    # 130 seeds left a block of five: boundaries differ from there on, and so may the stop, by less
    # than a block.
    assert abs(decided(results) - decided(whole)) < 25
    narrower, heard = run("seeds.half_width=0.05", "seeds.max=1000")
    assert decided(narrower) > decided(results)
    assert min(int(job.split("-s")[1][:8]) for job in heard.ran) == decided(results)


def test_more_seeds_keep_the_record_and_the_study(run: Run) -> None:
    results, _ = run(*TARGET)
    n = decided(results)
    more, _ = run(f"seeds.count={n + 60}")
    assert more.path == results.path
    pd.testing.assert_frame_equal(more.summary.precision, results.summary.precision)
    recorded = json.loads((more.path / "study.json").read_text())["precision"]
    assert (recorded["first"], recorded["n"]) == (0, n)
    assert recorded["target"]["half_width"] == 0.07


def test_the_last_seed_that_is_allowed_ends_it(run: Run) -> None:
    results, heard = run("seeds.half_width=0.01", "seeds.max=110", "seeds.first=30")
    assert set(load_rows(results.path)["seed"]) == set(range(30, 140))
    assert not results.summary.precision["reached"].all()
    assert heard.ending is not None
    assert "not reached with 110 seeds from 30" in heard.ending.stopping[0]
    _, heard = run("seeds.half_width=0.01", "seeds.max=110", "seeds.first=30")
    assert heard.ran == []


def test_a_job_that_fails_for_good_opens_no_more_blocks(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(*TARGET, place="whole")

    def broken(job: Job, error: float = 0.0) -> JobResult:
        if job.block.first == 100:
            raise RuntimeError("no memory")
        return made_up_before(job, error)

    made_up_before = made_up
    monkeypatch.setitem(globals(), "made_up", broken)
    results, _ = run(*TARGET, "compute.retries=0")
    assert len(results.failures) == 1
    assert set(load_rows(results.path)["seed"]) == set(range(100))
    assert not results.summary.precision["reached"].all()
    monkeypatch.setitem(globals(), "made_up", made_up_before)
    results, _ = run(*TARGET)
    pd.testing.assert_frame_equal(results.summary.precision, whole.summary.precision)


def test_a_half_width_and_a_count_are_one_or_the_other() -> None:
    def seeds(*words: str) -> Any:
        return resolve(compose([*SMALL, *words]))[0].seeds

    assert (seeds("seeds.half_width=0.1").count, seeds("seeds.half_width=0.1").most) == (
        None,
        100_000,
    )
    assert seeds("seeds.half_width=null").most == seeds().most == 64
    with pytest.raises(UserError, match="both given"):
        seeds("seeds.half_width=0.1", "seeds.count=3")


@pytest.mark.slow  # trains, and starts a Ray
def test_one_worker_and_two_stop_at_the_same_seed(tmp_path: Path) -> None:
    words = (*SMALL, "seeds.half_width=0.1", "seeds.max=2000", "stopping.max_steps=60")
    found = []
    for place in (("compute=serial",), ("compute=local", "compute.workers=2")):
        results = sweep.run([*words, *place, f"store.root={tmp_path / place[0][8:]}"])
        assert results.summary.precision["reached"].all()
        found.append(results.summary.precision)
    pd.testing.assert_frame_equal(*found)
    assert np.isfinite(found[0]["half_width"]).all()
