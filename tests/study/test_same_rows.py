"""A row depends on its key alone: not on the executor, the workers, the blocks or a second run.

So it can be made again, whatever made it: see `tests/study/test_replay.py` for the replay itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.cli.compose import compose
from sweep.job import run_job
from sweep.planning import jobs
from sweep.registry import Choice
from sweep.rows import KEY
from sweep.spec import Block
from sweep.study.resolve import resolve
from sweep.training.base import Ending
from sweep.training.trainer import train
from sweep.verdicts import Verdict

pytestmark = pytest.mark.usefixtures("undrawn")

# Small, but with every arm of the default study, two cells and several blocks.
STUDY = (
    "study=default",
    "tracking=none",
    "seeds.count=60",
    "stopping.max_steps=60",
    "arms.exp.lambda.draws=2",
)


def run(folder: Path, *overrides: str) -> Path:
    results = sweep.run([*STUDY, f"store.root={folder}", *overrides])
    assert results.complete
    return results.path


def rows_of(folder: Path, *overrides: str) -> pd.DataFrame:
    return pd.read_parquet(run(folder, *overrides) / "rows")


def canonical(rows: pd.DataFrame, *drop: str) -> pd.DataFrame:
    return (
        rows.drop(columns=["job", *drop])
        .astype({"study": str, "cell": str, "arm": str})
        .sort_values(list(KEY))
        .reset_index(drop=True)
    )


def assert_same_bits(one: pd.DataFrame, two: pd.DataFrame) -> None:
    assert list(one.columns) == list(two.columns)
    assert len(one) == len(two)
    for name in one.columns:
        for a, b in zip(one[name], two[name], strict=True):
            if isinstance(a, np.ndarray):
                assert a.tobytes() == b.tobytes(), name
            elif isinstance(a, float):
                assert np.float64(a).tobytes() == np.float64(b).tobytes(), name
            else:
                assert (pd.isna(a) and pd.isna(b)) or a == b, name


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("serial")
    return canonical(rows_of(folder, "compute=serial", "compute.block_size=25"))


def test_the_default_shape_of_a_study(serial: pd.DataFrame) -> None:
    # cells × seeds × Σ draws: 2 × 60 × (1 + 2 + 1 + 1)
    assert len(serial) == 2 * 60 * 5
    assert not serial.duplicated(list(KEY)).any()
    assert serial["verdict"].isin([str(verdict) for verdict in Verdict]).all()
    # [A] Theorem 1: with λ > 0 no minimum but a global one.
    assert not (serial.loc[serial["arm"] == "exp", "verdict"] == "local_minimum").any()


@pytest.fixture(scope="module")
def by_ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = ("compute=local", "compute.workers=2", "compute.block_size=17")
    return run(tmp_path_factory.mktemp("ray"), *place)


def test_ray_workers_change_no_bit(serial: pd.DataFrame, by_ray: Path) -> None:
    assert_same_bits(serial, canonical(pd.read_parquet(by_ray / "rows")))


def test_random_rows_of_ray_workers_replay(by_ray: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.study.replay.trajectory_files", lambda *_: {})
    rows = sweep.load_rows(by_ray).sort_values(list(KEY), ignore_index=True)
    for chosen in np.random.default_rng(4).choice(len(rows), 10, replace=False):
        cell, arm, draw, seed = rows.loc[chosen, ["cell", "arm", "draw", "seed"]]
        found = sweep.replay(by_ray, cell=cell, arm=arm, draw=int(draw), seed=int(seed))
        assert found.differences == ()
        assert found.equal is True


@pytest.mark.parametrize(
    "overrides",
    [
        ("compute=serial", "compute.block_size=500"),
        pytest.param(
            ("compute=local", "compute.workers=1", "compute.block_size=25"),
            marks=pytest.mark.slow,  # a Ray of its own
        ),
    ],
    ids=["serial-500", "ray-1"],
)
def test_blocks_and_workers_change_no_bit(
    serial: pd.DataFrame, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    assert_same_bits(serial, canonical(rows_of(tmp_path, *overrides)))


def test_stored_parameters_are_the_only_thing_a_store_setting_changes(
    serial: pd.DataFrame, tmp_path: Path
) -> None:
    bare = rows_of(tmp_path, "compute=serial", "store.params=none")
    assert bare["params"].isna().all()
    assert_same_bits(serial.drop(columns="params"), canonical(bare, "params"))


def test_a_second_run_adds_nothing_and_more_seeds_extend(tmp_path: Path) -> None:
    small = ("compute=serial", "problem=xor", "model.width=2")
    first = rows_of(tmp_path, *small, "compute.block_size=40")
    files = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.glob("*/rows/*"))
    again = rows_of(tmp_path, *small, "compute.block_size=7")
    assert files == sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.glob("*/rows/*"))
    assert_same_bits(canonical(first), canonical(again))
    more = rows_of(tmp_path, *small, "seeds.count=80", "compute.block_size=13")
    assert not more.duplicated(list(KEY)).any()
    assert len(more) == 80 * 5
    assert_same_bits(canonical(first), canonical(more[more["seed"] < 60]))


def test_arms_of_a_seed_share_their_base_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[tuple[int, np.ndarray]] = []

    def watched(objective: Any, start: np.ndarray, *rest: Any) -> Ending:
        starts.append((objective.n_base, start))
        return train(objective, start, *rest)

    monkeypatch.setattr("sweep.job.train", watched)
    study, *_ = resolve(compose([*STUDY, "problem=xor", "model.width=2"]))
    untrained = Choice("standard", {**study.cells[0].stopping.settings, "max_steps": 0})
    study = replace(study, cells=(replace(study.cells[0], stopping=untrained),))
    (job,) = jobs(study, [Block(3, 20)])
    rows = pd.DataFrame(dict(run_job(job).columns))
    assert (rows["steps"] == 0).all()
    (n_base, plain), *others = starts
    assert plain.shape == (20, n_base)
    assert len(np.unique(plain, axis=0)) == 20
    for base, start in others:
        assert base == n_base
        draws = len(start) // 20
        assert start[:, :base].tobytes() == np.tile(plain, (draws, 1)).tobytes()
    # So do the rows say: where training "stopped" the base networks of all arms agree.
    errors = rows.pivot_table(index="seed", columns=["arm", "draw"], values="final_error_base")
    assert errors.shape == (20, 5)
    assert (errors.nunique(axis=1) == 1).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_gives_the_rows_of_the_problem_it_was_exported_from(
    tmp_path: Path, suffix: str
) -> None:
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    frame = iris.frame[iris.frame["target"] > 0]
    table = tmp_path / f"mine.{suffix}"
    if suffix == "csv":
        frame.to_csv(table, index=False)
    else:
        frame.to_parquet(table)
    shared = ("compute=serial", "seeds.count=20", "model.width=2")
    built_in = rows_of(tmp_path / "a", *shared, "problem=iris_pair")
    own = rows_of(
        tmp_path / "b", *shared, "problem=table", f"problem.path={table}", "problem.target=target"
    )
    drop = ("study", "cell", "problem")
    assert_same_bits(
        built_in.drop(columns=["job", *drop]).sort_values(
            ["arm", "draw", "seed"], ignore_index=True
        ),
        own.drop(columns=["job", *drop]).sort_values(["arm", "draw", "seed"], ignore_index=True),
    )
