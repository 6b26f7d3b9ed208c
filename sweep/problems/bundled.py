"""Real data that ship with scikit-learn: two classes each, no download.

Labels are scikit-learn's own class numbers, so that a table exported from scikit-learn and read
by the problem `table` gives the same data. scikit-learn is imported when a data set is loaded: it
takes a second, which a worker that trains on something else should not pay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweep.errors import UserError, unknown
from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import Raw, prepare
from sweep.registry import require

IRIS_CLASSES = ("setosa", "versicolor", "virginica")
WINE_CLASSES = ("class_0", "class_1", "class_2")


@PROBLEMS.add("iris_pair")
@dataclass(frozen=True)
class IrisPair:
    """Two species of Fisher's iris, N = 100, D = 4; the first class is −1, the second +1.

    Versicolor against virginica is the pair that no hyperplane separates.
    """

    classes: tuple[str, ...] = ("versicolor", "virginica")
    standardise: bool = True

    def __post_init__(self) -> None:
        _check_pair("problem.classes", self.classes, IRIS_CLASSES)

    def raw(self) -> Raw:
        """Sepal and petal lengths and widths in cm; labels 0, 1, 2 as in scikit-learn."""
        negative, positive = (IRIS_CLASSES.index(name) for name in self.classes)
        return _pair("load_iris", negative, positive)

    def load(self) -> Data:
        """The prepared data: x (100, 4), y (100,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("breast_cancer")
@dataclass(frozen=True)
class BreastCancer:
    """Wisconsin diagnostic breast cancer, N = 569, D = 30; malignant −1, benign +1."""

    standardise: bool = True

    def raw(self) -> Raw:
        """Thirty measurements of cell nuclei; labels 0 (malignant), 1 (benign)."""
        return _pair("load_breast_cancer", 0, 1)

    def load(self) -> Data:
        """The prepared data: x (569, 30), y (569,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("wine_pair")
@dataclass(frozen=True)
class WinePair:
    """Two of three cultivars by chemical analysis, D = 13; the first class is −1, the second +1.

    The default pair has N = 119 (71 and 48).
    """

    classes: tuple[str, ...] = ("class_1", "class_2")
    standardise: bool = True

    def __post_init__(self) -> None:
        _check_pair("problem.classes", self.classes, WINE_CLASSES)

    def raw(self) -> Raw:
        """Thirteen chemical measurements; labels 0, 1, 2 as in scikit-learn."""
        negative, positive = (WINE_CLASSES.index(name) for name in self.classes)
        return _pair("load_wine", negative, positive)

    def load(self) -> Data:
        """The prepared data: x (N, 13), y (N,)."""
        return prepare(self.raw(), self.standardise)


@PROBLEMS.add("digits_pair")
@dataclass(frozen=True)
class DigitsPair:
    """Two handwritten digits as 8 × 8 images, D = 64; the first digit is −1, the second +1.

    The default, 3 against 8, has N = 357. Pixels that never change become zero when standardised,
    so D is 64 for every pair. `per_class` keeps the first so many images of each digit.
    """

    digits: tuple[int, ...] = (3, 8)
    per_class: int | None = None
    standardise: bool = True

    def __post_init__(self) -> None:
        allowed = len(set(self.digits)) == len(self.digits) == 2 and set(self.digits) <= {
            *range(10)
        }
        require(allowed, "problem.digits", list(self.digits), "a list of two digits from 0 to 9")
        require(
            self.per_class is None or self.per_class >= 1,
            "problem.per_class",
            self.per_class,
            "a whole number ≥ 1, or null for all,",
        )

    def raw(self) -> Raw:
        """Grey values 0 … 16 of 64 pixels, row by row; labels are the digits."""
        negative, positive = self.digits
        return _pair("load_digits", negative, positive, self.per_class)

    def load(self) -> Data:
        """The prepared data: x (N, 64), y (N,)."""
        return prepare(self.raw(), self.standardise)


def _check_pair(where: str, given: tuple[str, ...], accepted: tuple[str, ...]) -> None:
    for name in given:
        if name not in accepted:
            raise unknown(where, name, accepted)
    if len(given) != 2 or given[0] == given[1]:
        raise UserError(
            f"{where} is {list(given)}: two different classes of {', '.join(accepted)} are"
            " accepted."
        )


def _pair(loader: str, negative: int, positive: int, per_class: int | None = None) -> Raw:
    """Rows of two classes in the order of the source; `positive` becomes +1."""
    from sklearn import datasets

    bunch = getattr(datasets, loader)()
    chosen = np.zeros(len(bunch.target), dtype=bool)
    for label in (negative, positive):
        chosen[np.flatnonzero(bunch.target == label)[:per_class]] = True
    return Raw(
        features=np.ascontiguousarray(bunch.data[chosen], dtype=np.float64),
        labels=bunch.target[chosen],
        columns=tuple(str(name) for name in bunch.feature_names),
        positive=positive,
    )
