from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sweep.rows import columns
from sweep.seeds import stream
from sweep.verdicts import Verdict

RowMaker = Callable[..., pd.DataFrame]


def _row(**given: object) -> dict[str, object]:
    empty: dict[str, object] = {column.name: None for column in columns([])}
    base = {"study": "s", "cell": "c1", "arm": "plain", "draw": 0, "seed": 0, "problem": "xor"}
    return {**empty, "model.width": 2, **base, "verdict": "unresolved", **given}


@pytest.fixture
def make_rows() -> RowMaker:
    """Hand-made rows: one mapping per row, everything else null; seeds count up when left out."""

    def make(*given: dict[str, object]) -> pd.DataFrame:
        return pd.DataFrame([_row(**{"seed": i, **one}) for i, one in enumerate(given)])

    return make


@pytest.fixture
def random_rows() -> RowMaker:
    """Rows of a study with all verdicts: cells × arms × draws × seeds, drawn from one stream."""

    def make(n_seeds: int = 50, n_cells: int = 2, draws: int = 4) -> pd.DataFrame:
        arms = {"plain": 1, "exp": draws, "extra_neuron": 1}
        members = [(arm, draw) for arm, count in arms.items() for draw in range(count)]
        n = n_cells * len(members) * n_seeds
        cell, member, seed = (
            axis.ravel()
            for axis in np.meshgrid(
                range(n_cells), range(len(members)), range(n_seeds), indexing="ij"
            )
        )
        rng = stream("test", "rows")
        arm = np.array([arm for arm, _ in members], dtype=object)[member]
        draw = np.array([draw for _, draw in members])[member]
        error = rng.integers(0, 6, n) / 40
        # Few loss levels, each with its rounding.
        objective = rng.integers(1, 9, n) / 3 * (1 + rng.normal(0.0, 1e-14, n))
        verdict = rng.choice([str(v) for v in Verdict], n)
        failed, escaping = verdict == "failed", verdict == "escaping"
        rows = pd.DataFrame({column.name: None for column in columns([])}, index=range(n))
        rows = rows.assign(
            study="s",
            cell=np.char.add("c", cell.astype(str)),
            arm=arm,
            draw=draw,
            seed=seed,
            problem="two_moons",
            job="j",
            lam=np.where(arm == "exp", 10.0 ** (-draw), np.nan),
            verdict=verdict,
            certificate=rng.choice(["cell", "kink", "strict"], n),
            judged_min_eig=np.where(verdict == "local_minimum", rng.random(n), np.nan),
            flat_dim=np.where(verdict == "local_minimum", rng.integers(0, 4, n), np.nan),
            final_error=np.where(failed, np.nan, error + 1 / 40),
            final_error_base=np.where(failed, np.nan, error + 1 / 40),
            final_objective=np.where(failed, np.nan, objective + 0.1),
            judged_error=np.where(failed, np.nan, error),
            judged_error_base=np.where(failed, np.nan, error),
            judged_objective=np.where(failed, np.nan, objective),
            limit_error=np.where(escaping, error, np.nan),
            limit_error_base=np.where(escaping, error, np.nan),
            limit_objective=np.where(escaping, objective / 2, np.nan),
        )
        rows["model.width"] = cell + 2
        for name in ("study", "cell", "arm", "problem", "verdict"):
            rows[name] = rows[name].astype("category")
        return rows

    return make
