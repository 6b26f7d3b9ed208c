"""Submission to SLURM through sbatch, squeue, sacct and scancel, from a machine that has them.

Everything a submission leaves lies in `<results>/.submission`: its parcel, its log, its marker.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress

from sweep.errors import UserError
from sweep.storage.durable import make_folder
from sweep.submission.base import (
    POLL_SECONDS,
    Parcel,
    Phase,
    State,
    Submission,
    judged,
    submission_id,
)
from sweep.submission.commands import BatchSystem
from sweep.submission.marker import latest_attempt, marker_file
from sweep.submission.slurm_script import Places, render

SLURM = BatchSystem("SLURM", "submit from a machine with SLURM's commands, usually a login node")

_PENDING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING")
_ENDED = {"COMPLETED": Phase.SUCCEEDED, "CANCELLED": Phase.CANCELLED}  # all others: failed
_CHUNK = 2**16  # bytes of a log read at once
# Secrets of another Ray, which this job's own has no use for; what would change the questions and
# overrule the script; and, where we are inside a job already, that job's own shape.
_LEFT_HERE = re.compile(
    r"RAY_AUTH_TOKEN|RAY_AUTH_TOKEN_PATH|RAY_AUTH_MODE|RAY_ADDRESS|(SQUEUE|SACCT|SCANCEL)_\w+"
    r"|SBATCH_(JOB_NAME|OUTPUT|ERROR|OPEN_MODE|SIGNAL|REQUEUE|NO_REQUEUE|WAIT|ARRAY_INX|TIMELIMIT)"
    r"|SLURM_(?!CONF$|CLUSTERS$|JWT$)\w+"
)


class SlurmSubmitter:
    """SLURM as a `Submitter`; whom to ask is the environment's matter (`SLURM_CONF`)."""

    def submit(self, parcel: Parcel) -> Submission:
        """The job that SLURM has taken, under the study's next attempt."""
        self.preview(parcel)  # what no script can hold is refused before anything is written
        self._refuse_running(parcel.study_id)
        name = _claim_attempt(parcel)
        places = Places.of(parcel, name)
        shutil.copytree(parcel.folder, places.parcel, dirs_exist_ok=True)
        script = places.parcel / "job.sh"
        script.write_text(render(parcel, name), encoding="utf-8")
        try:
            job = _ask(["sbatch", "--parsable", str(script)]).strip().partition(";")[0]
        except UserError:
            self._abandon(parcel, places)
            raise
        submission = parcel.submitted("slurm", name, job=job)
        try:
            self._refuse_running(parcel.study_id, than=int(job))
        except UserError:  # somebody submitted at the same moment, and was first
            self.cancel(submission)
            raise
        return submission

    def preview(self, parcel: Parcel) -> str:
        """The script of a first attempt."""
        return render(parcel, submission_id(parcel.study_id, 1))

    def state(self, submission: Submission) -> State:
        """SLURM's word while the job is in its queue, the marker's once it has left it."""
        return judged(_state(submission), submission)

    def logs(self, submission: Submission, follow: bool) -> Iterator[str]:
        """The job's output, all attempts that SLURM made of it one after the other."""
        log = marker_file(submission.results, submission.id).with_suffix(".log")
        if not log.parent.is_dir():
            raise UserError(f"The log of {submission.id} is in '{log}', which is not seen here.")
        position = 0
        while True:
            ended = not follow or self.state(submission).ended
            with suppress(FileNotFoundError), log.open("rb") as file:  # it is there once it runs
                file.seek(position)
                while chunk := file.read(_CHUNK):
                    position += len(chunk)
                    yield chunk.decode(errors="replace")
            if ended:
                return
            time.sleep(POLL_SECONDS)

    def cancel(self, submission: Submission) -> None:
        """Ask SLURM to end the job, which is interrupted, and killed when it takes too long."""
        _ask(["scancel", *_only(submission)])

    def _abandon(self, parcel: Parcel, places: Places) -> None:
        """Take away what a refused submission left, unless it is in the queue after all."""
        try:
            self._refuse_running(parcel.study_id)
        except UserError:
            return
        shutil.rmtree(places.parcel, ignore_errors=True)
        for folder in (places.parcel.parent, places.parcel.parent.parent):
            with suppress(OSError):  # refused, rightly, unless it is empty
                folder.rmdir()

    def _refuse_running(self, study_id: str, than: int | None = None) -> None:
        """Refuse a study of which we have a job in the queue, or one with a lower number `than`."""
        words = ["squeue", "--noheader", f"--user={os.geteuid()}", "--format=%A %j"]
        for line in _ask(words).splitlines():
            job, _, name = line.strip().partition(" ")
            if not name.startswith(f"sweep-{study_id}-"):
                continue
            if than is None or int(job) < than:
                raise UserError(
                    f"This study is in SLURM's queue already as {name}, job {job}: wait for it, or"
                    f" end it with 'scancel {job}'."
                )


def _claim_attempt(parcel: Parcel) -> str:
    """The study's next attempt, whose folder now exists; everybody who sees it finds another."""
    first = latest_attempt(parcel.results, parcel.study_id) + 1
    for attempt in itertools.count(first):
        name = submission_id(parcel.study_id, attempt)
        folder = Places.of(parcel, name).parcel
        try:
            make_folder(folder.parent)
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"The results folder '{parcel.results}' cannot be written ({error.strerror}):"
                " store.root has to be a folder that this machine and the nodes share."
            ) from error
        return name
    raise AssertionError


def _state(submission: Submission) -> State:
    """SLURM's own word: from the queue, from its accounting, or that it has forgotten the job."""
    job = submission.job
    for ask in (_queue, _accounting):
        word, detail = ask(submission)
        if word in _PENDING:
            return State(Phase.PENDING, detail)
        if word in _RUNNING:
            return State(Phase.RUNNING, f"SLURM job {job}")
        if word:
            return State(_ENDED.get(word, Phase.FAILED), f"SLURM calls job {job} {word}")
    return State(Phase.LOST, f"SLURM has no job {job} any more")


def _only(submission: Submission) -> list[str]:
    """The job, by number and name: a controller that begins anew gives a number to another job."""
    return [f"--name={submission.id}", submission.job or ""]


def _queue(submission: Submission) -> tuple[str, str]:
    """State and reason of a job that has not ended, or not long ago; empty words otherwise."""
    name, job = _only(submission)
    words = ["squeue", "--noheader", "--states=all", "--format=%T %r", name, f"--jobs={job}"]
    answer = _ask(words, unless="Invalid job id")
    state, _, why = answer.strip().partition(" ")
    return state, "" if why == "None" else why


def _accounting(submission: Submission) -> tuple[str, str]:
    """The state of a job of any age; an empty word where no accounts are kept."""
    name, job = _only(submission)
    words = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=State", name]
    try:
        answer = _ask([*words, f"--jobs={job}"])
    except UserError:  # none, none that we may read, or not now: the marker knows as much
        return "", ""
    return (answer.split() or [""])[0], ""  # 'CANCELLED by 1000' in its longest form


def _ask(command: list[str], unless: str | None = None) -> str:
    """What a command of SLURM's prints, or nothing where it fails and says `unless`."""
    kept = {name: value for name, value in os.environ.items() if not _LEFT_HERE.fullmatch(name)}
    return SLURM.ask(command, command[0], environment=kept, unless=unless)
