"""What is printed for SLURM and KubeRay: well formed, complete, without a secret; no cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sweep.batch import Batch
from sweep.cli.main import main
from sweep.execution.sameness import code_hash
from sweep.spec import Compute
from sweep.submission import node, open_submitter, records
from sweep.submission.base import Parcel, Phase, Submission
from sweep.submission.kuberay import KubeRaySubmitter
from sweep.submission.kuberay_manifest import KUBERAY_VERSION, RAY_VERSION
from sweep.submission.marker import read_marker, write_marker
from sweep.submission.slurm_script import seconds

STUDY = ("study=quick", "tracking=none")
KUBE = ("compute.batch.image=me/sweep:1", "compute.batch.volume_claim=rows", "store.root=/results")
SECRETS = {
    "RAY_AUTH_TOKEN": "planted-ray-token-5d1c",
    "MLFLOW_TRACKING_USERNAME": "planted-user-77aa",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-77aa",
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-token-77aa",
    "AWS_ACCESS_KEY_ID": "planted-key-id-77aa",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret-77aa",
    "AWS_SESSION_TOKEN": "planted-session-77aa",
}

#: Every field that the RayJob uses, with its type, as in the schema
#: `helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml` of KubeRay 1.6.2; `[]` is a list's item,
#: `*` a key of the user's own. 'quantity' is a whole number or a text.
FIELDS: Mapping[str, str] = {
    "spec.entrypoint": "string",
    "spec.jobId": "string",
    "spec.activeDeadlineSeconds": "integer",
    "spec.backoffLimit": "integer",
    "spec.shutdownAfterJobFinishes": "boolean",
    "spec.ttlSecondsAfterFinished": "integer",
    "spec.submissionMode": "string",
    "spec.submitterConfig.backoffLimit": "integer",
    "spec.rayClusterSpec.rayVersion": "string",
    "spec.rayClusterSpec.authOptions.mode": "string",
    "spec.rayClusterSpec.authOptions.secretName": "string",
    **{
        f"spec.rayClusterSpec.{group}.{field}": kind
        for group in ("headGroupSpec", "workerGroupSpecs[]")
        for field, kind in {
            "rayStartParams.*": "string",
            "template.spec.serviceAccountName": "string",
            "template.spec.containers[].name": "string",
            "template.spec.containers[].image": "string",
            "template.spec.containers[].env[].name": "string",
            "template.spec.containers[].env[].value": "string",
            "template.spec.containers[].envFrom[].secretRef.name": "string",
            "template.spec.containers[].envFrom[].secretRef.optional": "boolean",
            "template.spec.containers[].resources.limits.*": "quantity",
            "template.spec.containers[].resources.requests.*": "quantity",
            "template.spec.containers[].volumeMounts[].name": "string",
            "template.spec.containers[].volumeMounts[].mountPath": "string",
            "template.spec.containers[].volumeMounts[].readOnly": "boolean",
            "template.spec.volumes[].name": "string",
            "template.spec.volumes[].configMap.name": "string",
            "template.spec.volumes[].persistentVolumeClaim.claimName": "string",
        }.items()
    },
    "spec.rayClusterSpec.workerGroupSpecs[].groupName": "string",
    "spec.rayClusterSpec.workerGroupSpecs[].replicas": "integer",
    "spec.rayClusterSpec.workerGroupSpecs[].minReplicas": "integer",
    "spec.rayClusterSpec.workerGroupSpecs[].maxReplicas": "integer",
}


def printed(to: str, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["submit", "--to", to, "--dry-run", *STUDY, *words]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize(
    "words",
    [
        (),
        (
            "compute.batch.nodes=8",
            "compute.batch.gpus_per_node=4",
            "compute.batch.partition=gpu",
            "compute.batch.account=me",
            "compute.batch.time_limit=2-00:00:00",
            "compute.batch.extra=['--constraint=a100','#SBATCH --exclusive']",
            "store.root='/shared/my results/50%'",
        ),
    ],
)
def test_the_script_passes_shellcheck(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    script = printed("slurm", *words, capsys=capsys)
    found = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert "@" not in script.replace("USR1@", "").replace("[@]", "")  # nothing left to fill in
    assert "ray stop" not in script
    header = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    if words:
        for option in ("--nodes=8", "--gpus-per-node=4", "--partition=gpu", "--account=me"):
            assert f"#SBATCH {option}" in header
        assert header[-2:] == ["#SBATCH --constraint=a100", "#SBATCH --exclusive"]
        (output,) = [line for line in header if "--output" in line]
        assert output.startswith('#SBATCH --output="/shared/my results/50%%/')


def test_what_sbatch_would_not_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("compute.batch.extra=['rm -r /']", "store.root='/a\"b'", "store.root='/a\tb'"):
        assert main(["submit", "--to", "slurm", "--dry-run", *STUDY, word]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1


def test_time_limits_are_read_as_slurm_reads_them() -> None:
    read = {"00:01:30": 90, "04:00:00": 14400, "2-01:00:05": 176405}
    assert {text: seconds(Batch(time_limit=text).time_limit) for text in read} == read


def test_marker_and_exit_status_agree_however_it_ended(tmp_path: Path) -> None:
    marker = tmp_path / "quick-0123456789ab" / ".submission" / "sweep-0123456789ab-1.json"
    for left, words, status in [
        (0, [], 0),
        (130, ["--interrupted"], 130),
        (130, ["--failed"], 1),
        (None, [], 1),
        (None, ["--interrupted"], 130),
        (0, ["--failed"], 0),
    ]:
        marker.unlink(missing_ok=True)
        if left is not None:
            write_marker(marker, left, "quick-0123456789ab")
        assert node.main(["verdict", str(marker), *words]) == status
        found = read_marker(marker.parents[1], marker.stem)
        assert found is not None
        assert (found.exit_status, found.study) == (status, "quick-0123456789ab")


@pytest.mark.parametrize(
    ("queue", "account", "phase"),
    [
        ("echo 'PENDING Priority'", "exit 1", Phase.PENDING),
        ("echo 'COMPLETING None'", "exit 1", Phase.RUNNING),
        ("echo 'TIMEOUT TimeLimit'", "exit 1", Phase.FAILED),
        ("echo 'Invalid job id specified' >&2; exit 1", "echo 'CANCELLED by 7'", Phase.CANCELLED),
        ("echo 'Invalid job id specified' >&2; exit 1", "echo OUT_OF_MEMORY", Phase.FAILED),
        ("echo 'Invalid job id specified' >&2; exit 1", "exit 1", Phase.LOST),
    ],
)
def test_states_come_from_the_queue_then_the_accounts_then_the_marker(
    queue: str, account: str, phase: Phase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, does in (("squeue", queue), ("sacct", account)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    root = tmp_path / "quick-0123456789ab"
    given = Submission("slurm", "sweep-0123456789ab-1", "0123456789ab", "quick", str(root), "now")
    submitter = open_submitter("slurm")
    assert submitter.state(given).phase is phase
    write_marker(root / ".submission" / f"{given.id}.json", 0, root.name)
    ended = phase not in (Phase.PENDING, Phase.RUNNING)
    assert submitter.state(given).phase is (Phase.SUCCEEDED if ended else phase)


ASKED = """\
import json, os, sys
said = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
open({log!r}, "a").write(json.dumps([said, sorted(os.environ)]) + "\\n")
print({prints!r})
"""


def fake(folder: Path, name: str, prints: str) -> None:
    """A command that notes how it was called."""
    body = ASKED.format(log=str(folder / "called"), prints=prints)
    (folder / name).write_text(f"#!{sys.executable}\n{body}")
    (folder / name).chmod(0o755)


def called(folder: Path) -> list[tuple[list[str], list[str]]]:
    return [json.loads(line) for line in (folder / "called").read_text().splitlines()]


def test_slurm_is_asked_about_our_own_job_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, too: a number may be another job's by now. The environment does not interfere."""
    for name in ("squeue", "sacct", "scancel"):
        fake(tmp_path, name, "")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    kept = {"SLURM_CONF": "/x", "SBATCH_PARTITION": "gpu"}
    dropped = ("SQUEUE_PARTITION", "SCANCEL_INTERACTIVE", "SBATCH_WAIT", "SLURM_MEM_PER_CPU")
    for variable in (*kept, *dropped, "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(variable, kept.get(variable, "1"))
    given = Submission("slurm", "sweep-0123456789ab-1", "0123456789ab", "q", "/no", "now", job="7")
    submitter = open_submitter("slurm")
    assert submitter.state(given).phase is Phase.LOST
    submitter.cancel(given)
    calls = called(tmp_path)
    assert [words[0] for words, _ in calls] == ["squeue", "sacct", "scancel"]
    for words, variables in calls:
        assert f"--name={given.id}" in words
        assert not {*dropped, "RAY_AUTH_TOKEN"} & set(variables)
        assert set(kept) <= set(variables)


@pytest.mark.parametrize(
    ("there", "marker", "attempt"),
    [([], None, 1), ([("ConfigMap", 2)], None, 3), ([], 4, 5), ([("RayJob", 2)], 1, 3)],
)
def test_a_manifest_takes_a_name_of_which_nothing_is_left(
    there: list[tuple[str, int]],
    marker: int | None,
    attempt: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even a marker, which would be believed for the new attempt."""
    root = tmp_path / "quick-0123456789ab"
    ended = {"jobDeploymentStatus": "Complete"}
    items = [
        {"kind": kind, "metadata": {"name": f"sweep-x-{k}"}, "status": ended} for kind, k in there
    ]
    fake(tmp_path, "kubectl", json.dumps({"items": items}))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if marker is not None:
        write_marker(root / ".submission" / f"sweep-0123456789ab-{marker}.json", 0, root.name)
    parcel = Parcel("0123456789ab", "quick", str(root), {}, Compute(name="cluster"), tmp_path)
    found = KubeRaySubmitter()._next_attempt(parcel, "default")
    assert found == f"sweep-0123456789ab-{attempt}"


def test_without_kubectl_a_log_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    given = Submission("kuberay", "sweep-0123456789ab-1", "0123456789ab", "q", "/no", "now")
    records.keep(given)
    assert main(["logs", given.study_id]) == 2
    assert "'kubectl' is not there" in capsys.readouterr().err


def leaves(found: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of plain data with its dotted path, list items as `[]`."""
    if isinstance(found, dict):
        for key, inner in found.items():
            yield from leaves(inner, f"{place}.{key}" if place else key)
    elif isinstance(found, list):
        for inner in found:
            yield from leaves(inner, f"{place}[]")
    else:
        yield place, found


def test_every_field_of_the_manifest_is_one_of_the_schema(
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ("compute.batch.nodes=3", "compute.batch.gpus_per_node=1")
    more = (*more, "compute.batch.deadline_seconds=3600", "compute.batch.service_account=me")
    text = printed("kuberay", *KUBE, *more, capsys=capsys)
    study, job = json.loads(text)["items"]
    types = {"string": str, "integer": int, "boolean": bool, "quantity": (str, int)}
    for place, value in leaves({"spec": job["spec"]}):
        known = re.sub(r"(rayStartParams|limits|requests)\..+", r"\1.*", place)
        assert isinstance(value, types[FIELDS[known]]), place
        assert isinstance(value, bool) == (FIELDS[known] == "boolean"), place
    spec = job["spec"]
    needs = job["metadata"]["annotations"]["sweep/needs"]
    assert needs == f"KubeRay {KUBERAY_VERSION}, Ray {RAY_VERSION}"
    assert spec["rayClusterSpec"]["authOptions"]["mode"] == "token"
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (3600, 3)
    assert spec["shutdownAfterJobFinishes"] is True
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    assert workers["replicas"] == 2
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert study["metadata"]["name"] == job["metadata"]["name"]
    assert json.loads(study["data"]["composed.json"])["name"] == "quick"
    assert json.loads(study["data"]["manifest.json"])["code"] == code_hash()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("store.root=/results",), "compute.batch.image"),
        ((KUBE[0], "store.root=/results"), "compute.batch.volume_claim"),
        ((*KUBE[:2], "store.root=/elsewhere"), "compute.batch.mount_path"),
        ((*KUBE[:2], "store.root='/results/\\\\$(touch x)'"), "store.root leads to"),
    ],
)
def test_what_no_pod_could_run_or_keep_is_refused(
    words: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--to", "kuberay", "--dry-run", *STUDY, *words]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("to", "words"), [("ray", ()), ("slurm", ()), ("kuberay", KUBE)])
def test_no_planted_secret_is_printed(
    to: str,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert "planted" not in printed(to, *words, capsys=capsys)
    address = "http://someone:planted-pw-11bb@mlflow.example"
    for word in (f"tracking.uri={address}", f"name={SECRETS['AWS_SECRET_ACCESS_KEY']}"):
        refused = ["submit", "--to", to, "--dry-run", "study=quick", *words, word]
        refused = [*refused, *(["tracking=none"] if word.startswith("name") else [])]
        assert main(refused) == 2
        seen = capsys.readouterr()
        assert "planted" not in seen.out + seen.err
        assert seen.err.count("\n") == 1
