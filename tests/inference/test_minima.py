from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sweep.inference.minima import LEVEL_TOLERANCE, minima
from sweep.seeds import stream

RowMaker = Callable[..., pd.DataFrame]


def member(seed: int, objective: float, **given: object) -> dict[str, object]:
    return {
        **{"seed": seed, "verdict": "local_minimum", "outcome": "bad_minimum"},
        **{"certificate": "cell", "judged_objective": objective, "judged_error": 0.25},
        **given,
    }


def test_levels_of_a_hand_made_catalogue(make_rows: RowMaker) -> None:
    proven = {"verdict": "global_minimum", "outcome": "global_minimum", "judged_error": 0.0}
    rows = make_rows(
        member(7, 5.0, judged_min_eig=0.5, flat_dim=3),
        member(4, 5.0 + 1e-14, certificate="valley", judged_min_eig=0.25, flat_dim=5),
        member(9, 5.0 - 1e-14, outcome="good_minimum", judged_error=0.125),
        member(2, 5.0 + 1e-6),
        member(3, 0.0, certificate="separates", **proven),
        member(1, 0.0, certificate="lower_bound", **proven),
        member(5, 5.0, verdict="unresolved", outcome="unresolved"),
        member(6, 5.0, verdict="saddle", outcome="saddle"),
    )
    found = minima(rows)
    assert found["level"].to_list() == [0.0, 5.0 - 1e-14, 5.0 + 1e-6]
    assert found[["n", "n_bad", "n_global"]].to_numpy().tolist() == [
        [2, 0, 2],
        [3, 2, 0],
        [1, 1, 0],
    ]
    assert found["certificates"].to_list() == ["lower_bound, separates", "cell, valley", "cell"]
    assert found["example_seed"].to_list() == [1, 4, 2]
    middle = found.iloc[1]
    assert middle["spread"] == pytest.approx(2e-14, rel=0.1)
    assert (middle["error"], middle["error_high"]) == (0.125, 0.25)
    assert (middle["flat_dim"], middle["flat_dim_high"]) == (3, 5)
    assert middle["smallest_eigenvalue"] == 0.25
    assert pd.isna(found["flat_dim"]).to_list() == [True, False, True]


def test_neighbours_chain_and_the_tolerance_is_relative_above_one(make_rows: RowMaker) -> None:
    near = 0.9 * LEVEL_TOLERANCE
    assert len(minima(make_rows(*(member(i, i * near) for i in range(5))))) == 1
    assert len(minima(make_rows(*(member(i, 1.1 * i * near / 0.9) for i in range(5))))) == 5
    large = make_rows(*(member(i, 1000.0 * (1 + i * near)) for i in range(5)))
    assert len(minima(large)) == 1


def test_groups_are_never_merged(make_rows: RowMaker) -> None:
    places = [
        {"study": s, "cell": c, "arm": a, "draw": d}
        for s in "st"
        for c in "cd"
        for a in "ab"
        for d in (0, 1)
    ]
    rows = make_rows(*(member(0, 1.0, **place) for place in places))
    found = minima(rows)
    assert found[["study", "cell", "arm", "draw"]].to_dict("records") == places


def test_an_unknown_objective_is_a_level_of_its_own(make_rows: RowMaker) -> None:
    found = minima(make_rows(member(0, 1.0), member(1, np.nan)))
    assert found["n"].to_list() == [1, 1]
    assert np.isnan(found["level"].iloc[1])


def test_no_certified_minimum_gives_an_empty_frame(make_rows: RowMaker) -> None:
    empty = minima(make_rows({"outcome": "saddle", "verdict": "saddle"}))
    assert empty.empty
    assert (empty.dtypes == minima(make_rows(member(0, 1.0))).dtypes).all()


def test_symmetric_copies_share_a_level(make_rows: RowMaker) -> None:
    """The loss of a ReLU network in another order of its units and rescaled, as float64 has it."""
    rng = stream("test", "symmetry")
    x, y = rng.normal(size=(20, 2)), rng.choice([-1.0, 1.0], 20)
    weight, bias, out = rng.normal(size=(3, 2)), rng.normal(size=3), rng.normal(size=3)
    found = []
    for seed in range(30):
        order, scale = rng.permutation(3), np.exp(rng.normal(size=3))
        hidden = x @ (weight * scale[:, None])[order].T + (bias * scale)[order]
        f = np.maximum(hidden, 0) @ (out / scale)[order]
        found.append(member(seed, float((np.maximum(1 - y * f, 0) ** 3).sum())))
    assert len({one["judged_objective"] for one in found}) > 1
    assert len(minima(make_rows(*found))) == 1
