from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sweep.inference.flows import flows
from sweep.inference.losses import BINS, losses
from sweep.inference.outcomes import outcome, witnesses
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(outcome=outcome(rows, witnesses(rows)))


def test_flows_are_the_pairs_counted_one_by_one(random_rows: RowMaker) -> None:
    rows = judged(random_rows(n_seeds=40)).sample(frac=0.8, random_state=1)  # some lack a partner
    records = rows.to_dict("records")
    of_baseline = {
        (row["cell"], row["seed"]): row["outcome"] for row in records if row["arm"] == "plain"
    }
    expected: Counter[tuple[str, ...]] = Counter()
    for row in records:
        partner = of_baseline.get((row["cell"], row["seed"]))
        if row["arm"] != "plain" and partner is not None:
            expected[row["cell"], row["arm"], partner, row["outcome"]] += 1
    found = flows(rows, "plain")
    counted = found.set_index(["cell", "arm", "baseline_outcome", "outcome"])["n"].to_dict()
    assert counted == dict(expected)
    pd.testing.assert_frame_equal(flows(rows.iloc[::-1], "plain"), found)


def test_a_baseline_with_draws_is_paired_draw_by_draw(make_rows: RowMaker) -> None:
    verdicts = {("exp", 0): "saddle", ("exp", 1): "failed", ("two", 1): "unresolved"}
    rows = make_rows(
        *(
            {"arm": a, "draw": d, "lam": 0.5**d, "seed": 7, "verdict": v}
            for (a, d), v in verdicts.items()
        ),
        {"arm": "plain", "seed": 7, "verdict": "global_minimum", "judged_error": 0.0},
    )
    found = flows(judged(rows), "exp")
    assert found[["arm", "baseline_outcome", "outcome", "n"]].to_numpy().tolist() == [
        ["plain", "saddle", "global_minimum", 1],
        ["plain", "failed", "global_minimum", 1],
        ["two", "failed", "unresolved", 1],
    ]


def test_without_a_baseline_or_another_arm_nothing_flows(make_rows: RowMaker) -> None:
    rows = judged(make_rows({}, {}))
    assert flows(rows, "plain").empty
    assert flows(rows, "exp").empty
    assert list(flows(rows, "exp")) == ["study", "cell", "arm", "baseline_outcome", "outcome", "n"]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_bins_are_shared_and_hold_what_numpy_counts(random_rows: RowMaker, scale: str) -> None:
    rows = random_rows(n_seeds=60)
    loss = stream("test", "loss").uniform(1, 9, len(rows))
    if scale == "log":
        loss = 10.0**-loss
        loss[::7] = 0.0
    loss[::11], loss[::13] = np.nan, np.inf
    rows["final_loss"] = loss
    found = losses(rows)
    assert set(found["scale"]) == {scale}
    for (cell, arm), part in found.groupby(["cell", "arm"]):
        own = loss[((rows["cell"] == cell) & (rows["arm"] == arm)).to_numpy()]
        of_cell = loss[(rows["cell"] == cell).to_numpy() & np.isfinite(loss)]
        low, high = of_cell[of_cell > 0].min(), of_cell.max()
        edges = np.linspace(low, high, BINS + 1)
        if scale == "log":
            edges = np.concatenate([[0.0], np.geomspace(low, high, BINS + 1)])
        binned = part[part["low"].notna()]
        expected = np.histogram(own[np.isfinite(own)], edges)[0]
        assert list(binned["n"]) == [n for n in expected if n]
        np.testing.assert_allclose(binned["low"], edges[:-1][expected > 0], rtol=1e-12)
        np.testing.assert_allclose(binned["high"], edges[1:][expected > 0], rtol=1e-12)
        assert part.loc[part["low"].isna(), "n"].sum() == np.sum(~np.isfinite(own))
    assert found["n"].sum() == len(rows)
    pd.testing.assert_frame_equal(losses(rows.iloc[::-1]), found)


def test_equal_losses_are_one_bin_and_none_at_all_are_counted(make_rows: RowMaker) -> None:
    found = losses(
        make_rows(
            {"cell": "c1", "final_loss": 2.5},
            {"cell": "c1", "final_loss": 2.5},
            {"cell": "c2", "final_loss": None},
            {"cell": "c3", "final_loss": 1.0},
            {"cell": "c3", "final_loss": 1e-30},
        )
    )
    ends = [tuple(line) for line in found[["cell", "low", "high", "n"]].itertuples(index=False)]
    assert ends[0] == ("c1", 2.5, 2.5, 2)
    assert ends[1][0] == "c2"
    assert np.isnan(ends[1][1:3]).all()
    assert ends[2] == ("c3", 0.0, 1e-12, 1)  # 30 decades below the largest is 0 up to rounding
    assert ends[3][2:] == (1.0, 1)
