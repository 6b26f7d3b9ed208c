"""Batch submission: a study travels to a cluster, runs there, and is asked about from here."""

from __future__ import annotations

from sweep.errors import UserError
from sweep.storage.provenance import without_credentials
from sweep.submission.base import Submitter, To


def open_submitter(to: To, address: str | None = None, insecure: bool = False) -> Submitter:
    """The submitter to a place, which contacts nobody yet.

    Raises `UserError` for an address that is wrong in itself, holds a credential, or is of no use.
    """
    if to == "slurm" and address is not None:
        raise UserError(
            f"--address '{without_credentials(address)}' means nothing to SLURM: its own settings"
            " say where it is (SLURM_CONF), and which part of it compute.batch.partition."
        )
    # Imported here, so that each place needs only its own libraries.
    if to == "slurm":
        from sweep.submission.slurm import SlurmSubmitter

        return SlurmSubmitter()
    if to == "kuberay":
        from sweep.submission.kuberay import KubeRaySubmitter

        return KubeRaySubmitter(address)
    from sweep.submission.ray_jobs import RayJobs

    return RayJobs(address, insecure)
