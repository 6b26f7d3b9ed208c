"""One process compiles, the others wait for it and find its work."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numba
import pytest

from sweep.kernels.turns import first_compilation, machine_code_at_hand


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))


def test_only_the_first_compiles() -> None:
    assert not machine_code_at_hand()
    with first_compilation() as first:
        assert first
        assert not machine_code_at_hand()
    assert machine_code_at_hand()
    with first_compilation() as first:
        assert not first


def test_who_comes_second_waits_and_has_nothing_to_do() -> None:
    found: list[bool] = []

    def worker() -> None:
        with first_compilation() as first:
            found.append(first)
            time.sleep(0.2)

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, True]
    assert found[0]


def test_a_compilation_that_broke_off_is_done_again() -> None:
    with pytest.raises(RuntimeError, match="lost"), first_compilation():
        raise RuntimeError("lost")
    assert not machine_code_at_hand()
    with first_compilation() as first:
        assert first
