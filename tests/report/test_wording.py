from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from sweep.inference.intervals import interval
from sweep.inference.paired import mcnemar, newcombe_interval, pairs
from sweep.inference.precision import Prefix, Target
from sweep.inference.summary import Summary, summarise
from sweep.report.dependences import dependence_sentence, naive_sentence
from sweep.report.numerals import p_value, percent, points
from sweep.report.stopping import stopping_caveat
from sweep.report.wording import findings, opening

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
        "exp": f"−86.8 points against plain (95 % interval {low} to {high}); on average "
        "over draws 868 of 1,000 seeds bad only with plain, 0 only with exp; "
        "McNemar p < 1e-200, Holm over 1."
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
        "on average over draws 30 of 100 seeds certified bad only with plain, 0 only with exp; "
        "McNemar p ≤ "
    )
    p = float(mcnemar(pairs(0, 20, 30, 50))[0])
    assert f"p ≤ {p:.2g}, Holm over 1 (≤: whatever the unresolved are)." in text


def said(summary: Summary) -> dict[str, str]:
    return {one.arm: one.text for one in findings(summary, 10)[0].statements}


def test_a_resolved_arm_gives_one_number_with_its_interval(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"plain": {"local_minimum": 73, "global_minimum": 927}}))["plain"]
    low, high = (percent(float(end)) for end in interval(73, 1000))
    assert text == f"73 of 1,000 (7.3 %, 95 % interval {low} to {high}) certified bad. " + (
        "Where the others went: 927 in the basin of a global minimum (92.7 %)."
    )


def test_none_bad_gives_the_upper_end(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"plain": {"global_minimum": 1000}}))["plain"]
    upper = percent(float(interval(0, 1000)[1]))
    assert text == (
        f"none of 1,000 certified bad (upper end of the 95 % interval {upper}). "
        "Where they went: 1,000 in the basin of a global minimum (100 %)."
    )


def test_unresolved_members_open_two_ends(make_summary: SummaryMaker) -> None:
    verdicts = {"local_minimum": 10, "unresolved": 20, "failed": 5, "global_minimum": 65}
    text = said(make_summary(c2={"plain": verdicts}))["plain"]
    low, high = percent(float(interval(10, 100)[0])), percent(float(interval(30, 100)[1]))
    assert text == (
        "10 of 100 (10 %) certified bad and 20 unresolved: the frequency lies between 10 % and "
        f"30 % (95 % interval around both ends {low} to {high}); 5 failed. "
        "Where the others went: 65 in the basin of a global minimum (65 %)."
    )


def test_pooled_draws_say_that_seeds_are_counted(make_summary: SummaryMaker) -> None:
    text = said(make_summary(c2={"exp": {"global_minimum": 30}}))["exp"]
    assert text.startswith("none of 120 ")
    assert "; the interval counts 30 seeds, not networks. Where they went: 120 " in text
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


def test_a_high_p_is_never_called_independence(make_summary: SummaryMaker) -> None:
    summary = make_summary(c2={"exp": {"local_minimum": 3, "global_minimum": 27}})
    trend = summary.trends.iloc[0]
    [text] = [note for note in findings(summary, 1)[0].notes if "λ" in note]
    low, high = (percent(float(end)) for end in interval(3, 30))
    room = percent(trend["difference_high"])
    assert trend["difference"] == 0
    assert trend["difference_high"] > 0.05
    assert text == (
        "exp: no dependence on λ between 0.001 and 1 was seen: 10 % at all 4 levels (95 % "
        f"intervals within {low} to {high}), Cochran's Q with Box's correction: p = 1; two levels "
        f"may still differ by up to {room} (upper end of the 95 % interval for the largest "
        "difference)."
    )


def test_a_clear_dependence_gives_the_difference_and_the_odds(make_summary: SummaryMaker) -> None:
    cells = {
        f"c{width}": {"plain": {"local_minimum": bad, "global_minimum": 100 - bad}}
        for width, bad in ((1, 90), (4, 50), (16, 10))
    }
    summary = make_summary(**cells)
    trend = summary.trends.iloc[0]
    text = dependence_sentence(trend, summary.responses)
    assert text.startswith(
        "plain: the frequency of bad minima depends on model.width (xor) between 1 and 16: "
        "10 % to 90 % at 3 levels (95 % intervals within 5.52 % to 94.5 %), "
    )
    assert "the largest difference between two levels is 80 % (95 % interval " in text
    assert "; a tenfold value multiplies the odds by " in text
    assert findings(summary, 10)[0].notes == (text,)


def test_a_linear_axis_gives_the_odds_over_its_range(make_summary: SummaryMaker) -> None:
    cells = {
        f"c{width}": {"plain": {"local_minimum": bad, "global_minimum": 100 - bad}}
        for width, bad in ((2, 60), (4, 20))
    }
    [text] = findings(make_summary(**cells), 10)[0].notes
    # Two levels: the fitted odds are those seen, 60/40 and 20/80. The seeds are nested, so the
    # variance of the log odds ratio is that of two shares less twice their covariance.
    p, q, n = 0.6, 0.2, 100
    variance = (1 / (p * (1 - p)) + 1 / (q * (1 - q)) - 2 * q * (1 - p) / (p * q * 0.4 * 0.8)) / n
    ends = [math.exp(math.log(1 / 6) + sign * 1.959964 * math.sqrt(variance)) for sign in (-1, 1)]
    words = f"the way from the least to the largest multiplies the odds by {ends[0]:.3g} to "
    assert f"; {words}{ends[1]:.3g} (trend p = " in text


def test_without_a_common_seed_nothing_is_said_of_lambda(make_summary: SummaryMaker) -> None:
    summary = make_summary(c2={"exp": {"local_minimum": 3}})
    trend = summary.trends.iloc[0].copy()
    trend["n_seeds"], trend["note"] = 0, "no seed is at every level"
    text = dependence_sentence(trend, summary.responses)
    assert text == "exp: nothing can be said about λ: no seed is at every level."


def test_what_too_few_seeds_say_of_lambda_is_how_far_levels_may_differ(
    make_summary: SummaryMaker,
) -> None:
    cells = {
        f"c{width}": {"plain": {"local_minimum": bad, "global_minimum": 100 - bad}}
        for width, bad in ((2, 60), (4, 57))
    }
    summary = make_summary(**cells)
    text = dependence_sentence(summary.trends.iloc[0], summary.responses)
    room = percent(summary.trends.iloc[0]["difference_high"])
    assert text.startswith("plain: no dependence on model.width (xor) between 2 and 4 was seen: ")
    assert "), too few seeds differ between them for a test; two levels may still differ" in text
    assert f"by up to {room} (" in text


def test_the_naive_count_is_taken_apart(make_summary: SummaryMaker) -> None:
    verdicts = {"local_minimum": 1, "unresolved": 2, "saddle": 3, "failed": 4, "global_minimum": 5}
    row = make_summary(c2={"plain": verdicts}).naive.iloc[0].copy()
    assert naive_sentence(row) == (
        "plain: Of 6 networks whose training ended with an error above 0: 1 certified bad "
        "minimum, 3 at a saddle, 2 unresolved."
    )
    row["naive_bad"], row["zero_by_neuron"] = 0, 4
    assert naive_sentence(row) == (
        "plain: Of 5 that ended with error 0, 4 owe it to the augmentation: their base network "
        "errs."
    )
    row["zero_by_neuron"] = 0
    assert naive_sentence(row) == ""


def test_where_descent_went_stands_beside_none_and_beside_the_difference(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    minimum = {"verdict": "local_minimum", "judged_error": 0.5, "judged_error_base": 0.5}
    slides = [{"arm": "exp", "verdict": "escaping", "limit_error": end} for end in (0.0, 0.5, 0.5)]
    best = {"verdict": "global_minimum", "judged_error": 0.0, "judged_error_base": 0.0}
    rows = make_rows(*[minimum] * 2, best, *slides).assign(seed=[0, 1, 2] * 2)
    found = summarise(rows)
    (finding,) = findings(found, 1, ["exp", "plain"])
    assert [arm for arm, _ in finding.by_arm] == ["plain", "exp"]  # the baseline is first
    (_, (frequency, against)) = finding.by_arm[1]
    assert frequency.text.startswith("none of 3 certified bad ")
    assert "1 escaping to a good limit (33.3 %), 2 escaping to a bad limit (66.7 %)." in (
        frequency.text
    )
    assert against.text.endswith(
        "Certified bad minima and escapes to a bad limit together: 66.7 % with exp, "
        "66.7 % with plain."
    )
    assert any("exp 2 of 3 (66.7 %)" in sentence for sentence in opening(found))


def test_a_study_that_stopped_when_precise_gives_the_interval_that_holds(
    make_rows: Callable[..., pd.DataFrame],
) -> None:
    minimum = {"verdict": "local_minimum", "judged_error": 0.5, "judged_error_base": 0.5}
    best = {"verdict": "global_minimum", "judged_error": 0.0, "judged_error_base": 0.0}
    rows = make_rows(*[minimum] * 20, *[best] * 30)
    prefix = Prefix(Target(0.3, 0.95, "plain"), 0, 40)
    found = summarise(rows, prefix=prefix)
    low, high = (float(end) for end in found.precision[["low", "high"]].iloc[0])
    (one,) = findings(found, 1)[0].statements
    assert f"{percent(low)} to {percent(high)} (95 % confidence sequence, 40 seeds)" in one.text
    assert low < found.frequencies["interval_low"].max()
    assert stopping_caveat(found)
    assert stopping_caveat(summarise(rows)) == ""
