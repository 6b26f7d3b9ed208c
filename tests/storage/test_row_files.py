"""Row files: whole or absent, equal bytes for equal rows, and never read when damaged."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.errors import UserError
from sweep.rows import KEY, columns
from sweep.storage import durable
from sweep.storage.arrow_schema import row_schema, to_table
from sweep.storage.layout import Layout
from sweep.storage.row_files import (
    checksums_of,
    commit,
    finished_jobs,
    read_rows,
    row_paths,
    serialise,
)

# Pins writer and schema: if this changes, so do all row files of users. Holds for the pyarrow
# version whose name stands in the file itself; another version may write other bytes.
GOLDEN = ("25.0.1", "7a055928a703d4bf5583813f39e3ed7e533d3e272919db38be51aa0b6d0df807")


@pytest.fixture
def stored(layout, cells, rows_of) -> Layout:
    """Two jobs of two cells on disk; the second stores no parameters."""
    commit(layout, "cA", to_table(rows_of(0, "cA", range(3)), cells))
    commit(layout, "cB", to_table(rows_of(1, "cB", range(3), stored=False), cells))
    return layout


def test_schema_names_every_column_of_the_study_once_and_in_order(cells):
    schema = row_schema(cells)
    assert schema.names == [column.name for column in columns(cells)]
    assert len(set(schema.names)) == len(schema.names)
    assert schema.field("params").type == pa.list_(pa.float64())
    assert schema.field("verdict").type == pa.dictionary(pa.int32(), pa.string())
    assert schema.metadata[b"schema_version"] == b"1"


def test_numbers_that_are_none_become_null(cells, rows_of):
    rows = rows_of(0, "cA", range(3))
    rows["final_error"] = [math.nan, math.inf, -math.inf, None, 0.5, 0]
    rows["params"] = [None, [], [1.0, math.nan], [math.inf], [2.0], [3.0]]
    table = to_table(rows, cells)
    assert table["final_error"].to_pylist() == [None, None, None, None, 0.5, 0.0]
    assert table["params"].to_pylist() == [None, [], [1.0, None], [None], [2.0], [3.0]]


def test_missing_extra_and_wrong_columns_are_refused(cells, rows_of):
    rows = rows_of(0, "cA", range(1))
    with pytest.raises(ValueError, match=r"missing: verdict"):
        to_table({k: v for k, v in rows.items() if k != "verdict"}, cells)
    with pytest.raises(ValueError, match=r"not in the schema: lambda"):
        to_table({**rows, "lambda": [0, 0]}, cells)
    with pytest.raises(ValueError, match=r"'steps' is no int"):
        to_table({**rows, "steps": [1.5, 2]}, cells)
    with pytest.raises(ValueError, match=r"'params' is no floats"):
        to_table({**rows, "params": [[[1.0]], [[2.0]]]}, cells)
    with pytest.raises(ValueError, match="differ in length"):
        to_table({**rows, "seed": [1]}, cells)


def test_an_axis_that_only_other_cells_have_is_null(cells, rows_of):
    others = [*cells, replace(cells[0], id="cX", axes={**cells[0].axes, "problem.n": 10})]
    table = to_table(rows_of(0, "cA", range(3)), others)
    assert table["problem.n"].to_pylist() == [None] * 6
    assert table.schema == row_schema(others)


def test_first_commit_wins_and_the_second_changes_nothing(layout, cells, rows_of):
    table = to_table(rows_of(0, "cA", range(3)), cells)
    assert commit(layout, "cA", table) is True
    before = layout.row_file("cA").stat()
    assert commit(layout, "cA", table) is False
    after = layout.row_file("cA").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(layout.incoming.iterdir()) == []


def test_equal_rows_in_any_order_give_equal_bytes(cells, rows_of):
    table = to_table(rows_of(0, "cA", range(5)), cells)
    backwards = table.take(list(range(table.num_rows))[::-1])
    assert serialise(table, ["cA"]) == serialise(table, ["cA"]) == serialise(backwards, ["cA"])


def test_bytes_are_pinned(cells, rows_of):
    if pa.__version__ != GOLDEN[0]:
        pytest.skip(f"pinned for pyarrow {GOLDEN[0]}")
    data = serialise(to_table(rows_of(0, "cA", range(5)), cells), ["cA"])
    assert hashlib.sha256(data).hexdigest() == GOLDEN[1]


def test_rows_come_back_bit_for_bit_sorted_by_key(layout, cells, rows_of):
    rows = rows_of(0, "cA", range(3))
    commit(layout, "cA", to_table(rows, cells))
    back = read_rows(layout).to_pylist()
    expected = [
        {name: rows[name][i] for name in row_schema(cells).names}
        for i in sorted(range(6), key=lambda i: [rows[name][i] for name in KEY])
    ]
    assert back == expected


def test_rows_of_another_job_or_with_a_shared_key_are_refused(layout, cells, rows_of):
    table = to_table(rows_of(0, "cA", range(2)), cells)
    with pytest.raises(ValueError, match="expected"):
        commit(layout, "cB", table)
    with pytest.raises(ValueError, match="share a key"):
        commit(layout, "cA", pa.concat_tables([table, table]))
    assert finished_jobs(layout) == set()


def test_checksums_are_those_of_coreutils(stored):
    names = sorted(str(path) for path in stored.checksums.iterdir())
    done = subprocess.run(
        ["sha256sum", "-c", *names], cwd=stored.root, capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == 2


def test_pandas_duckdb_and_polars_read_the_folder(stored):
    (stored.incoming / ".cC.parquet.0.tmp").write_bytes(b"a commit that was killed")
    frame = pd.read_parquet(stored.rows)
    duck = duckdb.sql(f"select * from '{stored.rows}/*.parquet'").df()
    polar = pl.read_parquet(stored.rows)
    for found in (frame, duck, polar):
        assert len(found) == 12
        assert list(found.columns) == pq.read_schema(stored.row_file("cA")).names
    assert frame.duplicated(list(KEY)).sum() == 0
    assert frame.query("arm == 'exp'").groupby("cell").size().to_dict() == {
        "c00000001": 3,
        "c00000002": 3,
    }
    assert polar["params"].null_count() == duck["params"].isna().sum() == 6
    assert [list(v) for v in frame["params"].dropna()] == [
        list(v) for v in polar["params"].drop_nulls()
    ]
    assert polar["judged_error"].dtype == pl.Float64
    assert polar["judged_error"].null_count() == 12


def test_reading_gives_plain_types_and_obeys_columns_and_filters(stored):
    frame = read_rows(stored).to_pandas()
    assert isinstance(frame["arm"].dtype, pd.StringDtype)
    assert frame["lam"].dtype == "float64"
    some = read_rows(stored.rows, ["seed", "arm"], [("arm", "=", "exp"), ("seed", "<", 2)])
    assert some.to_pydict() == {"seed": [0, 1, 0, 1], "arm": ["exp"] * 4}


def test_finished_jobs_are_names_or_the_footers_of_merged_files(stored, cells):
    assert finished_jobs(stored) == {"cA", "cB"}
    merged = serialise(pa.concat_tables(map(pq.read_table, row_paths(stored.rows))), ["cA", "cB"])
    for path in row_paths(stored.rows):
        path.unlink()
    durable.publish(stored.rows / "merged-0.parquet", merged)
    assert finished_jobs(stored) == {"cA", "cB"}
    assert read_rows(stored).num_rows == 12


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_named_and_never_read(stored, where):
    path = stored.row_file("cB")
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cB.parquet' is damaged"):
        read_rows(stored)


def test_page_checksums_and_truncation_are_seen_without_a_checksum_file(stored):
    path = stored.row_file("cB")
    whole = path.read_bytes()
    stored.checksum_file("cB").unlink()
    page = pq.read_metadata(path).row_group(0).column(4)
    data = bytearray(whole)
    data[page.data_page_offset + page.total_compressed_size - 1] ^= 1
    for damaged in (data, whole[:-100], b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cB.parquet' is no intact row file"):
            read_rows(stored)


def _rewrite(path: Path, **metadata: str) -> None:
    table = pq.read_table(path)
    changed = {key.encode(): value.encode() for key, value in metadata.items()}
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **changed}), path)


def test_newer_and_foreign_files_are_refused(stored):
    stored.checksum_file("cB").unlink()
    _rewrite(stored.row_file("cB"), study="another")
    with pytest.raises(UserError, match="another study"):
        read_rows(stored)
    _rewrite(stored.row_file("cB"), schema_version="2")
    with pytest.raises(UserError, match=r"has schema 2.*use a newer sweep"):
        read_rows(stored)


def test_no_rows_is_a_sentence(layout):
    with pytest.raises(UserError, match="holds no row files"):
        read_rows(layout)


def test_without_hard_links_commits_are_still_whole_and_single(layout, cells, rows_of, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    table = to_table(rows_of(0, "cA", range(3)), cells)
    assert commit(layout, "cA", table) is True
    assert commit(layout, "cA", table) is False
    assert read_rows(layout).num_rows == 6
    assert list(layout.incoming.iterdir()) == []


@pytest.mark.parametrize("call", ["link", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_refused_write_leaves_no_row_file_behind(layout, cells, rows_of, monkeypatch, call, code):
    table = to_table(rows_of(0, "cA", range(3)), cells)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        # EIO may pass by itself: it stays an OSError, which executors try again.
        with pytest.raises(OSError if code == errno.EIO else UserError):
            commit(layout, "cA", table)
    assert finished_jobs(layout) == set()
    assert not layout.incoming.is_dir() or list(layout.incoming.iterdir()) == []
    assert commit(layout, "cA", table) is True
    assert read_rows(layout).num_rows == 6


def test_an_attempt_with_other_bytes_does_not_spoil_the_winner(layout, cells, rows_of):
    """A run that stored no parameters died between its checksum and its rows."""
    bare = to_table(rows_of(0, "cA", range(3), stored=False), cells)
    full = to_table(rows_of(0, "cA", range(3)), cells)
    commit(layout, "cA", bare)
    layout.row_file("cA").unlink()
    with layout.checksum_file("cA").open("a") as file:
        file.write("0123 torn li")
    assert commit(layout, "cA", full) is True
    assert read_rows(layout)["params"].null_count == 0
    digest = hashlib.sha256(layout.row_file("cA").read_bytes()).hexdigest()
    assert digest in checksums_of(layout, layout.row_file("cA"))


def test_a_folder_that_must_not_be_listed_is_not_taken_for_an_empty_one(stored, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "scandir", refuse)
    for ask in (finished_jobs, read_rows, lambda layout: row_paths(layout.rows)):
        with pytest.raises(UserError, match="rows' cannot be listed: permission is denied"):
            ask(stored)
