"""λ from theory: one number per study, written by the first run and used by all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sweep
from sweep.cli.compose import compose
from sweep.errors import UserError
from sweep.lambdas import UniformPerNeuron
from sweep.storage.layout import Layout
from sweep.study.resolve import resolve
from sweep.study.stored import stored_study
from sweep.study.theory import theory_bounds, with_bounds

pytestmark = pytest.mark.usefixtures("undrawn")

STUDY = (
    "study=requ_theorem_1",
    "~grid",
    "problem=xor",
    "loss=logistic",
    "model.width=5",
    "stopping.max_steps=5",
    "arms.coercive.lambda.draws=3",
    "compute=serial",
    "tracking=none",
)
LAW = "arms.coercive.lambda"


def joined(*words: str) -> list[str]:
    """The study's words with these, in the place of those of the same key."""
    given = {word.partition("=")[0] for word in words}
    return [*(word for word in STUDY if word.partition("=")[0] not in given), *words]


def composed(*words: str) -> Any:
    return resolve(compose(joined(*words)))[0]


def law(study: Any) -> dict[str, Any]:
    return dict(study.cells[0].arms[0].lam.settings)


def test_the_word_and_not_the_number_is_the_studys_identity(tmp_path: Path) -> None:
    study = composed()
    assert law(study)["high"] == "theory"
    number = with_bounds(study, theory_bounds(study, Layout(tmp_path / "none")))
    assert number.id == study.id
    assert law(number) == {**law(study), "high": 0.0889008}
    assert composed(f"{LAW}.high=0.0889008").id != study.id
    assert composed("problem=two_moons", "problem.n=6").id != study.id


def test_cells_that_differ_in_what_the_bound_ignores_share_it(tmp_path: Path) -> None:
    study = composed("optimizer.lr=0.01,0.1", "loss=logistic,hinge_power")
    bounds = theory_bounds(study, Layout(tmp_path / "none"))
    values = sorted(bounds[cell.id]["coercive"]["value"] for cell in study.cells)
    assert values[0] == values[1] < values[2] == values[3]
    assert values[2] / values[0] == pytest.approx(3 * 2 * np.log(2), rel=1e-5)  # ε = p, 1/(2 ln 2)


def test_a_run_writes_the_bound_and_every_later_one_uses_it(tmp_path: Path) -> None:
    words = [*STUDY, f"store.root={tmp_path}", "seeds.count=2"]
    first = sweep.run(words)
    layout = Layout.at(first.path)
    found = json.loads(layout.study_file.read_text(encoding="utf-8"))
    (bound,) = (arms["coercive"] for arms in found["bounds"].values())
    rows = sweep.load_rows(first.path)
    for draw, vectors in rows.groupby("draw")["lam_vector"]:
        expected = UniformPerNeuron(high=bound["value"]).sample(0, int(draw), 5)
        for vector in vectors:
            np.testing.assert_array_equal(vector, expected)
    assert rows["lam_vector"].map(max).max() < bound["value"]
    # Another machine may find another bound: a later run asks the file, not the search.
    bound["value"] /= 2
    layout.study_file.write_text(json.dumps(found), encoding="utf-8")
    sweep.run([*STUDY, f"store.root={tmp_path}", "seeds.count=4"])
    more = sweep.load_rows(first.path).set_index(["draw", "seed"])["lam_vector"]
    for draw in range(3):
        np.testing.assert_array_equal(2 * more[draw, 3], more[draw, 0])
    assert law(stored_study(layout).study)["high"] == bound["value"]
    plan = sweep.plan([*STUDY, f"store.root={tmp_path}", "seeds.count=4"])
    assert law(plan.study)["high"] == bound["value"]


def test_a_stored_row_with_a_bound_replays(tmp_path: Path) -> None:
    found = sweep.run([*STUDY, f"store.root={tmp_path}", "seeds.count=1"])
    assert sweep.replay(found.path, arm="coercive", seed=0, draw=2).equal is True


def test_a_lost_bound_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.json has no bound for arms\.coercive"):
        with_bounds(composed(), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=squared"], "arms.coercive.*'theory'.*'logistic' or 'hinge_power'"),
        (["model=quadratic", "problem=two_moons"], "arms.coercive.*no quadratic network"),
    ],
)
def test_what_theory_does_not_bound_is_refused_before_a_run(
    words: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        sweep.run([*joined(*words), f"store.root={tmp_path}"])
    assert not list(tmp_path.rglob("study.json"))
