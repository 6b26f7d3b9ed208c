from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import chi2
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.proportion import proportion_confint

from sweep.errors import UserError
from sweep.inference.cells import cells
from sweep.inference.clustered_logistic import clustered_slope
from sweep.inference.frequencies import frequencies
from sweep.inference.homogeneity import cochran_q, least_q
from sweep.inference.responses import RESPONSE, responses
from sweep.inference.trends import trends
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]


def levels_of(rows: pd.DataFrame) -> pd.DataFrame:
    return responses(frequencies(rows), cells(rows))


def trends_of(rows: pd.DataFrame) -> pd.DataFrame:
    return trends(rows, levels_of(rows)).set_index(RESPONSE).sort_index()


def grid_rows(n_seeds: int = 40, draws: int = 1) -> pd.DataFrame:
    """Widths 2, 4 and 40 at two rates, and one cell apart whose rate is not set."""
    rng = stream("test", "grid", n_seeds, draws)
    places = [(w, r) for w in (2, 4, 40) for r in (0.1, 0.3)] + [(4, np.nan)]
    rows = []
    for i, (width, rate) in enumerate(places):
        for draw in range(draws):
            bad = rng.random(n_seeds) < 0.5 / np.sqrt(width)
            rows.append(
                pd.DataFrame(
                    {
                        **{"study": "s", "cell": f"c{9 - i}", "arm": "exp", "draw": draw},
                        **{"seed": np.arange(n_seeds), "problem": "xor", "model.width": width},
                        **{"optimizer.lr": rate, "model.activation": "relu"},
                        "lam": 10.0**-draw if draws > 1 else np.nan,
                        "outcome": np.where(bad, "bad_minimum", "saddle"),
                        "final_error": 0.0,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_cells_that_differ_in_one_axis_alone_are_its_levels() -> None:
    found = levels_of(grid_rows())
    assert found.groupby(RESPONSE)["value"].apply(list).to_dict() == {
        ("s", "model.width", "xor, optimizer.lr = 0.1", "exp"): [2.0, 4.0, 40.0],
        ("s", "model.width", "xor, optimizer.lr = 0.3", "exp"): [2.0, 4.0, 40.0],
        ("s", "optimizer.lr", "xor, model.width = 2", "exp"): [0.1, 0.3],
        ("s", "optimizer.lr", "xor, model.width = 4", "exp"): [0.1, 0.3],
        ("s", "optimizer.lr", "xor, model.width = 40", "exp"): [0.1, 0.3],
    }
    assert found["draw"].isna().all()


def test_levels_carry_the_counts_and_intervals_of_their_rows(make_rows: RowMaker) -> None:
    outcomes = {0: ["bad_minimum", "unresolved", "failed", "saddle"], 1: ["saddle"] * 4}
    rows = make_rows(
        *(
            {"arm": "exp", "draw": d, "seed": s, "lam": [3.0, 0.5][d], "outcome": o}
            for d, names in outcomes.items()
            for s, o in enumerate(names)
        ),
        {"arm": "plain", "outcome": "saddle"},
    )
    found = levels_of(rows)
    assert list(found["arm"]) == ["exp", "exp"]
    assert list(found["value"]) == [0.5, 3.0]
    last = found.iloc[1]
    assert (last["draw"], last["n"], last["frequency"], last["frequency_upper"]) == (
        0,
        4,
        0.25,
        0.5,
    )
    assert last["interval_low"] == pytest.approx(proportion_confint(1, 4, method="wilson")[0])
    assert last["interval_high"] == pytest.approx(proportion_confint(2, 4, method="wilson")[1])


def test_words_and_several_draws(make_rows: RowMaker) -> None:
    rows = make_rows(
        *(
            {
                **{"cell": f"c{problem}", "problem": problem, "arm": "exp", "draw": d, "seed": s},
                **{"lam": 10.0**d, "outcome": "bad_minimum" if s < 3 else "saddle"},
            }
            for problem in ("iris", "xor")
            for d in range(2)
            for s in range(20)
        )
    )
    found = levels_of(rows).set_index(["axis", "label"]).loc["problem"]
    assert list(found.index) == ["iris", "xor"]
    assert (found["setting"] == "all problems").all()
    assert found["value"].isna().all()
    assert (found["n"] == 40).all()
    # Two draws of a seed that share its fate count once.
    low, high = proportion_confint(3, 20, method="wilson")
    assert found["interval_low"].to_numpy() == pytest.approx(low)
    assert found["interval_high"].to_numpy() == pytest.approx(high)
    trend = trends_of(rows).loc[("s", "problem", "all problems", "exp")]
    assert (trend["q"], trend["q_p"], trend["q_df"]) == (0.0, 1.0, 1)
    assert np.isnan(trend["slope"])
    assert trend["note"] == "no slope: the values are words"


@pytest.mark.parametrize("draws", [1, 3])
def test_a_trend_is_that_of_statsmodels_on_the_rows(draws: int) -> None:
    rows = grid_rows(60, draws)
    found = trends_of(rows).loc[("s", "model.width", "xor, optimizer.lr = 0.1", "exp")]
    own = rows[rows["optimizer.lr"] == 0.1]
    bad = (own["outcome"] == "bad_minimum").astype(float)
    gee = sm.GEE(
        bad,
        sm.add_constant(np.log(own["model.width"])),
        groups=own["seed"],
        family=sm.families.Binomial(),
    ).fit()
    assert found["scale"] == "log"  # 40/2 is more than a decade
    expected = [gee.params.iloc[1], *gee.conf_int().iloc[1]]
    seen = found[["slope", "slope_low", "slope_high"]].to_list()
    assert seen == pytest.approx(expected, rel=1e-6)
    assert found["slope_p"] == pytest.approx(gee.pvalues.iloc[1], rel=1e-5)
    assert found["slope_upper"] == found["slope"]
    if draws == 1:
        table = bad.groupby([own["seed"], own["model.width"]]).sum().unstack()
        expected_q = cochrans_q(table.to_numpy())
        assert found["q"] == pytest.approx(expected_q.statistic)
        assert found["q_p"] == pytest.approx(expected_q.pvalue)
    assert pd.isna(found["cell"])
    assert (found["n_levels"], found["n_seeds"], found["n_left_out"]) == (3, 60, 0)


def test_a_short_numeric_axis_is_linear_and_lambda_is_not() -> None:
    found = trends_of(grid_rows(60, 3))
    assert set(found.xs("optimizer.lr", level="axis")["scale"]) == {"linear"}
    lam = found.xs("lam", level="axis")
    assert set(lam["scale"]) == {"log"}
    assert len(lam) == 7
    assert sorted(lam["cell"]) == [f"c{i}" for i in range(3, 10)]


@pytest.mark.parametrize("differ", [0, 4, 5])
def test_few_seeds_that_differ_give_no_p(make_rows: RowMaker, differ: int) -> None:
    rows = make_rows(
        *(
            {"arm": "exp", "draw": d, "seed": s, "lam": 10.0**d, "outcome": o}
            for d in range(2)
            for s in range(200)
            for o in ["bad_minimum" if d and s < differ else "saddle"]
        )
    )
    found = trends_of(rows).iloc[0]
    assert found["q"] == differ
    if differ == 4:  # all one way, which chance does in 12.5 % of repetitions: χ² says 4.6 %
        assert found[["q_p", "q_p_adjusted"]].isna().all()
        assert "no p for Q: fewer than 5 seeds differ between the values" in found["note"]
    else:
        assert found["q_p"] == pytest.approx(chi2.sf(differ, 1))
        assert "no p for Q" not in found["note"]


def test_seeds_that_lack_a_level_are_left_out_and_counted() -> None:
    rows = grid_rows(30, 3)
    last = (rows["cell"] == "c9") & (rows["draw"] == 2) & (rows["seed"] >= 25)
    found = trends_of(rows[~last])
    whole = trends_of(rows[rows["seed"] < 25])
    name = ("s", "lam", "xor, model.width = 2, optimizer.lr = 0.1", "exp")
    assert (found.loc[name, "n_seeds"], found.loc[name, "n_left_out"]) == (25, 5)
    for column in ("q", "q_p", "slope", "slope_p", "difference_high"):
        assert found.loc[name, column] == whole.loc[name, column]
    width = found.loc[("s", "model.width", "xor, optimizer.lr = 0.1", "exp")]
    assert (width["n_seeds"], width["n_left_out"]) == (25, 5)
    disjoint = rows[(rows["draw"] == rows["seed"] % 3)]
    nobody = trends_of(disjoint).loc[name]
    assert (nobody["n_seeds"], nobody["n_left_out"]) == (0, 30)
    assert np.isnan(nobody["q_p"])
    assert nobody["note"] == "no seed is at every level"


def test_unresolved_members_are_counted_both_ways(make_rows: RowMaker) -> None:
    names = {0: ["bad_minimum"] * 6 + ["saddle"] * 14, 1: ["bad_minimum"] * 3 + ["saddle"] * 17}
    names[1][15:] = ["unresolved"] * 5

    def as_if(word: str) -> pd.Series:
        rows = make_rows(
            *(
                {"arm": "exp", "draw": d, "seed": s, "lam": 10.0**d, "outcome": o}
                for d, outcomes in names.items()
                for s, o in enumerate(word if o == "unresolved" else o for o in outcomes)
            )
        )
        return trends_of(rows).iloc[0]

    found, none, every = as_if("unresolved"), as_if("saddle"), as_if("bad_minimum")
    ends = {"q": none["q"], "q_upper": every["q"]}
    ends |= {"slope": none["slope"], "slope_upper": every["slope"]}
    assert found[list(ends)].to_dict() == pytest.approx(ends, rel=1e-9)
    # 6 against 3 to 8 of 20: equal frequencies are among what the unresolved leave open.
    assert found[["q_p", "q_p_adjusted"]].to_list() == pytest.approx([1, 1])
    assert found["difference_low"] <= min(none["difference_low"], every["difference_low"])
    assert found["difference_high"] >= max(none["difference_high"], every["difference_high"])
    assert "least favourable" in found["note"]


def test_no_fate_of_the_unresolved_has_a_smaller_q_or_a_slope_outside() -> None:
    random, z = stream("test", "fates"), np.array([0.0, 1.0, 2.0])
    for _ in range(20):
        low = (random.random((40, 3)) < [0.3, 0.4, 0.6]).astype(float)
        places = random.choice(120, 6, replace=False)
        fates = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
        tables = np.repeat(low.reshape(1, -1), len(fates), axis=0)
        tables[:, places] = fates
        tables = tables.reshape(-1, 40, 3)
        low, high = tables[0], tables[-1]
        assert least_q(low, high) <= cochran_q(tables).q.min() + 1e-9
        slopes = clustered_slope(z, tables).value
        sides = [np.where(z >= t, a, b) for t in (1, 2) for a, b in ((low, high), (high, low))]
        extremes = clustered_slope(z, np.array([low, high, *sides])).value
        assert extremes.min() - 1e-9 <= slopes.min() <= slopes.max() <= extremes.max() + 1e-9


def test_few_seeds_that_differ_give_no_slope(make_rows: RowMaker) -> None:
    rows = make_rows(
        *(
            {"arm": "exp", "draw": d, "seed": s, "lam": 10.0**d, "outcome": o}
            for d in range(4)
            for s in range(200)
            for o in ["bad_minimum" if d in (1, 2) and s < 9 else "saddle"]
        )
    )
    found = trends_of(rows).iloc[0]
    assert found[["slope_low", "slope_high", "slope_p"]].isna().all()
    assert "fewer than 10 seeds differ" in found["note"]


@pytest.mark.parametrize(
    ("bad", "note"),
    [
        ((0, 0, 0), "no bad minimum at any level"),
        ((9, 9, 9), "nothing but bad minima"),
        ((0, 4, 9), "a threshold of the value parts bad from not bad"),
    ],
)
def test_without_a_slope_the_largest_difference_remains(
    make_rows: RowMaker, bad: tuple[int, ...], note: str
) -> None:
    rows = make_rows(
        *(
            {
                **{"arm": "exp", "draw": d, "seed": s, "lam": 10.0**d},
                "outcome": "bad_minimum" if s < bad[d] else "saddle",
            }
            for d in range(3)
            for s in range(9)
        )
    )
    found = trends_of(rows).iloc[0]
    assert found[["slope", "slope_upper", "slope_low", "slope_high", "slope_p"]].isna().all()
    assert found["note"] == f"no slope: {note}"
    assert found["difference"] == (max(bad) - min(bad)) / 9
    assert found["difference_low"] <= found["difference"] <= found["difference_high"]
    assert found["difference_low"] < found["difference_high"]


def test_a_seed_of_the_data_has_no_trend(make_rows: RowMaker) -> None:
    rows = make_rows(
        *(
            {"cell": f"c{i}", "problem.seed": i, "seed": s, "outcome": "bad_minimum"}
            for i in range(3)
            for s in range(5)
        )
    )
    assert trends_of(rows)["note"].to_list() == ["no slope: a seed is a name, not a quantity"]


def test_nothing_to_compare_gives_empty_frames_with_all_columns(make_rows: RowMaker) -> None:
    rows = make_rows({"outcome": "saddle"}, {"outcome": "bad_minimum"})
    levels = levels_of(rows)
    assert levels.empty
    assert trends(rows, levels).empty
    full = grid_rows(10, 2)
    assert list(levels.columns) == list(levels_of(full).columns)
    assert (levels.dtypes == levels_of(full).dtypes).all()
    assert (trends(rows, levels).dtypes == trends(full, levels_of(full)).dtypes).all()


def test_a_row_without_outcome_is_refused(make_rows: RowMaker) -> None:
    rows = make_rows({"outcome": "saddle"})
    with pytest.raises(UserError, match="no outcome"):
        trends(make_rows({"outcome": None}), levels_of(rows))
