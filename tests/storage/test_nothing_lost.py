"""Faults and deaths at every file operation, and all interleavings: no row is lost or doubled.

What the storage asks of the operating system goes through `Process`, which can refuse any operation
or end there for good, as kill -9 would: nothing runs afterwards, its files close, its locks end.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sweep.errors import UserError
from sweep.storage import renames
from sweep.storage.arrow_schema import to_table
from sweep.storage.compaction import compact
from sweep.storage.layout import Layout
from sweep.storage.row_files import commit, finished_jobs, read_rows, serialise
from sweep.storage.study_file import Header, agree_blocks

from .conftest import STUDY, make_cell, make_rows

CELL = make_cell("c00000001", 2)
JOBS = ("cA", "cB", "cC", "cD")
TABLES = {
    job: to_table(make_rows(CELL, [CELL], job, range(2 * i, 2 * i + 2)), [CELL])
    for i, job in enumerate(JOBS)
}
BYTES = {job: serialise(table, [job]) for job, table in TABLES.items()}
JOBS_OF: dict[bytes, list[str]] = {}
MADE_BY = {"code": "of these tests"}
CHANGES = ("open", "write", "fsync", "link", "unlink", "replace", "mkdir", "rmdir", "renameat2")


class Death(BaseException):
    """The end of a process; not even `finally` may do anything after it."""


class Process:
    """Somebody who works on the folder, with a process id of their own."""

    ids = iter(range(10**8, 10**9))

    def __init__(self) -> None:
        self.pid = next(self.ids)
        self.dead = False
        self.open: set[int] = set()
        self.held: set[str] = set()

    def reached(self, name: str) -> None:
        """Called before every operation: the place to refuse it, or to die."""

    def die(self) -> None:
        """End here: what the operating system does for a dead process."""
        self.dead = True
        DEAD.add(self.pid)
        for descriptor in self.open:
            REAL["close"](descriptor)
        for path in self.held:  # of a system without locks: deleted by hand, as the sentence says
            REAL["unlink"](path)

    def perform(self, name: str, *args: Any, **options: Any) -> Any:
        if self.dead:
            raise Death
        try:
            self.reached(name)
        except Death:
            if name == "write":
                REAL["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            self.die()
            raise
        if name in ("fsync", "sleep"):
            return None  # power stays on, and nobody waits
        done = REAL[name](*args, **options)
        if name == "open":
            self.open.add(done)
        if name == "close":
            self.open.discard(args[0])
        if name in ("open", "unlink") and str(args[0]).endswith(".held"):
            (self.held.add if name == "open" else self.held.discard)(str(args[0]))
        return done


DEAD: set[int] = set()
HERE = threading.local()
PLACES: dict[str, tuple[Any, str]] = {
    **{name: (os, name) for name in ("open", "write", "fsync", "close", "link", "unlink")},
    **{name: (os, name) for name in ("replace", "mkdir", "rmdir", "stat", "scandir")},
    "flock": (fcntl, "flock"),
    "sleep": (time, "sleep"),
    "io.open": (io, "open"),
    "renameat2": (renames, "_renameat2"),
}
REAL: dict[str, Callable[..., Any]] = {
    name: getattr(module, attribute) for name, (module, attribute) in PLACES.items()
}


@contextmanager
def observed() -> Iterator[None]:
    """A block in which this thread's `Process`, if any, sees every operation, without fsync."""

    def through(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            process = getattr(HERE, "process", None)
            if process is None:
                return None if name == "fsync" else REAL[name](*args, **options)
            return process.perform(name, *args, **options)

        return call

    def own_id() -> int:
        process = getattr(HERE, "process", None)
        return real_id() if process is None else process.pid

    def signal(pid: int, number: int) -> None:
        if pid in DEAD:
            raise ProcessLookupError
        if pid < 10**8:
            real_kill(pid, number)

    real_id, real_kill = os.getpid, os.kill
    with pytest.MonkeyPatch.context() as patch:
        for name, (module, attribute) in PLACES.items():
            patch.setattr(module, attribute, through(name))
        patch.setattr(os, "getpid", own_id)
        patch.setattr(os, "kill", signal)
        yield


def by(process: Process, work: Callable[[], Any]) -> Any:
    """What the work returns when this process does it."""
    HERE.process = process
    try:
        return work()
    finally:
        del HERE.process
        DEAD.add(process.pid)


class Failing(Process):
    """Meets a fault at its n-th change of the disk: an error number, or None for its death."""

    def __init__(self, at: int = -1, fault: int | None = None) -> None:
        super().__init__()
        self.at, self.fault, self.seen = at, fault, 0

    def reached(self, name: str) -> None:
        if name not in CHANGES:
            return
        self.seen += 1
        if self.seen - 1 == self.at:
            if self.fault is None:
                raise Death
            raise OSError(self.fault, os.strerror(self.fault))


def new_study(root: Path) -> Layout:
    layout = Layout.for_study(root, "tiny", STUDY)
    agree_blocks(
        layout, Header(STUDY, "tiny", "cpu", {}, {CELL.id: {}}), lambda known: known, MADE_BY
    )
    return layout


def jobs_on_disk(layout: Layout) -> Counter[str]:
    """How often each job lies in `rows`, as a reader finds it who knows nothing of sweep.

    Every file there has to be whole, its rows those that its jobs gave.
    """
    found: Counter[str] = Counter()
    for path in layout.rows.glob("*.parquet"):
        data = path.read_bytes()
        if data not in JOBS_OF:
            jobs = pq.read_table(io.BytesIO(data), columns=["job"])["job"].unique().to_pylist()
            assert data == bytes_of(tuple(sorted(jobs))), f"{path.name} is not its jobs' rows"
            JOBS_OF[data] = sorted(jobs)
        found.update(JOBS_OF[data])
    return found


@functools.cache
def bytes_of(jobs: tuple[str, ...]) -> bytes:
    if len(jobs) == 1:
        return BYTES[jobs[0]]
    stored = [pq.read_table(io.BytesIO(BYTES[job])) for job in jobs]
    rows = pa.concat_tables(table.replace_schema_metadata(None) for table in stored)
    return serialise(rows.replace_schema_metadata(stored[0].schema.metadata), jobs)


def all_work(layout: Layout, job: str) -> None:
    """The same command again: the job's rows are there, once, with the same bytes."""
    commit(layout, job, TABLES[job])
    assert layout.row_file(job).read_bytes() == BYTES[job]
    assert commit(layout, job, TABLES[job]) is False
    assert jobs_on_disk(layout) == Counter(finished_jobs(layout))


def operations(work: Callable[[], Any]) -> int:
    process = Failing()
    by(process, work)
    return process.seen


@pytest.fixture(params=["links", "rename to free names", "plain rename"])
def naming(request, monkeypatch) -> Iterator[str]:
    """The three ways in which a file gets its name, by what the file system knows."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    with observed():
        if request.param != "links":
            monkeypatch.setitem(REAL, "link", refuse)
        if request.param == "plain rename":
            monkeypatch.setitem(REAL, "renameat2", refuse)
        yield request.param


def test_a_commit_survives_a_fault_or_its_death_at_every_operation(tmp_path, naming):
    layouts = (new_study(tmp_path / str(number)) for number in range(1000))
    first = next(layouts)
    last = operations(lambda: commit(first, "cA", TABLES["cA"]))
    assert last > 20
    faults = (errno.ENOSPC, errno.EACCES, errno.EIO, None) if naming == "links" else (None,)
    for at in range(last):
        for fault in faults:
            layout = next(layouts)
            with pytest.raises((OSError, UserError, Death)) as met:
                by(Failing(at, fault), lambda layout=layout: commit(layout, "cA", TABLES["cA"]))
            # EIO may pass by itself: it stays an OSError, which executors try again.
            kinds = {None: Death, errno.EIO: OSError}
            assert isinstance(met.value, kinds.get(fault, UserError))
            assert jobs_on_disk(layout) in ({}, {"cA": 1})
            if fault is not None:
                assert len(list(layout.incoming.glob("*"))) <= 1  # one that could not be removed
            all_work(layout, "cA")
            shutil.rmtree(layout.store)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_compaction_survives_a_fault_or_its_death_at_every_operation(
    tmp_path, monkeypatch, exchange
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EINVAL, "not here")

    made = new_study(tmp_path / "made")
    for job in JOBS:
        commit(made, job, TABLES[job])
    once = Counter(JOBS)
    with observed():
        if not exchange:
            monkeypatch.setitem(REAL, "renameat2", refuse)

        def copy(number: int) -> Layout:
            return Layout.at(shutil.copytree(made.root, tmp_path / str(number) / made.root.name))

        limit = 2 * max(map(len, BYTES.values()))  # two merged files
        after = copy(-1)
        last = operations(lambda: compact(after, limit))
        files = {path.name: path.read_bytes() for path in after.rows.iterdir()}
        assert (len(files), jobs_on_disk(after)) == (2, once)
        for at in range(last):
            for fault in (None, (errno.ENOSPC, errno.EACCES, errno.EIO)[at % 3])[: 1 + exchange]:
                layout = copy(at)
                with suppress(OSError, UserError, Death):
                    by(Failing(at, fault), lambda layout=layout: compact(layout, limit))
                found = jobs_on_disk(layout)
                assert set(found) == set(JOBS)
                assert not exchange or found == once
                assert finished_jobs(layout) == set(JOBS)
                assert read_rows(layout).num_rows == 4 * len(JOBS)
                for job in JOBS:
                    assert commit(layout, job, TABLES[job]) is False
                compact(layout, limit)
                assert {p.name: p.read_bytes() for p in layout.rows.iterdir()} == files
                assert {p.stem for p in layout.checksums.iterdir()} == {n[:-8] for n in files}
                assert not layout.next_rows.exists()
                shutil.rmtree(layout.store)


class Stepped(Process):
    """A process that does one operation at a time, when it is told to."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = self._doomed = False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._paused.acquire()

    def reached(self, name: str) -> None:
        self._paused.release()
        self._go.acquire()
        if self._doomed:
            raise Death

    def step(self, kill: bool = False) -> None:
        """Do the operation at which it stands, or die there."""
        if not self.done:
            self._doomed = kill
            self._go.release()
            self._paused.acquire()
        if self.done:
            self._thread.join()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self.result = by(self, work)
        except Death:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._paused.release()


class NothingLost(RuleBasedStateMachine):
    """Commits, compactions and readers at once, one operation of one of them at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.layout = new_study(self.folder)
        self.patch = pytest.MonkeyPatch()
        self.watch = observed()
        self.watch.__enter__()
        self.processes: list[tuple[Stepped, Callable[[Any], None]]] = []
        self.promised: set[str] = set()
        self.in_one_step = True

    @initialize(system=st.sampled_from(["local", "no exchange", "no locks"]))
    def choose(self, system: str) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.ENOTSUP, "not here")

        self.in_one_step = system == "local"
        if system != "local":
            self.patch.setitem(REAL, "renameat2", refuse)
        if system == "no locks":
            self.patch.setitem(REAL, "flock", refuse)

    def start(self, work: Callable[[], Any], check: Callable[[Any], None]) -> None:
        self.processes.append((Stepped(work), check))

    @precondition(lambda self: len(self.processes) < 4)
    @rule(job=st.sampled_from(JOBS))
    def start_commit(self, job: str) -> None:
        self.start(lambda: commit(self.layout, job, TABLES[job]), lambda _: self.promised.add(job))

    @precondition(lambda self: len(self.processes) < 4)
    @rule()
    def start_compaction(self) -> None:
        self.start(lambda: compact(self.layout), lambda _: None)

    @precondition(lambda self: len(self.processes) < 4 and self.promised)
    @rule()
    def start_reader(self) -> None:
        before = set(self.promised)

        def check(rows: pa.Table) -> None:
            found = Counter(rows["job"].to_pylist())
            assert before <= set(found)
            assert set(found.values()) == {4}

        self.start(lambda: read_rows(self.layout), check)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3), steps=st.integers(1, 40), kill=st.integers(0, 9))
    def go_on(self, which: int, steps: int, kill: int) -> None:
        process, check = self.processes[which % len(self.processes)]
        for left in reversed(range(steps)):
            if process.done:
                break
            process.step(kill=left == 0 and kill == 0)
            self.look()
        if process.done:
            self.processes.remove((process, check))
            if process.error is not None:
                raise process.error
            if not process.dead:
                check(process.result)

    @invariant()
    def look(self) -> None:
        """What anybody sees in the folder at any moment."""
        found = jobs_on_disk(self.layout) if self.layout.rows.is_dir() else Counter()
        assert self.promised <= set(found)
        assert not self.in_one_step or all(count == 1 for count in found.values())

    def teardown(self) -> None:
        try:
            while self.processes:
                for which in reversed(range(len(self.processes))):
                    self.go_on(which, 1, 1)
            for job in JOBS:
                commit(self.layout, job, TABLES[job])
            compact(self.layout)
            assert jobs_on_disk(self.layout) == Counter(JOBS)
            assert read_rows(self.layout).num_rows == 4 * len(JOBS)
            assert list(self.layout.incoming.iterdir()) == []
        finally:
            while self.processes:
                self.processes.pop()[0].step(kill=True)
            self.patch.undo()
            self.watch.__exit__(None, None, None)
            shutil.rmtree(self.folder)


TestNothingLost = NothingLost.TestCase
TestNothingLost.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
