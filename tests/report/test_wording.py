from __future__ import annotations

from collections.abc import Callable

import pytest

from sweep.inference.intervals import interval
from sweep.inference.paired import mcnemar, newcombe_interval, pairs
from sweep.inference.summary import Summary
from sweep.report.wording import findings, opening, p_value, percent, points

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


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0"), (-0.867, "−86.7"), (0.0731, "+7.31"), (-1.0, "−100"), (-0.99999, "−99.999")],
)
def test_points(share: float, words: str) -> None:
    assert points(share) == words


def test_p_values() -> None:
    found = [p_value(1.0), p_value(0.01234), p_value(3e-201), p_value(0.0), p_value(0.5, "≤")]
    assert found == ["p = 1", "p = 0.012", "p < 1e-200", "p < 1e-200", "p ≤ 0.5"]


def contrast(summary: Summary) -> dict[str, str]:
    return {one.arm: one.text for one in findings(summary, 10)[0].contrasts}


def test_a_contrast_says_difference_pairs_and_family(make_summary: SummaryMaker) -> None:
    arms = {
        "plain": {"local_minimum": 868, "global_minimum": 132},
        "exp": {"global_minimum": 1000},
    }
    low, high = (points(float(end)) for end in newcombe_interval(pairs(0, 0, 868, 132)))
    assert contrast(make_summary(c2=arms)) == {
        "exp": f"−86.8 points against plain (95 % interval {low} to {high}); 868 of 1,000 seeds "
        "bad only with plain, 0 only with exp; McNemar p < 1e-200, Holm over 1."
    }


def test_a_contrast_with_unresolved_members_has_two_ends(make_summary: SummaryMaker) -> None:
    arms = {
        "plain": {"local_minimum": 30, "global_minimum": 70},
        "exp": {"global_minimum": 30, "unresolved": 20, "saddle": 50},
    }
    text = contrast(make_summary(c2=arms))["exp"]
    low = points(float(newcombe_interval(pairs(0, 0, 30, 70))[0]))
    high = points(float(newcombe_interval(pairs(0, 20, 30, 50))[1]))
    assert text.startswith(
        f"−30 to −10 points against plain (95 % interval around both ends {low} to {high}); "
        "30 of 100 seeds certified bad only with plain, 0 only with exp; McNemar p ≤ "
    )
    assert f"p ≤ {float(mcnemar(pairs(0, 20, 30, 50))[0]):.2g}, Holm over 1." in text


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
