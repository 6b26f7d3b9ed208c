"""Damage: every flipped byte and every cut of a row file is named, and nobody averages it in."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.errors import UserError
from sweep.storage.arrow_schema import row_schema, to_table
from sweep.storage.checksums import add_checksum, differs, sha256
from sweep.storage.compaction import compact
from sweep.storage.integrity import Fault, sound_files
from sweep.storage.layout import Layout
from sweep.storage.row_files import commit, decoded, read_job, read_rows, read_whole, serialise
from sweep.storage.study_file import Header, agree_blocks

STUDY = "0123456789ab"


@pytest.fixture
def stored(layout, cells, rows_of) -> Layout:
    """Two jobs of two cells and a witness search."""
    header = Header(STUDY, "tiny", "cpu", {}, {cell.id: {} for cell in cells})
    agree_blocks(layout, header, lambda known: known, {"code": "of these tests"})
    for index, job in enumerate(("cA", "cB")):
        commit(layout, job, to_table(rows_of(index, job, range(2)), cells))
    commit(layout, "rA", to_table(rows_of(0, "rA", range(1)), cells), reference=True)
    return layout


def check(layout: Layout) -> tuple[int, list[Fault]]:
    """How many rows can be trusted, and what is wrong with the files."""
    faults: list[Fault] = []
    return sum(file.rows.num_rows for file in sound_files(layout, STUDY, faults)), faults


def named(layout: Layout) -> list[tuple[str, str]]:
    return [(fault.file, fault.what) for fault in check(layout)[1]]


def replaced(layout: Layout, job: str, table: pa.Table) -> None:
    """The job's file has these rows, and a checksum that fits."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    layout.row_file(job).write_bytes(sink.getvalue())
    layout.checksum_file(job).unlink()
    add_checksum(layout, layout.row_file(job), sha256(layout.row_file(job).read_bytes()))


def test_sound_files_have_no_faults(stored):
    assert check(stored) == (8, [])
    compact(stored)
    assert check(stored) == (8, [])


def test_every_flipped_byte_and_every_cut_is_found(stored):
    path = stored.row_file("cB")
    whole = path.read_bytes()
    assert not differs(stored, path, whole)
    damage = bytearray(whole)
    for where in range(len(whole)):
        damage[where] ^= 1 << where % 8
        assert differs(stored, path, bytes(damage))
        assert differs(stored, path, whole[:where])
        damage[where] = whole[where]
    for data in (whole[:-1], whole[:100], b"", whole[:99] + b"?" + whole[100:], whole + b"\0"):
        path.write_bytes(data)
        assert named(stored) == [("cB.parquet", "cannot be read")]
        assert check(stored)[0] == 4
        with pytest.raises(UserError, match=r"cB\.parquet' is damaged"):
            read_rows(stored)


def test_without_its_checksum_no_changed_number_passes_and_the_file_is_named_anyway(stored):
    """Page checksums cover the stored rows; headers and the footer are what they leave open."""
    path = stored.row_file("cB")
    whole, truth = path.read_bytes(), decoded(read_whole(path).rows)
    stored.checksum_file("cB").unlink()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    passed, tried = 0, range(4, footer, 17)
    damage = bytearray(whole)
    for where in tried:
        damage[where] ^= 1 << where % 8
        path.write_bytes(damage)
        with contextlib.suppress(UserError):
            passed += not decoded(read_whole(path).rows).equals(truth)
        damage[where] = whole[where]
    assert passed <= 0.02 * len(tried)
    path.write_bytes(whole)
    assert named(stored) == [("cB.parquet", "has no SHA-256")]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda s: s.row_file("cB").unlink(), ("cB.parquet", "is not there")),
        (lambda s: s.row_file("cB").write_bytes(b""), ("cB.parquet", "cannot be read")),
        (lambda s: s.checksum_file("cB").unlink(), ("cB.parquet", "has no SHA-256")),
        (lambda s: s.checksum_file("cB").write_bytes(b""), ("cB.parquet", "has no SHA-256")),
        (
            lambda s: s.checksum_file("cB").write_text("0" * 64 + "  rows/cB.parquet\n"),
            ("cB.parquet", "cannot be read"),
        ),
        (
            lambda s: s.checksum_file("cB").write_bytes(b"\xff" * 80),
            ("cB.parquet", "has no SHA-256"),
        ),
        (
            lambda s: (s.checksum_file("cB").unlink(), s.checksum_file("cB").mkdir()),
            ("cB.parquet", "has no SHA-256"),
        ),
        (lambda s: (s.rows / "notes.txt").write_text("mine"), ("notes.txt", "is no row file")),
        (lambda s: s.reference_file("rA").write_bytes(b"PAR1"), ("rA.parquet", "cannot be read")),
        (lambda s: s.reference_file("rA").unlink(), ("rA.parquet", "is not there")),
        (lambda s: shutil.rmtree(s.checksums), ("cA.parquet", "has no SHA-256")),
    ],
)
def test_files_and_records_that_are_lost_or_spoilt_are_named(
    stored, damage: Callable[[Layout], object], found
):
    damage(stored)
    assert named(stored)[0] == found


def test_every_damaged_byte_of_a_checksum_record_is_found(stored):
    record = stored.checksum_file("cB")
    whole = record.read_bytes()
    for where in range(len(whole) - 1):  # the last is the end of the line
        record.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
        assert [file for file, _ in named(stored)] == ["cB.parquet"]


def test_foreign_newer_and_differing_files_are_named_and_left_out(stored):
    table = pq.read_table(stored.row_file("cB"))
    other = {**table.schema.metadata, b"study": b"ba9876543210"}
    replaced(stored, "cB", table.replace_schema_metadata(other))
    assert named(stored) == [("cB.parquet", "is foreign")]
    assert check(stored)[0] == 4
    newer = {**table.schema.metadata, b"schema_version": b"2"}
    replaced(stored, "cB", table.replace_schema_metadata(newer))
    assert "has schema 2" in check(stored)[1][0].details
    replaced(stored, "cB", table.drop_columns(["flat_dim"]))
    assert named(stored) == [("cB.parquet", "has other columns")]
    for ask in (read_rows, compact):
        with pytest.raises(UserError, match=r"cB\.parquet' has other columns"):
            ask(stored)


def test_a_job_in_two_files_is_named_and_counted_once(stored):
    own = stored.row_file("cA")
    data, line = own.read_bytes(), stored.checksum_file("cA").read_bytes()
    compact(stored)
    own.write_bytes(data)
    stored.checksum_file("cA").write_bytes(line)
    assert named(stored) == [("cA.parquet", "holds jobs twice")]
    assert check(stored)[0] == 8
    (merged,) = (path for path in stored.rows.iterdir() if path != own)
    assert json.loads(pq.read_metadata(merged).metadata[b"jobs"]) == ["cA", "cB"]
    compact(stored)
    assert check(stored) == (8, [])


def test_a_copy_under_another_name_is_named(stored):
    shutil.copy(stored.row_file("cA"), stored.row_file("cZ"))
    assert named(stored) == [("cZ.parquet", "cannot be read")]
    with pytest.raises(UserError, match=r"cZ\.parquet' holds the rows of job cA"):
        compact(stored)
    assert serialise(read_whole(stored.row_file("cA")).rows, ["cA"])


def test_files_that_exchanged_their_names_are_refused_though_their_sums_fit(stored):
    one, two = stored.row_file("cA"), stored.row_file("cB")
    first, second = one.read_bytes(), two.read_bytes()
    for path, data in ((one, second), (two, first)):
        path.write_bytes(data)
        stored.checksum_file(path.stem).unlink()
        add_checksum(stored, path, sha256(data))
    assert named(stored) == [("cA.parquet", "cannot be read"), ("cB.parquet", "cannot be read")]
    for ask in (read_rows, compact, lambda place: read_job(place, "cA")):
        with pytest.raises(UserError, match=r"cA\.parquet' holds the rows of job cB"):
            ask(stored)


def test_a_copy_that_a_file_synchroniser_made_is_in_no_count(stored):
    path = stored.row_file("cA")
    shutil.copy(path, path.with_name("cA (conflicted copy).parquet"))
    with pytest.raises(UserError, match=r"conflicted copy.* holds the rows of job cA"):
        read_rows(stored, ["verdict"])
    assert check(stored)[0] == 8


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_is_no_file_at_all_is_named_like_a_damaged_one(stored, kind):
    path = stored.row_file("cB")
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(stored.root / "nowhere")
    assert named(stored) == [("cB.parquet", "cannot be read")]
    for ask in (read_rows, lambda place: read_job(place, "cB")):
        with pytest.raises(UserError, match=r"cB\.parquet' is no intact row file"):
            ask(stored)


def test_rows_without_a_key_and_columns_of_another_type_are_left_out(stored, cells):
    table = pq.read_table(stored.row_file("cA"))
    seeds = table.schema.get_field_index("seed")
    holes = table.set_column(seeds, "seed", pa.array([None, *range(3)], pa.int64()))
    replaced(stored, "cA", holes.replace_schema_metadata(table.schema.metadata))
    assert named(stored) == [("cA.parquet", "cannot be read")]
    with pytest.raises(UserError, match="rows lack a part of their key"):
        read_rows(stored, ["seed"])
    words = table.set_column(seeds, "seed", pa.array(["0", "0", "1", "1"]))
    replaced(stored, "cA", words.replace_schema_metadata(table.schema.metadata))
    faults: list[Fault] = []
    rest = list(sound_files(stored, STUDY, faults, row_schema(cells)))
    assert [file.path.stem for file in rest] == ["cB"], "not the first file decides, but the study"
    assert [(fault.file, fault.what) for fault in faults] == [("cA.parquet", "has other columns")]
