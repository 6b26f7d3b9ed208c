"""How often does training end in a bad local minimum? Seed sweeps with certified verdicts.

    >>> import sweep
    >>> results = sweep.run(["study=quick", "seeds.count=200"])   # doctest: +SKIP
    >>> rows = sweep.load_rows(results.path)                      # doctest: +SKIP
    >>> sweep.summarise(rows).frequencies                         # doctest: +SKIP
    >>> sweep.replay(results.path, arm="plain", seed=7).equal     # doctest: +SKIP

Overrides are those of the command line. Imports are made when a function is first called, so that
`import sweep` costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from sweep.inference.summary import Summary
    from sweep.study.plan import Plan
    from sweep.study.replay import Replay
    from sweep.study.results import Results

__all__ = ["__version__", "load_rows", "plan", "replay", "run", "summarise"]


def run(overrides: Sequence[str] = ()) -> Results:
    """Run a study, or finish it; the same as `sweep run OVERRIDES`, without output.

    Raises `sweep.errors.UserError` for bad input, before anything is trained.
    """
    from sweep.cli.compose import compose
    from sweep.study.observer import Silent
    from sweep.study.resolve import resolve
    from sweep.study.run import run_study

    composed = compose(list(overrides))
    return run_study(*resolve(composed), composed.resolved, Silent())


def plan(overrides: Sequence[str] = ()) -> Plan:
    """What `run` would do: cells, arms, jobs, an estimate of time. Writes nothing."""
    from sweep.cli.compose import compose
    from sweep.study.plan import plan_study
    from sweep.study.resolve import resolve

    study, compute, store, _ = resolve(compose(list(overrides)))
    return plan_study(study, compute, store)


def load_rows(path: str | Path) -> pd.DataFrame:
    """All rows of a results folder plus the column `outcome`, judged against the witnesses."""
    from sweep.study.results import load_rows as load

    return load(path)


def summarise(rows: pd.DataFrame, *, baseline: str | None = None) -> Summary:
    """Witnesses, frequencies and contrasts of rows; in any order they give the same tables.

    Arms are compared with the arm `baseline`: by default "plain" or else the first by name.
    """
    from sweep.inference.summary import summarise as summary_of

    return summary_of(rows, baseline=baseline)


def replay(
    path: str | Path, *, arm: str, seed: int, cell: str | None = None, draw: int | None = None
) -> Replay:
    """One member of a results folder trained and judged again, alone, and held against its row.

    `cell` (an id) and `draw` (of λ) may be left out where there is only one. `equal` of what comes
    back says whether all columns are the same bits. Writes a figure into the folder. Raises
    `sweep.errors.UserError` when there is no such member, or the study is another release's.
    """
    from sweep.study.replay import replay as replay_member

    return replay_member(path, arm=arm, seed=seed, cell=cell, draw=draw)
