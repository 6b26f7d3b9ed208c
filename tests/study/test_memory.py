"""Too little memory: a job is split inside itself, and its file is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sweep
from sweep.errors import CheckError, UserError
from sweep.job_memory import is_out_of_memory
from sweep.training.base import Ending
from sweep.training.trainer import train

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = (
    *("study=quick", "tracking=none", "compute=serial", "compute.retries=0"),
    *("seeds.count=7", "stopping.max_steps=40"),
)
LACKS = [
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((10**9,), np.dtype(float)),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
]


def rows_file(folder: Path) -> bytes:
    (path,) = folder.glob("*/rows/*")
    return path.read_bytes()


@pytest.mark.parametrize(
    "error",
    [LACKS[0], pytest.param(LACKS[2], marks=pytest.mark.slow)],
    ids=["machine", "gpu"],
)
def test_a_job_that_runs_out_of_memory_lands_as_one_file_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sweep.run([*WORDS, f"store.root={tmp_path / 'whole'}"])
    sizes: list[int] = []

    def short_of_memory(objective: Any, start: np.ndarray, *rest: Any) -> Ending:
        sizes.append(len(start))
        if len(start) > 4:
            raise error
        return train(objective, start, *rest)

    monkeypatch.setattr("sweep.job.train", short_of_memory)
    results = sweep.run([*WORDS, f"store.root={tmp_path / 'parts'}"])
    assert results.complete
    # Plain: 7 seeds, halved once; exp has two draws per seed, so its halves are halved again.
    assert sizes[:13] == [7, 3, 4, 14, 6, 2, 4, 8, 4, 4, 7, 3, 4]
    assert sizes[13:16] == [128, 64, 32], "nor does a witness search fail"
    assert rows_file(tmp_path / "parts") == rows_file(tmp_path / "whole")


def test_a_single_seed_that_does_not_fit_fails_its_job_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Ending:
        raise MemoryError("no room for one")

    monkeypatch.setattr("sweep.job.train", never)
    with pytest.raises(CheckError, match=r"MemoryError: no room for one"):
        sweep.run([*WORDS, f"store.root={tmp_path}"])


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_what_counts_as_a_lack_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(UserError("'out of memory' is no problem's name."))
