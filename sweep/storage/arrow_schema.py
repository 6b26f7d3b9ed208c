"""The one explicit Arrow schema of row files, and the only way columns become a table.

An untyped all-null column, or a column that only some files have, would break or silently thin out
a read of the whole folder; so no type here is ever inferred from values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.rows import SCHEMA_VERSION, Column, Kind, as_kind, axis_columns, columns
from sweep.spec import Cell

VERSION_KEY = b"schema_version"
_TYPES: dict[Kind, pa.DataType] = {
    "word": pa.dictionary(pa.int32(), pa.string()),
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "floats": pa.list_(pa.float64()),
}


def row_schema(cells: Sequence[Cell]) -> pa.Schema:
    """The schema of a study's rows, with `schema_version` in its metadata."""
    fields = [pa.field(column.name, _TYPES[column.kind]) for column in columns(cells)]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})


def to_table(values: Mapping[str, Sequence[Any]], cells: Sequence[Cell]) -> pa.Table:
    """Columns of equal length as a table of `row_schema(cells)`.

    NaN and ±inf become null, also inside lists: a row never holds a number that is none, and no
    mean can swallow one. A grid axis that only other cells of the study have is null here.
    `ValueError` for a missing, extra, too short or wrongly typed column.
    """
    wanted = columns(cells)
    names = {column.name for column in wanted}
    count = len(values["seed"]) if "seed" in values else 0
    values = {**{column.name: [None] * count for column in axis_columns(cells)}, **values}
    if missing := sorted(names - values.keys()):
        raise ValueError(f"columns are missing: {', '.join(missing)}")
    if extra := sorted(values.keys() - names):
        raise ValueError(f"columns are not in the schema: {', '.join(extra)}")
    if len({len(values[name]) for name in names}) > 1:
        raise ValueError("columns differ in length")
    arrays = [_array(column, values[column.name]) for column in wanted]
    return pa.Table.from_arrays(arrays, schema=row_schema(cells))


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    try:
        if column.kind == "float":
            return _floats(values)
        if column.kind == "floats":
            return _lists(values)
        if column.kind == "int":
            # Asked for integers directly, Arrow would cut 1.5 down to 1 without a word.
            return pa.array(values).cast(pa.int64())
        if column.kind == "word":
            words = [as_kind(value, "word") for value in values]
            return pa.array(words, pa.string()).dictionary_encode()
        return pa.array(values, _TYPES[column.kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        raise ValueError(f"column '{column.name}' is no {column.kind}: {error}") from error


def _floats(values: Any) -> pa.Array:
    numbers = np.asarray(values, dtype=np.float64)  # None becomes NaN
    return pa.array(numbers, pa.float64(), mask=~np.isfinite(numbers))


def _lists(values: Sequence[Any]) -> pa.Array:
    absent = np.array([value is None for value in values], dtype=bool)
    parts = [np.asarray(() if value is None else value, dtype=np.float64) for value in values]
    if any(part.ndim != 1 for part in parts):
        raise ValueError("each entry is a flat list of numbers, or None")
    offsets = np.zeros(len(parts) + 1, dtype=np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return pa.ListArray.from_arrays(
        pa.array(offsets), _floats(np.concatenate([np.empty(0), *parts])), mask=pa.array(absent)
    )
