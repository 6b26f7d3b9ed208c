"""What two places must have in common, and how a difference is said."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.execution import sameness
from sweep.execution.loopback import is_loopback
from sweep.execution.sameness import PACKAGES, Installation, code_hash, installation

HERE = Installation("a" * 64, "3.11.7", {"torch": "2.13.0", "ray": "2.60.0"})


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (HERE, ""),
        (replace(HERE, python="3.11.9"), ""),
        (replace(HERE, python="3.12.1"), "python is 3.11 on here but 3.12 on there"),
        (replace(HERE, code="b" * 64), f"hash {'a' * 12} on here but {'b' * 12} on there"),
        (replace(HERE, packages={"torch": "2.13.0"}), "ray is 2.60.0 on here but not installed on"),
        (replace(HERE, packages={**HERE.packages, "torch": "2.12"}), "torch is 2.13.0 on here but"),
    ],
)
def test_a_difference_names_both_sides(there: Installation, said: str) -> None:
    found = HERE.difference(there, "here", "there")
    assert said in found
    assert bool(found) is bool(said)


def test_this_place_is_described_as_it_is() -> None:
    found = installation()
    for name in PACKAGES:
        assert importlib.metadata.version(name).startswith(str(found.packages[name]))


def test_the_hash_is_of_the_sources_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sweep"
    shutil.copytree(Path(sameness.__file__).parents[1], copy)
    ours = code_hash()

    def hashed() -> str:
        code_hash.cache_clear()
        monkeypatch.setattr(sameness, "__file__", str(copy / "execution" / "sameness.py"))
        try:
            return code_hash()
        finally:
            monkeypatch.undo()
            code_hash.cache_clear()

    assert hashed() == ours
    (copy / "conf").mkdir()
    (copy / "conf" / "mine.yaml").touch()
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "x.pyc").touch()
    assert hashed() == ours
    with (copy / "rows.py").open("a") as source:
        source.write("# another comment\n")
    assert hashed() != ours


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.0.3", True),
        ("[::1]", True),
        ("localhost", True),
        ("192.0.2.2", False),
        ("0.0.0.0", False),
        ("::", False),
        ("head.example", False),
        ("localhost.example", False),
    ],
)
def test_what_is_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own
