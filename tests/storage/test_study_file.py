"""study.json: created once, blocks agreed under a lock, everything else refused in a sentence."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.errors import UserError
from sweep.planning import plan_blocks
from sweep.rows import NUMERICS_VERSION
from sweep.spec import Block
from sweep.storage import study_file
from sweep.storage.layout import Layout
from sweep.storage.locks import locked
from sweep.storage.preflight import check_probe, probe, remove_probe
from sweep.storage.provenance import provenance, without_credentials
from sweep.storage.study_file import Header, agree_blocks, read_study

HEADER = Header(
    "0123456789ab",
    "tiny",
    "cpu",
    {"seeds": {"count": 4}, "tracking": {"uri": "https://me:secret@host:5000/x"}},
    {"c00000001": {"model.width": 2}},
)


def ask(layout: Layout, first: int, count: int, size: int, header: Header = HEADER) -> list[Block]:
    return agree_blocks(layout, header, lambda known: plan_blocks(known, Block(first, count), size))


def test_first_run_creates_and_later_runs_extend(layout):
    assert ask(layout, 0, 4, 2) == [Block(0, 2), Block(2, 2)]
    assert ask(layout, 0, 7, 5) == [Block(0, 2), Block(2, 2), Block(4, 3)]
    assert ask(layout, 0, 3, 1) == [Block(0, 2), Block(2, 2)]
    found = read_study(layout)
    assert found.blocks == (Block(0, 2), Block(2, 2), Block(4, 3))
    assert found.header.cells == HEADER.cells
    assert found.later_provenance == ()


def test_what_is_written(layout, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", "hunter2")
    ask(layout, 0, 4, 2)
    text = layout.study_file.read_text()
    written = json.loads(text)
    assert written["schema_version"] == 1
    assert written["numerics"] == NUMERICS_VERSION
    assert written["study"] == "0123456789ab"
    assert written["device"] == "cpu"
    assert written["blocks"] == [[0, 2], [2, 2]]
    assert written["config"]["tracking"]["uri"] == "https://host:5000/x"
    assert set(written["provenance"]["packages"]) >= {"torch", "ray", "mlflow", "pyarrow"}
    for secret in ("hunter2", "secret", str(Path.home()) + os.sep):
        assert secret not in text
    assert sorted(path.name for path in layout.root.iterdir()) == [".study.lock", "study.json"]


def test_another_code_version_is_recorded_once(layout, monkeypatch):
    ask(layout, 0, 4, 2)
    monkeypatch.setattr(study_file, "provenance", lambda: {"sweep": "9.9"})
    ask(layout, 0, 4, 2)
    ask(layout, 0, 4, 2)
    assert read_study(layout).later_provenance == ({"sweep": "9.9"},)


def test_what_later_runs_ask_for_is_kept_and_the_first_run_stays(layout):
    def asked(count: int, baseline: str) -> Header:
        return replace(HEADER, config={"seeds": {"count": count}, "baseline": baseline})

    ask(layout, 0, 4, 2, asked(4, "plain"))
    before = layout.study_file.read_bytes()
    ask(layout, 0, 4, 2, asked(4, "plain"))
    assert layout.study_file.read_bytes() == before  # as old files are, which have no such key
    for count, baseline in ((9, "plain"), (9, "exp"), (9, "plain"), (9, "plain")):
        ask(layout, 0, 4, 2, asked(count, baseline))
    found = read_study(layout)
    assert found.header.config == {"seeds": {"count": 4}, "baseline": "plain"}
    assert found.config == {"seeds": {"count": 9}, "baseline": "plain"}
    both = {"seeds": {"count": 9}, "baseline": "exp"}
    assert found.later_config == (both, {"seeds": {"count": 9}})
    ask(layout, 0, 4, 2, asked(4, "plain"))
    assert read_study(layout).config == found.header.config


def test_overlapping_blocks_are_a_bug_and_are_not_written(layout):
    ask(layout, 0, 4, 2)
    with pytest.raises(ValueError, match="overlap"):
        agree_blocks(layout, HEADER, lambda known: [Block(1, 2)])
    assert read_study(layout).blocks == (Block(0, 2), Block(2, 2))


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (replace(HEADER, study_id="ba9876543210"), "holds study 0123456789ab, not ba9876543210"),
        (replace(HEADER, device="cuda"), "CPU and GPU rows do not share a folder"),
    ],
)
def test_a_folder_of_another_kind_is_refused(layout, header, sentence):
    ask(layout, 0, 4, 2)
    layout.rows.mkdir()
    layout.row_file("c0-s0").touch()
    before = layout.study_file.read_bytes()
    with pytest.raises(UserError, match=sentence):
        ask(layout, 0, 8, 2, header)
    assert layout.study_file.read_bytes() == before


def test_another_device_may_take_over_while_there_are_no_rows(layout):
    ask(layout, 0, 4, 2, replace(HEADER, device="cuda"))
    ask(layout, 0, 4, 2, HEADER)
    assert read_study(layout).header.device == "cpu"


def test_rows_without_their_study_file_are_not_added_to(layout):
    ask(layout, 0, 4, 2)
    layout.rows.mkdir()
    layout.row_file("c0-s0").touch()
    layout.study_file.unlink()
    with pytest.raises(UserError, match=r"has rows but no study\.json"):
        ask(layout, 0, 4, 3)
    assert not layout.study_file.exists()


def test_a_folder_in_place_of_the_study_file_is_refused(layout):
    layout.study_file.mkdir(parents=True)
    with pytest.raises(UserError, match="it is a folder"):
        read_study(layout)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is damaged"),
        ('{"schema_version": 1', "is damaged"),
        ("[]", "is damaged"),
        ('{"schema_version": 1}', "the key 'blocks' is missing"),
        ('{"schema_version": 1, "blocks": [[0, 20], [10, 30]]}', "blocks overlap"),
        ('{"schema_version": 1, "blocks": [[0, -5]]}', "empty or negative"),
        ('{"schema_version": 1, "blocks": [], "config": null}', "'config' is no mapping"),
        ('{"schema_version": 2}', "has schema 2, this release reads up to 1"),
    ],
)
def test_damaged_and_newer_files_are_refused(layout, text, sentence):
    layout.root.mkdir(parents=True)
    layout.study_file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        ask(layout, 0, 4, 2)
    assert layout.study_file.read_text() == text


def test_a_folder_without_study_is_named(tmp_path):
    with pytest.raises(UserError, match="is no results folder"):
        read_study(Layout.at(tmp_path))


def test_a_file_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    layout = Layout.for_study(tmp_path / "results", "tiny", HEADER.study_id)
    with pytest.raises(UserError, match=r"cannot be written: a part of the path is a file"):
        ask(layout, 0, 4, 2)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EROFS, "it is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_a_folder_that_cannot_be_written_is_a_sentence(layout, monkeypatch, code, sentence):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=rf"tiny-0123456789ab' cannot be written: {sentence}"):
        ask(layout, 0, 4, 2)


def _grow(root: str, size: int) -> None:
    for count in range(10, 210, 10):
        ask(Layout.at(root), 0, count, size)


def test_sweeps_at_once_agree_on_one_set_of_blocks(layout):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_grow, args=(str(layout.root), size)) for size in (3, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    blocks = read_study(layout).blocks
    assert [seed for block in blocks for seed in range(block.first, block.end)] == list(range(200))


def test_a_lock_that_is_held_for_long_is_a_sentence(tmp_path):
    with (
        locked(tmp_path / "lock"),
        pytest.raises(UserError, match="locked by another sweep"),
        locked(tmp_path / "lock", patience=0.05),
    ):
        pass


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="letters, digits"):
        Layout.for_study(tmp_path, name, "0123456789ab")


def test_the_folder_is_named_by_name_and_id_and_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Layout.for_study("results", "tiny", "0123").root == tmp_path / "results" / "tiny-0123"


def test_a_probe_proves_a_shared_folder(layout, tmp_path):
    token = probe(layout)
    check_probe(layout, token)
    with pytest.raises(UserError, match="node-7 does not see the results folder"):
        check_probe(Layout.at(tmp_path / "elsewhere"), token, "node-7")
    remove_probe(layout, token)
    remove_probe(layout, token)
    assert not layout.root.exists()  # it held nothing else


def test_provenance_is_plain_and_stable():
    assert provenance() == json.loads(json.dumps(provenance()))


def test_only_credentials_are_cut_from_addresses():
    whole = ["sqlite:////a/b.db", "me@example", "http://h:8080/a@b", "http://[::1]:80/a@b"]
    given = {"a": ["postgresql://u:p@h:1/d?x=y", "s3://me:with/slash@bucket/x", *whole], "n": 1}
    assert without_credentials(given) == {
        "a": ["postgresql://h:1/d?x=y", "s3://bucket/x", *whole],
        "n": 1,
    }


def test_a_folder_that_became_read_only_lets_the_run_say_so_itself(layout, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    token = probe(layout)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError, match="the true reason"):
        try:
            raise UserError("the true reason")
        finally:
            remove_probe(layout, token)
