"""The benchmarks run at tiny sizes, and what they print is what they write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(name: str, *words: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints, and its JSON."""
    file = folder / "found.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *words, f"--json={file}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_training_benchmark_shows_what_it_measured(tmp_path: Path) -> None:
    words = ("--quick", "--shapes=relu", "--peers=autograd,vmap eager", "--threads=1")
    text, found = benchmark("benchmark_training.py", *words, folder=tmp_path)
    (record,) = found["shapes"]
    # By hand: 12 weights, 5 biases, 40 points; 8 weights need no gradient of their input.
    assert record["flops"] == 40 * (6 * 12 - 2 * 8 + 2 * 5 + 5) + 12 * 17
    assert record["parameters"] == 17
    rates = {name: one["rate"] for name, one in record["contenders"].items()}
    assert set(rates) == {"fused", "autograd", "vmap eager"}
    for name, ratio in record["ratios"].items():
        assert ratio == pytest.approx(rates["fused"] / rates[name])
        row = next(line for line in text.splitlines() if line.startswith(f"relu       {name}"))
        assert row.split()[-2:] == [f"{rates[name] / 1e3:.4g}", f"{ratio:.1f}"]
    one = record["fused_by_threads"]["1"]
    assert one["share"] == pytest.approx(one["gflops"] / one["dgemm_gflops"])
    assert [row["found"] for row in found["bars"]] == [
        record["ratios"]["vmap eager"],
        one["share"],
        min(record["ratios"].values()),
    ]


def test_members_benchmark_compares_what_members_cost(tmp_path: Path) -> None:
    words = ("--members=20,40", "--block=20")
    text, found = benchmark("benchmark_members.py", *words, folder=tmp_path)
    each = [run["us_per_member"] for run in found["runs"]]
    assert found["spread"] == pytest.approx(max(each) / min(each))
    assert 50 < found["runs"][0]["peak_mb"] <= found["runs"][1]["peak_mb"]
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [
        ["20", f"{each[0]:.2f}"],
        ["40", f"{each[1]:.2f}"],
    ]


def test_end_to_end_benchmark_accounts_for_every_second(tmp_path: Path) -> None:
    words = ("--study=xor", "--seeds=5", "--compute=serial", "--cold")
    text, found = benchmark("benchmark_end_to_end.py", *words, folder=tmp_path)
    (run,) = found["runs"]
    assert run["rows"] == 5
    assert sum(run["phases"].values()) == pytest.approx(run["seconds"])
    assert min(run["phases"].values()) >= 0
    assert run["phases"]["train"] > 0
    assert run["phases"]["judge"] > 0
    assert run["seeds_per_second"] == pytest.approx(run["seeds"] / run["seconds"])
    assert 100 < run["driver_peak_mib"] < 4000
    assert f"{run['seeds_per_second']:.4g} seeds/s" in text
    for name, seconds in run["phases"].items():
        assert any(line.split()[:2] == [name, f"{seconds:.2f}"] for line in text.splitlines())


@pytest.mark.slow
def test_overhead_benchmark_counts_what_a_run_costs(tmp_path: Path) -> None:
    words = ("--compute=serial", "--seconds=1", "--work=3", "--jobs=100")
    text, found = benchmark("benchmark_overhead.py", *words, folder=tmp_path)
    timed, many = found["runs"]
    assert (timed["jobs"], timed["workers"], many["jobs"]) == (3, 1, 100)
    assert timed["overhead"] == pytest.approx(timed["milliseconds_between"] / 1e3)
    assert f"overhead {100 * timed['overhead']:.1f} %" in text
    assert all(found["bars"].values())
    assert 2 < many["files_per_job"] <= 3  # rows and a checksum, and some per study


def test_second_order_benchmark_compares_equal_hessians(tmp_path: Path) -> None:
    words = ("--shapes=tanh,exp_skip", "--members=8", "--repeats=1")
    text, found = benchmark("benchmark_second_order.py", *words, folder=tmp_path)
    assert set(found) == {"tanh", "exp_skip"}
    for name, one in found.items():
        assert one["difference"] < 1e-12
        assert one["ratio"] == pytest.approx(one["torch"] / one["ours"])
        assert f"{one['ratio']:6.1f}" in next(t for t in text.splitlines() if t.startswith(name))
