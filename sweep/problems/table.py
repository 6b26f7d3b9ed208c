"""The user's own data: a CSV, Parquet or NPZ file with a target column of two classes.

Nothing is repaired silently: a file that cannot serve is refused with one sentence, because a
dropped row or a guessed number would change every frequency a study reports. pandas is imported
when a file is read.
"""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweep.errors import UserError, nearest
from sweep.problems.base import PROBLEMS, Data
from sweep.problems.tabular import Raw, prepare, signs

# A file as (name, values of shape (N,)) in its own order; names may still be doubled.
Columns = list[tuple[str, np.ndarray]]
_NO_TEXT = "it is no UTF-8 text, the one encoding that is accepted."
_NPY = b"\x93NUMPY"  # how a file of `numpy.save` begins


@PROBLEMS.add("table")
@dataclass(frozen=True)
class Table:
    """The file at `path`: every column but `target` is a feature, in the file's order.

    CSV (UTF-8, a header line, commas), Parquet, or NPZ (an array of shape (N,) is a column, one of
    shape (N, D) is D columns; `target` names an array). The two target values, sorted, become −1
    and +1; `positive` names the one that becomes +1 instead. The path is no part of a study's
    identity, the prepared numbers are.
    """

    path: str = field(metadata={"identity": False})
    target: str = "target"
    positive: str | bool | float | None = None
    standardise: bool = True

    def raw(self) -> Raw:
        """The features as float64 and the target as it stands; `UserError` if unfit."""
        columns = _read(Path(self.path).expanduser())
        positive = self.positive
        if isinstance(positive, float) and positive.is_integer():
            positive = int(positive)  # a refusal shows the 7 that was typed, not 7.0
        return _split(columns, self.path, self.target, positive)

    def load(self) -> Data:
        """The prepared data: x (N, D), y (N,)."""
        return prepare(self.raw(), self.standardise)


def _read(path: Path) -> Columns:
    """All columns of a file, by its extension."""
    readers: dict[str, Callable[[Path], Columns]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".npz": _read_npz,
    }
    if path.suffix.lower() not in readers:
        raise UserError(
            f"table {path} has the extension '{path.suffix}': {', '.join(readers)} are accepted."
        )
    if path.is_dir():
        raise UserError(f"table {path} is a folder: a file is accepted.")
    if not path.is_file():
        found = nearest(path.name, (p.name for p in path.parent.glob("*") if p.is_file()))
        hint = f"; did you mean '{found}'?" if found else "."
        raise UserError(f"table {path} is not there: an existing file is accepted{hint}")
    if path.stat().st_size == 0:
        raise UserError(f"table {path} is empty: a header and at least two rows are accepted.")
    try:
        columns = readers[path.suffix.lower()](path)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever a parser raises on a damaged file, the file is at fault
        reason = " ".join(str(error).split())
        raise UserError(
            f"table {path} cannot be read as {path.suffix[1:].upper()}: {reason}"
        ) from error
    _check_names([name for name, _ in columns], path)
    return columns


def _read_csv(path: Path) -> Columns:
    import pandas as pd

    _require_text(path)
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = [str(name).strip() for name in header.iloc[0]]
    _check_names(names, path)
    # Before 3.1 pandas rounds decimals carelessly unless told not to; since then it always reads
    # them to the last bit, and the argument is deprecated.
    old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
    exact: dict[str, Any] = {"float_precision": "round_trip"} if old else {}
    with warnings.catch_warnings():
        # pandas only warns of rows that are longer than the header, and cuts them.
        warnings.simplefilter("error")
        frame = pd.read_csv(path, index_col=False, low_memory=False, **exact)
    return [(name, frame.iloc[:, j].to_numpy()) for j, name in enumerate(names)]


def _require_text(path: Path) -> None:
    """Refuse what is no UTF-8 text (UTF-16 without a mark is, but for its zeros), or blank."""
    blank = True
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                blank = blank and not line.strip()
                if "\0" in line:
                    raise UserError(f"table {path} cannot be read as CSV: {_NO_TEXT}")
    except UnicodeDecodeError:
        raise UserError(f"table {path} cannot be read as CSV: {_NO_TEXT}") from None
    if blank:
        raise UserError(
            f"table {path} cannot be read as CSV: it has blank lines only; a header line and at"
            " least two rows, in UTF-8, are accepted."
        )


def _read_parquet(path: Path) -> Columns:
    import pandas as pd

    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        named = [f"'{name}'" for name in frame.index.names if name is not None]
        raise UserError(
            f"table {path} stores a pandas row index ({', '.join(named) or 'without a name'}),"
            " which is no column: write the file after reset_index() if it is a feature, or with"
            " index=False if it is not."
        )
    return [(str(name), frame.iloc[:, j].to_numpy()) for j, name in enumerate(frame.columns)]


def _read_npz(path: Path) -> Columns:
    columns: Columns = []
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            single = file.read(len(_NPY)) == _NPY
        found = "it is the single array of an NPY file" if single else "it is no such archive"
        raise UserError(
            f"table {path} cannot be read as NPZ: {found}; a file written by numpy.savez is"
            " accepted."
        )
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        for name in arrays.files:
            try:
                array = arrays[name]
            except ValueError as error:
                if "pickle" not in str(error):
                    raise
                raise UserError(
                    f"table {path}: array '{name}' holds pickled Python objects, which could run"
                    " code when read; arrays of numbers or text are accepted."
                ) from None
            columns += _npz_columns(name, array, path)
    return columns


def _npz_columns(name: str, array: np.ndarray, path: Path) -> Columns:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.ndim == 1:
        return [(name, array)]
    if array.ndim == 2:
        if array.shape[1] == 1:
            return [(name, array[:, 0])]
        return [(f"{name}[{j}]", array[:, j]) for j in range(array.shape[1])]
    raise UserError(
        f"table {path}: array '{name}' has {array.ndim} dimensions; (N,) or (N, D) are accepted."
    )


def _check_names(names: list[str], path: Path) -> None:
    for position, name in enumerate(names, start=1):
        if not name:
            raise UserError(
                f"table {path}: column {position} has no name; give it one, or write the file"
                " without a row index."
            )
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise UserError(
            f"table {path}: the column name '{doubled[0]}' stands there twice; every name may"
            " stand once."
        )


def _split(columns: Columns, path: str, target: str, positive: str | bool | float | None) -> Raw:
    """Features and target apart, both checked."""
    found = dict(columns)
    if target not in found:
        close = nearest(target, found)
        hint = f"; did you mean '{close}'?" if close else "."
        shown = ", ".join(list(found)[:12]) + (", …" if len(found) > 12 else "")
        raise UserError(f"table {path} has no target column '{target}': it has {shown}{hint}")
    labels = found.pop(target)
    if not found:
        raise UserError(f"table {path} has no column beside the target '{target}': add features.")
    _check_rows(path, len(labels), found)
    labels = _target(path, target, labels)
    features = [_feature(path, name, values) for name, values in found.items()]
    raw = Raw(np.column_stack(features), labels, tuple(found), positive)
    try:
        signs(raw.labels, raw.positive)
    except UserError as error:
        raise UserError(f"table {path}, column '{target}': {error}") from None
    return raw


def _check_rows(path: str, count: int, features: dict[str, np.ndarray]) -> None:
    for name, values in features.items():
        if len(values) != count:
            raise UserError(
                f"table {path}: '{name}' has {len(values)} rows and the target has {count}; equal"
                " lengths are accepted."
            )
    if count < 2:
        rows = "no row" if count == 0 else "only one row"
        raise UserError(f"table {path} has {rows}: at least two rows are accepted.")


def _target(path: str, name: str, values: np.ndarray) -> np.ndarray:
    """The target's classes as plain Python values that sort; refused if any is missing."""
    _refuse_missing(path, name, values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"table {path}: the target '{name}' holds infinity; finite is accepted.")
    if values.dtype.kind in "bifu":
        return values
    return np.array([str(value) for value in values.tolist()], dtype=np.str_)


def _feature(path: str, name: str, values: np.ndarray) -> np.ndarray:
    """A feature as float64; refused when it is text, incomplete or infinite."""
    _refuse_missing(path, name, values)
    if values.dtype.kind == "O" and all(isinstance(v, (bool, int, float)) for v in values):
        values = values.astype(np.float64)
    if values.dtype.kind not in "bifu":
        shown = values[0]
        raise UserError(
            f"table {path}: column '{name}' is not a number (its first value is {shown!r}); numbers"
            " are accepted, so encode text first or leave the column out."
        )
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0]) + 1
        raise UserError(
            f"table {path}: column '{name}' is infinite in row {row}; finite is accepted."
        )
    return numbers


def _refuse_missing(path: str, name: str, values: np.ndarray) -> None:
    import pandas as pd

    missing: Any = pd.isna(values)
    if missing.any():
        raise UserError(
            f"table {path}: column '{name}' has {int(missing.sum())} missing values, the first in"
            f" row {int(np.flatnonzero(missing)[0]) + 1}; fill them or drop these rows."
        )
