"""What the study tells MLflow, if anything: a view of the rows, never the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sweep.inference.summary import Summary
from sweep.job_report import JobReport
from sweep.spec import GROUPS, Study, Tracking
from sweep.storage.layout import Layout
from sweep.storage.mlflow_mirror import Mirror
from sweep.storage.mlflow_names import Identity, arm_metrics
from sweep.storage.provenance import provenance
from sweep.storage.tracking_server import address_of as shown_address
from sweep.study.results import Results
from sweep.verdicts import Outcome


class Tracker:
    """Passes a run on to the mirror; without one it does nothing."""

    def __init__(self, mirror: Mirror | None, uri: str | None) -> None:
        self._mirror = mirror
        self.uri = uri

    def job_done(self, report: JobReport) -> None:
        """Hand over a finished job; returns at once."""
        if self._mirror is not None:
            self._mirror.job_done(report)

    def summary(self, results: Results) -> None:
        """Put the summary on the parent run and wait, for a bounded time, until all is sent."""
        if self._mirror is not None:
            self._mirror.finish(
                summary_metrics(results.summary), "FINISHED" if results.complete else "FAILED"
            )


@contextmanager
def tracked(
    study: Study,
    tracking: Tracking,
    layout: Layout,
    resolved: Mapping[str, Any],
    warn: Callable[[str], None],
) -> Iterator[Tracker]:
    """A tracker for the run; `UserError` at once when the server does not answer."""
    if not tracking.enabled:
        yield Tracker(None, None)
        return
    cells = {cell.id: cell.axes for cell in study.cells}
    identity = identity_of(study.name, study.id, cells, resolved, provenance())
    mirror = Mirror.open(tracking.uri, layout, identity, warn=warn)
    try:
        yield Tracker(mirror, shown_address(tracking.uri, layout))
    except BaseException:
        # Interrupted or broken: say so on the parent, briefly; rows on disk are whole.
        mirror.finish({}, "KILLED", patience=5.0)
        raise


def identity_of(
    name: str,
    study_id: str,
    cells: Mapping[str, Mapping[str, Any]],
    resolved: Mapping[str, Any],
    made_by: Mapping[str, Any],
) -> Identity:
    """What a study shows on its runs; `made_by` is the provenance of its rows.

    From what study.json keeps alone, so that a view restored from it says the same.
    """
    factors = scientific_factors(resolved)
    return Identity(name, study_id, factors, made_by["git_commit"], cells)


def scientific_factors(resolved: Mapping[str, Any]) -> dict[str, object]:
    """One param per setting that all cells share, a list of its values where they differ."""
    settings = [cell["settings"] for cell in resolved["cells"]]
    arms = dict.fromkeys(arm for own in settings for arm in own["arms"])
    factors: dict[str, object] = {"root": resolved["seeds"]["root"], "arms": ", ".join(arms)}
    for group in GROUPS:
        found: dict[str, list[Any]] = {}
        for own in settings:
            choice = own[group] if isinstance(own[group], Mapping) else {"name": own[group]}
            for key, value in choice.items():
                name = group if key == "name" else f"{group}.{key}"
                if value not in found.setdefault(name, []):
                    found[name].append(value)
        factors |= {k: v[0] if len(v) == 1 else str(v) for k, v in found.items()}
    return factors


def summary_metrics(summary: Summary) -> dict[str, float]:
    """The parent's metrics: per arm over all cells, frequency, interval, error, counts."""
    table = summary.frequencies
    pooled = table.loc[table["level"] == "arm"]
    metrics: dict[str, float] = {}
    for row in pooled.to_dict("records"):
        found = arm_metrics(
            str(row["arm"]),
            frequency=row["bad_minimum_frequency"],
            low=row["interval_low"],
            high=row["interval_high"],
            mean_final_error=row["mean_final_error"],
            outcomes={o.value: int(row[o.value]) for o in Outcome},
        )
        metrics |= {name: value for name, value in found.items() if math.isfinite(value)}
    return metrics
