from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sweep.inference.frequencies import OUTCOMES
from sweep.inference.naive import naive
from sweep.inference.outcomes import outcome, witnesses

RowMaker = Callable[..., pd.DataFrame]


def member(name: str, error: float, base: float) -> dict[str, object]:
    return {"arm": "exp", "outcome": name, "final_error": error, "final_error_base": base}


def test_ends_above_zero_split_by_what_they_were(make_rows: RowMaker) -> None:
    rows = make_rows(
        member("bad_minimum", 0.25, 0.25),
        member("bad_minimum", 0.25, 0.5),
        member("escaping_good", 0.1, 0.0),
        member("unresolved", 1.0, 1.0),
        member("global_minimum", 0.0, 0.0),
        member("global_minimum", 0.0, 0.25),  # the neuron's work
        member("bad_minimum", 0.0, 0.25),  # so is this; the naive count misses the bad minimum
        member("failed", np.nan, np.nan),
        member("failed", np.inf, 0.5),
    )
    found = naive(rows).iloc[0]
    counted = {name: int(found[f"naive_{name}"]) for name in OUTCOMES if found[f"naive_{name}"]}
    assert counted == {"bad_minimum": 2, "escaping_good": 1, "unresolved": 1}
    assert (found["n"], found["n_finite"], found["naive_bad"]) == (9, 7, 4)
    assert (found["zero_error"], found["zero_by_neuron"], found["bad_missed"]) == (3, 2, 1)


def test_an_objective_without_data_has_no_naive_count(make_rows: RowMaker) -> None:
    found = naive(make_rows({"outcome": "bad_minimum"}, {"outcome": "saddle"})).iloc[0]
    assert (found["n"], found["n_finite"], found["naive_bad"], found["bad_missed"]) == (2, 0, 0, 1)


def test_counts_agree_with_a_plain_count(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=20)
    rows["outcome"] = outcome(rows, witnesses(rows))
    found = naive(rows)
    assert len(found) == 6
    for _, one in found.iterrows():
        own = rows[(rows["cell"] == one["cell"]) & (rows["arm"] == one["arm"])]
        assert one["naive_bad"] == (own["final_error"] > 0).sum()
        split = own.loc[own["final_error"] > 0, "outcome"].value_counts()
        assert {name: one[f"naive_{name}"] for name in OUTCOMES} == split[list(OUTCOMES)].to_dict()
