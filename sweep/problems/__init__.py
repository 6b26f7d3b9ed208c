"""Data sets and objectives without data; `PROBLEMS` knows them all by name.

A new problem is one file with a registered frozen dataclass, and one name in the import below.
"""

from __future__ import annotations

from sweep.problems import (
    bundled,
    separable,
    several,
    shells,
    simplex,
    synthetic,
    table,
    teacher_student,
    xyz_product,
)
from sweep.problems.base import PROBLEMS, Data, Landscape, Problem
from sweep.problems.tabular import Raw

__all__ = [
    "PROBLEMS",
    "Data",
    "Landscape",
    "Problem",
    "Raw",
    "bundled",
    "separable",
    "several",
    "shells",
    "simplex",
    "synthetic",
    "table",
    "teacher_student",
    "xyz_product",
]
