"""Rows of one arm as the audit reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sweep.spec import Arm, Cell


@dataclass(frozen=True, eq=False)
class ArmRows:
    """Rows of one arm of one cell, column by column; nulls are None.

    `setting` is what the columns `problem`, `trainer` and the grid's axes must hold in every row,
    `kept` the study's `store.params`.
    """

    cell: Cell
    arm: Arm
    setting: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]]
    kept: Literal["auto", "all", "judged", "none"] = "auto"

    def __len__(self) -> int:
        return len(self.columns["seed"])

    def where(self, i: int) -> str:
        """The row's key in words."""
        draw, seed = self.columns["draw"][i], self.columns["seed"][i]
        return f"cell {self.cell.id}, arm {self.arm.name}, draw {draw}, seed {seed}"

    def floats(self, name: str) -> np.ndarray:
        """A column as float64, null as NaN, (rows,)."""
        return np.array([np.nan if v is None else v for v in self.columns[name]], dtype=float)

    def row(self, i: int) -> dict[str, Any]:
        """One row's columns."""
        return {name: values[i] for name, values in self.columns.items()}
