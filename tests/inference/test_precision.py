"""Intervals that decide when a study stops: against a plain loop over seeds, and simulated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sweep.errors import UserError
from sweep.inference.outcomes import decisive, outcome, witnesses
from sweep.inference.precision import Prefix, Target, ends_differ, precision, precision_of
from sweep.inference.sequence import sequence
from sweep.inference.summary import summarise
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]
N_SEEDS = 60


def prefix(arm: str | None = None, n: int = 40, first: int = 0) -> Prefix:
    return Prefix(Target(0.2, 0.9, "plain", arm), first, n)


def shares(rows: pd.DataFrame, cell: str, arm: str, counted: tuple[str, ...]) -> np.ndarray:
    """Share of draws with a counted outcome, seed by seed."""
    own = rows[(rows["cell"] == cell) & (rows["arm"] == arm)]
    return np.array(
        [
            np.mean([name in counted for name in own.loc[own["seed"] == seed, "outcome"]])
            for seed in sorted(own["seed"].unique())
        ]
    )


@pytest.fixture
def judged(random_rows: RowMaker) -> pd.DataFrame:
    """The rows of the first 40 seeds, with their outcomes against their own witnesses."""
    rows = random_rows(n_seeds=N_SEEDS)
    rows = rows[rows["seed"] < 40]
    return rows.assign(outcome=outcome(rows, witnesses(rows)))


def test_frequencies_are_those_of_seeds_with_both_ends(
    judged: pd.DataFrame, random_rows: RowMaker
) -> None:
    found = precision_of(random_rows(n_seeds=N_SEEDS), None, prefix())
    assert len(found) == 6
    for row in found.to_dict("records"):
        bad = shares(judged, row["cell"], row["arm"], ("bad_minimum",))
        possibly = shares(judged, row["cell"], row["arm"], ("bad_minimum", "unresolved"))
        assert row["n"] == len(bad) == 40
        assert row["estimate"] == pytest.approx(bad.mean())
        assert row["estimate_upper"] == pytest.approx(possibly.mean())
        assert row["low"] == pytest.approx(sequence(bad.sum(), 40, 0.9)[0])
        assert row["high"] == pytest.approx(sequence(possibly.sum(), 40, 0.9)[1])
        assert row["half_width"] == pytest.approx((row["high"] - row["low"]) / 2)
        assert row["reached"] == (row["half_width"] <= 0.2)
        assert pd.isna(row["baseline"])
    assert (ends_differ(found) == (found["estimate_upper"] - found["estimate"] > 0.4)).all()


def test_a_difference_is_that_of_paired_seeds_at_its_two_extremes(
    judged: pd.DataFrame, random_rows: RowMaker
) -> None:
    found = precision_of(random_rows(n_seeds=N_SEEDS), None, prefix("exp"))
    assert found[["cell", "arm", "baseline"]].to_numpy().tolist() == [
        ["c0", "exp", "plain"],
        ["c1", "exp", "plain"],
    ]
    for row in found.to_dict("records"):
        bad, possibly = ("bad_minimum",), ("bad_minimum", "unresolved")
        least, most = (
            shares(judged, row["cell"], "exp", one) - shares(judged, row["cell"], "plain", other)
            for one, other in ((bad, possibly), (possibly, bad))
        )
        assert row["estimate"] == pytest.approx(least.mean())
        assert row["estimate_upper"] == pytest.approx(most.mean())
        ends = [
            [sequence(np.maximum(sign * d, 0).sum(), 40, 0.95) for sign in (1, -1)]
            for d in (least, most)
        ]
        assert row["low"] == pytest.approx(ends[0][0][0] - ends[0][1][1])
        assert row["high"] == pytest.approx(ends[1][0][1] - ends[1][1][0])


@pytest.mark.parametrize("arm", [None, "extra_neuron"])
def test_the_decisive_rows_say_the_same_taken_block_by_block(
    random_rows: RowMaker, arm: str | None
) -> None:
    rows = random_rows(n_seeds=N_SEEDS)
    kept = rows.iloc[:0]
    for first in range(0, 40, 10):
        block = rows[(rows["seed"] >= first) & (rows["seed"] < first + 10)]
        kept = decisive(pd.concat([kept, block]))
        so_far = prefix(arm, n=first + 10)
        pd.testing.assert_frame_equal(
            precision(kept, None, so_far), precision_of(rows, None, so_far)
        )
    assert len(kept) < len(rows) / 2


def test_rows_outside_the_prefix_have_no_say(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=N_SEEDS)
    alone = rows[rows["seed"] < 40]
    found = summarise(rows.sample(frac=1, random_state=1), prefix=prefix()).precision
    pd.testing.assert_frame_equal(found, summarise(alone, prefix=prefix()).precision)
    assert summarise(rows).precision.empty
    assert (summarise(rows).precision.dtypes == found.dtypes).all()


def test_a_prefix_with_missing_members_is_refused(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=N_SEEDS)
    lost = rows[~((rows["seed"] == 7) & (rows["draw"] == 2))]
    for given in (rows[rows["seed"] != 7], lost, rows[rows["seed"] >= 40]):
        with pytest.raises(UserError, match="run the study again"):
            precision_of(given, None, prefix())


@pytest.mark.slow  # 10,000 paths of 4,000 pairs each
@pytest.mark.parametrize(("only_arm", "only_base"), [(0.0, 0.07), (0.02, 0.03), (0.3, 0.3)])
def test_coverage_of_a_difference_at_every_block(only_arm: float, only_base: float) -> None:
    """Both seeds of a pair bad or good is a difference of 0, however often it happens."""
    paths, n = 10_000, np.arange(100, 4001, 100)
    rng = stream("test", "difference", int(1000 * only_arm))
    probabilities = [only_arm, only_base, 1 - only_arm - only_base]
    counts = np.cumsum(rng.multinomial(100, probabilities, (paths, len(n))), axis=1)
    up, down = (sequence(counts[:, :, part], n, 0.975) for part in (0, 1))
    low, high = up[0] - down[1], up[1] - down[0]
    held = ((low <= only_arm - only_base) & (only_arm - only_base <= high)).all(axis=1).mean()
    width = (high - low)[:, -1].mean() / 2
    print(f"{only_arm} against {only_base}: {held:.2%}, ± {width:.2%} at 4,000 pairs")
    assert held >= 0.95
