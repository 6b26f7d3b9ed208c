from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sweep.inference.stops import FAR, stops

RowMaker = Callable[..., pd.DataFrame]


def member(outcome: str, stop: str, gradient: float, arm: str = "plain") -> dict[str, object]:
    return {"arm": arm, "outcome": outcome, "stop": stop, "final_grad_norm": gradient}


def test_who_rested_and_whose_steps_ran_out(make_rows: RowMaker) -> None:
    rows = make_rows(
        member("unresolved", "steps", 0.5),
        member("unresolved", "steps", 2.0),
        member("unresolved", "steps", FAR / 2),  # nearly at rest
        member("bad_minimum", "steps", 9.0),
        member("unresolved", "gradient", 1e-9),
        member("global_minimum", "loss", 0.1),
        member("failed", "overflow", np.nan),
        member("unresolved", "gradient", 1e-9, "wide"),
    )
    plain, wide = stops(rows).to_dict("records")
    assert (plain["n"], plain["rested"], plain["rested_unresolved"]) == (7, 2, 1)
    assert (plain["cut_short"], plain["cut_short_unresolved"]) == (3, 2)
    assert plain["cut_short_grad_norm"] == 1.25
    assert (wide["n"], wide["rested_unresolved"], wide["cut_short"]) == (1, 1, 0)
    assert np.isnan(wide["cut_short_grad_norm"])
