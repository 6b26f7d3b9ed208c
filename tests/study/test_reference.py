"""Witness searches: own streams, no influence on rows, and constructive when luck fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.cli.compose import compose
from sweep.job import Clock, arm_objective, planned_data
from sweep.planning import reference_jobs
from sweep.reference import _cut, plain_arm, reference_root, run_reference
from sweep.spec import Block, Study
from sweep.study.resolve import resolve

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ["study=quick", "compute=serial", "tracking=none", "seeds.count=8"]


def study(*overrides: str) -> Study:
    return resolve(compose([*SMALL, *overrides]))[0]


def test_rows_do_not_know_of_the_search(tmp_path: Path) -> None:
    path = sweep.run([*SMALL, "stopping.max_steps=40", f"store.root={tmp_path}"]).path
    rows = pd.read_parquet(path / "rows")
    assert len(rows) == 8 * 4
    assert not rows["job"].str.contains("reference").any()
    (file,) = (path / "references").glob("*.parquet")
    assert set(pd.read_parquet(file).columns) == set(rows.columns)


def test_a_search_makes_the_least_error_known_where_no_row_has_it(tmp_path: Path) -> None:
    path = sweep.run(
        [
            *SMALL,
            *("seeds.count=1", "seeds.root=3", "~arms.exp", "~arms.extra_neuron"),
            *(f"store.root={tmp_path}", "stopping.max_steps=600"),
        ]
    ).path
    table = sweep.summarise(sweep.load_rows(path)).witnesses
    rows = sweep.load_rows(path)
    if (rows["judged_error"] == 0).any():
        pytest.fail("choose a root whose only seed does not separate XOR")
    assert not table["r_star_known"].any()  # from the rows alone
    found = pd.read_parquet(path / "summary" / "witnesses.parquet")
    assert found["r_star_known"].all()
    assert (found["error_source"] == "references").all()


def test_the_search_has_streams_of_its_own_and_repeats_itself() -> None:
    (job,) = reference_jobs(study("stopping.max_steps=30"), 6)
    other = replace(job, root=job.root + 1)
    assert reference_root(job) != reference_root(other) != job.root
    one, two = run_reference(job), run_reference(job)
    for name in one.columns:
        assert str(one.columns[name]) == str(two.columns[name])


def test_cut_back_networks_keep_the_largest_units() -> None:
    generator = np.random.default_rng(0)
    wide, width, inputs = 6, 2, 3
    params = generator.normal(size=(4, wide * (inputs + 2) + 1))
    outgoing = slice(wide * (inputs + 1), wide * (inputs + 2))
    params[:, outgoing] *= np.array([1e-3, 50.0, 1e-3, 1e-3, 70.0, 1e-3])
    cut = _cut(params, inputs, wide, width)
    assert cut.shape == (4, width * (inputs + 2) + 1)
    for before, after in zip(params, cut, strict=True):
        weights = before[: wide * inputs].reshape(wide, inputs)
        assert (after[: width * inputs].reshape(width, inputs) == weights[[1, 4]]).all()
        assert (after[-1 - width : -1] == before[outgoing][[1, 4]]).all()
        assert after[-1] == before[-1]


def test_the_plain_arm_is_used_or_made() -> None:
    (job,) = reference_jobs(study(), 2)
    assert plain_arm(job).name == "plain"
    others = tuple(arm for arm in job.cell.arms if arm.name != "plain")
    assert plain_arm(replace(job, cell=replace(job.cell, arms=others))).name == "reference"
    decayed = tuple(replace(arm, weight_decay=0.1) for arm in job.cell.arms)
    assert plain_arm(replace(job, cell=replace(job.cell, arms=decayed))).name == "reference"
    assert arm_objective(job.cell, plain_arm(job), planned_data(job.cell)).n_params == 9
    assert job.block == Block(0, 2)
    assert Clock().seconds == {}
