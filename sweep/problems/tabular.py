"""From a raw table to prepared data: the one rule that every problem with data shares.

A bundled data set, a synthetic one and a user's own file all pass through `prepare`, so a file
exported from a built-in problem gives the built-in's data back, bit for bit. To that end

- columns are summed with `math.fsum`, which rounds once: neither the memory layout nor the
  machine's vector width can change a bit;
- a column that is standardised already is left alone, so that standardising twice changes
  nothing and a file of *prepared* features serves as well as one of raw features.

======  ====================================  ==========
symbol  meaning                               shape
======  ====================================  ==========
N, D    data points, features
x       features                              (N, D)
y       labels −1, +1                         (N,)
======  ====================================  ==========
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweep.errors import UserError, unknown
from sweep.problems.base import Data

# Rounding leaves a freshly standardised column within 4 eps of mean 0 and of standard deviation 1;
# a column this close to both has been standardised before.
STANDARD_TOLERANCE = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Raw:
    """A table before preparation.

    `features` is (N, D) float64 and finite, `labels` is (N,) with two classes of any sortable
    kind, `columns` are the D feature names. `positive` is the class that becomes +1; None: the
    larger one.
    """

    features: np.ndarray
    labels: np.ndarray
    columns: tuple[str, ...]
    positive: str | bool | float | None = None


def prepare(raw: Raw, standardise: bool) -> Data:
    """Data with y in {−1, +1} and, when asked for, every feature at mean 0 and deviation 1.

    Raises `UserError` for a target without exactly two classes and for a feature whose spread
    float64 cannot hold.
    """
    y = signs(raw.labels, raw.positive)
    return Data(x=prepared(raw.features, raw.columns, standardise), y=y)


def prepared(features: np.ndarray, columns: Sequence[str], standardise: bool) -> np.ndarray:
    """The features (N, D) in float64, row by row in memory, each `standardised` when asked for."""
    x = np.array(features, dtype=np.float64, order="C")
    if standardise:
        for j, name in enumerate(columns):
            x[:, j] = standardised(x[:, j], name)
    return x


def numbered(count: int) -> tuple[str, ...]:
    """Names for the features of data without any: x1 and so on."""
    return tuple(f"x{j + 1}" for j in range(count))


def signs(labels: np.ndarray, positive: str | bool | float | None = None) -> np.ndarray:
    """−1 for one class and +1 for the other: the larger one, or the one called `positive`.

    Returns (N,) float64. Raises `UserError` unless there are exactly two classes.
    """
    classes = sorted(set(labels.tolist()))
    if len(classes) == 1:
        raise UserError(
            f"the target is constant: all {len(labels)} rows have {classes[0]!r}; two classes are"
            " accepted."
        )
    if len(classes) > 2:
        shown = ", ".join(repr(c) for c in classes[:5]) + (", …" if len(classes) > 5 else "")
        raise UserError(f"the target has {len(classes)} classes ({shown}): two are accepted.")
    upper = classes[1] if positive is None else _named_class(classes, positive)
    return np.where(labels == upper, 1.0, -1.0)


def _named_class(classes: list[object], positive: str | bool | float) -> object:
    """The class written as `positive`; 1, 1.0 and '1' name the same class."""
    for found in classes:
        if found == positive or str(found) == str(positive) or _number(found) == _number(positive):
            return found
    raise unknown("problem.positive", str(positive), [str(c) for c in classes])


def _number(value: object) -> float | str:
    """The number a value stands for; its text when it stands for none."""
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def standardised(column: np.ndarray, name: str) -> np.ndarray:
    """The column at mean 0 and population standard deviation 1; zeros when it is constant.

    `name` is for the `UserError` raised when the column's spread is beyond float64.
    """
    if column.min() == column.max():
        return np.zeros_like(column)
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            return _standardised(column)
    except ArithmeticError:  # an overflow, or a spread so small that its square is zero
        raise UserError(
            f"column '{name}' runs from {column.min():g} to {column.max():g}: its spread cannot be"
            " computed in float64; rescale it, or set problem.standardise=false."
        ) from None


def _standardised(column: np.ndarray) -> np.ndarray:
    mean, deviation = _moments(column)
    if abs(mean) <= STANDARD_TOLERANCE and abs(deviation - 1.0) <= STANDARD_TOLERANCE:
        return column
    centred = column - mean
    # The mean itself was rounded: what it left is taken off too, or a column far from zero would
    # keep a mean of eps·|mean|/deviation and move again when standardised twice.
    centred = centred - _mean(centred)
    return np.asarray(centred / _moments(centred)[1])


def _mean(column: np.ndarray) -> float:
    return math.fsum(column.tolist()) / len(column)


def _moments(column: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation of a column."""
    mean = _mean(column)
    return mean, math.sqrt(math.fsum(((column - mean) ** 2).tolist()) / len(column))
