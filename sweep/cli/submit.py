"""`sweep submit`, `logs`, `cancel` and the submission's part of `status`; a cluster's `run`."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sweep.cli.words import Parser
from sweep.errors import UserError, unknown
from sweep.execution.interrupts import interrupted_afterwards
from sweep.storage.layout import Layout
from sweep.storage.objects import place
from sweep.study.composed import Composed
from sweep.submission import open_submitter, records
from sweep.submission.base import Phase, State, Submission, Submitter, To, judged, wait
from sweep.submission.marker import write_marker
from sweep.submission.parcel import packed, read_composed

SUBMIT_HELP = """\
sweep submit --to ray|slurm|kuberay [--address URL] [--wait] [--dry-run] [--insecure] [OVERRIDES]

Sends a study, composed as 'sweep run' would compose it, to a cluster that is already there. The
code travels along. store.root has to be a folder that the cluster's machines see under the same
path; if that is not so for this machine, rows stay there and 'sweep logs' shows how it goes.

  --to ray         Ray's job server; --address http://HEAD:8265, or RAY_API_SERVER_ADDRESS
  --to slurm       one sbatch script; compute.batch says what is asked for
  --to kuberay     one RayJob manifest, applied by kubectl
  --wait           wait for the end; the exit status is the run's
  --dry-run        print what would be sent, and send nothing
  --insecure       accept a Ray that answers without a token
  --config-dir     as in 'sweep run'

Credentials come from the environment or files: RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH,
MLFLOW_TRACKING_USERNAME and _PASSWORD, AWS_*. Submitting again after a cancel or crash resumes."""


_OPTIONS = ("--to", "--address", "--config-dir", "--wait", "--dry-run", "--insecure", "--help")


def submit(words: list[str]) -> int:
    """`sweep submit`: send a study to a cluster; with --wait the run's exit status."""
    parser = Parser("submit")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--to")
    parser.add_argument("--address")
    parser.add_argument("--config-dir", type=Path)
    for flag in ("--wait", "--dry-run", "--insecure"):
        parser.add_argument(flag, action="store_true")
    found, overrides = parser.parse_known_args(words)
    if found.help:
        print(SUBMIT_HELP)
        return 0
    for word in overrides:
        if word.startswith("-"):
            raise unknown("option", word.partition("=")[0], _OPTIONS)
    places = typing.get_args(To)
    if found.to is None:
        raise UserError(f"sweep submit needs a place: --to {'|'.join(places)}.")
    if found.to not in places:
        raise unknown("--to", found.to, places)
    submitter = open_submitter(found.to, found.address, found.insecure)
    if found.insecure and found.to != "ray":
        raise UserError(f"--insecure means nothing to {found.to}: it is accepted with --to ray.")

    from sweep.cli.compose import compose
    from sweep.study.resolve import resolve

    composed = compose(_for_cluster(overrides, found.insecure), found.config_dir)
    study, compute, store, _ = resolve(composed)
    with packed(composed, study, compute, store) as parcel:
        if found.dry_run:
            print(submitter.preview(parcel), end="")
            return 0
        records.prepare()
        _refuse_running(study.id)
        # Once it is taken it is kept and named: nobody could end what nobody knows.
        with interrupted_afterwards():
            submission = submitter.submit(parcel)
            _announce(submission)
            _remember(submission)
    return _waited(submitter, submission) if found.wait else 0


def logs(words: list[str]) -> int:
    """`sweep logs`: what the latest submission of a study has printed."""
    parser = Parser("logs")
    parser.add_argument("--follow", "-f", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("target", nargs="*")
    found = parser.parse_args(words)
    does = "print what the run printed; --follow waits for more until it has ended"
    submission = _target("logs", found, does)
    if submission is None:
        return 0
    submitter, printed = _submitter(submission), False
    for text in submitter.logs(submission, found.follow):
        print(text, end="", flush=True)
        printed = printed or bool(text)
    if found.follow or not printed:
        said = _said(submitter.state(submission))
        nothing = "" if printed else "has printed nothing yet; it is "
        print(f"sweep: {submission.id} {nothing}{said}.", file=sys.stderr)
    return 0


def cancel(words: list[str]) -> int:
    """`sweep cancel`: end the latest submission of a study; what it finished stays."""
    parser = Parser("cancel")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("target", nargs="*")
    found = parser.parse_args(words)
    submission = _target("cancel", found, "end it; what is finished stays, submitting resumes")
    if submission is None:
        return 0
    submitter = _submitter(submission)
    state = submitter.state(submission)
    if state.ended:
        print(f"{submission.id} has ended already: {_said(state)}.")
        return 0
    submitter.cancel(submission)
    print(f"{submission.id} is asked to end; 'sweep status {submission.label}' says when it has.")
    return 0


def show_submission(target: str) -> str | Path | None:
    """Prints the state of the target's latest submission, if it has one.

    Returns the results folder to look into next; None when a submission has none yet that can be
    seen from here.
    """
    submission = records.find(target)
    if submission is None:
        records.require_known(target)
        return target
    try:
        said = _said(_submitter(submission).state(submission))
    except UserError as error:  # the marker and the rows on disk are worth telling all the same
        known = judged(State(Phase.LOST), submission)
        said = _said(known) if known.phase is not Phase.LOST else f"not known: {error}"
    print(f"submitted to {submission.to} as {submission.id} at {submission.submitted_at}")
    print(f"state    {said.rstrip('.')}")
    layout = Layout.at(submission.results)
    if layout.study_file.exists():
        return layout.root
    print(f"results  {layout.root}: nothing there yet that can be seen from here")
    return None


def given_composed(composed: Path, overrides: Sequence[str]) -> Composed:
    """The study of `sweep run --composed FILE`; `UserError` beside overrides."""
    if overrides:
        raise UserError(
            f"--composed '{composed}' is a whole study: '{overrides[0]}' is not accepted beside it."
        )
    return read_composed(composed)


@contextmanager
def marking(marker: str | Path | None) -> Iterator[list[int]]:
    """A block whose end is written to a completion marker: the exit status appended to the list.

    Whatever is raised passes through, and counts with the exit status that `main` gives it. A
    marker of an earlier attempt is taken away first. Without a path or URL nothing is written.
    """
    path = None if marker is None else place(str(marker))
    if path is not None:
        path.unlink(missing_ok=True)
    statuses: list[int] = []
    status = 1
    try:
        yield statuses
        status = statuses[-1]
    except UserError:
        status = 2
        raise
    except KeyboardInterrupt:
        status = 130
        raise
    finally:
        if path is not None:
            try:
                write_marker(path, status, path.parent.parent.name)
            except OSError as error:
                print(f"sweep: the marker '{path}' cannot be written: {error}.", file=sys.stderr)


def _for_cluster(words: Sequence[str], insecure: bool) -> list[str]:
    chosen = any(word.lstrip("+").startswith("compute=") for word in words)
    defaults = [] if chosen else ["compute=cluster"]
    return [*defaults, *words, *(["compute.insecure=true"] if insecure else [])]


def _refuse_running(study_id: str) -> None:
    """Refuse a study whose latest submission, wherever it went, has not ended."""
    known = records.find(study_id)
    if known is None:
        return
    try:
        state = _submitter(known).state(known)
    except UserError:
        return  # nobody answers there any more
    if not state.ended:
        raise UserError(
            f"This study is {state.phase} already as {known.id}: wait for it, or end it with"
            f" 'sweep cancel {known.label}'."
        )


def _remember(submission: Submission) -> None:
    """Keep the record; what has been submitted goes on, whatever becomes of that."""
    try:
        records.keep(submission)
    except OSError as error:
        print(
            f"sweep: {submission.id} goes on, but cannot be remembered here ({error}): status, logs"
            f" and cancel are {submission.to}'s own for it.",
            file=sys.stderr,
        )


def _announce(submission: Submission) -> None:
    where = f" at {submission.address}" if submission.address else ""
    print(f"submitted to {submission.to}{where} as {submission.id}")
    print(f"results  {submission.results}")
    for verb in ("status", "logs --follow", "cancel"):
        print(f"         sweep {verb} {submission.label}", flush=True)


def _waited(submitter: Submitter, submission: Submission) -> int:
    try:
        state = wait(submitter, submission)
    except KeyboardInterrupt:
        print(
            f"sweep: no longer waiting; {submission.id} goes on, and 'sweep cancel"
            f" {submission.label}' would end it.",
            file=sys.stderr,
        )
        return 130
    print(f"{submission.id} {_said(state)}.")
    if state.status:
        print(f"sweep: 'sweep logs {submission.label}' says why.", file=sys.stderr)
    return state.status


def _target(command: str, found: typing.Any, does: str) -> Submission | None:
    """The submission asked for; None when help was printed."""
    if found.help:
        print(f"sweep {command} TARGET: {does}. TARGET is a study's id, name-id or results folder.")
        return None
    if len(found.target) != 1:
        raise UserError(
            f"sweep {command} needs one study that you submitted, for example"
            f" 'sweep {command} default-0123456789ab'."
        )
    return records.require(found.target[0])


def _submitter(submission: Submission) -> Submitter:
    return open_submitter(submission.to, submission.address, submission.insecure)


def _said(state: State) -> str:
    return f"{state.phase}: {state.detail}" if state.detail else str(state.phase)
