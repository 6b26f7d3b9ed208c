"""The journal: what becomes of a job besides rows — who runs it now, and why it failed.

Every process that runs jobs, or hears of their ends, appends to a file of its own in `.journal/`
and holds a lock on it while a job runs. The lock ends with its process, however that ends, so a
job is running exactly if its last line says so and the file is locked; no clock is compared and no
process number is trusted. Nothing that decides what is done reads it: rows alone do. An object
store has no locks and nothing to append to: there is no journal there.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import FileIO
from pathlib import Path

from sweep.storage.durable import make_folder, writing
from sweep.storage.layout import Layout
from sweep.storage.objects import in_store

_LOOK_SECONDS = 0.2  # far above the microseconds that a reader holds a lock

STARTED, COMMITTED, RAISED, FAILED = "started", "committed", "raised", "failed"


@dataclass(frozen=True)
class Entry:
    """A line: the `event` (started, committed, raised, failed) of a job, at `time` (s, Unix).

    `process` names the file, which is host, process number and a random part; `reason` is that of a
    failure, else empty.
    """

    process: str
    job: str
    event: str
    time: float
    reason: str = ""

    @property
    def place(self) -> str:
        """Host and process number, as people write them."""
        host, pid, _ = self.process.rsplit("-", 2)
        return f"{host}, process {pid}"


@dataclass(frozen=True)
class Journal:
    """All entries, in the order of each process, and the jobs that run at this moment."""

    entries: tuple[Entry, ...]
    running: Mapping[str, Entry]

    @property
    def failed(self) -> dict[str, str]:
        """Job → why it last failed for good, whatever became of it since."""
        last = sorted((e for e in self.entries if e.event == FAILED), key=lambda e: e.time)
        return {entry.job: entry.reason for entry in last}


@contextmanager
def attempt(layout: Layout, job_id: str) -> Iterator[None]:
    """A block in which this process runs the job, and whose end it notes unless it is killed.

    Raises `UserError` when the results folder cannot be written: better now than after training.
    """
    if in_store(layout.root):
        yield
        return
    with _opened(layout) as file:
        _lock(file)
        with writing(layout.root):
            _append(file, job_id, STARTED)
        event = RAISED
        try:
            yield
            event = COMMITTED
        finally:
            with writing(layout.root):
                _append(file, job_id, event)


def note_failure(layout: Layout, job_id: str, reason: str) -> None:
    """Keep why a job failed for good, for `read_journal`; `UserError` if it cannot be written."""
    if in_store(layout.root):
        return
    with writing(layout.root), _opened(layout) as file:
        _append(file, job_id, FAILED, reason)


def read_journal(layout: Layout) -> Journal:
    """What the journal says now; empty where there is none. Writes nothing."""
    entries: list[Entry] = []
    running: dict[str, Entry] = {}
    if in_store(layout.root):
        return Journal((), {})
    for path in sorted(filter(Path.is_file, layout.journal.glob("*.jsonl"))):
        # Looked at before it is read: a job that ends in between is no longer said to run.
        held = _held(path)
        own = [entry for line in _lines(path) if (entry := _parse(path.stem, line)) is not None]
        entries += own
        if held and own and own[-1].event == STARTED:
            running[own[-1].job] = own[-1]
    return Journal(tuple(entries), running)


def _own_file(layout: Layout) -> Path:
    return layout.journal / f"{_own_name(os.getpid())}.jsonl"


@cache
def _own_name(pid: int) -> str:
    """One name per process: a fork has a number of its own."""
    return f"{socket.gethostname()}-{pid}-{uuid.uuid4().hex[:8]}"


@contextmanager
def _opened(layout: Layout) -> Iterator[FileIO]:
    """The file of this process, unbuffered: closing it tries nothing again that was refused."""
    with writing(layout.root):
        make_folder(layout.journal)
        file = FileIO(_own_file(layout), "a")
    with file:
        yield file


def _lock(file: FileIO) -> None:
    """Hold the file's lock until it is closed, as far as there are locks.

    Without them nothing is ever said to run. A reader that looks whether it is held holds it for a
    moment itself; who holds it for longer is a run around this one in the same process.
    """
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                return
            time.sleep(_LOOK_SECONDS / 100)
        except OSError:
            return


def _append(file: FileIO, job_id: str, event: str, reason: str = "") -> None:
    line = {"job": job_id, "event": event, "time": time.time()}
    left = memoryview((json.dumps(line | ({"reason": reason} if reason else {})) + "\n").encode())
    while left:
        left = left[file.write(left) :]


def _held(path: Path) -> bool:
    """Whether a living process holds the file's lock; never where the file system has no locks."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _parse(process: str, line: str) -> Entry | None:
    """None for a line that was torn by a crash, or is none of ours."""
    try:
        found = json.loads(line)
        entry = Entry(
            process,
            str(found["job"]),
            str(found["event"]),
            float(found["time"]),
            str(found.get("reason", "")),
        )
        return entry if process.count("-") >= 2 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
