from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweep.cli.ending_view import SHOWN_CELLS, mlflow_line
from sweep.cli.plan_view import duration
from sweep.cli.progress import SHOWN_FAILURES, LiveProgress, PlainProgress, progress
from sweep.cli.tally import Tally
from sweep.inference.frequencies import frequencies
from sweep.job_report import JobFailure, JobReport
from sweep.study.observer import Ending, Observer, Silent

ARMS = ("plain", "exp")


def report(job: str, plain: dict[str, int], exp: dict[str, int], errors: dict[str, float]):
    members = sum(plain.values()) + sum(exp.values())
    verdicts = {"plain": plain, "exp": exp}
    return JobReport(job, "c1", 0, 10, members, verdicts, {}, errors, {"train": 1.0})


FIRST = report(
    "c1-s0",
    {"global_minimum": 6, "unresolved": 3, "failed": 1},
    {"global_minimum": 20},
    {"plain": 0.1, "exp": 0.0},
)
SECOND = report(
    "c1-s10",
    {"global_minimum": 5, "local_minimum": 5},
    {"global_minimum": 18, "saddle": 2},
    {"plain": 0.3, "exp": float("nan")},
)


def rows() -> pd.DataFrame:
    outcomes = ["bad_minimum"] * 2 + ["global_minimum"] * 7 + ["unresolved"]
    return pd.DataFrame(
        {
            "study": "s",
            "cell": "c1",
            "arm": "plain",
            "draw": 0,
            "seed": range(10),
            "lam": float("nan"),
            "outcome": outcomes,
            "final_error": 0.25,
        }
    )


def ending(
    report: Path | None = None,
    tracking_uri: str | None = None,
    cells: Mapping[str, str] | None = None,
) -> Ending:
    table = frequencies(rows())
    return Ending(Path("/r/default-abc"), 10, 0, table, report, tracking_uri, cells or {})


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)


def text(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_the_tally_counts_over_jobs_and_weighs_errors_by_members() -> None:
    tally = Tally(4, 1, 60, ARMS)
    tally.add(FIRST)
    tally.add(SECOND)
    assert tally.jobs() == "3/4"
    assert tally.members == 60
    # plain: 20 members, 8 of which may be bad minima; 9 finite at 0.1 and 10 at 0.3.
    assert tally.shares("plain") == {
        "bad minima": "≤ 40.0%",
        "global": "55.0%",
        "unresolved": "15.0%",
        "failed": "1",
        "mean error": f"{(9 * 0.1 + 10 * 0.3) / 19:.4f}",
    }
    # exp: a mean that is not finite is left out, a saddle is no minimum.
    assert list(tally.shares("exp").values()) == ["≤ 0.0%", "95.0%", "0.0%", "0", "0.0000"]
    assert tally.shares("other") == {}
    assert not tally.complete
    tally.failed += 1
    assert tally.complete
    assert tally.jobs() == "3/4 (1 failed)"


def test_a_bound_that_leaves_out_nothing_is_not_given() -> None:
    tally = Tally(2, 0, 4, ("plain",))
    tally.add(JobReport("c1-s0", "c1", 0, 2, 2, {"plain": {"local_minimum": 2}}, {}, {}, {}))
    assert tally.shares("plain")["bad minima"] == "not known yet"
    assert "| plain: bad minima not known yet, global 0.0%, " in tally.line()
    tally.add(JobReport("c1-s2", "c1", 2, 2, 2, {"plain": {"global_minimum": 2}}, {}, {}, {}))
    assert tally.shares("plain")["bad minima"] == "≤ 50.0%"


def test_rates_and_time_left_count_this_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *[10.0] * 3])
    monkeypatch.setattr("sweep.cli.tally.time.monotonic", lambda: next(clock))
    tally = Tally(100, 90, 3000, ARMS)
    tally.add(FIRST)
    assert tally.members == 30
    assert tally.rate() == "180/min"
    assert tally.left() == "0:16:30"


def test_compiling_is_shown_and_left_out_of_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, *[70.0] * 3])
    monkeypatch.setattr("sweep.cli.tally.time.monotonic", lambda: next(clock))
    tally = Tally(100, 90, 3000, ARMS)
    assert tally.compiling() == ""
    tally.add(replace(FIRST, seconds={"compile": 60.0, "train": 1.0}))
    assert tally.compiling() == " (kernels compiled in 60 s)"
    assert tally.rate() == "180/min"
    assert tally.left() == "0:16:30"


def test_openings_say_what_is_ahead() -> None:
    assert Tally(5, 5, 0).opening() == "Nothing to train: 5 jobs of the study on disk already."
    assert Tally(5, 2, 60).opening() == "5 jobs, 2 on disk already; 60 networks to train."
    assert Tally(1, 0, 1000).opening() == "1 job; 1,000 networks to train."


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end() -> None:
    on = console()
    observer = PlainProgress(on, seconds=3600)
    observer.started(40, 0, 1200, ARMS)
    for _ in range(40):
        observer.job_finished(FIRST)
    lines = text(on).splitlines()
    progress_lines = [line for line in lines if " jobs, " in line]
    assert len(progress_lines) <= 2
    assert progress_lines[-1].startswith("40/40 jobs")
    assert "plain: bad minima ≤ 30.0%" in progress_lines[-1]
    assert len(max(lines, key=len)) > 80, "a log line is not wrapped"


@pytest.mark.parametrize("kind", [PlainProgress, LiveProgress])
def test_failures_are_counted_but_do_not_flood(kind: type[PlainProgress | LiveProgress]) -> None:
    on = console(kind is LiveProgress)
    observer = kind(on)
    observer.started(100, 0, 1000, ARMS)
    for number in range(50):
        observer.job_failed(JobFailure(f"c1-s{number}", "out of memory [half]"))
    observer.warning("the MLflow server is gone [for now].")
    if isinstance(observer, LiveProgress):
        observer.stop()
    shown = text(on)
    assert shown.count("failed: out of memory [half]") == SHOWN_FAILURES
    assert "more jobs fail" in shown
    assert "warning: the MLflow server is gone [for now]." in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_the_whole_story_on_a_log_and_on_a_terminal(terminal: bool) -> None:
    on = console(terminal)
    with progress(on) as observer:
        observer.started(2, 0, 60, ARMS)
        observer.job_finished(FIRST)
        observer.job_finished(SECOND)
        observer.finished(
            ending(
                report=Path("/r/default-abc/report.html"),
                tracking_uri="sqlite:////r/mlflow.db",
                cells={"c1": "xor, width 2"},
            )
        )
    shown = text(on)
    assert "2 jobs; 60 networks to train." in shown
    assert "/r/default-abc/rows   (10 rows)" in shown
    assert "/r/default-abc/report.html" in shown
    assert "mlflow ui --backend-store-uri sqlite:////r/mlflow.db" in shown
    for part in ("xor, width 2", "minimum", "unresolved", "20.00-30.00", "0.2500"):
        assert part in shown
    assert "interval, %" in shown
    assert "may or may not be bad minima" in shown
    assert "saddle" not in shown, "an outcome that nobody had needs no column"


def test_the_interval_shown_is_that_of_the_summary() -> None:
    on = console()
    found = ending()
    PlainProgress(on).finished(found)
    row = found.frequencies[found.frequencies["level"] == "cell"].iloc[0]
    assert f"{100 * row['interval_low']:.2f}-{100 * row['interval_high']:.2f}" in text(on)


def test_the_end_says_that_steps_ran_out() -> None:
    on = console()
    PlainProgress(on).finished(replace(ending(), unfinished=["The steps ran out; take more."]))
    assert "\nThe steps ran out; take more.\n" in text(on)


def test_nothing_to_train_opens_no_bar() -> None:
    on = console(terminal=True)
    with progress(on) as observer:
        observer.started(3, 3, 0, ARMS)
        observer.finished(ending())
    assert "Nothing to train" in text(on)
    assert "jobs" in text(on)


def test_an_interrupt_takes_the_live_display_down() -> None:
    on = console(terminal=True)
    with pytest.raises(KeyboardInterrupt), progress(on) as observer:
        observer.started(2, 0, 60, ARMS)
        raise KeyboardInterrupt
    assert isinstance(observer, LiveProgress)
    assert not observer._live.is_started


def test_observers_keep_the_contract() -> None:
    observers: list[Observer] = [Silent(), PlainProgress(console()), LiveProgress(console())]
    for observer in observers:
        observer.started(1, 0, 30, ARMS)
        observer.job_finished(FIRST)
        observer.job_failed(JobFailure("j", "r"))
        observer.warning("w.")
        observer.finished(ending())


def test_a_server_is_an_address_and_a_file_a_command() -> None:
    assert mlflow_line("http://localhost:5000") == "http://localhost:5000"
    assert (
        mlflow_line("sqlite:////a b/mlflow.db")
        == "mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "< 1 s"),
        (42, "42 s"),
        (60, "1 min"),
        (3700, "1 h 1 min"),
        (7200, "2 h"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_are_readable(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_last_screen_fits_eighty_columns_and_names_every_cell() -> None:
    many = pd.concat([rows().assign(cell=f"c{i:02d}") for i in range(SHOWN_CELLS + 3)])
    many["arm"] = "exp_unregularized"
    on = Console(file=io.StringIO(), width=80, color_system=None)
    found = Ending(Path("/r"), len(many), 2, frequencies(many))
    PlainProgress(on).finished(found)
    shown = text(on)
    assert "…" not in shown.replace("… 3 more cells", "")
    assert "… 3 more cells are in the report." in shown
    assert "exp_unregularized" in shown
    assert "2 jobs; the same command tries again" in shown
    assert all(f"c{i:02d}" in shown for i in range(SHOWN_CELLS))
