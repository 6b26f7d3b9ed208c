"""Submission to a Ray that is already there, through the job server on its head.

The job server runs beside Ray's dashboard and takes whatever it is sent, so a Ray that answers
without a token is refused unless it can only be reached from its own machine. Ray refuses a
submission id it has seen before: that is what keeps a study from running twice at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from sweep.environment import environment
from sweep.errors import UserError
from sweep.execution.loopback import is_loopback
from sweep.execution.tokens import read_settings_again
from sweep.storage.provenance import without_credentials
from sweep.submission.base import (
    Parcel,
    Phase,
    State,
    Submission,
    judged,
    submission_id,
    under_way,
)
from sweep.submission.credentials import refuse_credentials
from sweep.submission.marker import latest_attempt
from sweep.submission.parcel import COMPOSED

DEFAULT_ADDRESS = "http://127.0.0.1:8265"

REACH_SECONDS = 5.0  # a head node, or a tunnel to one, answers within a second

_PHASES = {
    "PENDING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "STOPPED": Phase.CANCELLED,
}
_DETAIL_LENGTH = 200
# The client takes these two over what it is given.
_OVERRULING: dict[str, str | None] = {"RAY_API_SERVER_ADDRESS": None, "RAY_ADDRESS": None}
# Each says what it uploads.
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)

T = TypeVar("T")


class RayJobs:
    """Ray's job server as a `Submitter`.

    `address` is that of the dashboard (http://host:8265); None: `RAY_API_SERVER_ADDRESS`, or the
    usual port of this machine. Authentication is the user's own `RAY_AUTH_*`.
    """

    def __init__(self, address: str | None = None, insecure: bool = False) -> None:
        given = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
        self._address = _checked(given)
        self._insecure = insecure
        self._opened: JobSubmissionClient | None = None

    def submit(self, parcel: Parcel) -> Submission:
        """The job that Ray has taken, under the study's next attempt."""
        self._refuse_open()
        known = self._latest_attempt(parcel.study_id)
        attempt = 1 + max(known, latest_attempt(parcel.results, parcel.study_id))
        name = submission_id(parcel.study_id, attempt)
        submission = parcel.submitted("ray", name, address=self._address, insecure=self._insecure)
        request = _request(parcel, submission.id)
        working_dir = {"working_dir": str(parcel.folder)}
        request["runtime_env"] = {**request["runtime_env"], **working_dir}
        try:
            self._ask(lambda: self._client().submit_job(**request))
        except RuntimeError as error:
            if "already exists" in str(error):  # somebody was faster
                raise under_way(submission.id, parcel.label) from None
            raise UserError(f"Ray at {self._address} refuses the job: {_line(error)}") from error
        return submission

    def preview(self, parcel: Parcel) -> str:
        """The request as JSON, with the id of a first attempt; the parcel is its working folder."""
        request = {"address": self._address, **_request(parcel, submission_id(parcel.study_id, 1))}
        request["runtime_env"] = {**request["runtime_env"], "working_dir": "<parcel>"}
        return json.dumps({**request, "composed": parcel.composed}, indent=2) + "\n"

    def state(self, submission: Submission) -> State:
        """Ray's word while the job runs, the marker's once it has ended."""
        found = self._details(submission)
        if found is None:
            return judged(State(Phase.LOST, "this Ray knows no such job"), submission)
        return judged(_state(found), submission)

    def logs(self, submission: Submission, follow: bool) -> Iterator[str]:
        """What the driver has printed; with `follow` until it has ended."""
        if self._details(submission) is None:
            raise UserError(f"Ray at {self._address} knows no job {submission.id}.")
        if not follow:
            yield self._ask(lambda: str(self._client().get_job_logs(submission.id)))
            return
        lines = self._ask(lambda: self._client().tail_job_logs(submission.id))
        try:
            with asyncio.Runner() as runner:  # which closes the connection on Ctrl-C, too
                while (text := runner.run(_next(lines))) is not None:
                    yield text
        except (RuntimeError, OSError) as error:
            raise self._unreachable(error) from error

    def cancel(self, submission: Submission) -> None:
        """Ask Ray to stop the driver; it is interrupted, and killed when it takes too long."""
        self._ask(lambda: self._client().stop_job(submission.id))

    def _latest_attempt(self, study_id: str) -> int:
        """The latest attempt this Ray knows, 0 for none; `UserError` while one has not ended."""
        latest = 0
        for job in self._ask(lambda: self._client().list_jobs()):
            name = job.submission_id or ""
            stem, _, number = name.rpartition("-")
            if stem != f"sweep-{study_id}" or not number.isdecimal():
                continue
            if not job.status.is_terminal():
                raise under_way(name, study_id)
            latest = max(latest, int(number))
        return latest

    def _details(self, submission: Submission) -> JobDetails | None:
        try:
            return self._ask(lambda: self._client().get_job_info(submission.id))
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise UserError(f"Ray at {self._address} answers: {_line(error)}") from error

    def _client(self) -> JobSubmissionClient:
        if self._opened is None:
            read_settings_again()
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.WARNING)
            with environment(_OVERRULING):
                self._opened = JobSubmissionClient(self._address)
        return self._opened

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer; `UserError` in one sentence where nobody answers or we are refused."""
        self._require_reachable()
        try:
            return question()
        except AuthenticationError as error:
            raise UserError(
                f"Ray at {self._address} refuses our token: set RAY_AUTH_MODE=token and"
                " RAY_AUTH_TOKEN_PATH to a file with the cluster's."
            ) from error
        except (ConnectionError, requests.RequestException) as error:
            raise self._unreachable(error) from error

    def _require_reachable(self) -> None:
        """Refuse an address nobody answers at, or that is no dashboard: Ray would wait for long."""
        if self._opened is not None:
            return
        try:
            answer = requests.get(f"{self._address}/api/version", timeout=REACH_SECONDS)
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        if answer.status_code not in (200, 401, 403) or (
            answer.status_code == 200 and "ray_version" not in answer.text
        ):
            raise UserError(
                f"{self._address} is not Ray's dashboard (it answers {answer.status_code}): the"
                " job server's address is accepted, usually http://HEAD:8265."
            )

    def _refuse_open(self) -> None:
        """Refuse a Ray that others can reach and that asks nobody for a token."""
        self._require_reachable()
        if self._insecure:
            return
        with suppress(requests.RequestException, ValueError, TypeError, KeyError):
            answer = requests.get(f"{self._address}/nodes?view=summary", timeout=REACH_SECONDS)
            if answer.status_code in (401, 403):
                return
            nodes = answer.json()["data"]["summary"]
            hosts = [node["ip"] for node in nodes]
            if hosts and all(map(is_loopback, [*hosts, _host(self._address)])):
                return
        raise UserError(
            f"Ray at {self._address} answers without a token, so whoever reaches its machines can"
            " run code there as you: start it with RAY_AUTH_MODE=token, or accept that with"
            " --insecure."
        )

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(
            f"Ray's job server at {self._address} cannot be reached ({type(error).__name__}): give"
            " --address http://HEAD:8265, through a tunnel where it listens on loopback only."
        )


def _request(parcel: Parcel, job_id: str) -> dict[str, Any]:
    """What Ray is asked to run, apart from the working folder."""
    return {
        "submission_id": job_id,
        "entrypoint": shlex.join(parcel.command(job_id, COMPOSED)),
        "runtime_env": {"env_vars": {"PYTHONUNBUFFERED": "1"}},
        "metadata": {"study": parcel.study_id, "name": parcel.name},
    }


def _state(found: JobDetails) -> State:
    """Ray's own word on a job."""
    phase = _PHASES[str(found.status.value)]
    status = found.driver_exit_code if phase is Phase.FAILED else None
    detail = ""
    if phase is Phase.FAILED:
        first = (found.message or "").splitlines()[:1]
        detail = first[0].partition(", last available logs")[0][:_DETAIL_LENGTH] if first else ""
    elif phase is Phase.PENDING:
        detail = _line(found.message or "")
    return State(phase, detail, status if status in (1, 2, 130) else None)


async def _next(lines: AsyncIterator[str]) -> str | None:
    with warnings.catch_warnings():
        # Ray opens its connection in a way that newer aiohttp frowns upon.
        warnings.simplefilter("ignore", DeprecationWarning)
        return await anext(lines, None)


def _checked(address: str) -> str:
    """The address without a slash at its end; `UserError` if it is none, or holds a credential."""
    refuse_credentials(address, "--address")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"--address '{without_credentials(address)}' is no job server's: http://HEAD:8265 is"
            " accepted."
        )
    return address.rstrip("/")


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


def _line(error: object) -> str:
    """The last line that says something, which is where Ray's tracebacks say what went wrong."""
    lines = [line.strip(" .") for line in str(error).splitlines() if line.strip(" .")]
    return (lines or [type(error).__name__])[-1][:_DETAIL_LENGTH]
