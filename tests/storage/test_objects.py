"""Results in an object store: the same rows, commits, checks and compaction, through fsspec."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from sweep.cli.main import main
from sweep.errors import UserError
from sweep.rows import KEY
from sweep.spec import Block
from sweep.storage import locks
from sweep.storage.arrow_schema import to_table
from sweep.storage.compaction import compact
from sweep.storage.integrity import Fault, sound_files
from sweep.storage.layout import Layout
from sweep.storage.locks import locked
from sweep.storage.objects import place
from sweep.storage.preflight import check_probe, probe, remove_probe
from sweep.storage.row_files import commit, finished_jobs, read_job, read_rows, row_paths
from sweep.storage.study_file import Header, agree_blocks, read_study

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = "0123456789ab"
HEADER = Header(STUDY, "tiny", "cpu", {}, {})
MADE_BY = {"code": "of these tests"}


@pytest.fixture(params=["memory", "local"])
def root(request, tmp_path: Path) -> Iterator[str]:
    """A URL of an empty place; `local` is a folder, through fsspec all the same."""
    if request.param == "local":
        yield f"local://{tmp_path}/objects"
        return
    yield f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def stored(root, cells, rows_of) -> Layout:
    layout = Layout.for_study(root, "tiny", STUDY)
    agree_blocks(layout, HEADER, lambda known: [Block(0, 3)], MADE_BY)
    for index, job in enumerate(("cA", "cB")):
        commit(layout, job, to_table(rows_of(index, job, range(3)), cells))
    return layout


def test_rows_are_those_of_a_folder_byte_by_byte(stored, root, layout, cells, rows_of):
    for index, job in enumerate(("cA", "cB")):
        commit(layout, job, to_table(rows_of(index, job, range(3)), cells))
        assert stored.row_file(job).read_bytes() == layout.row_file(job).read_bytes()
        record = stored.checksum_file(job).read_bytes()
        assert record == layout.checksum_file(job).read_bytes()
    assert read_rows(stored).equals(read_rows(layout))
    assert read_job(stored, "cA").equals(read_job(layout, "cA"))
    assert read_job(stored, "cX") is None
    assert finished_jobs(stored) == {"cA", "cB"}
    assert str(stored.root) == f"{root}/tiny-{STUDY}"
    assert pickle.loads(pickle.dumps(stored)) == stored


def test_the_first_commit_wins(stored, cells, rows_of):
    before = stored.row_file("cA").read_bytes()
    other = to_table(rows_of(0, "cA", range(3), stored=False), cells)
    assert commit(stored, "cA", other) is False
    assert stored.row_file("cA").create(b"another's") is False
    assert stored.row_file("cA").read_bytes() == before


def test_compaction_and_integrity(stored):
    def check() -> tuple[int, list[Fault]]:
        faults: list[Fault] = []
        return sum(file.rows.num_rows for file in sound_files(stored, STUDY, faults)), faults

    before = read_rows(stored).sort_by("seed").num_rows
    assert check() == (12, [])
    assert compact(stored).files_after == 1
    assert (read_rows(stored).num_rows, check()) == (before, (12, []))
    assert finished_jobs(stored) == {"cA", "cB"}
    (merged,) = row_paths(stored.rows)
    data = merged.read_bytes()
    merged.write_bytes(data[:-1])
    assert [fault.what for fault in check()[1]] == ["cannot be read"]
    with pytest.raises(UserError, match="merged-"):
        read_rows(stored)


def test_blocks_are_agreed_under_a_lock(stored, monkeypatch):
    agree_blocks(stored, HEADER, lambda known: [*known, Block(3, 2)], MADE_BY)
    assert read_study(stored).blocks == (Block(0, 3), Block(3, 2))
    with (
        locked(stored.lock_file),
        pytest.raises(UserError, match=r"study\.lock\.held' has been locked .* delete it"),
        locked(stored.lock_file, patience=0.05),
    ):
        pass
    with locked(stored.lock_file) as by_the_system:
        assert not by_the_system
    assert locks.PATIENCE >= 1


def test_workers_see_the_place(stored):
    token = probe(stored)
    check_probe(stored, token)
    remove_probe(stored, token)
    with pytest.raises(UserError, match="does not see the results folder"):
        check_probe(stored, token)
    assert read_rows(stored).num_rows == 12


def test_urls_of_files_are_paths_and_unknown_ones_are_refused(tmp_path):
    assert place(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    for url in ("ftpx://server/results", "nowhere://"):
        with pytest.raises(UserError, match=r"cannot be opened .* is accepted"):
            Layout.at(url)


def test_a_study_in_an_object_store(tmp_path, capsys):
    words = ["study=quick", "seeds.count=4", "stopping.max_steps=400", "compute=serial"]
    words += ["compute.block_size=2", "store.root=memory://results"]
    assert main(["run", *words, "store.root=nowhere://x", "tracking=none"]) == 2
    assert main(["run", *words]) == 2
    assert "set tracking.uri to a server, or tracking=none" in capsys.readouterr().err
    words.append("tracking=none")
    try:
        assert main(["run", *words]) == 0
        files = fsspec.filesystem("memory")
        (folder,) = files.ls("/results", detail=False)
        url = f"memory:/{folder}"
        for command in ("compact", "status", "verify"):
            assert main([command, url]) == 0, command
        assert main(["run", *words, f"store.root={tmp_path}"]) == 0
        assert "All agree" in capsys.readouterr().out
        (here,) = tmp_path.iterdir()
        key = [(name, "ascending") for name in KEY]
        assert (
            read_rows(Layout.at(url)).sort_by(key).equals(read_rows(Layout.at(here)).sort_by(key))
        )
        for table in (here / "summary").glob("*.csv"):
            assert files.cat(f"{folder}/summary/{table.name}") == table.read_bytes()
        assert files.exists(f"{folder}/report.html")
        assert not list(Path.cwd().glob("memory:*"))
    finally:
        fsspec.filesystem("memory").store.clear()
