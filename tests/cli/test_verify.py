"""`sweep verify` on a small study: it agrees, and every kind of tampering is found."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweep
from sweep.cli.main import main
from sweep.storage.layout import Layout
from sweep.storage.row_files import serialise
from sweep.study.verify import verify

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = (
    "study=quick",
    "seeds.count=12",
    "stopping.max_steps=400",
    "compute=serial",
    "compute.block_size=6",
    "tracking=none",
)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep.run([*STUDY, f"store.root={tmp_path_factory.mktemp('store')}"]).path


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / study.name))


def first_file(folder: Path) -> Path:
    return sorted((folder / "rows").glob("*.parquet"))[0]


def alter(folder: Path, change: Callable[[Rows], object]) -> None:
    """Change the rows of the first file and give it a checksum that fits."""
    path = first_file(folder)
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    schema = pq.read_schema(path)
    data = serialise(pa.Table.from_pylist(rows, schema=schema), [path.stem])
    path.write_bytes(data)
    record = Layout.at(folder).checksum_file(path.stem)
    record.write_text(f"{hashlib.sha256(data).hexdigest()}  rows/{path.name}\n")


def columns_found(folder: Path) -> set[str]:
    return {finding.column for finding in verify(folder).audited.findings}


def test_a_study_agrees(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(study)
    assert found.agrees
    assert (found.files, found.jobs_done, found.jobs_planned) == (2, 2, 2)
    assert found.stored == sum(found.audited.rows.values()) == 12 * 4
    assert main(["verify", str(study)]) == 0
    printed = capsys.readouterr().out
    assert "48 of 48 judged again" in printed
    assert "All agree" in printed


def test_a_sample_is_the_same_every_time_and_part_of_a_larger_one(study: Path) -> None:
    def sampled(size: int) -> int:
        return sum(verify(study, size).audited.rows.values())

    assert [sampled(5), sampled(5), sampled(1000)] == [5, 5, 48]


@pytest.mark.parametrize("entry", range(9))
def test_a_parameter_altered_by_a_thousandth_is_found(copy: Path, entry: int) -> None:
    def change(rows: Rows) -> None:
        rows[2]["params"][entry] += 1e-3

    alter(copy, change)
    assert "param_norm" in columns_found(copy)


RADIUS = {"certificate_radius"}


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("certificate_radius", None, RADIUS),
        ("certificate_radius", math.nan, RADIUS),
        ("certificate_radius", -1.0, RADIUS),
        ("certificate_radius", 0.0, RADIUS),
        ("certificate_radius", math.inf, RADIUS),
        ("certificate_radius", 1e300, RADIUS),
        ("certificate_margin", -1.0, {"certificate_margin"}),
        ("evidence", "[]", {"evidence"}),
        ("evidence", "{", {"evidence"}),
        ("trainer", "hand", {"trainer"}),
        ("stop", "luck", {"stop"}),
        ("stop", "overflow", {"stop"}),
        ("steps", 399, {"stop"}),
        ("steps", 401, {"steps"}),
        ("steps", -1, {"steps"}),
        ("final_error", 0.123, {"final_error"}),
        ("final_error", 1.0, {"final_error"}),
        ("final_error_base", None, {"final_error_base"}),
        ("final_loss", math.nan, {"final_loss"}),
        ("final_loss", 1e9, {"final_objective"}),
        ("final_objective", 0.0, {"final_objective"}),
        ("final_grad_norm", -1.0, {"final_grad_norm", "stop"}),
        ("moved", -1.0, {"moved"}),
        ("moved", None, {"moved"}),
        ("polish_steps", -1, {"polish_steps"}),
        ("flat_dim", 10, {"flat_dim"}),
        ("lam", 0.5, {"lam"}),
        ("lam", math.nan, {"lam"}),
        ("lam_vector", [0.5], {"lam_vector"}),
        ("augment_activity", 0.3, {"augment_activity"}),
        ("judged_min_eig", math.inf, {"judged_min_eig"}),
    ],
)
def test_what_no_minimum_of_a_plain_network_can_say_is_found(
    copy: Path, column: str, value: object, found: set[str]
) -> None:
    def change(rows: Rows) -> None:
        row = next(
            row
            for row in rows
            if (row["arm"], row["verdict"], row["stop"]) == ("plain", "local_minimum", "steps")
        )
        row[column] = value

    alter(copy, change)
    assert columns_found(copy) == found


def test_parameters_that_the_study_keeps_must_be_there(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(rows: Rows) -> None:
        for row in rows:
            row["params"] = None

    alter(copy, change)
    found = verify(copy).audited
    assert (found.without_params, len(found.findings)) == (24, 24)
    assert columns_found(copy) == {"params"}
    assert main(["verify", str(copy)]) == 1
    printed = capsys.readouterr().out
    assert "24 of 48 judged again" in printed
    assert "24 rows without parameters were not judged again" in printed


def test_parameters_that_a_study_does_not_keep_may_be_absent(copy: Path) -> None:
    settings = copy / "study.json"
    content = json.loads(settings.read_text())
    for kept, missing in (("none", 0), ("judged", 1)):

        def change(rows: Rows) -> None:
            for row in rows:
                row["params"] = None

        content["config"]["store"]["params"] = kept
        settings.write_text(json.dumps(content))
        alter(copy, change)
        found = verify(copy).audited
        assert found.without_params == 24
        rows = pq.read_table(first_file(copy)).to_pylist()
        judged = sum(row["verdict"] != "global_minimum" for row in rows)
        assert len(found.findings) == missing * judged


@pytest.mark.parametrize("certificate", ["none", "separates", "lower_bound"])
def test_a_verdict_made_better_is_found(
    copy: Path, certificate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(rows: Rows) -> None:
        worse = next(row for row in rows if row["judged_error"] > 0)
        worse["verdict"], worse["certificate"] = "global_minimum", certificate
        for name in ("limit_error", "limit_error_base", "limit_objective", "certificate_radius"):
            worse[name] = None

    alter(copy, change)
    assert columns_found(copy) == {"certificate" if certificate == "none" else "verdict"}
    assert main(["verify", str(copy)]) == 1
    assert "1 difference (" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["judged_objective", "judged_grad_norm", "lam", "judged_error"])
def test_an_altered_number_is_found(copy: Path, column: str) -> None:
    def change(rows: Rows) -> None:
        row = next(row for row in rows if row[column] not in (None, 0.0))
        row[column] *= 1 + 1e-6

    alter(copy, change)
    # A judged objective that is too high is also one above where training ended.
    assert columns_found(copy) - {"final_objective"} == {column}


def test_a_flipped_byte_is_found_and_the_other_file_still_read(copy: Path) -> None:
    path = first_file(copy)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = verify(copy)
    assert [finding.where for finding in found.audited.findings] == [path.name]
    assert found.stored == 6 * 4


def test_a_flipped_byte_without_a_checksum_is_found_by_its_page(copy: Path) -> None:
    path = first_file(copy)
    Layout.at(copy).checksum_file(path.stem).unlink()
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    assert path.name in {finding.where for finding in verify(copy).audited.findings}


def test_a_missing_checksum_a_foreign_row_and_a_lost_row_are_found(copy: Path) -> None:
    path = first_file(copy)
    Layout.at(copy).checksum_file(path.stem).unlink()
    assert columns_found(copy) == {"file"}
    alter(copy, lambda rows: rows.pop())
    assert columns_found(copy) == {"rows"}

    def change(rows: Rows) -> None:
        rows[0]["seed"] = 11

    alter(copy, change)
    # The seed is another block's, whose own row has the same key.
    assert {"job", "key"} <= columns_found(copy)


def test_more_than_twenty_differences_are_counted(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(rows: Rows) -> None:
        for row in rows:
            row["judged_loss"] = -1.0

    alter(copy, change)
    assert main(["verify", str(copy)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("judged_loss is -1.0") == 20
    assert "… and 4 more" in printed


def test_bad_words_are_refused(tmp_path: Path, study: Path) -> None:
    assert main(["verify"]) == 2
    assert main(["verify", str(tmp_path)]) == 2
    assert main(["verify", str(study), "--sample", "0"]) == 2
    assert main(["verify", "--help"]) == 0
