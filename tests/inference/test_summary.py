from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sweep.errors import UserError
from sweep.inference.summary import Summary, summarise
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]
FRAMES = (
    *("cells", "witnesses", "frequencies", "fates", "contrasts", "flows", "losses", "stops"),
    *("responses", "trends", "naive", "minima"),
)


def as_csv(summary: Summary) -> list[str]:
    return [getattr(summary, name).to_csv() for name in FRAMES]


def test_any_order_and_any_string_type_give_the_same_frames(random_rows: RowMaker) -> None:
    rows = random_rows()
    expected = summarise(rows)
    for repetition in range(3):
        order = stream("test", "shuffle", repetition).permutation(len(rows))
        shuffled = rows.iloc[order]
        if repetition == 1:
            words = shuffled.select_dtypes("category").columns
            shuffled = shuffled.astype(dict.fromkeys(words, object))
        if repetition == 2:
            shuffled["arm"] = shuffled["arm"].cat.reorder_categories(
                ["extra_neuron", "plain", "exp"]
            )
        found = summarise(shuffled)
        assert as_csv(found) == as_csv(expected)
        for name in FRAMES:
            assert_frame_equal(getattr(found, name), getattr(expected, name), check_exact=True)


def test_an_outcome_that_rows_bring_plays_no_part(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=5)
    assert as_csv(summarise(rows.assign(outcome="failed"))) == as_csv(summarise(rows))


def test_cells_are_named_by_what_differs(random_rows: RowMaker, make_rows: RowMaker) -> None:
    settings = summarise(random_rows(n_seeds=2)).cells["setting"]
    assert list(settings) == ["two_moons, model.width = 2", "two_moons, model.width = 3"]
    alike = summarise(make_rows({"cell": "c1"}, {"cell": "c2"})).cells
    assert list(alike["setting"]) == ["xor (c1)", "xor (c2)"]


def test_two_studies_are_kept_apart(make_rows: RowMaker) -> None:
    rows = make_rows(
        {"study": "a", "seed": 0, "judged_error_base": 0.0},
        {"study": "b", "seed": 0, "judged_error_base": 0.5},
    )
    found = summarise(rows)
    assert list(found.witnesses["error"]) == [0.0, 0.5]
    assert list(found.frequencies["n"]) == [1] * 6


def test_repr_reads_like_a_table(random_rows: RowMaker) -> None:
    text = repr(summarise(random_rows()))
    assert text.startswith("600 rows; bad minima with 95 % intervals (wilson)")
    assert "extra_neuron" in text
    assert "minus plain, by seed, in percentage points; p adjusted (holm over 4)" in text


def test_the_baseline_is_the_given_arm_or_plain_or_the_first(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=5)
    assert summarise(rows).baseline == "plain"
    given = summarise(rows, baseline="exp")
    assert given.baseline == "exp"
    assert set(given.contrasts["arm"]) == {"extra_neuron", "plain"}
    assert set(given.contrasts["baseline"]) == {"exp"}
    assert summarise(rows[rows["arm"] != "plain"]).baseline == "exp"
    with pytest.raises(UserError, match=r"baseline 'plian' is unknown.*did you mean 'plain'"):
        summarise(rows, baseline="plian")


def test_a_single_arm_has_no_contrasts(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=5)
    alone, both = summarise(rows[rows["arm"] == "plain"]), summarise(rows)
    assert alone.contrasts.empty
    assert list(alone.contrasts.dtypes) == list(both.contrasts.dtypes)
    assert "minus" not in repr(alone)


def test_no_rows_are_refused(random_rows: RowMaker) -> None:
    with pytest.raises(UserError, match="no rows"):
        summarise(random_rows().iloc[:0])


@pytest.mark.slow
def test_a_million_rows_take_less_than_ten_seconds(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=16_667, n_cells=10)
    assert len(rows) >= 1_000_000
    started = time.perf_counter()
    summarise(rows)
    assert time.perf_counter() - started < 10
