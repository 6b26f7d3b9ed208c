"""One executor for several studies: starting Ray takes longer than many a small study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from sweep.execution import open_executor
from sweep.execution.base import Executor, Probe
from sweep.spec import Compute


class SharedExecutor:
    """An `Opener` that keeps this machine's executor open from its first use to its own end.

    A context manager. A cluster's executor probes every node on entering, so each study opens one
    of its own.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: tuple[Compute, Executor] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __call__(
        self, compute: Compute, probe: Probe | None = None
    ) -> AbstractContextManager[Executor]:
        """The executor that `compute` asks for, as a context that leaves it open."""
        return (
            open_executor(compute, probe)
            if compute.name == "cluster"
            else self._lent(compute, probe)
        )

    @contextmanager
    def _lent(self, compute: Compute, probe: Probe | None) -> Iterator[Executor]:
        if probe is not None:
            probe()  # this machine is the only place where jobs run
        if self._open is None or self._open[0] != compute:
            self._close()  # Ray allows one connection per process
            self._open = compute, self._stack.enter_context(open_executor(compute))
        yield self._open[1]

    def _close(self) -> None:
        self._open = None
        self._stack.close()
