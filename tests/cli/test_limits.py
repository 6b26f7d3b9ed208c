"""Sizes: what is refused before it is listed, and what must stay possible."""

from __future__ import annotations

import pytest
import torch

from sweep.cli.compose import compose
from sweep.errors import UserError
from sweep.models.losses import HingePower
from sweep.planning import MOST_JOBS, plan_blocks
from sweep.spec import Block, Seeds
from sweep.study.calibration import Cost
from sweep.study.plan import plan_study
from sweep.study.resolve import resolve


def test_too_many_blocks_are_refused_before_they_are_listed() -> None:
    with pytest.raises(UserError, match=r"at most 1000000 are accepted, .*compute\.block_size"):
        plan_blocks([], Block(0, 10**30), 500)
    with pytest.raises(UserError, match=r"compute\.block_size"):
        plan_blocks([Block(0, 10)], Block(0, MOST_JOBS + 11), 1)
    assert len(plan_blocks([Block(0, 10)], Block(0, MOST_JOBS + 10), 1)) == MOST_JOBS + 1


def test_a_million_seeds_of_one_cell_are_planned_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a seed costs is not the question.
    monkeypatch.setattr(
        "sweep.study.plan.cell_costs",
        lambda study, note: {cell.id: Cost(0, 1) for cell in study.cells},
    )
    study, compute, store, _ = resolve(compose(["study=quick", "seeds.count=1e6"]))
    plan = plan_study(study, compute, store)
    assert sum(job.block.count for job in plan.jobs) == 1_000_000
    assert plan.rows == 1_000_000 * study.cells[0].members_per_seed


def test_the_last_seed_of_all_fits_in_int64() -> None:
    last = Seeds(first=2**63 - 10**8, count=10**8)
    assert last.first + last.count - 1 == 2**63 - 1
    for first, count in ((2**63 - 10**8 + 1, 1), (-1, 1), (0, 0), (0, 10**8 + 1)):
        with pytest.raises(UserError, match=r"seeds\.(first|count)"):
            Seeds(first=first, count=count)


def test_the_largest_power_computes_and_a_power_keeps_its_bits() -> None:
    z = torch.linspace(-2, 2, 101, dtype=torch.float64)
    assert torch.isfinite(HingePower(100)(z)).all()
    assert torch.equal(HingePower(3)(z), torch.relu(z + 1).pow(3))
    assert torch.equal(HingePower(3)(z), HingePower(3.0)(z))


def test_a_batch_may_hold_all_data() -> None:
    study, *_ = resolve(compose(["study=quick", "optimizer.batch_size=4"]))
    assert study.cells[0].optimizer.settings["batch_size"] == 4


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("problem.path=~/x y.csv", "~/x y.csv"),
        ("+problem.path=größe.csv", "größe.csv"),
        ("problem.path=a(1).csv", "a(1).csv"),
        ("problem.path=C:\\data\\ä.csv", "C:\\data\\ä.csv"),
        ("problem.path='a=b.csv'", "a=b.csv"),
        ("problem.path=7", 7),
    ],
)
def test_a_plain_value_needs_no_quotes(word: str, value: object) -> None:
    found = compose(["study=quick", "problem=table", word])
    assert found.cells[0].settings["problem"]["path"] == value
