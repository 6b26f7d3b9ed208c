"""Judged points with what their rows claim of them: plain arrays, one entry per member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sweep.audit.formulas import DataFormula, LandscapeFormula


@dataclass(frozen=True, eq=False)
class Points:
    """S members of one arm: parameters (S, P), λ (S,), and the columns that a certificate needs.

    NaN stands for null. `tolerance` is the judge's setting of that name.
    """

    formula: DataFormula | LandscapeFormula
    where: list[str]
    theta: np.ndarray
    lam: np.ndarray
    verdict: np.ndarray
    certificate: np.ndarray
    radius: np.ndarray
    margin: np.ndarray
    objective: np.ndarray
    min_eig: np.ndarray
    flat_dim: np.ndarray
    limits: Mapping[str, np.ndarray]
    tolerance: float

    def __len__(self) -> int:
        return len(self.theta)

    def some(self, chosen: np.ndarray) -> Points:
        """The chosen members (mask or indices)."""
        index = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Points(
            self.formula,
            [self.where[i] for i in index.tolist()],
            self.theta[index],
            self.lam[index],
            self.verdict[index],
            self.certificate[index],
            self.radius[index],
            self.margin[index],
            self.objective[index],
            self.min_eig[index],
            self.flat_dim[index],
            {name: column[index] for name, column in self.limits.items()},
            self.tolerance,
        )
