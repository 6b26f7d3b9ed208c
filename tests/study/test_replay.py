"""A replayed row is the stored row, whatever made it; its trajectory ends where training did."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweep
from sweep.errors import CheckError, UserError
from sweep.rows import KEY, columns
from sweep.storage.arrow_schema import row_schema
from sweep.storage.layout import Layout
from sweep.storage.row_files import read_rows, serialise
from sweep.study.replay import Replay
from sweep.study.stored import stored_study
from sweep.study.trajectory import MEASURES, POINTS, steps_shown

pytestmark = pytest.mark.usefixtures("undrawn")

# Every arm of the default study and its two cells, so that kernels are those of other tests.
SHORT = ("study=default", "tracking=none", "stopping.max_steps=60", "arms.exp.lambda.draws=2")
SERIAL = ("compute=serial", "compute.block_size=6")
RAY = ("compute=local", "compute.workers=2", "compute.block_size=7")
QUICK = ("study=quick", "compute=serial", "tracking=none", "stopping.max_steps=9")
FINALS = {
    "final_error": "error",
    "final_error_base": "error_base",
    "final_loss": "loss",
    "final_objective": "objective",
    "final_grad_norm": "grad_norm",
}


def run(folder: Path, *overrides: str) -> Path:
    results = sweep.run([*overrides, f"store.root={folder}"])
    assert results.complete
    return results.path


def stored_rows(path: Path) -> pd.DataFrame:
    return sweep.load_rows(path).sort_values(list(KEY), ignore_index=True)


def replayed(path: Path, row: Any) -> Replay:
    return sweep.replay(
        path, arm=row["arm"], seed=int(row["seed"]), cell=row["cell"], draw=int(row["draw"])
    )


def assert_replays(path: Path, how_many: int) -> None:
    rows = stored_rows(path)
    chosen = np.random.default_rng(4).choice(len(rows), how_many, replace=False)
    for _, row in rows.iloc[chosen].iterrows():
        found = replayed(path, row)
        assert found.differences == ()
        assert found.equal is True
        names = [column for column in rows.columns if column not in ("job", "outcome")]
        assert sorted(found.compared) == sorted(names)
        assert dict(found.key) == {name: row[name] for name in KEY}
        assert (found.verdict, found.certificate) == (row["verdict"], row["certificate"])
        assert found.evidence == json.loads(row["evidence"])
        assert_ends_where_training_did(found, row)


def assert_ends_where_training_did(found: Replay, row: Any) -> None:
    course = found.trajectory
    assert course["step"].iloc[0] == 0
    assert course["step"].iloc[-1] == row["steps"]
    for final, measure in FINALS.items():
        last = course[measure].iloc[-1]
        assert last == row[final] or (np.isnan(last) and pd.isna(row[final])), final


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("serial"), *SHORT, *SERIAL, "seeds.count=14")


@pytest.fixture
def uncharted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture of the trajectory either: it takes ten times as long as a short training."""
    monkeypatch.setattr("sweep.study.replay.trajectory_files", lambda *_: {})


@pytest.mark.usefixtures("uncharted")
def test_random_rows_of_a_serial_study_in_small_blocks(serial: Path) -> None:
    assert_replays(serial, 10)


@pytest.mark.usefixtures("uncharted")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("compute", [SERIAL[:1], RAY], ids=["serial", "ray"])
def test_a_hundred_rows_of_the_default_study(tmp_path: Path, compute: tuple[str, ...]) -> None:
    assert_replays(run(tmp_path, "tracking=none", *compute), 100)


RELU = ("~arms.exp", "~arms.exp_unregularized", "optimizer=lbfgs", "stopping.loss=20")
# Machine code of this one is needed by tests/training/test_fused_training.py as well.
BATCHES = (
    *("~arms.plain", "~arms.extra_neuron", "~arms.exp_unregularized", "baseline=exp"),
    *("model.activation=leaky_relu", "loss=logistic", "stopping.loss=60"),
    *("optimizer=gd", "optimizer.lr=0.001", "optimizer.batch_size=7"),
)


@pytest.mark.usefixtures("uncharted")
@pytest.mark.parametrize("overrides", [BATCHES, RELU], ids=["mini-batches", "lbfgs"])
def test_points_before_the_end_do_not_depend_on_max_steps(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """Members stop by their loss, long before max_steps; their replays by max_steps alone."""
    small = ("problem=iris_pair", "model.width=2", "compute=serial", "seeds.count=6")
    path = run(tmp_path, *SHORT, *small, *overrides)
    rows = stored_rows(path)
    sooner = rows[(rows["stop"] == "loss") & (rows["steps"] > 2) & (rows["steps"] < 60)]
    assert len(sooner) >= 3
    for _, row in sooner.head(3).iterrows():
        found = replayed(path, row)
        assert found.equal
        assert_ends_where_training_did(found, row)


def test_a_row_that_is_not_there_yet_is_trained_all_the_same(tmp_path: Path) -> None:
    path = run(tmp_path, *QUICK, "seeds.count=3", "compute.block_size=2")
    before = sweep.replay(path, arm="exp", draw=1, seed=2)
    assert before.equal is True
    Layout.at(path).row_file(f"{before.key['cell']}-s00000002-n1").unlink()
    after = sweep.replay(path, arm="exp", draw=1, seed=2)
    assert after.equal is None
    assert not after.stored
    assert after.row == before.row
    pd.testing.assert_frame_equal(after.trajectory, before.trajectory, check_exact=True)
    assert sweep.replay(path, arm="exp", draw=1, seed=1).equal is True


def test_rows_in_a_merged_file_and_rows_without_parameters(tmp_path: Path) -> None:
    blocks = ("seeds.count=4", "compute.block_size=2", "store.params=none")
    path = run(tmp_path, *QUICK, *blocks)
    layout = Layout.at(path)
    one = sweep.replay(path, arm="plain", seed=3)
    assert one.equal is True
    assert "params" not in one.compared
    assert len(one.row["params"]) == 9  # XOR: 2·2 + 2, then 2 + 1
    files = sorted(layout.rows.glob("*.parquet"))
    table = read_rows(layout)
    schema = row_schema(stored_study(layout).study.cells)
    merged = serialise(table.cast(schema), [file.stem for file in files])
    for file in files:
        file.unlink()
    (layout.rows / "merged-0.parquet").write_bytes(merged)
    assert sweep.replay(path, arm="plain", seed=3).equal is True


def test_a_lost_column_is_a_difference_and_a_second_row_is_an_error(tmp_path: Path) -> None:
    path = run(tmp_path, *QUICK, "seeds.count=1", "store.params=none")
    layout = Layout.at(path)
    (file,) = layout.rows.glob("*.parquet")
    for checksum in layout.checksums.glob("*"):
        checksum.unlink()
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["limit_error", "params"]), file)
    found = sweep.replay(path, arm="plain", seed=0)
    assert {d.column for d in found.differences} == {"limit_error", "params"}
    pq.write_table(pa.concat_tables([table, table]), file)
    with pytest.raises(CheckError, match="has 2 rows of arm plain, draw 0, seed 0 instead of one"):
        sweep.replay(path, arm="plain", seed=0)


def test_a_problem_without_data_has_no_errors_to_show(tmp_path: Path) -> None:
    alone = ("problem=xyz_product", "~arms.exp", "~arms.extra_neuron", "seeds.count=2")
    path = run(tmp_path, *QUICK, *alone)
    found = sweep.replay(path, arm="plain", seed=1)
    assert found.equal is True
    assert found.trajectory[["error", "error_base", "augment_activity"]].isna().all(axis=None)
    assert np.isfinite(found.trajectory[["loss", "grad_norm", "param_norm"]]).all(axis=None)


def test_the_figure_says_the_member_its_course_and_its_evidence(serial: Path) -> None:
    row = next(r for _, r in stored_rows(serial).iterrows() if r["verdict"] == "local_minimum")
    found = replayed(serial, row)
    name = f"replay-{row['cell']}-{row['arm']}-{row['draw']}-{row['seed']}"
    assert [p.name for p in found.figures] == [f"{name}.svg", f"{name}.png"]
    first = [path.read_bytes() for path in found.figures]
    assert first[1].startswith(b"\x89PNG")
    words = "".join(ElementTree.fromstring(first[0]).itertext())
    for said in (found.setting, f"seed {row['seed']}", "‖∇F‖", "judged", "error of f̃"):
        assert said in words
    for said in (row["verdict"], row["certificate"], *found.evidence):
        assert said in words
    assert [path.read_bytes() for path in replayed(serial, row).figures] == first


def test_columns_of_a_trajectory(serial: Path) -> None:
    cell = str(stored_rows(serial)["cell"].iloc[0])
    found = sweep.replay(serial, cell=cell, arm="exp", draw=1, seed=0)
    assert list(found.trajectory) == ["step", *MEASURES]
    assert {column.name for column in columns([])} <= set(found.row)
    # The penalty λ/2·a² is what parts F from the loss.
    assert (found.trajectory["objective"] >= found.trajectory["loss"]).all()
    assert (found.trajectory["augment_activity"] > 0).all()


@pytest.mark.parametrize("last", [0, 1, 2, 7, 60, 3000, 10**7])
def test_steps_shown_are_few_whole_and_end_at_the_last(last: int) -> None:
    steps = steps_shown(last)
    assert steps[0] == 0
    assert steps[-1] == last
    assert steps == sorted(set(steps))
    assert min(last + 1, 6) <= len(steps) <= POINTS


def test_a_study_of_other_numerics_or_other_data_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("a,b,label\n1,1,n\n1,-1,y\n-1,1,y\n-1,-1,n\n")
    own = ("problem=table", f"problem.path={table}", "problem.target=label", "model.width=2")
    path = run(tmp_path, *QUICK, *own, "seeds.count=1")
    table.write_text("a,b,label\n1,1,n\n1,-1,y\n-1,1,y\n-1,-2,n\n")
    with pytest.raises(UserError, match="the data that it was made with"):
        sweep.replay(path, arm="plain", seed=0)
    file = Layout.at(path).study_file
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "numerics": content["numerics"] - 1}))
    with pytest.raises(UserError, match="has numerics"):
        sweep.replay(path, arm="plain", seed=0)
