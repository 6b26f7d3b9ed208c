from __future__ import annotations

import numpy as np
import pytest

from sweep.cli.main import main
from sweep.controls import confusion
from sweep.controls.base import Batch, Seen, Truth, left, wrong
from sweep.controls.confusion import FAMILIES, ROUNDS, run_controls
from sweep.judge.base import Judgement
from sweep.verdicts import Verdict

V = Verdict
# Families that are quick to draw, one for each kind of truth.
QUICK = [f for f in FAMILIES if not f.name.startswith(("tanh, noisy", "better", "filter under"))]


class Liar:
    """A judge with one verdict for everything."""

    verdict = V.LOCAL_MINIMUM

    def judge(self, objective, ending, lam):
        found = Judgement.unresolved(ending.params)
        found.verdict[:] = self.verdict.value
        return found


@pytest.fixture(scope="module")
def round_one():
    return run_controls(1, workers=1)


def test_the_judge_says_nothing_wrong(round_one):
    assert round_one.wrong == 0, [line.examples for line in round_one.lines]
    assert {line.family for line in round_one.lines} >= {family.name for family in QUICK}


def test_there_are_ten_thousand_points(round_one):
    assert round_one.points * ROUNDS > 10_000


def test_most_constructed_points_are_clear(round_one):
    for line in round_one.lines:
        assert line.clear >= 0.9 * line.points, line.family


@pytest.mark.parametrize("verdict", [V.LOCAL_MINIMUM, V.ESCAPING, V.GLOBAL_MINIMUM, V.SADDLE])
def test_a_liar_is_found_out(monkeypatch, verdict):
    monkeypatch.setattr(Liar, "verdict", verdict)
    monkeypatch.setattr(confusion, "StandardJudge", Liar)
    families = [f for f in QUICK if not f.name.startswith("tanh")]
    for line in run_controls(1, 1, families).lines:
        says = {
            "local minimum": {V.LOCAL_MINIMUM},
            "descent exists": {V.ESCAPING},
            "added neuron separates": {V.ESCAPING, V.GLOBAL_MINIMUM},
            "no bad minimum": {V.ESCAPING, V.GLOBAL_MINIMUM, V.SADDLE},
            "affine optimum only": {V.SADDLE},
            "global minimum": {V.GLOBAL_MINIMUM},
            "slide to infinity": {V.ESCAPING, V.SADDLE},
            "global or saddle": {V.GLOBAL_MINIMUM, V.SADDLE},
            "descent, but no escape": set(),
            "every minimum separates": {V.SADDLE},
            "one value for all minima": {V.SADDLE},
        }[line.truth]
        if verdict in says and not (verdict is V.SADDLE and line.family == "logistic slide"):
            assert line.wrong <= line.points * (line.truth == "local minimum" and line.near)
        else:
            assert line.wrong > 0, line


def test_the_command_fails_on_a_wrong_verdict(monkeypatch, capsys):
    monkeypatch.setattr(confusion, "StandardJudge", Liar)
    families = [f for f in FAMILIES if f.name.startswith("(xyz")]
    monkeypatch.setattr(confusion, "FAMILIES", tuple(families))
    monkeypatch.setattr("sweep.controls.run_controls", lambda r, w: run_controls(r, w, families))
    assert main(["controls", "--rounds", "1", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "wrong verdicts." in out and "local_minimum at F" in out
    assert main(["controls", "--rounds", "0"]) == 2


def batch_of(truth: Truth, near: bool, value: float) -> Batch:
    ones = np.ones(1, dtype=bool)
    return Batch(None, truth, np.zeros((1, 1)), ones & near, ones, value=value)


def seen_of(verdict: Verdict, start=1.0, judged=1.0, limit=np.nan) -> Seen:
    return Seen(
        np.array([verdict.value], dtype=object), *(np.array([v]) for v in (start, judged, limit))
    )


def test_only_a_neighbour_may_leave_a_minimum():
    truth = Truth("m", frozenset({V.LOCAL_MINIMUM}), frozenset({V.LOCAL_MINIMUM}), everywhere=False)
    lower = seen_of(V.GLOBAL_MINIMUM, judged=0.5)
    assert left(batch_of(truth, True, 1.0), lower).all()
    assert wrong(batch_of(truth, True, 1.0), lower) == [""]
    assert wrong(batch_of(truth, False, 1.0), lower) != [""]


def test_rules_beyond_the_allowed_verdicts():
    any_ = frozenset(V)
    truth = Truth("t", any_, any_)
    assert "rose" in wrong(batch_of(truth, False, 1.0), seen_of(V.SADDLE, judged=1.1))[0]
    higher = seen_of(V.LOCAL_MINIMUM, start=3.0, judged=2.0)
    assert "minima have" in wrong(batch_of(truth, True, 1.0), higher)[0]
    upwards = seen_of(V.ESCAPING, limit=1.5)
    assert "upwards" in wrong(batch_of(truth, True, 1.0), upwards)[0]
    zero = Truth("z", any_, any_, limit=0.0)
    assert "instead" in wrong(batch_of(zero, True, 1.0), seen_of(V.ESCAPING, limit=0.3))[0]
    falls = Truth("f", any_, any_, falls=True)
    stays = seen_of(V.SADDLE)
    assert "descent" in wrong(batch_of(falls, True, np.nan), stays)[0]
    assert wrong(batch_of(falls, True, np.nan), seen_of(V.UNRESOLVED)) == [""]
