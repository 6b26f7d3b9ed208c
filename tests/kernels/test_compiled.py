"""Machine code is kept by the sources that went into it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numba
import pytest
from numba.core.caching import IndexDataCacheFile

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
        ("judge/second_order_kernels.py", True),
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


def doubled(x: float) -> float:
    return 2 * x


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled.compiled(doubled)(2.0) == 4.0
    return tmp_path


def compiles(cache: Path) -> bool:
    """Whether the function, seen for the first time, has to be compiled."""
    function: Any = compiled.compiled(doubled)
    assert function(2.0) == 4.0
    return bool(function.stats.cache_misses)


def test_machine_code_is_kept(cache: Path) -> None:
    assert not compiles(cache)


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 20, 400])
def test_a_damaged_file_costs_one_compilation(cache: Path, kind: str, left: int) -> None:
    (file,) = cache.rglob(f"*.{kind}")
    file.write_bytes(file.read_bytes()[:left])
    assert compiles(cache)
    assert not compiles(cache)


def test_a_full_disk_does_not_keep_a_function_from_running(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    for file in cache.rglob("*.nb?"):
        file.unlink()
    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    assert compiles(cache)
