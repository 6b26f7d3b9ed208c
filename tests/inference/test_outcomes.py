from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from sweep.errors import UserError
from sweep.inference.outcomes import outcome, witnesses
from sweep.verdicts import Outcome

RowMaker = Callable[..., pd.DataFrame]


def point(verdict: str, error: float | None, objective: float, **more: object) -> dict[str, object]:
    measured = {"judged_error": error, "judged_error_base": error, "judged_objective": objective}
    return {"verdict": verdict, **measured, **more}


def judged(rows: pd.DataFrame) -> list[str]:
    return list(outcome(rows, witnesses(rows)).astype(str))


def test_local_minimum_is_bad_only_when_its_error_exceeds_the_witness(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("local_minimum", 0.1, 5.0),
        point("local_minimum", 0.05, 9.0),  # higher objective, but nobody has a lower error
        point("unresolved", 0.05, 1.0),  # an unresolved point is a witness all the same
    )
    assert judged(rows) == ["bad_minimum", "good_minimum", "unresolved"]
    assert list(witnesses(rows)["r_star_known"]) == [False]


def test_errors_that_differ_by_rounding_are_equal(make_rows: RowMaker) -> None:
    third = 1 / 3
    rows = make_rows(
        point("local_minimum", third + 2**-52, 1.0), point("local_minimum", third, 1.0)
    )
    assert judged(rows) == ["good_minimum", "good_minimum"]


@pytest.mark.parametrize("verdict", ["global_minimum", "saddle", "unresolved", "failed"], ids=str)
def test_other_verdicts_pass_through(make_rows: RowMaker, verdict: str) -> None:
    rows = make_rows(point(verdict, 0.5, 5.0), point("local_minimum", 0.0, 1.0))
    assert judged(rows)[0] == verdict


def test_escapes_are_judged_by_their_limit(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("escaping", 0.4, 9.0, limit_error=0.1, limit_objective=8.0),
        point("escaping", 0.1, 9.0, limit_error=0.2, limit_objective=0.0),
        point("escaping", 0.1, 9.0),  # where it leads is not known: nothing good is shown
    )
    assert judged(rows) == ["escaping_good", "escaping_bad", "escaping_bad"]


def test_the_limit_of_an_escape_is_a_witness(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("escaping", 0.4, 9.0, limit_error=0.0, limit_error_base=0.0, limit_objective=0.0),
        point("local_minimum", 0.1, 1.0),
    )
    assert judged(rows) == ["escaping_good", "bad_minimum"]
    assert list(witnesses(rows)["r_star_known"]) == [True]


def test_without_errors_the_objective_decides(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("local_minimum", None, 2.0),
        point("local_minimum", None, 1.0 + 5e-7),
        point("local_minimum", None, 1.0),
        point("escaping", None, 3.0, limit_objective=1.0),
        point("escaping", None, 3.0, limit_objective=1.5),
    )
    assert judged(rows) == [
        "bad_minimum",
        "good_minimum",
        "good_minimum",
        "escaping_good",
        "escaping_bad",
    ]
    found = witnesses(rows)
    assert found["error"].isna().all()
    assert not found["r_star_known"].any()


def test_objectives_compare_only_within_a_draw(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("local_minimum", None, 2.0, arm="exp", draw=0),
        point("local_minimum", None, 1.0, arm="exp", draw=1),
        point("local_minimum", None, 0.5, arm="plain"),
    )
    assert judged(rows) == ["good_minimum"] * 3


def test_base_errors_serve_every_arm_and_augmented_errors_only_their_own(
    make_rows: RowMaker,
) -> None:
    rows = make_rows(
        {**point("local_minimum", 0.1, 1.0), "arm": "plain"},
        # The neuron alone does the work: its f̃ errs nowhere, its base network errs like plain.
        {**point("saddle", 0.0, 1.0), "arm": "exp", "judged_error_base": 0.1},
        {**point("local_minimum", 0.1, 1.0), "arm": "exp"},
    )
    assert judged(rows) == ["good_minimum", "saddle", "bad_minimum"]
    found = witnesses(rows).set_index("arm")
    assert found.loc["plain", "error"] == 0.1
    assert found.loc["exp", "error"] == 0.0
    assert list(found["base_error"]) == [0.1, 0.1]
    assert not found["r_star_known"].any()


def test_cells_do_not_serve_each_other(make_rows: RowMaker) -> None:
    rows = make_rows(point("local_minimum", 0.1, 1.0), point("saddle", 0.0, 1.0, cell="c2"))
    assert judged(rows) == ["good_minimum", "saddle"]


def test_failed_members_serve_nobody(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("failed", 0.0, -1.0, final_error=0.0, final_error_base=0.0),
        point("local_minimum", 0.1, 1.0),
    )
    assert judged(rows) == ["failed", "good_minimum"]
    assert witnesses(rows)["objective"].item() == 1.0


def test_references_are_witnesses_but_get_no_row(make_rows: RowMaker) -> None:
    rows = make_rows(point("local_minimum", 0.1, 1.0))
    references = make_rows(point("unresolved", 0.0, 0.25, arm="search", seed=7))
    found = witnesses(rows, references)
    assert list(outcome(rows, found)) == ["bad_minimum"]
    assert len(found) == 1
    key = found.loc[0, ["error", "error_arm", "error_draw", "error_seed", "error_source"]]
    assert list(key) == [0.0, "search", 0, 7, "references"]
    # An objective of another arm is another objective.
    assert list(found.loc[0, ["objective", "objective_seed", "objective_source"]]) == [
        1.0,
        0,
        "rows",
    ]


def test_ties_go_to_the_smallest_key_in_any_order(make_rows: RowMaker) -> None:
    rows = make_rows(
        point("saddle", 0.0, 1.0, arm="plain", seed=3),
        point("saddle", 0.0, 1.0, arm="exp", draw=1, seed=2),
        point("saddle", 0.0, 1.0, arm="exp", draw=0, seed=9),
        point("saddle", 0.0, 1.0, arm="plain", seed=10),
    )
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        found = witnesses(rows.iloc[order])
        assert set(zip(found["error_arm"], found["error_seed"], strict=True)) == {("exp", 9)}
        assert found.set_index(["arm", "draw"]).loc[("plain", 0), "objective_seed"] == 3


def test_outcome_keeps_the_index_and_all_categories(make_rows: RowMaker) -> None:
    rows = make_rows(point("saddle", 0.0, 1.0), point("local_minimum", 0.1, 1.0))
    rows.index = pd.Index([42, 7])
    found = outcome(rows, witnesses(rows))
    assert list(found.index) == [42, 7]
    assert list(found.cat.categories) == [str(name) for name in Outcome]


def test_bad_input_is_refused_in_one_sentence(make_rows: RowMaker) -> None:
    rows = make_rows(point("saddle", 0.0, 1.0), point("local_minimum", 0.1, 1.0))
    best = witnesses(rows)
    with pytest.raises(UserError, match="appears more than once"):
        witnesses(pd.concat([rows, rows]))
    with pytest.raises(UserError, match="lack the column judged_error"):
        outcome(rows.drop(columns="judged_error"), best)
    with pytest.raises(UserError, match="verdict 'bad' is unknown"):
        outcome(rows.assign(verdict="bad"), best)
    with pytest.raises(UserError, match="no witness for study s, cell c9"):
        outcome(rows.assign(cell="c9"), best)
