from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from sweep.inference.summary import Summary, summarise
from sweep.rows import columns

AWKWARD = "exp <b>$x$ & 50%_{y}"


def _rows(cell: str, arm: str, draws: int, verdicts: dict[str, int]) -> list[dict[str, object]]:
    names = [verdict for verdict, count in verdicts.items() for _ in range(count)]
    rows = []
    for draw in range(draws):
        for seed, verdict in enumerate(names):
            error = {"global_minimum": 0.0, "local_minimum": 0.125}.get(verdict, 0.25)
            known = None if verdict == "failed" else error
            rows.append(
                {
                    **{column.name: None for column in columns([])},
                    **{"study": "0123456789ab", "cell": cell, "arm": arm, "draw": draw},
                    **{"seed": seed, "problem": "xor", "model.width": int(cell[1:])},
                    **{"verdict": verdict, "lam": 10.0**-draw if draws > 1 else None},
                    **{"final_error": known, "final_error_base": known, "final_objective": known},
                    **{"judged_error": known, "judged_error_base": known},
                    "judged_objective": known,
                }
            )
    return rows


@pytest.fixture(scope="session")
def make_summary() -> Callable[..., Summary]:
    """`make_summary(c2={"arm": {"local_minimum": 3, ...}})`: cells, arms, how often each verdict.

    Arms that begin with "exp" have four draws with the same verdicts.
    """

    def make(**cells: dict[str, dict[str, int]]) -> Summary:
        rows = [
            row
            for cell, arms in cells.items()
            for arm, verdicts in arms.items()
            for row in _rows(cell, arm, 4 if arm.startswith("exp") else 1, verdicts)
        ]
        return summarise(pd.DataFrame(rows))

    return make


@pytest.fixture(scope="session")
def summary(make_summary: Callable[..., Summary]) -> Summary:
    """Two cells, three arms, one of them with a name that every format would like to interpret."""
    arms = {
        "plain": {"global_minimum": 920, "local_minimum": 73, "failed": 7},
        AWKWARD: {"global_minimum": 900, "unresolved": 100},
        "extra_neuron": {"global_minimum": 1000},
    }
    return make_summary(c2=arms, c3=arms)


@pytest.fixture(scope="session")
def study() -> dict[str, object]:
    """What study.json holds, as far as the report is concerned."""
    return {
        "study": "0123456789ab",
        "name": "default",
        "device": "cpu",
        "blocks": [[0, 500], [500, 500]],
        "config": {"name": "default", "note": "<script>alert(1)</script>"},
        "provenance": {"packages": {"torch": "2.13.0"}},
        "later_provenance": [],
    }


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., pd.DataFrame]:
    """Hand-made rows: one mapping per row, everything else null; seeds count up."""

    def make(*given: dict[str, object]) -> pd.DataFrame:
        empty: dict[str, object] = {column.name: None for column in columns([])}
        base = {"study": "s", "cell": "c1", "arm": "plain", "draw": 0, "problem": "xor"}
        return pd.DataFrame([{**empty, **base, "seed": i, **one} for i, one in enumerate(given)])

    return make
