"""What every place to submit to has in common: what travels, what is kept, how it is asked.

A submission is judged by the marker that the run leaves at its end (`sweep.submission.marker`);
exit statuses of batch systems are asked only where the results cannot be seen from here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from sweep.errors import UserError
from sweep.spec import Compute
from sweep.storage.layout import Layout
from sweep.submission.marker import marker_file, read_marker

To = Literal["ray", "slurm", "kuberay"]

POLL_SECONDS = 2.0  # between two questions to a cluster's head
PATIENCE_SECONDS = 600.0  # without an answer while somebody waits


@dataclass(frozen=True)
class Parcel:
    """What travels to a cluster.

    `results` is the results folder there (an absolute path). `composed` is the configuration in
    plain JSON data, with `compute` as the driver on the cluster needs it; `compute` is the typed
    one with the batch settings. `folder` holds the code and `composed.json`, ready to be copied.
    """

    study_id: str
    name: str
    results: str
    composed: Mapping[str, Any]
    compute: Compute
    folder: Path

    @property
    def label(self) -> str:
        """The results folder's own name, `<name>-<study_id>`."""
        return f"{self.name}-{self.study_id}"

    def marker(self, submission_id: str) -> Path:
        """The file that the run writes at its end."""
        return marker_file(self.results, submission_id)

    def command(self, submission_id: str, composed: str = "composed.json") -> list[str]:
        """The words that run the study where the parcel was unpacked, `composed` seen from there.

        The interpreter must find `sweep` there: in the working folder, or on PYTHONPATH.
        """
        words = [self.compute.batch.python, "-m", "sweep.cli.main", "run"]
        return [*words, "--composed", composed, "--marker", str(self.marker(submission_id))]

    def submitted(self, to: To, name: str, **rest: Any) -> Submission:
        """What is kept once a batch system has taken the parcel, now, under the id `name`.

        `rest` are the fields of `Submission` that only some batch systems need.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Submission(to, name, self.study_id, self.name, self.results, now, **rest)


@dataclass(frozen=True)
class Submission:
    """What is kept about a submission, never with a credential in it.

    `address` is the head's, or None where the batch system needs none. `job` is the batch system's
    own number or name, `details` what else its submitter wants to remember.
    """

    to: To
    id: str
    study_id: str
    name: str
    results: str
    submitted_at: str
    address: str | None = None
    job: str | None = None
    insecure: bool = False
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The results folder's own name, `<name>-<study_id>`."""
        return f"{self.name}-{self.study_id}"


class Phase(StrEnum):
    """How far a submission is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True)
class State:
    """A submission's phase, why (one line, may be empty) and the run's exit status once known."""

    phase: Phase
    detail: str = ""
    exit_status: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.phase not in (Phase.PENDING, Phase.RUNNING)

    @property
    def status(self) -> int:
        """The exit status to hand on: the run's own, else 130 if cancelled, else 1 (0: succeeded).

        Of a submission that has not ended it is 1.
        """
        if self.exit_status is not None:
            return self.exit_status
        return {Phase.SUCCEEDED: 0, Phase.CANCELLED: 130}.get(self.phase, 1)


class Submitter(Protocol):
    """One place to submit to. All methods raise `UserError` when it cannot be reached or refuses.

    - `submit` starts the parcel and returns when the batch system has taken it. It refuses, with
      the id, while an earlier submission of the same study has not ended there.
    - `preview` is what `--dry-run` prints; it contacts nobody and holds no credential.
    - `state` asks the batch system and the marker; a submission it does not know is `LOST`.
    - `logs` yields text as it comes; with `follow` until the submission has ended.
    - `cancel` asks for the end and returns at once; nothing happens to one that has ended.
    """

    def submit(self, parcel: Parcel) -> Submission:
        """The submission that now is under way."""
        ...

    def preview(self, parcel: Parcel) -> str:
        """The script, manifest or request that `submit` would send."""
        ...

    def state(self, submission: Submission) -> State:
        """How far it is."""
        ...

    def logs(self, submission: Submission, follow: bool) -> Iterator[str]:
        """What the run has printed, in pieces."""
        ...

    def cancel(self, submission: Submission) -> None:
        """Ask for its end."""
        ...


def submission_id(study_id: str, attempt: int) -> str:
    """The name of a study's attempt (1, 2, …) on one cluster.

    Two people who submit at once find the same number, and the cluster takes one of them.
    """
    return f"sweep-{study_id}-{attempt}"


def under_way(name: str, which: str) -> UserError:
    """That a study runs already as the submission `name`; `which` is what cancel takes."""
    return UserError(
        f"This study runs already as {name}: wait for it, or end it with 'sweep cancel {which}'."
    )


def require_fitting(compute: Compute) -> None:
    """Refuse a job that no node of the batch settings could hold: it would wait for ever."""
    batch = compute.batch
    pairs = (
        ("cpus_per_job", compute.cpus_per_job, "cpus_per_node", batch.cpus_per_node),
        ("gpus_per_job", compute.gpus_per_job, "gpus_per_node", batch.gpus_per_node),
        (
            "memory_per_job_gb",
            compute.memory_per_job_gb,
            "memory_per_node_gb",
            batch.memory_per_node_gb,
        ),
    )
    for wanted, asked, offered, given in pairs:
        if asked > given:
            raise UserError(
                f"compute.{wanted} is {asked:g}, but compute.batch.{offered} is {given:g}: a job"
                " has to fit on one node."
            )


def judged(asked: State, submission: Submission) -> State:
    """What the batch system says, corrected by the marker once it says that the run has ended.

    A run that ended without its marker has not succeeded, where the results folder can be seen.
    """
    if not asked.ended:
        return asked
    marker = read_marker(submission.results, submission.id)
    if marker is not None and marker.study == submission.label:
        phase = {0: Phase.SUCCEEDED, 130: Phase.CANCELLED}.get(marker.exit_status, Phase.FAILED)
        detail = f"the run ended with exit status {marker.exit_status} at {marker.finished_at}"
        return State(phase, detail, marker.exit_status)
    if asked.phase is Phase.SUCCEEDED and _seen(submission.results):
        return State(
            Phase.FAILED, "it ended without its completion marker in the results folder", None
        )
    return asked


def _seen(results: str) -> bool:
    """Whether a results folder is there for us; one that we may not read is not."""
    try:
        return Layout.at(results).root.is_dir()
    except Exception:  # object stores have errors of their own
        return False


def wait(submitter: Submitter, submission: Submission, poll: float = POLL_SECONDS) -> State:
    """The state it ends in; `poll` is in seconds.

    A cluster that does not answer for a while is asked again: a network that fails for a minute
    says nothing about the run. Raises what the submitter raises when that lasts too long.
    """
    answered = time.monotonic()
    while True:
        try:
            state = submitter.state(submission)
        except UserError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            if state.ended:
                return state
        time.sleep(poll)
