from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from sweep.errors import UserError
from sweep.inference.frequencies import OUTCOMES, frequencies
from sweep.inference.intervals import interval
from sweep.inference.outcomes import outcome, witnesses
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]


def test_failed_stays_in_the_denominator_and_unresolved_opens_two_ends(
    make_rows: RowMaker,
) -> None:
    outcomes = ["bad_minimum"] * 3 + ["unresolved"] * 2 + ["failed"] * 4 + ["good_minimum"]
    errors = [0.5, 0.5, 0.5, 0.0, 0.0, np.nan, np.inf, np.nan, np.nan, 0.25]
    rows = make_rows(
        *({"outcome": o, "final_error": e} for o, e in zip(outcomes, errors, strict=True))
    )
    found = frequencies(rows).set_index("level").loc["cell"]
    assert found["n"] == found["n_effective"] == 10
    assert found["failed"] == 4
    assert found["bad_minimum_frequency"] == 0.3
    assert found["bad_minimum_frequency_upper"] == 0.5
    assert found["interval_low"] == pytest.approx(proportion_confint(3, 10, method="wilson")[0])
    assert found["interval_high"] == pytest.approx(proportion_confint(5, 10, method="wilson")[1])
    assert found["n_finite"] == 6
    assert found["mean_final_error"] == pytest.approx(1.75 / 6)
    assert found["zero_error_share"] == 0.2


def test_nobody_finite_has_no_mean(make_rows: RowMaker) -> None:
    found = frequencies(make_rows({"outcome": "failed"}, {"outcome": "failed"}))
    assert found["mean_final_error"].isna().all()
    assert (found["n"] == 2).all()


def test_counts_agree_with_a_plain_count_at_every_level(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=20)
    rows["outcome"] = outcome(rows, witnesses(rows))
    found = frequencies(rows)
    assert list(found["level"].unique()) == ["draw", "cell", "arm"]
    for _, one in found.iterrows():
        members = rows[rows["arm"] == one["arm"]]
        if one["level"] != "arm":
            members = members[members["cell"] == one["cell"]]
        if one["level"] == "draw":
            members = members[members["draw"] == one["draw"]]
            assert np.array_equal(members["lam"].unique(), [one["lam"]], equal_nan=True)
        else:
            assert pd.isna(one["draw"])
        assert one["n"] == len(members)
        assert {name: one[name] for name in OUTCOMES} == {
            name: int((members["outcome"] == name).sum()) for name in OUTCOMES
        }
        assert one["n_seeds"] == one["n_effective"] == 20
        assert one["mean_final_error"] == pytest.approx(members["final_error"].mean())
    counted = found[list(OUTCOMES)].sum(axis=1)
    assert (counted == found["n"]).all()


def test_pooled_draws_count_seeds_not_rows(make_rows: RowMaker) -> None:
    rows = make_rows(
        *(
            {"arm": "exp", "draw": d, "seed": s, "outcome": "bad_minimum" if s < 3 else "saddle"}
            for d in range(4)
            for s in range(30)
        )
    )
    pooled = frequencies(rows).set_index("level").loc["cell"]
    ends = (pooled["interval_low"], pooled["interval_high"])
    assert pooled["n"] == 120
    assert pooled["bad_minimum_frequency"] == 0.1
    assert ends == pytest.approx(proportion_confint(3, 30, method="wilson"), abs=1e-12)


def test_unequal_seeds_are_counted_by_kish(make_rows: RowMaker) -> None:
    rows = make_rows(
        *({"arm": "exp", "draw": d, "seed": 0, "outcome": "saddle"} for d in range(3)),
        {"arm": "exp", "draw": 0, "seed": 1, "outcome": "saddle"},
    )
    pooled = frequencies(rows).set_index("level").loc["cell"]
    assert pooled["n_seeds"] == 2
    assert pooled["n_effective"] == pytest.approx(4**2 / (3**2 + 1))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_pooled_intervals_cover_whatever_the_correlation(correlation: float) -> None:
    """The rule of `frequencies` (interval of the seeds) covers; that of the rows does not."""
    n_seeds, draws, p, repetitions = 200, 4, 0.1, 4000
    rng = stream("test", "pooled", str(correlation))
    shared = rng.random((repetitions, n_seeds, 1)) < p
    own = rng.random((repetitions, n_seeds, draws)) < p
    follows = rng.random((repetitions, n_seeds, 1)) < correlation
    bad = np.where(follows, shared, own).sum(axis=(1, 2))
    frequency = bad / (n_seeds * draws)

    def covered(size: int) -> float:
        low, high = interval(frequency * size, size)
        return float(((low <= p) & (p <= high)).mean())

    # Three standard errors of the simulation at 95 %: 0.010.
    assert covered(n_seeds) >= 0.94
    if correlation == 1.0:
        assert covered(n_seeds * draws) < 0.75


def test_a_row_without_outcome_is_refused(make_rows: RowMaker) -> None:
    with pytest.raises(UserError, match="no outcome"):
        frequencies(make_rows({"outcome": None}))
    with pytest.raises(UserError, match="no rows"):
        frequencies(make_rows({"outcome": "saddle"}).iloc[:0])
