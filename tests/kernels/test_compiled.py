"""Machine code is kept by the sources that went into it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
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
        ("kernels/memory.py", True),
        ("kernels/philox.py", True),
        ("training/fused/program.py", True),
        ("training/fused/members.py", True),
        ("judge/smooth/trust_region.py", True),
        ("judge/smooth/second_order_kernels.py", True),
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


# Two kernels whose `part` differs, though not in name or signature, and is too long to be inlined.
TWO_KERNELS = """
import sys
import numpy as np
from numba import njit
from sweep.formulas.binding import bind
from sweep.kernels.compiled import compiled

def leaf(x):
    raise NotImplementedError

def part(x):
    for _ in range(3):
{body}
    return x

def whole(x):
    return part(x) + part(x + 1) + part(x + 2)

def one(x):
    return x + 1

def two(x):
    return x * 3

for name in sys.argv[1:]:
    names = {{"leaf": njit({{"one": one, "two": two}}[name])}}
    names["part"] = njit(bind(part, names))
    print(compiled(bind(whole, names, name))(0.25))
"""


def test_kernels_compiled_in_two_processes_do_not_stand_in_for_each_other(tmp_path: Path) -> None:
    """numba's own names for `part` are the same in both; loaded together, one would serve both."""
    line = "        x = np.sin(leaf(x)) + np.cos(leaf(x)) + np.tan(leaf(x)) + np.arctan(leaf(x))\n"
    script = tmp_path / "two_kernels.py"
    script.write_text(TWO_KERNELS.format(body=line * 12))

    def results(*names: str) -> list[str]:
        command = [sys.executable, str(script), *names]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        run = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        return run.stdout.split()

    one, two = results("one"), results("two")
    assert one != two
    assert results("one", "two") == [*one, *two]
    assert results("two", "one") == [*two, *one]


def test_two_signatures_never_share_a_file(cache: Path) -> None:
    """Two processes that save at once both believe that theirs is the next number."""
    first, second = (compiled.ForgivingCache(doubled)._cache_file for _ in range(2))
    assert first._data_name(1) != second._data_name(1)


def test_machine_code_does_not_mind_where_the_package_lies(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster unpacks the package anew for every submission; changed code is compiled anew."""

    def misses(package: str, text: str) -> int:
        source = tmp_path / package / "inside" / "kernel.py"
        source.parent.mkdir(parents=True)
        source.write_text(text)
        space: dict[str, Any] = {}
        exec(compile(text, str(source), "exec"), space)
        monkeypatch.setattr(compiled, "_PACKAGE", tmp_path / package)
        function: Any = compiled.compiled(space["tripled"])
        assert function(2.0) == 6.0
        return sum(function.stats.cache_misses.values())

    text = "def tripled(x):\n    return 3 * x\n"
    assert misses("one", text) == 1
    assert misses("two", text) == 0
    assert misses("three", text + "# another comment\n") == 1
