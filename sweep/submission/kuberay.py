"""Submission to Kubernetes: a RayJob applied by kubectl, which also is asked how it goes.

kubectl's own settings say which cluster and as whom; `--address` names one of their contexts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from sweep.errors import UserError
from sweep.submission.base import (
    POLL_SECONDS,
    Parcel,
    Phase,
    State,
    Submission,
    judged,
    submission_id,
    under_way,
)
from sweep.submission.commands import BatchSystem
from sweep.submission.credentials import refuse_credentials
from sweep.submission.kuberay_manifest import render
from sweep.submission.marker import latest_attempt

KUBECTL = BatchSystem(
    "kubectl", "install it, or print the manifest with --dry-run and have it applied"
)

# `status.jobDeploymentStatus` of KubeRay 1.6; a failed attempt is 'Retrying' while others follow.
_DEPLOYMENT = {
    "": Phase.PENDING,
    "Initializing": Phase.PENDING,
    "Waiting": Phase.PENDING,
    "Suspending": Phase.PENDING,
    "Suspended": Phase.PENDING,
    "Retrying": Phase.PENDING,
    "Running": Phase.RUNNING,
    "Failed": Phase.FAILED,
}
_COMPLETE = {"SUCCEEDED": Phase.SUCCEEDED, "STOPPED": Phase.CANCELLED}  # `status.jobStatus`


class KubeRaySubmitter:
    """KubeRay as a `Submitter`; `address` is a context of kubectl's, None its current one."""

    def __init__(self, address: str | None = None) -> None:
        if address is not None:
            refuse_credentials(address, "--address")
            if "://" in address or address.startswith("-"):
                raise UserError(
                    f"--address '{address}' is no context of kubectl's: one of those that 'kubectl"
                    " config get-contexts' lists is accepted."
                )
        self._address = address

    def submit(self, parcel: Parcel) -> Submission:
        """The RayJob that Kubernetes has taken, under the study's next attempt."""
        namespace = parcel.compute.batch.namespace
        name = self._next_attempt(parcel, namespace)
        # 'create' refuses a name that exists: of two who submit at once one is taken.
        self._ask(["create", "--filename=-"], namespace, given=render(parcel, name))
        details = {"namespace": namespace}
        return parcel.submitted("kuberay", name, address=self._address, job=name, details=details)

    def preview(self, parcel: Parcel) -> str:
        """The manifest of a first attempt."""
        return render(parcel, submission_id(parcel.study_id, 1))

    def state(self, submission: Submission) -> State:
        """KubeRay's word while the job runs, the marker's, where it is seen, once it has ended."""
        words = ["get", "rayjob", submission.id, "--ignore-not-found", "--output=json"]
        answer = self._ask(words, _namespace(submission))
        if not answer.strip():
            return judged(State(Phase.LOST, "Kubernetes has no such RayJob"), submission)
        return judged(_state(json.loads(answer).get("status", {})), submission)

    def logs(self, submission: Submission, follow: bool) -> Iterator[str]:
        """What the job's submitter prints, which follows the driver; with `follow` to its end."""
        words = ["logs", f"job/{submission.id}", "--tail=-1"]
        while follow and self.state(submission).phase is Phase.PENDING:
            time.sleep(POLL_SECONDS)
        words += ["--follow"] if follow else []
        command = self._command(words, _namespace(submission))
        with tempfile.TemporaryFile("w+") as said:
            try:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
            except FileNotFoundError:
                raise KUBECTL.missing(command[0]) from None
            with process:
                assert process.stdout is not None
                yield from process.stdout
            if process.returncode:
                said.seek(0)
                raise KUBECTL.refused("logs", process.returncode, said.read())

    def cancel(self, submission: Submission) -> None:
        """Delete the RayJob, and its cluster with it; rows on the volume stay."""
        namespace = _namespace(submission)
        for kind in ("rayjob", "configmap"):
            words = ["delete", kind, submission.id, "--ignore-not-found", "--wait=false"]
            self._ask(words, namespace)

    def _next_attempt(self, parcel: Parcel, namespace: str) -> str:
        """The first free name; `UserError` while an earlier attempt has not ended.

        A name counts as taken, too, when only its study or its marker is left: a marker is
        believed for one attempt.
        """
        what = "rayjobs,configmaps"
        words = ["get", what, f"--selector=sweep/study={parcel.study_id}", "--output=json"]
        latest = latest_attempt(parcel.results, parcel.study_id)
        for item in json.loads(self._ask(words, namespace))["items"]:
            name = item["metadata"]["name"]
            if item["kind"] == "RayJob" and not _state(item.get("status", {})).ended:
                raise under_way(name, parcel.label)
            number = name.rpartition("-")[2]
            latest = max(latest, int(number) if number.isdecimal() else 0)
        return submission_id(parcel.study_id, latest + 1)

    def _command(self, words: list[str], namespace: str) -> list[str]:
        context = [] if self._address is None else [f"--context={self._address}"]
        return ["kubectl", *context, f"--namespace={namespace}", *words]

    def _ask(self, words: list[str], namespace: str, given: str | None = None) -> str:
        """What kubectl prints."""
        command = self._command(words, namespace)
        return KUBECTL.ask(command, words[0], given=given, interruptible=given is None)


def _namespace(submission: Submission) -> str:
    return submission.details.get("namespace", "default")


def _state(status: dict[str, Any]) -> State:
    """KubeRay's own word on a job."""
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    detail = str(status.get("message", "") or status.get("reason", ""))
    if deployment == "Complete":
        return State(_COMPLETE.get(job, Phase.FAILED), detail)
    return State(_DEPLOYMENT.get(deployment, Phase.RUNNING), detail or deployment)
