from __future__ import annotations

from collections.abc import Callable

import pytest

from sweep.inference.intervals import interval
from sweep.inference.summary import Summary
from sweep.report.wording import findings, opening, percent

SummaryMaker = Callable[..., Summary]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0731, "7.31 %"),
        (0.00019, "0.019 %"),
        (1.5e-7, "0.000015 %"),
        (0.99999, "99.999 %"),
        (float("nan"), "–"),
    ],
)
def test_percent(share: float, words: str) -> None:
    assert percent(share) == words


def said(summary: Summary) -> dict[str, str]:
    return {one.arm: one.text for one in findings(summary, 10)[0].statements}


def test_a_resolved_arm_gives_one_number_with_its_interval(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"plain": {"local_minimum": 73, "global_minimum": 927}}))["plain"]
    low, high = (percent(float(end)) for end in interval(73, 1000))
    assert text == f"73 of 1,000 (7.3 %, 95 % interval {low} to {high}) certified bad."


def test_none_bad_gives_the_upper_end(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"plain": {"global_minimum": 1000}}))["plain"]
    upper = percent(float(interval(0, 1000)[1]))
    assert text == f"none of 1,000 certified bad (upper end of the 95 % interval {upper})."


def test_unresolved_members_open_two_ends(make_summary: SummaryMaker) -> None:
    verdicts = {"local_minimum": 10, "unresolved": 20, "failed": 5, "global_minimum": 65}
    text = said(make_summary(c2={"plain": verdicts}))["plain"]
    low, high = percent(float(interval(10, 100)[0])), percent(float(interval(30, 100)[1]))
    assert text == (
        "10 of 100 (10 %) certified bad and 20 unresolved: the frequency lies between 10 % and "
        f"30 % (95 % interval around both ends {low} to {high}); 5 failed."
    )


def test_pooled_draws_say_that_seeds_are_counted(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"exp": {"global_minimum": 30}}))["exp"]
    assert text.startswith("none of 120 ")
    assert text.endswith("; the interval counts 30 seeds, not networks.")
    assert percent(float(interval(0, 30)[1])) in text


def test_missing_certificates_are_not_evidence_of_absence(make_summary: SummaryMaker) -> None:
    without = opening(make_summary(c2={"plain": {"unresolved": 9, "global_minimum": 1}}))
    assert any("for want of proof" in sentence for sentence in without)
    assert any("9 of them (90 %) are unresolved" in sentence for sentence in without)
    with_one = opening(make_summary(c2={"plain": {"unresolved": 9, "local_minimum": 1}}))
    assert not any("for want of proof" in sentence for sentence in with_one)


def test_the_finding_says_whether_the_least_error_is_known(make_summary: SummaryMaker) -> None:
    known = findings(make_summary(c2={"plain": {"global_minimum": 1}}), 10)[0]
    assert known.witness.startswith("R* = 0")
    unknown = findings(make_summary(c2={"plain": {"local_minimum": 1}}), 10)[0]
    assert unknown.witness.startswith("R* is not known")
    assert "12.5 %" in unknown.witness


def test_several_cells_are_led_by_all_of_them(summary: Summary) -> None:
    found = findings(summary, 1)
    assert [one.heading for one in found] == ["All cells", "xor, model.width = 2"]
    assert {one.cell for one in found[0].statements} == {None}
