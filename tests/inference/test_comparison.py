from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from sweep.inference.cells import cells
from sweep.inference.comparison import Study, differences, shared_axes
from sweep.inference.outcomes import outcome, witnesses
from sweep.inference.paired import newcombe_interval, pairs

RowMaker = Callable[..., pd.DataFrame]


def study_of(rows: pd.DataFrame, label: str, root: int = 0) -> Study:
    judged = rows.assign(outcome=outcome(rows, witnesses(rows)))
    return Study(label, judged, cells(rows), root)


@pytest.fixture
def two(random_rows: RowMaker) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two studies of the same cells under other ids; the second lacks seeds and has others."""
    first = random_rows(n_seeds=80)
    second = random_rows(n_seeds=90).assign(study="t")
    second = second[second["seed"] >= 20]
    second["cell"] = second["cell"].astype(object) + "x"
    verdict = second["verdict"].astype(object).to_numpy()
    second["verdict"] = np.roll(verdict, 7)
    return first, second


def bad(study: Study, name: str) -> pd.DataFrame:
    low = study.rows["outcome"] == "bad_minimum"
    high = low | (study.rows["outcome"] == "unresolved")
    rows = study.rows.assign(low=low, high=high, width=study.rows["model.width"])
    rows = rows[(rows["arm"] == name) & (rows["width"] == 2) & (rows["draw"] == 0)]
    return rows.set_index("seed").sort_index()


@pytest.mark.parametrize("arm", ["plain", "exp"])
def test_shared_seeds_of_one_root_are_pairs(
    two: tuple[pd.DataFrame, pd.DataFrame], arm: str
) -> None:
    first, second = study_of(two[0], "s"), study_of(two[1], "t")
    axes = shared_axes([first.cells, second.cells])
    assert axes == ["problem", "model.width"]
    found = differences(first, second, axes, 0.95)
    assert len(found) == 2 * 6
    row = found[(found["arm"] == arm) & (found["draw"] == 0)].iloc[0]
    assert row["setting"] == "two_moons, model.width = 2"
    one, other = bad(first, arm).align(bad(second, arm), join="inner", axis=0)
    assert row["n_pairs"] == len(one) == 60
    ends = []
    for x, y in ((other["low"], one["high"]), (other["high"], one["low"])):
        table = pairs((x & y).sum(), (x & ~y).sum(), (~x & y).sum(), (~x & ~y).sum())
        ends.append((x.mean() - y.mean(), *newcombe_interval(table)))
    expected = [ends[0][0], ends[1][0], ends[0][1], ends[1][2]]
    got = row[["difference", "difference_upper", "interval_low", "interval_high"]]
    np.testing.assert_allclose(got.astype(float), expected, rtol=1e-12)


def test_other_roots_are_independent_samples(two: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    first, second = study_of(two[0], "s"), study_of(two[1], "t", root=1)
    found = differences(first, second, ["problem", "model.width"], 0.9)
    assert (found["n_pairs"] == 0).all()
    row = found[(found["arm"] == "plain")].iloc[0]
    x, y = bad(second, "plain"), bad(first, "plain")
    assert (row["n_first"], row["n_second"]) == (len(y), len(x)) == (80, 70)
    ends = []
    for one, other in (("low", "high"), ("high", "low")):
        counts = (x[one].sum(), len(x), y[other].sum(), len(y))
        ends.append(confint_proportions_2indep(*counts, method="newcomb", alpha=0.1))
    assert row["difference"] == pytest.approx(x["low"].mean() - y["high"].mean())
    assert row["interval_low"] == pytest.approx(ends[0][0])
    assert row["interval_high"] == pytest.approx(ends[1][1])


def test_swapping_the_studies_changes_the_sign(two: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    first, second = study_of(two[0], "s"), study_of(two[1], "t")
    one = differences(first, second, ["problem", "model.width"], 0.95)
    other = differences(second, first, ["problem", "model.width"], 0.95)
    np.testing.assert_allclose(one["difference"], -other["difference_upper"], atol=1e-12)
    np.testing.assert_allclose(one["interval_low"], -other["interval_high"], atol=1e-12)


def test_another_lambda_is_another_treatment(two: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    first, second = two
    moved = second.assign(lam=second["lam"] * 2)
    found = differences(
        study_of(first, "s"), study_of(moved, "t"), ["problem", "model.width"], 0.95
    )
    assert set(found["arm"]) == {"plain", "extra_neuron"}
    nothing = second[second["arm"] == "exp"].assign(lam=3.0)
    found = differences(
        study_of(first, "s"), study_of(nothing, "t"), ["problem", "model.width"], 0.95
    )
    assert found.empty
