"""Compaction: the same rows once, before, meanwhile and after, in fewer files."""

from __future__ import annotations

import errno
import hashlib
import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from sweep.errors import UserError
from sweep.rows import KEY
from sweep.storage import compaction
from sweep.storage.arrow_schema import to_table
from sweep.storage.compaction import compact
from sweep.storage.layout import Layout
from sweep.storage.row_files import commit, finished_jobs, read_job, read_rows, row_paths, serialise
from sweep.storage.study_file import Header, agree_blocks

JOBS = ("cA", "cB", "cC")


@pytest.fixture
def stored(layout, cells, rows_of) -> Layout:
    """A study with three jobs on disk, two of one cell."""
    header = Header("0123456789ab", "tiny", "cpu", {}, {cell.id: {} for cell in cells})
    agree_blocks(layout, header, lambda known: known, {})
    for job, cell, first in zip(JOBS, (0, 1, 0), (0, 0, 3), strict=True):
        commit(layout, job, to_table(rows_of(cell, job, range(first, first + 3)), cells))
    return layout


@pytest.fixture(params=["exchange", "one by one"])
def way(request, monkeypatch) -> str:
    """Both ways of getting merged files into place."""
    if request.param == "one by one":

        def refuse(*_: object) -> None:
            raise OSError(errno.EINVAL, "no such rename here")

        monkeypatch.setattr(compaction, "exchange", refuse)
    return str(request.param)


def contents(layout: Layout) -> list[tuple[str, ...]]:
    """All rows, in the order of their keys, down to the last bit."""
    return sorted(tuple(map(repr, row.values())) for row in read_rows(layout).to_pylist())


def test_the_same_rows_in_one_file(stored, way):
    before = contents(stored)
    one = {job: read_job(stored, job).to_pylist() for job in JOBS}
    done = compact(stored)
    assert (done.jobs, done.files_before, done.files_after) == (3, 3, 1)
    assert contents(stored) == before
    assert finished_jobs(stored) == set(JOBS)
    assert {job: read_job(stored, job).to_pylist() for job in JOBS} == one
    assert read_job(stored, "cX") is None
    (merged,) = row_paths(stored.rows)
    assert merged.name.startswith("merged-")
    names = sorted(path.name for path in stored.root.iterdir() if path.is_dir())
    assert names == [".incoming", "checksums", "rows"]
    assert list(stored.incoming.iterdir()) == []


def test_other_readers_see_each_row_once_and_coreutils_the_same_bytes(stored, way):
    compact(stored)
    frame = pd.read_parquet(stored.rows)
    duck = duckdb.sql(f"select * from '{stored.rows}/*.parquet'").df()
    for found in (frame, duck, pl.read_parquet(stored.rows)):
        assert len(found) == 18
    assert frame.duplicated(list(KEY)).sum() == 0
    (record,) = stored.checksums.iterdir()
    subprocess.run(["sha256sum", "-c", record], cwd=stored.root, check=True, capture_output=True)


def test_bytes_depend_on_the_jobs_alone(stored, cells, rows_of, tmp_path):
    other = Layout.for_study(tmp_path / "elsewhere", "tiny", "0123456789ab")
    agree_blocks(other, Header("0123456789ab", "tiny", "cpu", {}, {}), lambda known: known, {})
    for job in reversed(JOBS):
        commit(other, job, pq.read_table(stored.row_file(job)))
    compact(stored)
    compact(other)
    (one,), (two,) = row_paths(stored.rows), row_paths(other.rows)
    assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())


def test_a_second_time_only_new_files_are_merged(stored, cells, rows_of, way):
    compact(stored)
    (merged,) = row_paths(stored.rows)
    bytes_before = merged.read_bytes()
    for job in JOBS:  # attempts of finished jobs that come late
        assert commit(stored, job, to_table(rows_of(0, job, range(3)), cells)) is False
    assert compact(stored).jobs == 0
    for job, first in (("cD", 6), ("cE", 9)):
        assert commit(stored, job, to_table(rows_of(0, job, range(first, first + 3)), cells))
    done = compact(stored)
    assert (done.jobs, done.files_before, done.files_after) == (2, 3, 2)
    assert merged.read_bytes() == bytes_before
    assert read_rows(stored).num_rows == 30


def test_files_are_merged_up_to_the_limit(stored):
    sizes = [path.stat().st_size for path in row_paths(stored.rows)]
    assert compact(stored, limit=min(sizes)).jobs == 0
    assert compact(stored, limit=sizes[0] + sizes[1]).files_after == 2
    assert finished_jobs(stored) == set(JOBS)


def test_a_job_in_its_own_file_and_a_merged_one_counts_once_until_it_is_settled(stored):
    own = {job: stored.row_file(job).read_bytes() for job in JOBS}
    before = contents(stored)
    compact(stored)
    for job, data in own.items():  # as a crash between the two steps leaves it
        stored.row_file(job).write_bytes(data)
    assert contents(stored) == before
    assert finished_jobs(stored) == set(JOBS)
    done = compact(stored)
    assert (done.jobs, done.files_after) == (3, 1)
    assert contents(stored) == before


def test_merged_files_that_share_a_job_count_it_once(stored, cells, rows_of):
    before = contents(stored)
    tables = {job: pq.read_table(stored.row_file(job)) for job in JOBS}
    compact(stored)
    pair = [*tables["cA"].to_pylist(), *tables["cB"].to_pylist()]
    table = to_table({name: [row[name] for row in pair] for name in pair[0]}, cells)
    for name in ("merged-0", "merged-z"):  # first and last in the order of names
        path = stored.rows / f"{name}.parquet"
        path.write_bytes(serialise(table, ["cA", "cB"]))
        assert contents(stored) == before
        path.unlink()


def test_a_merged_file_and_a_job_that_contradict_each_other_are_named(stored, cells, rows_of):
    rows = rows_of(0, "cA", range(3))
    compact(stored)
    rows["final_error"][0] = 0.125
    stored.row_file("cA").write_bytes(serialise(to_table(rows, cells), ["cA"]))
    with pytest.raises(UserError, match=r"cA.parquet' and 'merged-.*different rows of job cA"):
        compact(stored)
    assert len(row_paths(stored.rows)) == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "foreign", "newer"])
def test_nothing_is_touched_when_a_file_is_not_to_be_trusted(stored, damage):
    path = stored.row_file("cB")
    data = path.read_bytes()
    if damage in ("foreign", "newer"):
        table = pq.read_table(path)
        metadata = {**table.schema.metadata, b"schema_version": b"2"}
        if damage == "foreign":
            words = ["another"] * table.num_rows
            table = table.set_column(0, "study", [words])
            metadata = {**metadata, b"schema_version": b"1", b"study": b"another"}
        pq.write_table(table.replace_schema_metadata(metadata), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stored.checksum_file("cB").write_text(f"{digest}  rows/cB.parquet\n")
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes(flipped if damage == "flip" else data[:middle])
    before = {path.name: path.read_bytes() for path in row_paths(stored.rows)}
    with pytest.raises(UserError, match=r"cB\.parquet"):
        compact(stored)
    assert {path.name: path.read_bytes() for path in row_paths(stored.rows)} == before
    assert list(stored.incoming.iterdir()) == []


def test_a_damaged_merged_file_is_named_by_whoever_asks_for_jobs(stored):
    compact(stored)
    (merged,) = row_paths(stored.rows)
    merged.write_bytes(merged.read_bytes()[:-4])
    for ask in (finished_jobs, read_rows, compact):
        with pytest.raises(UserError, match=r"merged-.* is (damaged|no intact row file)"):
            ask(stored)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="is no results folder"):
        compact(Layout.at(tmp_path))
