"""What `sweep run` and `sweep plan` say about who trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sweep.cli.compose import compose
from sweep.cli.main import main
from sweep.job_report import JobReport
from sweep.models.augmentations import Monomial
from sweep.models.base import AUGMENTATIONS
from sweep.spec import Job
from sweep.study.calibration import Cost
from sweep.study.resolve import resolve
from sweep.study.trainers import torch_sentence
from sweep.study.work import CommitRows

FOREIGN = "+arms.{}={{augment:{{name:foreign}},regularizer:augment,lambda:0.1}}"
ONE, TWO = FOREIGN.format("one"), FOREIGN.format("two")
WORDS = ("study=quick", "seeds.count=2", "compute=serial", "tracking=none")


@pytest.fixture(autouse=True)
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own augmentation: nothing is known of it but what torch needs."""

    @dataclass(frozen=True)
    class Foreign(Monomial):
        pass

    monkeypatch.setitem(AUGMENTATIONS._entries, "foreign", Foreign)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study=quick"], None),
        (["study=quick", ONE], "Arm one is trained by torch, which is slower."),
        (["study=quick", ONE, TWO], "Arms one, two are trained by torch, which is slower."),
        (
            ["study=quick", ONE, "model.width=2,65"],
            "Arms plain (in 1 of 2 cells), exp (in 1 of 2 cells), extra_neuron (in 1 of 2 cells), "
            "one are trained by torch, which is slower.",
        ),
        (["study=xyz"], "Arm plain is trained by torch, which is slower."),
    ],
)
def test_the_arms_that_torch_trains_are_named(words: list[str], said: str | None) -> None:
    assert torch_sentence(resolve(compose(words))[0]) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [((), []), ((ONE,), ["Arm one is trained by torch, which is slower."])],
)
def test_a_run_says_so_before_its_first_job(
    words: tuple[str, ...],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = []

    def stopped(self: CommitRows, job: Job) -> JobReport:
        before.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr(CommitRows, "__call__", stopped)
    place = ("compute.block_size=2", f"store.root={tmp_path}")
    assert main(["run", *WORDS, *words, *place]) == 130
    (opening,) = before
    assert [line for line in opening.splitlines() if "torch" in line] == said


@pytest.mark.parametrize(
    ("words", "seconds", "said"),
    [
        (["seeds.count=4"], 1e-6, "less than 1 s"),
        (["seeds.count=4"], 60, "about 4 min"),
        (["seeds.half_width=0.01", "seeds.max=4"], 60, "at most about 4 min"),
    ],
)
def test_a_plan_says_what_its_time_is_the_time_of(
    words: list[str],
    seconds: float,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "sweep.study.plan.cell_costs",
        lambda study, note: {cell.id: Cost(0, seconds) for cell in study.cells},
    )
    assert main(["plan", "study=quick", "compute=serial", *words, f"store.root={tmp_path}"]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("time")]
    assert line == (
        f"time    {said} of training and judging on this machine; starting, searching for"
        " witnesses and the report take time of their own"
    )


@pytest.mark.parametrize(("words", "said"), [((), "fused"), ((ONE,), "fused, torch")])
def test_a_plan_names_the_trainers(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "sweep.study.plan.cell_costs",
        lambda study, note: {cell.id: Cost(0, 1) for cell in study.cells},
    )
    assert main(["plan", *WORDS, *words, f"store.root={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("trainer")] == [
        f"trainer {said}; 1 at a time"
    ]
