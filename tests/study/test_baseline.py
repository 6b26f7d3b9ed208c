"""The arm that others are compared with is the one that study.json names."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sweep.cli.main import main

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("study=quick", "tracking=none", "compute=serial", "seeds.count=2", "stopping.max_steps=9")


def test_a_report_compares_with_the_baseline_of_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *SMALL, "baseline=exp", f"store.root={tmp_path / 'r'}"]) == 0
    (path,) = (tmp_path / "r").iterdir()
    found = pd.read_parquet(path / "summary" / "contrasts.parquet")
    assert set(found["baseline"]) == {"exp"}
    assert set(found["arm"]) == {"extra_neuron", "plain"}
    study = json.loads((path / "study.json").read_text())
    study["config"]["baseline"] = "ex"
    (path / "study.json").write_text(json.dumps(study))
    capsys.readouterr()
    assert main(["report", str(path)]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "baseline 'ex' is unknown" in said
    assert "did you mean 'exp'" in said
