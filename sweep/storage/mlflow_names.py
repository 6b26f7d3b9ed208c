"""What a person finds in the MLflow view: the names of tags, params and metrics.

Promised to users, so that saved views and scripts keep working. Knows nothing of MLflow's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweep.job_report import JobReport

JOB_TAG = "sweep.job"
KIND_TAG = "sweep.kind"
"""The view finds its runs by tags of its own; a plain `job` may be anybody's."""
ARTIFACTS_TAG = "sweep.artifacts"
"""A digest of the artifacts that were sent, so that they are sent again only if they changed."""
PARAM_LENGTH = 6000
"""MLflow cuts a longer param without a word."""


@dataclass(frozen=True)
class Identity:
    """What a study shows on its runs: experiment name, tags, and scientific factors as params.

    `params` are those of the parent; `cells` maps a cell's id to its grid values, the params of
    the cell's jobs.
    """

    name: str
    study_id: str
    params: Mapping[str, object]
    git_commit: str | None = None
    cells: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def cell_params(self, cell: str) -> dict[str, str]:
        """Grid values of a cell as texts, without those that MLflow would cut."""
        values = {key: str(value) for key, value in self.cells.get(cell, {}).items()}
        return {key: text for key, text in values.items() if len(text) <= PARAM_LENGTH}

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the parent and of every child."""
        tags = {"study_id": self.study_id}
        if self.git_commit is not None:
            tags |= {"git_commit": self.git_commit, "mlflow.source.git.commit": self.git_commit}
        return tags


def arm_metrics(
    arm: str,
    *,
    frequency: float,
    low: float,
    high: float,
    mean_final_error: float,
    outcomes: Mapping[str, int],
) -> dict[str, float]:
    """The parent's metrics of one arm, under the names that are promised to users."""
    return {
        f"bad_minimum_frequency/{arm}": frequency,
        f"bad_minimum_frequency_low/{arm}": low,
        f"bad_minimum_frequency_high/{arm}": high,
        f"mean_final_error/{arm}": mean_final_error,
        **{f"outcome/{arm}/{outcome}": float(count) for outcome, count in outcomes.items()},
    }


def job_metrics(report: JobReport) -> dict[str, float]:
    """A child's metrics: its seeds, and per arm the mean error and what members came to."""
    counts = {"verdict": report.verdicts, "stop": report.stops}
    return {
        "first_seed": report.first_seed,
        "n_seeds": report.n_seeds,
        "n_rows": report.n_rows,
        **{f"mean_final_error/{arm}": error for arm, error in report.mean_final_error.items()},
        **{f"seconds/{stage}": seconds for stage, seconds in report.seconds.items()},
        **{
            f"{kind}/{arm}/{word}": count
            for kind, arms in counts.items()
            for arm, words in arms.items()
            for word, count in words.items()
            if count
        },
    }
