"""One small study and plausible rows of its jobs, without any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.registry import Choice
from sweep.rows import as_kind, axis_values, columns
from sweep.seeds import stream
from sweep.spec import Arm, Cell
from sweep.storage.layout import Layout
from sweep.verdicts import Verdict

STUDY = "0123456789ab"


def make_cell(name: str, width: int, extra: dict[str, Any] | None = None) -> Cell:
    return Cell(
        id=name,
        axes={"problem": "xor", "model.width": width, **(extra or {})},
        problem=Choice("xor"),
        model=Choice("mlp", {"width": width}),
        loss=Choice("hinge_power"),
        init=Choice("normal"),
        optimizer=Choice("gd"),
        stopping=Choice("default"),
        judge=Choice("default"),
        arms=(Arm("plain"), Arm("exp")),
        data_digest="0" * 64,
    )


def make_rows(
    cell: Cell, cells: list[Cell], job: str, seeds: range, *, stored: bool = True
) -> dict[str, list[Any]]:
    """Columns of one job: every seed with both arms; what does not apply is None."""
    noise = stream("data", "storage-test", job)
    rows = []
    for seed in seeds:
        for arm in ("plain", "exp"):
            row: dict[str, Any] = {column.name: None for column in columns(cells)}
            row |= {
                "study": STUDY,
                "cell": cell.id,
                "arm": arm,
                "draw": 0,
                "seed": seed,
                "job": job,
                "problem": "xor",
                "lam": 0.1 if arm == "exp" else None,
                "lam_vector": [0.1, 0.2] if arm == "exp" else None,
                "verdict": Verdict.UNRESOLVED,
                "certificate": "none",
                "evidence": "{}",
                "trainer": "torch",
                "stop": "steps",
                "steps": 10,
                "final_error": float(noise.random()),
                "params": list(noise.random(3)) if stored else None,
            }
            kinds = {column.name: column.kind for column in columns(cells)}
            row |= {k: as_kind(v, kinds[k]) for k, v in axis_values(cell).items()}
            rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture
def cells() -> list[Cell]:
    return [make_cell("c00000001", 2), make_cell("c00000002", 3)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.for_study(tmp_path / "results", "tiny", STUDY)


@pytest.fixture
def rows_of(cells: list[Cell]) -> Callable[..., dict[str, list[Any]]]:
    """`rows_of(cell_index, job, seeds, stored=True)`: columns of a job of the small study."""

    def make(index: int, job: str, seeds: range, *, stored: bool = True) -> dict[str, list[Any]]:
        return make_rows(cells[index], cells, job, seeds, stored=stored)

    return make
