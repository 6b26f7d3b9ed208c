"""Machine code is kept by the sources that went into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import sweep
from sweep.kernels import compiled

PACKAGE = Path(str(sweep.__file__)).parent


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("formulas/activations.py", True),
        ("formulas/losses.py", True),
        ("kernels/elementary.py", True),
        ("kernels/vectors.py", True),
        ("kernels/philox.py", True),
        ("training/fused/program.py", True),
        ("training/fused/members.py", True),
        ("judge/newton_kernels.py", True),
        ("report/wording.py", False),
        ("cli/main.py", False),
    ],
)
def test_the_cache_is_another_when_a_kernels_source_is(
    changed: str, matters: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sweep"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "__file__", str(copy / "kernels" / "compiled.py"))
    before = compiled.cache_folder()
    with (copy / changed).open("a") as source:
        source.write("\n# another comment\n")
    assert (compiled.cache_folder() != before) is matters
