from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from sweep.errors import UserError
from sweep.inference.fates import FATES, fates
from sweep.inference.frequencies import LEVELS, frequencies
from sweep.inference.outcomes import outcome, witnesses

RowMaker = Callable[..., pd.DataFrame]

SHED = {"outcome": "escaping_good", "limit_error": 0.0, "limit_error_base": 0.0}
BY_NEURON = {"outcome": "escaping_good", "limit_error": 0.0, "limit_error_base": 0.25}
WORSE = {"outcome": "escaping_bad", "limit_error": 0.25, "limit_error_base": 0.5}
LOST = {"outcome": "escaping_bad"}  # where it leads is not known
GLOBAL = {"outcome": "global_minimum", "judged_error": 0.0, "judged_error_base": 0.0}
TIED = {"outcome": "global_minimum", "judged_error": 0.125, "judged_error_base": 0.125}


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    return fates(rows, frequencies(rows))


def at(found: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The lines of one network in one group, by fate."""
    chosen = found[np.logical_and.reduce([(found[k] == v).to_numpy() for k, v in wanted.items()])]
    assert tuple(chosen["fate"]) == FATES
    return chosen.set_index("fate")


@pytest.fixture
def exponential(make_rows: RowMaker) -> pd.DataFrame:
    """Two draws of an exponential arm on ten seeds, two fates unlike for f̃ and f; plain beside."""
    first = [SHED, SHED, BY_NEURON, BY_NEURON, BY_NEURON, WORSE, GLOBAL, TIED, LOST]
    second = [SHED, BY_NEURON, BY_NEURON, WORSE, WORSE, WORSE, GLOBAL, GLOBAL, LOST]
    exp = [
        {
            "arm": "exp",
            "draw": draw,
            "seed": seed,
            "lam": 10.0**-draw,
            "augment_activity": 1.0,
            **one,
        }
        for draw, ends in enumerate((first, second))
        for seed, one in enumerate(ends)
    ]
    exp += [{"arm": "exp", "draw": 0, "seed": 9, "outcome": "failed"}]
    exp += [{"arm": "exp", "draw": 1, "seed": 9, "outcome": "unresolved", "augment_activity": 2.0}]
    plain = [{"seed": s, "outcome": "bad_minimum" if s < 4 else "unresolved"} for s in range(10)]
    return make_rows(*exp, *plain)


def test_an_error_that_the_neuron_hides_in_the_limit_is_one_of_the_base_network(
    exponential: pd.DataFrame,
) -> None:
    found = counted(exponential)
    own = at(found, level="cell", arm="exp", network="augmented")["count"]
    base = at(found, level="cell", arm="exp", network="base")["count"]
    assert own["escaping_zero_error"] == 8
    assert own["escaping_with_error"] == 4
    assert base["escaping_zero_error"] == 3
    assert base["escaping_with_error"] == 9
    same = [name for name in FATES if name not in ("escaping_zero_error", "escaping_with_error")]
    assert list(own[same]) == list(base[same])
    assert own["global_minimum_zero_error"] == 3
    assert own["global_minimum_with_error"] == 1
    assert own["escaping_unknown_error"] == 2
    assert own["unresolved"] == own["failed"] == 1


def test_intervals_count_seeds_and_cover_what_is_open(exponential: pd.DataFrame) -> None:
    pooled = at(counted(exponential), level="cell", arm="exp", network="base")
    one = pooled.loc["escaping_with_error"]
    # 20 rows of ten seeds; 9 have it, and the unresolved and the two unknown limits may have it.
    assert (one["n"], one["n_seeds"], one["n_effective"]) == (20, 10, 10)
    assert (one["share"], one["share_upper"]) == (9 / 20, 12 / 20)
    ends = (proportion_confint(k, 10, method="wilson")[e] for k, e in ((4.5, 0), (6.0, 1)))
    assert tuple(one[["interval_low", "interval_high"]]) == pytest.approx(tuple(ends))
    assert pooled.loc["global_minimum_zero_error", "share_upper"] == 4 / 20  # no unknown error here
    for name in ("unresolved", "failed"):
        assert pooled.loc[name, "share"] == pooled.loc[name, "share_upper"] == 1 / 20


def test_every_count_is_the_plain_count_of_the_rows(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=20)
    added = rows["arm"] != "plain"
    rows["limit_error_base"] = rows["limit_error"] + np.where(
        added & (rows["seed"] % 3 == 0), 0.1, 0
    )
    rows.loc[rows["seed"] % 7 == 0, ["limit_error", "limit_error_base"]] = np.nan
    rows["augment_activity"] = np.where(added & (rows["verdict"] != "failed"), 1.0, np.nan)
    rows["outcome"] = outcome(rows, witnesses(rows))
    found = counted(rows)
    assert set(found.loc[found["arm"] == "plain", "network"]) == {"base"}
    for network, suffix in (("augmented", ""), ("base", "_base")):
        error = rows[f"judged_error{suffix}"].where(
            rows["verdict"] != "escaping", rows[f"limit_error{suffix}"]
        )
        kind = np.where(
            error == 0, "_zero_error", np.where(error > 0, "_with_error", "_unknown_error")
        )
        verdict = rows["verdict"].astype(str)
        split = verdict.isin(["escaping", "global_minimum"])
        name = (verdict + kind).where(split, rows["outcome"].astype(str))
        asked = rows.assign(fate=name)[added | (network == "base")]
        for level, by in LEVELS.items():
            lines = found[(found["level"] == level) & (found["network"] == network)]
            expected = asked.groupby([*by, "fate"], observed=True).size()
            there = lines[lines["count"] > 0].set_index([*by, "fate"])["count"]
            assert there.to_dict() == expected.to_dict()
    group = found.groupby(["level", "cell", "arm", "draw", "network"], dropna=False)
    assert (group["count"].sum() == group["n"].first()).all()
    assert np.allclose(group["share"].sum(), 1.0, rtol=0, atol=1e-12)


def test_bad_minima_are_those_of_the_frequencies(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=20).assign(augment_activity=1.0)
    rows["outcome"] = outcome(rows, witnesses(rows))
    counts = frequencies(rows, 0.9, "jeffreys")
    found = fates(rows, counts)
    pairs = {
        "count": "bad_minimum",
        "share": "bad_minimum_frequency",
        "share_upper": "bad_minimum_frequency_upper",
        **{k: k for k in ("level", "cell", "arm", "draw", "lam", "n", "n_seeds", "n_effective")},
        **{k: k for k in ("interval_low", "interval_high", "confidence", "method")},
    }
    for network in ("augmented", "base"):
        own = found[(found["fate"] == "bad_minimum") & (found["network"] == network)]
        expected = counts[list(pairs.values())].set_axis(list(pairs), axis=1)
        pd.testing.assert_frame_equal(own[list(pairs)].reset_index(drop=True), expected)


def test_an_arm_of_which_one_cell_failed_keeps_both_networks(make_rows: RowMaker) -> None:
    acting = {"arm": "exp", "augment_activity": 1.0, **SHED}
    rows = make_rows(acting, {"arm": "exp", "cell": "c2", "outcome": "failed"})
    assert set(counted(rows).groupby("level")["network"].nunique()) == {2}
    nobody = counted(rows[rows["outcome"] == "failed"])
    assert set(nobody["network"]) == {"base"}  # no member says that anything was added


def test_frequencies_of_other_rows_are_refused(exponential: pd.DataFrame) -> None:
    for part in (exponential[exponential["seed"] > 0], exponential[exponential["arm"] == "exp"]):
        with pytest.raises(UserError, match="of other rows"):
            fates(exponential, frequencies(part))
        with pytest.raises(UserError, match="of other rows"):
            fates(part, frequencies(exponential))
    with pytest.raises(UserError, match="no outcome"):
        fates(exponential.assign(outcome=None), frequencies(exponential))
