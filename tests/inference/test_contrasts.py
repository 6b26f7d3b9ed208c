from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from sweep.errors import UserError
from sweep.inference.bootstrap import mean_interval
from sweep.inference.contrasts import choose_baseline, contrasts
from sweep.inference.outcomes import outcome, witnesses
from sweep.inference.paired import mcnemar, newcombe_interval, odds_ratio, pairs, tango_interval
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]
BAD, GOOD, OPEN, FAILED = "bad_minimum", "global_minimum", "unresolved", "failed"


def arms(make_rows: RowMaker, **outcomes: dict[int, list[str]]) -> pd.DataFrame:
    """Rows of arms given as draw → outcome of seeds 0, 1, …."""
    return make_rows(
        *(
            {"arm": arm, "draw": draw, "seed": seed, "outcome": name}
            for arm, draws in outcomes.items()
            for draw, names in draws.items()
            for seed, name in enumerate(names)
        )
    )


def at_level(found: pd.DataFrame, level: str) -> pd.Series:
    return found.set_index("level").loc[level]


def test_the_table_counts_seeds_that_both_have_and_failed_is_not_bad(make_rows: RowMaker) -> None:
    plain = [BAD] * 6 + [GOOD] * 4 + [FAILED] * 2
    exp = [BAD] * 2 + [GOOD] * 3 + [FAILED] + [BAD] + [GOOD] * 5 + [BAD] * 9  # seeds 12-20 alone
    found = contrasts(arms(make_rows, plain={0: plain}, exp={0: exp}))
    assert list(found["level"]) == ["draw", "cell"]
    for _, one in found.iterrows():
        counts = ("n_pairs", "both_bad", "only_arm", "only_baseline", "neither")
        assert tuple(one[list(counts)]) == (12, 2, 1, 4, 5)
        assert one["difference"] == one["difference_upper"] == pytest.approx(-3 / 12)
        table = pairs(2, 1, 4, 5)
        ends = newcombe_interval(table)
        assert (one["interval_low"], one["interval_high"]) == pytest.approx(tuple(map(float, ends)))
        assert one["p_exact"] == one["p_adjusted"] == pytest.approx(stats.binomtest(1, 5).pvalue)
        assert one["p_mid"] == pytest.approx(float(mcnemar(table)[1]))
        odds = (one["odds_ratio"], one["odds_low"], one["odds_high"])
        assert odds == pytest.approx(tuple(map(float, odds_ratio(table))))


def test_counts_agree_with_a_plain_count(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=20)
    rows["outcome"] = outcome(rows, witnesses(rows))
    rows = rows.drop(index=rows.index[::7])
    found = contrasts(rows)
    bad = rows.assign(bad=(rows["outcome"] == BAD).astype(float))
    for _, one in found.iterrows():
        same = bad[bad["cell"] == one["cell"]]
        arm = same[same["arm"] == one["arm"]]
        if one["level"] == "draw":
            arm = arm[arm["draw"] == one["draw"]]
        base = same[same["arm"] == "plain"].set_index("seed")["bad"]
        both = pd.concat([arm.groupby("seed")["bad"].mean(), base], axis=1, join="inner")
        x, y = both.to_numpy().T
        assert one["n_pairs"] == len(both)
        assert one["both_bad"] == pytest.approx((x * y).sum())
        assert one["only_arm"] == pytest.approx((x * (1 - y)).sum())
        assert one["only_baseline"] == pytest.approx((y * (1 - x)).sum())
        if one["level"] == "draw":
            assert np.array_equal(arm["lam"].unique(), [one["lam"]], equal_nan=True)


def test_equal_draws_are_worth_one(make_rows: RowMaker) -> None:
    plain, exp = [BAD] * 9 + [GOOD] * 21, [GOOD] * 7 + [BAD] * 3 + [GOOD] * 20
    found = contrasts(arms(make_rows, plain={0: plain}, exp=dict.fromkeys(range(4), exp)))
    draws, pooled = found[found["level"] == "draw"], at_level(found, "cell")
    assert len(draws) == 4
    numbers = [*draws.loc[:, "n_pairs":"p_mid"].columns, "odds_ratio", "odds_low", "odds_high"]
    for _, draw in draws.iterrows():
        assert list(draw[numbers].astype(float)) == pytest.approx(
            list(pooled[numbers].astype(float))
        )
    assert set(draws["family_size"]) == {4}
    assert pooled["family_size"] == 1


def test_a_baseline_with_draws_is_paired_draw_by_draw_or_else_by_its_mean(
    make_rows: RowMaker,
) -> None:
    base = {0: [BAD, BAD, GOOD, GOOD], 1: [BAD, GOOD, GOOD, GOOD]}
    arm = {1: [GOOD, GOOD, BAD, GOOD], 2: [GOOD, GOOD, BAD, GOOD]}
    found = contrasts(arms(make_rows, exp=base, other=arm), "exp")
    draws = found[found["level"] == "draw"].set_index("draw")
    assert tuple(draws.loc[1, ["only_arm", "only_baseline"]]) == (1, 1)
    assert tuple(draws.loc[2, ["only_arm", "only_baseline"]]) == (1, 1.5)
    pooled = at_level(found, "cell")
    assert tuple(pooled[["only_arm", "only_baseline", "n_pairs"]]) == (1, 1.5, 4)


def test_equal_means_over_three_draws_differ_by_exactly_nothing(make_rows: RowMaker) -> None:
    shares = [1, 1, 1, 2, 0, 3, 2]
    names = [[BAD if draw < count else GOOD for count in shares] for draw in range(3)]
    turned = [some[::-1] for some in names]
    found = contrasts(
        arms(make_rows, plain=dict(enumerate(names)), exp=dict(enumerate(turned))), "plain"
    )
    pooled = at_level(found, "cell")
    assert pooled["difference"] == 0
    assert pooled["p_exact"] == 1
    x, y = np.array(shares) / 3, np.array(shares[::-1]) / 3
    assert pooled["only_arm"] == pytest.approx((x * (1 - y)).sum(), abs=1e-9)
    assert pooled["n_pairs"] == 7


def test_unresolved_members_open_two_ends_and_p_is_the_largest_of_all_completions(
    make_rows: RowMaker,
) -> None:
    plain = [BAD] * 9 + [OPEN, GOOD, OPEN, GOOD]
    exp = [GOOD] * 8 + [OPEN, OPEN, OPEN, GOOD, BAD]
    rows = arms(make_rows, plain={0: plain}, exp={0: exp})
    one = at_level(contrasts(rows), "cell")
    is_open = np.flatnonzero((rows["outcome"] == OPEN).to_numpy())
    completions = []
    for fate in range(2 ** len(is_open)):
        names = rows["outcome"].to_numpy(dtype=object).copy()
        for bit, place in enumerate(is_open):
            names[place] = BAD if fate >> bit & 1 else GOOD
        completions.append(rows.assign(cell=f"c{fate}", outcome=names))
    table = contrasts(pd.concat(completions)).query("level == 'cell'")
    assert len(table) == 32
    assert one["difference"] == table["difference"].min()
    assert one["difference_upper"] == table["difference"].max()
    assert one["interval_low"] <= table["interval_low"].min() + 1e-12
    assert one["interval_high"] >= table["interval_high"].max() - 1e-12
    assert one["odds_low"] <= table["odds_low"].min() + 1e-12
    assert one["odds_high"] >= table["odds_high"].max() - 1e-12
    assert one["p_exact"] == table["p_exact"].max() < 0.5
    assert one["p_mid"] == table["p_mid"].max()


def test_ends_on_both_sides_decide_nothing(make_rows: RowMaker) -> None:
    found = contrasts(arms(make_rows, plain={0: [BAD, GOOD, OPEN]}, exp={0: [GOOD, OPEN, OPEN]}))
    assert (found["difference"] < 0).all()
    assert (found["difference_upper"] > 0).all()
    assert (found[["p_exact", "p_mid", "p_adjusted"]] == 1).all(axis=None)


def test_adjustment_is_by_hand(random_rows: RowMaker) -> None:
    rows = random_rows(n_seeds=60, n_cells=3)
    rows["outcome"] = outcome(rows, witnesses(rows)).astype(object).replace(OPEN, GOOD)
    for adjustment in ("holm", "benjamini_hochberg"):
        found = contrasts(rows, adjustment=adjustment)
        for level, size in (("draw", 15), ("cell", 6)):
            part = found[found["level"] == level]
            assert set(part["family_size"]) == {size}
            p = np.sort(part["p_exact"])
            if adjustment == "holm":
                expected = np.maximum.accumulate(p * np.arange(size, 0, -1))
            else:
                expected = np.minimum.accumulate((p * size / np.arange(1, size + 1))[::-1])[::-1]
            assert np.allclose(np.sort(part["p_adjusted"]), np.minimum(expected, 1))


def test_each_study_is_a_family(make_rows: RowMaker) -> None:
    one = arms(make_rows, plain={0: [BAD] * 9}, exp={0: [GOOD] * 9})
    two = arms(make_rows, plain={0: [BAD] * 9}, exp={0: [GOOD] * 9}, more={0: [GOOD] * 9})
    found = contrasts(pd.concat([one.assign(study="a"), two.assign(study="b")]))
    sizes = found[found["level"] == "cell"].groupby("study")["family_size"].unique()
    assert [list(size) for size in sizes] == [[1], [2]]


def test_the_interval_may_be_tangos(make_rows: RowMaker) -> None:
    rows = arms(make_rows, plain={0: [BAD] * 8 + [GOOD] * 13}, exp={0: [BAD] + [GOOD] * 20})
    one = at_level(contrasts(rows, score="tango"), "cell")
    ends = tango_interval(pairs(1, 0, 7, 13))
    assert (one["interval_low"], one["interval_high"]) == pytest.approx(tuple(map(float, ends)))


def test_error_differences_are_of_seeds_where_both_are_finite(make_rows: RowMaker) -> None:
    rng = stream("test", "errors")
    n = 400
    plain, exp = rng.integers(0, 9, (2, n)) / 40
    plain[:3], exp[2:5] = np.nan, np.inf
    rows = make_rows(
        *({"arm": "plain", "seed": s, "outcome": GOOD, "final_error": plain[s]} for s in range(n)),
        *({"arm": "exp", "seed": s, "outcome": GOOD, "final_error": exp[s]} for s in range(n)),
    )
    one = at_level(contrasts(rows), "draw")
    distance = (exp - plain)[5:]
    assert one["error_difference"] == pytest.approx(distance.mean(), abs=1e-12)
    # Independent resampling of whole seeds; ends agree within the noise of 1,000 resamples.
    resampled = rng.choice(distance, (20_000, len(distance))).mean(axis=1)
    expected = np.quantile(resampled, [0.025, 0.975])
    noise = 4 * distance.std() / np.sqrt(len(distance)) * 0.06
    assert (one["error_low"], one["error_high"]) == pytest.approx(tuple(expected), abs=noise)


def test_no_finite_errors_have_no_difference(make_rows: RowMaker) -> None:
    found = contrasts(arms(make_rows, plain={0: [BAD]}, exp={0: [GOOD]}))
    assert found[["error_difference", "error_low", "error_high"]].isna().all(axis=None)


def test_the_bootstrap_sees_values_and_not_their_order() -> None:
    values = stream("test", "values").integers(-5, 6, 300) / 40
    found = [mean_interval(some, stream("test", "b")) for some in (values, values[::-1])]
    assert found[0] == found[1]


def test_equal_values_do_not_make_a_point_an_interval() -> None:
    value, low, high = mean_interval(np.full(9, 0.25), stream("test", "b"))
    others = 1 - 0.05 ** (1 / 9)  # the largest share that nine seeds in a row miss in 5 %
    assert (value, low, high) == pytest.approx((0.25, 0.25 - 1.25 * others, 0.25 + 0.75 * others))


def test_any_order_gives_the_same_bytes(random_rows: RowMaker) -> None:
    rows = random_rows()
    rows["outcome"] = outcome(rows, witnesses(rows))
    expected = contrasts(rows)
    shuffled = rows.iloc[stream("test", "shuffle").permutation(len(rows))]
    found = contrasts(shuffled.astype({"arm": object, "outcome": object}))
    assert_frame_equal(found, expected, check_exact=True)
    assert found.to_csv() == expected.to_csv()


def test_bad_input_is_refused(make_rows: RowMaker) -> None:
    rows = arms(make_rows, plain={0: [BAD]}, exp={0: [GOOD]})
    with pytest.raises(UserError, match="did you mean 'holm'"):
        contrasts(rows, adjustment="hulm")
    with pytest.raises(UserError, match="did you mean 'tango'"):
        contrasts(rows, score="tangoo")
    with pytest.raises(UserError, match="no outcome"):
        contrasts(rows.assign(outcome=None))
    with pytest.raises(UserError, match="baseline 'plan' is unknown"):
        choose_baseline(["exp", "plain"], "plan")
