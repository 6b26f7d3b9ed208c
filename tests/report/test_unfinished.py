from __future__ import annotations

from collections.abc import Callable
from html import unescape

import pandas as pd

from sweep.inference.summary import Summary, summarise
from sweep.report.render import render
from sweep.report.unfinished import unfinished_sentences

RowMaker = Callable[..., pd.DataFrame]
OPEN = {"verdict": "unresolved", "stop": "steps", "final_grad_norm": 0.25}
AT_REST = {"verdict": "unresolved", "stop": "gradient", "final_grad_norm": 1e-9}
SETTLED = {"verdict": "saddle", "stop": "gradient", "final_grad_norm": 1e-9}
BEGINS = "Unresolved, and far from rest when the steps ran out: "


def summary_of(make_rows: RowMaker, *given: dict[str, object]) -> Summary:
    return summarise(make_rows(*given))


def test_more_steps_are_the_thing_to_try_where_rest_was_far(make_rows: RowMaker) -> None:
    for others in ([OPEN] * 2, [SETTLED] * 2, [SETTLED, AT_REST]):
        n = 2 + sum(one is OPEN for one in others)
        summary = summary_of(make_rows, OPEN, OPEN, *others)
        (said,) = unfinished_sentences(summary)
        assert said.startswith(f"{BEGINS}plain {n} of 4 (xor; ")
        assert "; median ‖∇F‖ 0.25); a larger stopping.max_steps is the thing to try" in said
        assert said in unescape(render(summary, {}, "results/x", {}))


def test_it_is_not_where_coming_to_rest_settled_nothing(make_rows: RowMaker) -> None:
    (said,) = unfinished_sentences(summary_of(make_rows, OPEN, OPEN, AT_REST, AT_REST))
    assert "so are 2 of 2 that came to rest by themselves" in said
    assert "unlikely" in said
    assert "the thing to try" not in said


def test_nothing_is_said_of_small_shares_or_ends_near_rest(make_rows: RowMaker) -> None:
    near = {**OPEN, "final_grad_norm": 1e-7}
    certified = {**OPEN, "verdict": "saddle"}
    for rows in ([OPEN, SETTLED, SETTLED], [near] * 3, [certified] * 3, [AT_REST] * 3):
        assert unfinished_sentences(summary_of(make_rows, *rows)) == []


def test_of_many_arms_the_first_are_named(make_rows: RowMaker) -> None:
    rows = [{**OPEN, "arm": f"arm_{k}"} for k in range(5)]
    (said,) = unfinished_sentences(summary_of(make_rows, *rows))
    assert said.count(" of 1 (xor; ") == 3
    assert " and 2 more; " in said
