"""The RayJob that KubeRay is given, beside the ConfigMap with the study that it runs.

No secret is in it: Ray's token, MLflow's and the object store's credentials are references to
Kubernetes Secrets, which whoever runs the namespace creates.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from sweep.batch import Batch
from sweep.errors import UserError
from sweep.submission.base import Parcel, require_fitting
from sweep.submission.parcel import COMPOSED, MANIFEST

#: The release whose RayJob this is; its operator takes token authentication from Ray 2.52 on.
KUBERAY_VERSION = "1.6.2"
#: The Ray that the image has to hold, which is the one that this package is tested with.
RAY_VERSION = "2.60.0"

#: A Secret with the key `auth_token`: Ray's token.
TOKEN_SECRET = "sweep-ray-token"
#: A Secret whose keys become environment variables: MLFLOW_TRACKING_*, AWS_*. It may be missing.
CREDENTIALS_SECRET = "sweep-credentials"

_MOUNT = "/etc/sweep"  # where the ConfigMap lies in every pod
_RESULTS, _STUDY = "results", "study"  # names of volumes
_LARGEST_CONFIG_MAP = 1_000_000  # Kubernetes takes 1 MiB
_SECONDS_KEPT = 300  # the cluster stays that long after the end, for a last look


def render(parcel: Parcel, submission_id: str) -> str:
    """Both objects as one list in JSON, which kubectl takes as it takes YAML.

    Raises `UserError` without an image, for results that no pod would keep, and for a study that
    is too large for a ConfigMap.
    """
    objects = [config_map(parcel, submission_id), ray_job(parcel, submission_id)]
    found = {"apiVersion": "v1", "kind": "List", "items": objects}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def config_map(parcel: Parcel, submission_id: str) -> dict[str, Any]:
    """The composed study as a ConfigMap, and which code it is for; the image holds that code."""
    text = json.dumps(parcel.composed, ensure_ascii=False, allow_nan=False)
    if len(text.encode()) > _LARGEST_CONFIG_MAP:
        raise UserError(
            f"The composed study has {len(text.encode()):,} bytes, and Kubernetes takes"
            f" {_LARGEST_CONFIG_MAP:,} in a ConfigMap: split it into studies with fewer cells."
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(parcel, submission_id),
        "data": {COMPOSED: text, MANIFEST: (parcel.folder / MANIFEST).read_text("utf-8")},
    }


def ray_job(parcel: Parcel, submission_id: str) -> dict[str, Any]:
    """The RayJob: a cluster of its own, the run, and the cluster's end."""
    batch = parcel.compute.batch
    _refuse_unusable(batch, parcel.results)
    require_fitting(parcel.compute)
    cluster: dict[str, Any] = {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token", "secretName": TOKEN_SECRET},
        "headGroupSpec": _group(batch, submission_id, "ray-head"),
    }
    if batch.nodes > 1:
        counts = {"replicas": batch.nodes - 1, "minReplicas": batch.nodes - 1}
        worker = {"groupName": "workers", **counts, "maxReplicas": batch.nodes - 1}
        cluster["workerGroupSpecs"] = [{**worker, **_group(batch, submission_id, "ray-worker")}]
    spec: dict[str, Any] = {
        "entrypoint": shlex.join(parcel.command(submission_id, f"{_MOUNT}/{COMPOSED}")),
        "submissionMode": "K8sJobMode",
        "backoffLimit": batch.backoff_limit,
        "submitterConfig": {"backoffLimit": 2},
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": _SECONDS_KEPT,
        "rayClusterSpec": cluster,
    }
    if batch.deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = batch.deadline_seconds
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(parcel, submission_id),
        "spec": spec,
    }


def _metadata(parcel: Parcel, submission_id: str) -> dict[str, Any]:
    return {
        "name": submission_id,
        "namespace": parcel.compute.batch.namespace,
        "labels": {"sweep/study": parcel.study_id},
        "annotations": {
            "sweep/needs": f"KubeRay {KUBERAY_VERSION}, Ray {RAY_VERSION}",
            "sweep/results": parcel.results,
        },
    }


def _group(batch: Batch, submission_id: str, name: str) -> dict[str, Any]:
    """One kind of pod: the head trains, too, like every other node."""
    mounts: list[dict[str, Any]] = [{"name": _STUDY, "mountPath": _MOUNT, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": _STUDY, "configMap": {"name": submission_id}}]
    if batch.volume_claim is not None:
        claim = {"claimName": batch.volume_claim}
        mounts.append({"name": _RESULTS, "mountPath": batch.mount_path})
        volumes.append({"name": _RESULTS, "persistentVolumeClaim": claim})
    container = {
        "name": name,
        "image": batch.image,
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
        "envFrom": [{"secretRef": {"name": CREDENTIALS_SECRET, "optional": True}}],
        "resources": {"limits": _amounts(batch), "requests": _amounts(batch)},
        "volumeMounts": mounts,
    }
    pod: dict[str, Any] = {"containers": [container], "volumes": volumes}
    if batch.service_account is not None:
        pod["serviceAccountName"] = batch.service_account
    # The dashboard carries the job server, which the operator has to reach; it asks for the token.
    params = {"dashboard-host": "0.0.0.0"} if name == "ray-head" else {}
    return {"rayStartParams": params, "template": {"spec": pod}}


def _amounts(batch: Batch) -> dict[str, str]:
    amounts = {"cpu": str(batch.cpus_per_node), "memory": f"{int(batch.memory_per_node_gb * 1e9)}"}
    gpus = {"nvidia.com/gpu": str(batch.gpus_per_node)} if batch.gpus_per_node else {}
    return {**amounts, **gpus}


def _refuse_unusable(batch: Batch, results: str) -> None:
    if batch.image is None:
        raise UserError(
            "compute.batch.image is null: KubeRay needs a container image with this sweep and Ray"
            f" {RAY_VERSION}."
        )
    if re.fullmatch(r"[\w./:@%+,=-]+", results, re.ASCII) is None:
        raise UserError(
            f"store.root leads to {results!r}: on its way into a pod's shell no other signs than"
            " letters, digits and . / : @ % + , = - are safe."
        )
    inside = results.startswith(batch.mount_path.rstrip("/") + "/")
    if "://" not in results and (batch.volume_claim is None or not inside):
        raise UserError(
            f"store.root leads to '{results}', which ends with its pod: give compute.batch."
            f"volume_claim and a store.root below compute.batch.mount_path '{batch.mount_path}'."
        )
