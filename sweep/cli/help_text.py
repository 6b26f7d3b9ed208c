"""What `sweep run --help` prints: groups with their options, own flags, examples."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sweep.cli.library import GROUPS, Library

_PURPOSE = {
    "study": "what is compared: arms, baseline, grid",
    "problem": "the data",
    "model": "the base network",
    "loss": "ℓ(−y·f)",
    "init": "where training starts",
    "optimizer": "how it moves",
    "stopping": "when it ends",
    "judge": "what a verdict requires",
    "compute": "where jobs run; changes no row",
    "tracking": "the MLflow mirror; changes no row",
}


def study_help(command: str, own: Path | None = None) -> str:
    """The help of `run` or `plan`, with the options of a user's own folder where given."""
    library = Library(own)
    groups = "\n".join(
        textwrap.fill(
            f"{group:<11}{' '.join(library.options(group))}   ({_PURPOSE[group]})",
            width=100,
            initial_indent="  ",
            subsequent_indent=" " * 13,
        )
        for group in GROUPS
    )
    return f"""\
sweep {command} [OVERRIDES] [--config-dir DIR] [--cfg job]

Groups: choose one with group=option
{groups}

Overrides (Hydra's grammar)
  group.key=value      set a setting:            model.width=3  seeds.count=1e4  loss.p=4
  key=a,b  range(1,4)  an axis of the grid:      model.width=2,3,4  problem=xor,iris_pair
  +arms.NAME={{…}}       one more arm;             ~arms.NAME takes one away

Options
  --cfg job            print the composed configuration and stop
  --config-dir DIR     also look in DIR for studies and options of your own (DIR/study/mine.yaml)

Examples
  sweep {command}                                   the default study
  sweep {command} study=quick compute=serial        a minute's look
  sweep {command} problem=xor arms.exp.lambda.draws=8
  sweep {command} model.width=2,3,4 seeds.count=200
  sweep {command} seeds.half_width=0.01               as many seeds as ± 1 % takes
  sweep {command} problem=table problem.path=heart.csv problem.target=disease
"""
