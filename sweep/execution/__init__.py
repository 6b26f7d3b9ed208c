"""Running jobs: in this process or on Ray Tune. The only room that imports ray."""

from __future__ import annotations

from sweep.execution.base import Executor, Probe
from sweep.spec import Compute


def open_executor(compute: Compute, probe: Probe | None = None) -> Executor:
    """The executor that `compute.name` asks for, not yet entered.

    `probe` is a picklable check, called on entering once in every place where jobs may run; it
    raises when that place does not see the results folder.
    """
    if compute.name == "serial":
        from sweep.execution.serial import SerialExecutor

        return SerialExecutor(compute.retries, probe)
    # Imported here so that a serial run neither needs nor waits for Ray.
    from sweep.execution.ray_tune import RayExecutor

    return RayExecutor(compute, probe)
