from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweep.errors import UserError
from sweep.inference.answers import Finding, Status
from sweep.inference.by_cell import together
from sweep.inference.claims import Claim, Vocabulary, parse_claim
from sweep.inference.expectations import judge_claim
from sweep.inference.selection import numbers, words
from sweep.report.claims import interval
from sweep.rows import columns
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]
ARMS = ("plain", "exp")
KNOWN = Vocabulary(
    {
        "model.width": True,
        "outcome": False,
        **{column.name: column.kind in ("int", "float", "bool") for column in columns([])},
    },
    {"arm": ARMS, "cell": ("c1", "c2", "c3", "c4"), "problem": ("xor",), "model.width": (2, 3)},
)
HOLDS, FAILS, UNDECIDED = Status.HOLDS, Status.FAILS, Status.UNDECIDED


def parsed(*expect: dict[str, Any], **head: Any) -> Claim:
    block = {"source": "[A] Theorem 1", "statement": "So it is.", "expect": list(expect), **head}
    return parse_claim(block, KNOWN)


def found(rows: pd.DataFrame, **expectation: Any) -> Finding:
    (finding,) = judge_claim(parsed(expectation), rows)
    return finding


def counted(make_rows: RowMaker, **counts: int) -> pd.DataFrame:
    """So many plain rows of each outcome; a minimum's error is 0.25 if it is bad."""
    verdicts = {"bad_minimum": "local_minimum", "good_minimum": "local_minimum"}
    rows = [
        {
            "outcome": name,
            "verdict": verdicts.get(name, name),
            "judged_error": 0.25 if name == "bad_minimum" else 0.0,
            "cell": "c1",
        }
        for name, count in counts.items()
        for _ in range(count)
    ]
    return make_rows(*rows)


def test_a_share_holds_fails_or_stays_open_with_its_whole_interval(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=20, global_minimum=80)
    share = {"arm": "plain", "measure": "bad_minimum"}
    one = found(rows, **share, at_least=0.1)
    # Clopper and Pearson's interval for 20 of 100, from their equations' tables: 12.67 to 29.18 %.
    assert (round(one.low, 4), round(one.high, 4)) == (0.1267, 0.2918)
    assert one.status is HOLDS
    assert one.observed == "20 of 100 (20.0 %)"
    assert found(rows, **share, at_least=0.2).status is UNDECIDED
    assert found(rows, **share, at_least=0.3).status is FAILS
    assert found(rows, **share, at_most=0.3).status is HOLDS
    assert found(rows, **share, at_most=0.12).status is FAILS
    assert found(rows, **share, at_least=0.1, at_most=0.3).status is HOLDS


def test_unresolved_rows_widen_a_share_upwards_only(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=20, global_minimum=50, unresolved=30)
    one = found(rows, measure="bad_minimum", at_least=0.1)
    closed = found(
        counted(make_rows, bad_minimum=20, global_minimum=80), measure="bad_minimum", at_least=0.1
    )
    half = found(
        counted(make_rows, bad_minimum=50, global_minimum=50), measure="bad_minimum", at_least=0.1
    )
    assert (one.low, one.high) == (closed.low, half.high)
    assert one.observed == "20 to 50 of 100 (20.0 %)"
    assert found(rows, measure="certified", at_least=0.5).high < 0.8
    assert found(rows, measure="unresolved", at_most=0.5).low > 0.2


def test_draws_of_one_seed_are_not_independent_trials(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=20, global_minimum=80)
    twice = pd.concat([rows, rows.assign(draw=1)], ignore_index=True)
    once, both = (found(r, measure="bad_minimum", at_least=0.1) for r in (rows, twice))
    assert (both.low, both.high) == (once.low, once.high)
    assert both.rows == 200


def test_one_row_contradicts_a_statement_on_every_row(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=1, global_minimum=30)
    one = found(rows, measure="bad_minimum", at_most=0)
    assert (one.status, one.contradictions) == (FAILS, 1)
    assert one.examples == ({"cell": "c1", "arm": "plain", "draw": 0, "seed": 0},)
    all_good = found(rows, where={"outcome": "global_minimum"}, measure="judged_error", at_most=0)
    assert all_good.status is HOLDS
    assert found(rows, measure="judged_error", at_most=0).status is FAILS


def test_a_statement_on_every_row_needs_rows_that_speak(make_rows: RowMaker) -> None:
    rows = counted(make_rows, global_minimum=12, unresolved=1)
    assert found(rows, measure="bad_minimum", at_most=0).status is HOLDS
    assert found(rows, measure="global_minimum", at_least=1).status is HOLDS
    assert found(rows, measure="bad_minimum", at_most=0, min_rows=13).status is UNDECIDED
    # A vacuous truth is none.
    nobody = found(rows, where={"verdict": "local_minimum"}, measure="judged_error", at_most=0)
    assert nobody.status is UNDECIDED


def test_cells_can_be_asked_one_by_one(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=50, global_minimum=50)
    rows = pd.concat(
        [rows, rows.assign(cell="c2"), rows.assign(cell="c3", outcome="saddle")], ignore_index=True
    )
    bad = {"measure": "bad_minimum", "at_least": 0.1}
    assert found(rows, **bad, cells=2).status is HOLDS
    assert found(rows, **bad, cells=3).status is FAILS
    assert found(rows, **bad, cells=4).status is UNDECIDED  # of a run with fewer cells
    assert found(rows, **bad, cells="each").status is FAILS
    assert found(rows, **bad).status is HOLDS


def test_asked_cell_by_cell_the_interval_is_that_of_the_cell_that_decides(
    make_rows: RowMaker,
) -> None:
    counts = {"c1": 20, "c2": 90, "c3": 50, "c4": 40}
    parts = {
        cell: counted(make_rows, bad_minimum=bad, global_minimum=100 - bad).assign(cell=cell)
        for cell, bad in counts.items()
    }
    rows = pd.concat(parts.values(), ignore_index=True)

    def ends(expectation: dict[str, Any], **given: Any) -> tuple[Status, float, float]:
        one = found(rows, **expectation, **given)
        return one.status, one.low, one.high

    alone = {}
    for cell, part in parts.items():
        one = found(part, measure="bad_minimum", at_least=0.3)
        alone[cell] = (one.status, one.low, one.high)
    assert [alone[cell][0] for cell in counts] == [FAILS, HOLDS, HOLDS, HOLDS]
    least = {"measure": "bad_minimum", "at_least": 0.3}
    assert ends(least, cells=1) == alone["c2"]
    assert ends(least, cells=2) == alone["c3"]
    assert ends(least, cells=3) == alone["c4"]
    assert ends(least, cells="each") == alone["c1"]
    # From above the cell with the fewest bad minima is the best.
    most = {"measure": "bad_minimum", "at_most": 0.3}
    assert ends(most, cells=1)[1:] == alone["c1"][1:]
    assert ends(most, cells=2)[1:] == alone["c4"][1:]
    # A bound that no interval can keep: every row of the cell speaks, or one contradicts.
    assert ends({"measure": "bad_minimum", "at_least": 1}, cells=3)[1:] == alone["c4"][1:]
    several = parsed({**least, "cells": 3})
    (missing,) = judge_claim(several, rows[rows["cell"].isin(["c2", "c3"])])
    assert missing.status is UNDECIDED
    assert math.isnan(missing.low)
    assert math.isnan(missing.high)
    assert interval(missing) == ""
    (one,) = judge_claim(several, rows)
    # Clopper and Pearson's interval for 40 of 100.
    assert interval(one) == "30.3 to 50.3 % in the deciding cell"


@pytest.mark.parametrize("cells", [1, 2, 3, 4, "each"])
def test_a_claim_on_cells_holds_when_enough_hold_and_fails_when_enough_cannot(
    cells: int | str,
) -> None:
    (asked,) = parsed({"measure": "saddle", "at_least": 0.3, "cells": cells}).expect
    needed = 3 if cells == "each" else int(cells)
    for statuses in itertools.product(Status, repeat=3):
        ends = stream("test", "cells", *map(str, statuses)).random((3, 2))
        parts = [Finding(asked, s, "", 10, *end) for s, end in zip(statuses, ends, strict=True)]
        said = together(asked, parts)
        assert (said.status is HOLDS) == (statuses.count(HOLDS) >= needed)
        cannot = 3 - statuses.count(FAILS) < needed <= 3
        assert (said.status is FAILS) == cannot


def test_two_arms_are_compared(make_rows: RowMaker) -> None:
    plain = counted(make_rows, bad_minimum=50, global_minimum=50)
    exp = counted(make_rows, bad_minimum=2, global_minimum=98).assign(arm="exp")
    rows = pd.concat([plain, exp], ignore_index=True)
    one = found(rows, arm="plain", measure="bad_minimum", versus={"arm": "exp"}, at_least=0.2)
    assert one.status is HOLDS
    assert one.low < 0.48 < one.high
    assert (
        found(rows, arm="exp", measure="bad_minimum", versus={"arm": "plain"}, at_least=0).status
        is FAILS
    )


def test_a_spread_is_taken_within_groups(make_rows: RowMaker) -> None:
    rows = make_rows(
        *(
            {"judged_objective": level + 1e-9 * k, "evidence": f'{{"cell": "{name}"}}'}
            for name, level in (("left", 0.5), ("right", 0.7))
            for k in range(6)
        )
    ).assign(outcome="good_minimum")
    spread = {"measure": "judged_objective", "statistic": "spread", "at_most": 1e-6}
    assert found(rows, **spread, within=["arm", "evidence.cell"]).status is HOLDS
    mixed = found(rows, **spread)
    assert mixed.status is FAILS
    assert mixed.high == pytest.approx(0.2, abs=1e-6)


def test_published_frequencies_are_tested_together(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=126, global_minimum=874)
    near, far = {"count": 131, "total": 1000}, {"count": 200, "total": 1000}
    both = [{"measure": "bad_minimum", "published": known} for known in (near, far)]
    first, second = judge_claim(parsed(*both), rows)
    assert (first.status, second.status) == (HOLDS, FAILS)
    # Holm's adjustment: of two equal p both are doubled.
    close = {"count": 152, "total": 1000}
    (alone,) = judge_claim(parsed({"measure": "bad_minimum", "published": close}), rows)
    pair = judge_claim(parsed(*[{"measure": "bad_minimum", "published": close}] * 2), rows)
    p = float(alone.observed.split("p = ")[1])
    assert float(pair[0].observed.split("p = ")[1]) == pytest.approx(2 * p, abs=0.015)
    unresolved = counted(make_rows, bad_minimum=80, global_minimum=820, unresolved=100)
    (one,) = judge_claim(parsed({"measure": "bad_minimum", "published": near}), unresolved)
    assert one.status is UNDECIDED


def test_evidence_is_read_by_dotted_names(make_rows: RowMaker) -> None:
    rows = make_rows(
        {"evidence": '{"eq9": {"worst": 1e-12}, "lemma_1": [0.1, -0.3]}'}, {"evidence": None}
    )
    assert numbers(rows, "evidence.eq9.worst")[0] == 1e-12
    assert math.isnan(numbers(rows, "evidence.eq9.worst")[1])
    assert numbers(rows, "evidence.lemma_1")[0] == 0.3
    assert list(words(rows, "evidence.eq9.worst")) == ["1e-12", "null"]
    with pytest.raises(UserError, match="certificate holds no numbers"):
        numbers(rows.assign(certificate="strict"), "certificate")


@pytest.mark.parametrize(
    ("expectation", "sentence"),
    [
        ({"measure": "bad_minimun", "at_most": 0}, "did you mean 'bad_minimum'"),
        ({"measure": "bad_minimum"}, "give at_least, at_most or both"),
        ({"measure": "bad_minimum", "at_most": 3}, "at_most is 3.0: a share from 0 to 1"),
        ({"measure": "saddle", "at_most": 0, "arm": "plan"}, "did you mean 'plain'"),
        ({"measure": "saddle", "at_most": 0, "versus": {"arm": "ex"}}, "did you mean 'exp'"),
        ({"measure": "saddle", "at_most": 0, "were": {}}, "did you mean 'where'"),
        ({"measure": "saddle", "at_most": 0, "where": {"verdict": "minimum"}}, "is unknown"),
        ({"measure": "saddle", "at_most": 0, "where": {"model.with": 2}}, "did you mean 'model"),
        ({"measure": "judged_error", "published": {"count": 1, "total": 9}}, "need a share"),
        ({"measure": "saddle", "published": {"count": 10, "total": 9}}, "from 0 to total"),
        ({"measure": "saddle", "at_most": 0, "cells": "all"}, "each or a whole number"),
        ({"at_most": 0}, "measure is missing"),
        ({"measure": {"judged_error": {"above": 1}}, "at_most": 0}, "at_least, at_most"),
    ],
)
def test_a_wrong_expectation_is_refused_in_one_sentence(
    expectation: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as refusal:
        parsed(expectation)
    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith("claim.expect[0]")


def test_a_wrong_head_is_refused() -> None:
    with pytest.raises(UserError, match="claim: seeds is 0"):
        parsed({"measure": "saddle", "at_most": 0}, seeds=0)
    with pytest.raises(UserError, match=r"claim\.expect is None: a list"):
        parse_claim({"source": "[A]", "statement": "So."}, KNOWN)


@pytest.mark.parametrize(
    "expectation",
    [
        {"measure": "escaping", "at_most": 0},
        {"measure": "bad_minimum", "at_most": 0.2},
        {"measure": {"verdict": ["local_minimum", "saddle"]}, "at_most": 0},
        {"measure": "bad_minimum", "published": {"count": 3, "total": 1000}},
        {"measure": "judged_error", "at_most": 1},
    ],
)
def test_members_that_failed_confirm_nothing(
    make_rows: RowMaker, expectation: dict[str, Any]
) -> None:
    assert found(counted(make_rows, failed=200), **expectation).status is UNDECIDED


def test_a_failed_member_counts_where_failing_is_asked_for(make_rows: RowMaker) -> None:
    rows = counted(make_rows, failed=10, global_minimum=190)
    assert found(rows, measure="failed", at_most=0.2).status is HOLDS
    assert found(rows, measure="failed", at_most=0).status is FAILS


def test_an_infinite_number_contradicts_a_bound(make_rows: RowMaker) -> None:
    rows = counted(make_rows, global_minimum=40).assign(judged_objective=1.0)
    assert found(rows, measure="judged_objective", at_most=1e9).status is HOLDS
    rows.loc[3, "judged_objective"] = math.inf
    assert found(rows, measure="judged_objective", at_most=1e9).contradictions == 1


def test_a_statement_on_every_row_needs_nine_in_ten_to_speak(make_rows: RowMaker) -> None:
    most = counted(make_rows, global_minimum=90, unresolved=10)
    few = counted(make_rows, global_minimum=89, unresolved=11)
    assert found(most, measure="bad_minimum", at_most=0).status is HOLDS
    assert found(few, measure="bad_minimum", at_most=0).status is UNDECIDED


def test_not_to_reject_a_published_frequency_is_no_agreement_for_few_rows(
    make_rows: RowMaker,
) -> None:
    published = {"measure": "bad_minimum", "published": {"count": 126, "total": 1000}}
    assert found(counted(make_rows, global_minimum=10), **published).status is UNDECIDED
    agreeing = counted(make_rows, bad_minimum=13, global_minimum=87)
    assert found(agreeing, **published).status is HOLDS
    # Ten draws of ten seeds that fare alike are ten trials, not a hundred.
    alike = pd.concat([counted(make_rows, bad_minimum=3, global_minimum=7)] * 10)
    alike["draw"] = np.repeat(np.arange(10), 10)
    one = found(alike.reset_index(drop=True), **published)
    assert one.status is UNDECIDED
    alone = found(counted(make_rows, bad_minimum=3, global_minimum=7), **published)
    assert one.observed.rpartition("p = ")[2] == alone.observed.rpartition("p = ")[2]


def test_nothing_holds_while_jobs_are_missing(make_rows: RowMaker) -> None:
    rows = counted(make_rows, bad_minimum=50, global_minimum=50)
    claim = parsed(
        {"measure": "escaping", "at_most": 0}, {"measure": "bad_minimum", "at_most": 0.1}
    )
    assert [one.status for one in judge_claim(claim, rows)] == [HOLDS, FAILS]
    lost = judge_claim(claim, rows, lost=2)
    assert [one.status for one in lost] == [UNDECIDED, FAILS]
    assert lost[0].observed.endswith("2 jobs failed")


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        ({"where": {"model.width": 7}, "at_most": 0}, "7.*accepted"),
        ({"where": {"problem": "xro"}, "at_most": 0}, "xro.*did you mean 'xor'"),
        ({"where": {"cell": "c9"}, "at_most": 0}, "c9"),
        ({"versus": {"model.width": 4}, "at_least": 0}, "4"),
        ({"cells": 5, "at_most": 0}, "5, of 4 cells"),
        ({"at_least": 0.9, "at_most": 0.1}, "nothing lies between"),
        ({"measure": "stop", "at_most": 0}, "stop"),
    ],
)
def test_what_no_row_can_have_is_refused(expectation: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parsed({"measure": "bad_minimum", **expectation})


def test_a_misspelt_block_is_named() -> None:
    with pytest.raises(UserError, match=r"expects.*did you mean 'expect'"):
        parse_claim({"source": "[A]", "statement": "So.", "expects": []}, KNOWN)
