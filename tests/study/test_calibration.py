"""How many seeds make a job: enough to last, not so many that workers idle or memory ends."""

from __future__ import annotations

from typing import Any

import pytest

from sweep.cli.compose import compose
from sweep.spec import Arm, Cell, Compute, Study
from sweep.study import calibration
from sweep.study.calibration import (
    JOBS_PER_WORKER,
    LEAST_GAIN,
    LONG,
    LONGEST,
    MEMBERS_PER_JOB,
    MOST_MEMBERS_PER_JOB,
    PATIENCE,
    SHORT,
    Cost,
    cell_costs,
    measured_block_size,
    size_for,
)
from sweep.study.resolve import resolve
from sweep.training.base import Ending
from sweep.verdicts import Stop


def study_of(*words: str) -> Study:
    return resolve(compose(["study=quick", "tracking=none", *words]))[0]


@pytest.mark.parametrize("rate", [1e-5, 1e-3, 0.05, 1.0, 300.0])
@pytest.mark.parametrize("seeds", [1, 100, 100_000])
@pytest.mark.parametrize("workers", [1, 64])
def test_jobs_last_long_enough_wherever_the_study_allows(
    rate: float, seeds: int, workers: int
) -> None:
    study = study_of(f"seeds.count={seeds}")
    (cell,) = study.cells
    size = size_for({cell.id: Cost(0.0, rate)}, study, workers)
    assert 1 <= size <= seeds
    assert size * cell.members_per_seed <= MOST_MEMBERS_PER_JOB
    held = size in (1, seeds, MOST_MEMBERS_PER_JOB // cell.members_per_seed)
    assert held or SHORT * 0.9 <= size * rate <= LONG * 1.1
    if size * rate > SHORT * 1.1 and size > 1:  # then every worker has several
        assert seeds / size >= 0.9 * JOBS_PER_WORKER * workers


@pytest.mark.parametrize("job", [0.1, 30.0, 3000.0])
@pytest.mark.parametrize("workers", [2, 16])
def test_steps_that_cost_the_same_for_few_members_are_not_paid_again_and_again(
    job: float, workers: int
) -> None:
    study = study_of("seeds.count=2000")
    (cell,) = study.cells
    size = size_for({cell.id: Cost(job, 0.05)}, study, workers)
    longest = (max(LONGEST, 2 * job) - job) / 0.05
    assert size >= min(job / 0.05 / LEAST_GAIN, longest, 2000 / workers) - 1
    assert 2000 / size >= workers - 1  # and no worker idles
    if job == 0.1:  # little enough: as if it were nothing
        assert size == size_for({cell.id: Cost(0.0, 0.05)}, study, workers)


def test_short_studies_precisions_and_gpus_are_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(study: Study, note: Any) -> Any:
        pytest.fail("it was measured")

    monkeypatch.setattr(calibration, "cell_costs", never)
    local = Compute(workers=2)
    assert measured_block_size(study_of(), local) == 64
    many = study_of("seeds.count=1000000")
    assert measured_block_size(many, Compute(block_size=7)) == 7
    assert measured_block_size(many, Compute(device="cuda")) == MEMBERS_PER_JOB // 4
    precise = study_of("seeds.count=null", "seeds.half_width=0.01", "seeds.max=1000000")
    assert measured_block_size(precise, local) == MEMBERS_PER_JOB // 4
    with pytest.raises(pytest.fail.Exception):
        measured_block_size(many, local)


def test_who_waits_for_a_calibration_is_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [0.0], []

    def timed(study: Study, cell: Cell, arm: Arm, source: Any) -> Cost:
        clock[0] += 0.6 * PATIENCE
        return Cost(1.0, 0.5)

    monkeypatch.setattr(calibration, "_arm_cost", timed)
    monkeypatch.setattr(calibration.time, "monotonic", lambda: clock[0])
    study = study_of("model.width=2,3")
    found = cell_costs(study, told.append)
    arms = [(cell, arm.name) for cell in (1, 2) for arm in study.cells[0].arms]
    assert told == [
        f"Timing a few members, and compiling what they need: cell {cell} of 2, arm {arm}."
        for cell, arm in arms[2::2]
    ]
    draws = sum(arm.draws for arm in study.cells[0].arms)
    assert [*found.values()] == [Cost(len(arms) / 2, draws / 2)] * 2


def test_training_and_judging_are_timed_after_they_were_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that moves only as told: 64 and 8 members train, 8 and 2 are judged."""
    study = study_of("stopping.max_steps=1000")
    now, calls = [0.0], {"train": 0, "judge": 0}
    running = [0.5]  # the share of members that have not stopped

    def train(
        objective: Any, start: Any, lam: Any, optimizer: Any, rule: Any, order: Any
    ) -> Ending:
        calls["train"] += 1
        now[0] += (0.00036 + 0.00001 * len(start)) * rule.max_steps  # 0.001 for 64
        ending = Ending(start, start[:, 0], start[:, 0].astype(object))
        ending.stop[:] = Stop.GRADIENT
        ending.stop[: int(running[0] * len(start))] = Stop.STEPS
        return ending

    class Judge:
        def judge(self, objective: Any, ending: Ending, lam: Any) -> None:
            calls["judge"] += 1
            compiles = calls["judge"] % 3 == 1  # once an arm, before it is timed
            now[0] += 100.0 if compiles else 0.03 + 0.01 * len(ending.params)

    monkeypatch.setattr(calibration.time, "process_time", lambda: now[0])
    monkeypatch.setattr(calibration, "train", train)
    monkeypatch.setattr(calibration, "prepare", lambda *_: None)
    monkeypatch.setattr(calibration.JUDGES, "build", lambda _: Judge())
    # 200 steps take 0.2 s, so 800 are tried: 0.8 s; half of the members have 200 steps to go.
    (cell,) = study.cells
    arms, draws = len(cell.arms), cell.members_per_seed
    whole = 800 * (1 + 0.5 * 0.25)
    (cost,) = cell_costs(study).values()
    assert cost.job == pytest.approx(arms * (0.00036 * whole + 0.03))
    assert cost.seed == pytest.approx(draws * (0.00001 * whole + 0.01))
    assert calls == {"train": 3 * arms, "judge": 3 * arms}
    running[0] = 0.0
    (cost,) = cell_costs(study).values()
    assert cost.job == pytest.approx(arms * (0.00036 * 200 + 0.03))
    assert cost.seed == pytest.approx(draws * (0.00001 * 200 + 0.01))
